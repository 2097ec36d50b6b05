// inspect/compare.h — one line per chip, instance and price: what an inference costs there. Arithmetic over modelled and measured runs.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "inspect/modelled.h"

namespace bascule::inspect {

struct Offer {
  std::string chip, instance, basis = "modelled", precision;
  std::string level;       // how deep the model of the chip goes: instruction, tile, roofline
  int64_t chips = 1;       // of the instance; all of them serve, side by side
  int64_t cores_used = 0;  // of one request
  int64_t batch = 1;
  std::optional<double> latency_ms, throughput_per_s, usd_per_million, joules_per_inference, utilisation, error_vs_f32;
  std::optional<bool> fits;
  double memory_bytes = 0, capacity_bytes = 0;
  std::string limiter;
  std::string price_kind, currency, region, price_date, price_source;
  std::optional<double> price_per_hour;
  std::string cost_reason;   // why usd_per_million is absent
  std::string energy_basis;  // or why there is no figure
  std::string reason;        // why the chip cannot run it, "" if it can
  std::vector<std::string> notes;
};

// Lines of one modelled run: for each instance of the chip and each kind of price the cheapest region. A chip without a price has lines too.
std::vector<Offer> offers(const Modelled& m, const std::vector<device::chip::Price>& prices);
// The line of a chip that cannot run the model.
Offer refused(const std::string& chip, const Placement& placement, int64_t batch, const std::string& reason, bool too_big);
// per_hour pays for `throughput_per_s` inferences in each second.
double per_million(double per_hour, double throughput_per_s);
// By cost; what costs nothing known after that, by latency; what cannot run last.
void sort_by_cost(std::vector<Offer>& list);

}  // namespace bascule::inspect
