// device/chip/device.cc — chip:NAME as a device: maps a graph of bound sizes to a program of the chip, and runs the program on numbers.
#include "device/device.h"

#include <charconv>

#include "base/error.h"
#include "device/chip/values_run.h"
#include "device/common/host_result.h"
#include "device/registry.h"

namespace bascule::device {
namespace {

using chip::Chip;

class ChipExecutable : public Executable {
 public:
  ChipExecutable(const Device& device, const Chip& chip, const Graph& graph, const Options& options, chip::MapOptions placement)
      : device_(device), graph_(std::make_shared<const Graph>(chip::prepare(graph))) {
    placement.precision = dtype_from_name(options.precision);
    mapped_ = chip::map_ranks(chip, graph_, placement);
    chip::require_valid(chip, mapped_.program);
    runner_ = std::make_unique<chip::Runner>(chip, mapped_, graph_);
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
  std::string text() const override { return mapped_.program.text(); }
  std::vector<Fallback> fallbacks() const override {
    std::vector<Fallback> out;
    for (const chip::StepInfo& s : mapped_.program.steps)
      if (!s.host.empty()) out.push_back({s.name + (s.origin ? " of " + bascule::text(s.origin) : ""), s.host});
    return out;
  }

 private:
  const Device& device_;
  std::shared_ptr<const Graph> graph_;
  chip::Mapped mapped_;
  mutable std::mutex mutex_;  // the modelled memories hold one run
  std::unique_ptr<chip::Runner> runner_;
};

class ChipDevice : public Device {
 public:
  // member: as the device is asked for, with what follows the chip's name.
  ChipDevice(const Chip& chip, const std::string& member, chip::MapOptions placement) : chip_(chip), placement_(std::move(placement)) {
    info_.name = "chip:" + member;
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
    return std::make_unique<ChipExecutable>(*this, chip_, graph, options, placement_);
  }
  BufferRef allocate(int64_t bytes) const override { return host_allocate(bytes); }
  BufferRef wrap(std::span<const std::byte> host, std::shared_ptr<const void> owner) const override { return host_wrap(host, std::move(owner)); }
  Event copy(BufferRef to, int64_t to_offset, BufferRef from, int64_t from_offset, int64_t bytes) const override { return host_copy(to, to_offset, from, from_offset, bytes); }

 private:
  const Chip& chip_;
  chip::MapOptions placement_;
  DeviceInfo info_;
};

// "trainium1", "trainium1@cores=2,chips=1,split=batch".
std::unique_ptr<Device> make(const std::string& member) {
  chip::MapOptions placement;
  const size_t at = std::min(member.find('@'), member.size());
  for (size_t from = at + 1; from < member.size();) {
    const size_t end = std::min(member.find(',', from), member.size()), equals = std::min(member.find('=', from), end);
    const std::string key = member.substr(from, equals - from), value = equals < end ? member.substr(equals + 1, end - equals - 1) : "";
    int64_t n = 0;
    const bool number = std::from_chars(value.data(), value.data() + value.size(), n).ptr == value.data() + value.size() && n > 0;
    if (key == "cores" && number) placement.cores = n;
    else if (key == "chips" && number) placement.chips = n;
    else if (key == "split" && chip::split_from_name(value)) placement.split = value;
    else fail_usage("device 'chip:" + escaped(member) + "'", "cores=N, chips=N, split=batch or split=tensor after @", "'" + escaped(member.substr(from, end - from)) + "'", "Write chip:trainium1@cores=2");
    from = end + 1;
  }
  return std::make_unique<ChipDevice>(chip::find_chip(member.substr(0, at)), member, std::move(placement));
}

[[maybe_unused]] const bool registered = register_family("chip", {make, [] { return chip::chip_names(); }});

}  // namespace
}  // namespace bascule::device
