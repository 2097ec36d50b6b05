// cli/weigh.h — what the verbs share that answer for a chip that is not here: its options, its sizes, its figures for people and for JSON.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "cli/inputs.h"
#include "inspect/modelled.h"

namespace bascule::cli {

struct WeighOptions {
  int64_t batch = 0;  // 0: not given
  int64_t cores = 0;  // 0: the vendor's default for one request
  int64_t chips = 0;  // 0: one
  std::string split;  // "batch", "tensor", "": the faster
  std::string pin;    // file of pinned choices, "": none
};
void add_weigh(CLI::App& verb, WeighOptions& options);
// UsageError: any of them for a device that is not modelled.
void refuse_weigh(const WeighOptions& options, const std::string& device);

inspect::Sizes sizes_of(const inspect::ChipModel& model, const InputOptions& inputs, const WeighOptions& options);
inspect::Placement placement_of(const std::string& chip, const std::string& precision, const WeighOptions& options);
// Loads and weighs; notes of both go to stderr. CapacityError if the model does not fit the chip.
inspect::Modelled weigh(const std::string& model, const std::string& chip, const std::string& precision, const InputOptions& inputs,
                        const WeighOptions& options);

// Figures of the chip that are no publication's: "assumed" or "fitted".
nlohmann::ordered_json figures_json(const device::chip::Chip& chip, bool assumed);
nlohmann::ordered_json engines_json(const inspect::Modelled& m);
std::string engines_text(const inspect::Modelled& m);      // "tensor 61 %, vector 40 %"
std::string figures_text(const device::chip::Chip& chip);  // "12 assumed, 3 fitted (bascule chips trainium2 lists them)"
nlohmann::ordered_json optional_json(const std::optional<double>& x);

}  // namespace bascule::cli
