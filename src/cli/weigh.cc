// cli/weigh.cc — see the header.
#include "cli/weigh.h"

#include "base/error.h"
#include "base/file.h"

namespace bascule::cli {
using nlohmann::ordered_json;

void add_weigh(CLI::App& verb, WeighOptions& o) {
  verb.add_option("--batch", o.batch, "Modelled chips: size of the leading dimension that the inputs share")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("N");
  verb.add_option("--cores", o.cores, "Modelled chips: cores of each chip for one request (default: the vendor's)")->check(CLI::Range(1, 1 << 20))->type_name("N");
  verb.add_option("--chips", o.chips, "Modelled chips: chips of one request (default: one; compare takes more where it does not fit)")->check(CLI::Range(1, 1 << 20))->type_name("N");
  verb.add_option("--split", o.split, "Modelled chips: what ranks share out, batch or tensor (default: the faster by the timing model)")
      ->check(CLI::IsMember({"batch", "tensor"}))
      ->type_name("WHAT");
  verb.add_option("--pin", o.pin, "Modelled chips: a file of choices to keep, one \"step: choice\" a line, as compile prints them")->type_name("FILE");
}

void refuse_weigh(const WeighOptions& o, const std::string& device) {
  if (!o.pin.empty()) fail_usage("--pin", "a modelled chip, --device chip:NAME", "--device " + escaped(device), "Leave it out");
  if (o.cores) fail_usage("--cores", "a modelled chip, --device chip:NAME", "--device " + escaped(device), "Use --threads");
  if (o.chips) fail_usage("--chips", "a modelled chip, --device chip:NAME", "--device " + escaped(device), "Leave it out");
  if (!o.split.empty()) fail_usage("--split", "a modelled chip, --device chip:NAME", "--device " + escaped(device), "Leave it out");
  if (o.batch) fail_usage("--batch", "a modelled chip, --device chip:NAME", "--device " + escaped(device), "Use --shape");
}

inspect::Sizes sizes_of(const inspect::ChipModel& model, const InputOptions& inputs, const WeighOptions& o) {
  inspect::Sizes sizes;
  Shapes shapes = parse_shapes(inputs.shapes, model.inputs());
  sizes.inputs = std::move(shapes.inputs);
  sizes.symbols = std::move(shapes.symbols);
  if (o.batch) sizes.batch = o.batch;
  if (inputs.files.empty()) return sizes;
  const auto given = read_inputs(model.inputs(), inputs, inputs.files);
  for (size_t i = 0; i < given.size(); ++i)
    if (given[i] && given[i]->is_tensor()) sizes.values.emplace(model.inputs()[i].name, given[i]->tensor());
  return sizes;
}

inspect::Placement placement_of(const std::string& chip, const std::string& precision, const WeighOptions& o) {
  inspect::Placement p;
  p.chip = chip;
  if (!precision.empty()) p.precision = dtype_from_name(precision);
  p.cores = o.cores;
  p.chips = std::max<int64_t>(o.chips, 1);
  p.split = o.split;
  constexpr int64_t kMostPins = 1 << 20;
  if (!o.pin.empty()) p.pinned = read_file(o.pin, kMostPins);
  return p;
}

inspect::Modelled weigh(const std::string& model, const std::string& chip, const std::string& precision, const InputOptions& inputs,
                        const WeighOptions& o) {
  device::chip::find_chip(chip);  // an unknown name is said before a large model is read
  const auto loaded = inspect::ChipModel::load(model);
  inspect::Modelled m = loaded->weigh(sizes_of(*loaded, inputs, o), placement_of(chip, precision, o));
  for (const std::string& n : m.notes) note(safe(n, 400));
  if (!m.fits)
    fail_capacity("chip:" + m.chip->name, "at most " + bytes_text(m.capacity_bytes) + " of main memory", bytes_text(m.memory_bytes),
                  "Take a smaller batch, or see which chips hold it: bascule compare MODEL --on all");
  return m;
}

ordered_json figures_json(const device::chip::Chip& chip, bool assumed) {
  ordered_json list = ordered_json::array();
  for (const auto& f : chip.figures)
    if (f.source.starts_with(assumed ? "assumed" : "fitted")) list.push_back({{"path", f.path}, {"value", f.value}, {"source", f.source}});
  return list;
}

std::string figures_text(const device::chip::Chip& chip) {
  size_t assumed = 0, fitted = 0;
  for (const auto& f : chip.figures) {
    assumed += f.source.starts_with("assumed");
    fitted += f.source.starts_with("fitted");
  }
  return std::to_string(assumed) + " assumed, " + std::to_string(fitted) + " fitted of " + std::to_string(chip.figures.size()) + "  (bascule chips " +
         chip.name + ")";
}

ordered_json engines_json(const inspect::Modelled& m) {
  ordered_json list = ordered_json::array();
  for (const auto& e : m.engines)
    list.push_back({{"engine", e.name}, {"busy_share", e.share}, {"busy_ms", e.busy_ns * 1e-6}, {"instructions", e.instructions}});
  const auto& t = *m.timing;
  list.push_back({{"engine", m.chip->main().name},
                  {"busy_share", t.total_ns > 0 ? t.main_busy_ns / t.total_ns : 0},
                  {"busy_ms", t.main_busy_ns * 1e-6},
                  {"instructions", nullptr}});
  return list;
}

std::string engines_text(const inspect::Modelled& m) {
  std::string out;
  for (const auto& e : m.engines) out += (out.empty() ? "" : ", ") + e.name + " " + fixed(100 * e.share, 0) + " %";
  const auto& t = *m.timing;
  return out + (out.empty() ? "" : ", ") + m.chip->main().name + " " + fixed(t.total_ns > 0 ? 100 * t.main_busy_ns / t.total_ns : 0, 0) + " %";
}

ordered_json optional_json(const std::optional<double>& x) { return x ? ordered_json(*x) : ordered_json(nullptr); }

}  // namespace bascule::cli
