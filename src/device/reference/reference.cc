// device/reference/reference.cc — runs each node by its reference: slow, right, complete. The template for a new device.
#include <algorithm>

#include "base/error.h"
#include "device/common/host_result.h"
#include "device/device.h"
#include "graph/evaluate.h"

namespace bascule::device {
namespace {

class ReferenceExecutable : public Executable {
 public:
  ReferenceExecutable(const Device& device, Graph graph, const Options& options) : device_(device), graph_(std::move(graph)), options_(options) {}

  Event run(Context& context, const Bindings& symbols, std::span<const Array> in, std::span<Array> out) const override {
    const BudgetScope scope(context.budget ? context.budget : current_budget());
    HostValues args;
    for (const Array& a : in) args.emplace_back(to_host(device_, a));
    EvalContext eval;
    eval.accumulate = options_.accumulate;
    std::vector<Tensor> tensors;
    for (const HostValue& v : evaluate(graph_, args, eval, nullptr, symbols)) tensors.push_back(v.tensor());
    give_results(device_, tensors, out);
    return {};
  }

 private:
  const Device& device_;
  Graph graph_;
  Options options_;
};

class ReferenceDevice : public Device {
 public:
  ReferenceDevice() {
    info_.name = "reference";
    info_.description = "every operator by its definition: slow, and the oracle of the others";
    info_.memory_bytes = machine_memory_bytes();
  }
  const DeviceInfo& info() const override { return info_; }
  Support supports(const Graph&, const Node& node) const override {
    return node.op->reference ? Support{} : Support::no("'" + std::string(node.op->name) + "' has no reference");
  }
  std::unique_ptr<Executable> compile(Graph graph, const Options& options) const override { return std::make_unique<ReferenceExecutable>(*this, std::move(graph), options); }
  BufferRef allocate(int64_t bytes) const override { return host_allocate(bytes); }
  BufferRef wrap(std::span<const std::byte> host, std::shared_ptr<const void> owner) const override { return host_wrap(host, std::move(owner)); }
  Event copy(BufferRef to, int64_t to_offset, BufferRef from, int64_t from_offset, int64_t bytes) const override { return host_copy(to, to_offset, from, from_offset, bytes); }

 private:
  DeviceInfo info_;
};

[[maybe_unused]] const bool registered = register_device("reference", []() -> std::unique_ptr<Device> { return std::make_unique<ReferenceDevice>(); });

}  // namespace
}  // namespace bascule::device
