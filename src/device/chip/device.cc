// device/chip/device.cc — chip:NAME as a device: maps a graph of bound sizes to a program of the chip, and runs the program on numbers.
#include "device/device.h"

#include "base/error.h"
#include "device/chip/map.h"
#include "device/chip/values_run.h"
#include "device/common/host_result.h"
#include "device/registry.h"

namespace bascule::device {
namespace {

using chip::Chip;

class ChipExecutable : public Executable {
 public:
  ChipExecutable(const Device& device, const Chip& chip, const Graph& graph, const Options& options) : device_(device), graph_(chip::prepare(graph)) {
    chip::MapOptions map;
    map.precision = dtype_from_name(options.precision);
    program_ = chip::map(chip, graph_, map);
    chip::require_valid(chip, program_);
    runner_ = std::make_unique<chip::Runner>(chip, program_, graph_);
  }

  Event run(Context& context, const Bindings&, std::span<const Array> in, std::span<Array> out) const override {
    const BudgetScope scope(context.budget ? context.budget : current_budget());
    std::vector<Tensor> args;
    for (const Array& a : in) args.push_back(to_host(device_, a));
    std::vector<Tensor> results;
    {
      const std::lock_guard lock(mutex_);
      results = runner_->run(args);
    }
    give_results(device_, results, out);
    return {};
  }
  std::string text() const override { return program_.text(); }
  std::vector<Fallback> fallbacks() const override {
    std::vector<Fallback> out;
    for (const chip::StepInfo& s : program_.steps)
      if (!s.host.empty()) out.push_back({s.name + (s.origin ? " of " + bascule::text(s.origin) : ""), s.host});
    return out;
  }

 private:
  const Device& device_;
  Graph graph_;
  chip::Program program_;
  mutable std::mutex mutex_;  // the modelled memories hold one run
  std::unique_ptr<chip::Runner> runner_;
};

class ChipDevice : public Device {
 public:
  explicit ChipDevice(const Chip& chip) : chip_(chip) {
    info_.name = "chip:" + chip.name;
    info_.description = "modelled: " + chip.vendor + " " + chip.description;
    info_.memory_bytes = chip.main().bytes;
    info_.cores = static_cast<int>(chip.default_cores);
    info_.symbolic = false;
    info_.precisions = {std::string(bascule::info(chip.arithmetic.default_type).name)};
    for (const auto& [type, passes] : chip.matrix.passes)
      if (is_float(type) && type != chip.arithmetic.default_type) info_.precisions.emplace_back(bascule::info(type).name);
  }
  const DeviceInfo& info() const override { return info_; }
  Support supports(const Graph& graph, const Node& node) const override { return chip::supports(chip_, graph, node); }
  std::unique_ptr<Executable> compile(Graph graph, const Options& options) const override {
    if (options.accumulate == Accumulate::element) fail_unsupported("device '" + info_.name + "'", "the chip's accumulation", "rounding after each step", "Use --device reference");
    return std::make_unique<ChipExecutable>(*this, chip_, graph, options);
  }
  BufferRef allocate(int64_t bytes) const override { return host_allocate(bytes); }
  BufferRef wrap(std::span<const std::byte> host, std::shared_ptr<const void> owner) const override { return host_wrap(host, std::move(owner)); }
  Event copy(BufferRef to, int64_t to_offset, BufferRef from, int64_t from_offset, int64_t bytes) const override { return host_copy(to, to_offset, from, from_offset, bytes); }

 private:
  const Chip& chip_;
  DeviceInfo info_;
};

[[maybe_unused]] const bool registered = register_family("chip", {[](const std::string& name) -> std::unique_ptr<Device> { return std::make_unique<ChipDevice>(chip::find_chip(name)); },
                                                                  [] { return chip::chip_names(); }});

}  // namespace
}  // namespace bascule::device
