// device/cpu/cpu.cc — the embedded device: passes and regions once for a graph, a bound plan for each set of sizes (least recently used first
// out), steps in order on the process's threads.
#include <algorithm>
#include <list>
#include <map>

#include "base/deadline.h"
#include "base/error.h"
#include "base/threads.h"
#include "device/cpu/binder.h"
#include "kernels/table.h"
#include "passes/bind.h"
#include "passes/pipeline.h"

namespace bascule::device {
namespace {

using cpu::Binder;
using cpu::Bound;
using cpu::Frame;
using cpu::Storage;

constexpr size_t kMostBound = 16;

class CpuExecutable : public Executable {
 public:
  CpuExecutable(Graph graph, const Options& options) : graph_(std::move(graph)), options_(options) {
    passes::run_pipeline("device", graph_, {.dump_folder = options.dump_passes, .keeps = cpu::takes});
    regions_ = passes::fuse(graph_);
    if (!options.fuse) {
      std::vector<passes::Region> single;
      for (const auto& r : regions_)
        for (const int32_t i : r.nodes) single.push_back({{i}});
      std::sort(single.begin(), single.end(), [](const auto& a, const auto& b) { return a.nodes[0] < b.nodes[0]; });
      regions_ = std::move(single);
    }
    symbols_ = graph_.symbols();
    if (symbols_.empty()) bound({});
  }

  Event run(Context& context, const Bindings& symbols, std::span<const Array> in, std::span<Array> out) const override {
    const BudgetScope scope(context.budget ? context.budget : current_budget());
    const ThreadLimit limit(context.threads > 0 ? context.threads : thread_limit());
    const auto plan = bound(symbols);
    Frame f;
    f.context = &context;
    f.base.resize(plan->storages.size(), nullptr);
    const MemoryCharge charge(plan->arena_bytes, "working memory of a run");
    const Workspace workspace(*this, plan->arena_bytes);
    for (size_t i = 0; i < out.size(); ++i) {
      const Type& t = plan->output_types[i];
      const auto dims = *constants(t.dims);
      const int64_t bytes = storage_bytes(t.dtype, element_count(dims));
      if (!out[i].buffer) out[i] = {t.dtype, dims, host_allocate(bytes), 0};
      else if (out[i].buffer->bytes() - out[i].offset_bytes < bytes)
        fail_usage("result " + std::to_string(i), std::to_string(bytes) + " bytes of room", std::to_string(out[i].buffer->bytes() - out[i].offset_bytes), "Give a larger buffer");
      out[i].dtype = t.dtype;
      out[i].dims = dims;
      f.base[static_cast<size_t>(plan->output_storage[i])] = out[i].buffer->host() + out[i].offset_bytes;
    }
    for (size_t i = 0; i < plan->storages.size(); ++i) {
      const Storage& s = plan->storages[i];
      if (s.kind == Storage::input) f.base[i] = in[static_cast<size_t>(s.index)].buffer->host() + in[static_cast<size_t>(s.index)].offset_bytes;
      else if (s.kind == Storage::constant) f.base[i] = const_cast<std::byte*>(s.data);
      else if (s.kind == Storage::arena) f.base[i] = workspace.data() + s.offset;
    }
    for (const cpu::Step& s : plan->steps) {
      check_deadline();
      s.run(f);
    }
    return {};
  }

  std::string text() const override {
    std::string t = "// " + std::to_string(regions_.size()) + " regions of " + std::to_string(graph_.nodes.size()) + " nodes, " + kernels::table().isa + "\n";
    bool none = false;
    {
      const std::lock_guard lock(mutex_);
      none = order_.empty();
    }
    if (none) {  // nothing ran yet: show the plan of sizes 1
      Bindings ones;
      for (const std::string& s : symbols_) ones.emplace(s, 1);
      try {
        bound(ones);
      } catch (const Error& e) {
        t += std::string("// no plan with every size 1: ") + e.what() + "\n";
      }
    }
    const std::lock_guard lock(mutex_);
    for (const Entry& e : order_) {
      t += "bound";
      for (const auto& [name, value] : e.symbols) t += " " + name + "=" + std::to_string(value);
      t += ": " + std::to_string(e.plan->arena_bytes) + " bytes of working memory\n" + e.plan->text;
    }
    return t;
  }

  std::vector<Fallback> fallbacks() const override {
    const std::lock_guard lock(mutex_);
    std::vector<Fallback> out;
    if (!order_.empty()) out = order_.front().plan->fallbacks;
    return out;
  }

 private:
  struct Entry {
    Bindings symbols;
    std::shared_ptr<const Bound> plan;
  };

  // Working memory kept from run to run, so that its pages are not asked from the system each time.
  class Workspace {
   public:
    Workspace(const CpuExecutable& e, int64_t bytes) : e_(e) {
      {
        const std::lock_guard lock(e_.mutex_);
        for (auto at = e_.idle_.begin(); at != e_.idle_.end(); ++at)
          if ((*at)->bytes() >= bytes) {
            buffer_ = std::move(*at);
            e_.idle_.erase(at);
            return;
          }
      }
      buffer_ = uncharged(bytes);
    }
    ~Workspace() {
      const std::lock_guard lock(e_.mutex_);
      constexpr size_t kMostIdle = 4;
      if (e_.idle_.size() >= kMostIdle) e_.idle_.erase(std::min_element(e_.idle_.begin(), e_.idle_.end(), [](const auto& a, const auto& b) { return a->bytes() < b->bytes(); }));
      e_.idle_.push_back(std::move(buffer_));
    }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    std::byte* data() const { return buffer_->host(); }

   private:
    // Kept beyond the run, so not held against the run's budget: each run charges the bytes it uses.
    static BufferRef uncharged(int64_t bytes) {
      const BudgetScope scope(std::make_shared<Budget>());
      return host_allocate(bytes);
    }
    const CpuExecutable& e_;
    BufferRef buffer_;
  };

  std::shared_ptr<const Bound> bound(const Bindings& all) const {
    Bindings mine;
    for (const std::string& s : symbols_) {
      const auto at = all.find(s);
      if (at == all.end()) fail_internal("cpu plan of " + graph_.name, "a size for the symbol " + s, "none");
      mine.emplace(s, at->second);
    }
    const std::lock_guard lock(mutex_);
    for (auto at = order_.begin(); at != order_.end(); ++at)
      if (at->symbols == mine) {
        order_.splice(order_.begin(), order_, at);
        return order_.front().plan;
      }
    std::shared_ptr<const Bound> plan;
    if (mine.empty()) {
      plan = Binder(graph_, regions_, options_.accumulate).bind();
    } else {
      const Graph concrete = passes::bind(graph_, mine);
      plan = Binder(concrete, regions_, options_.accumulate).bind();
    }
    order_.push_front({std::move(mine), plan});
    if (order_.size() > kMostBound) order_.pop_back();
    return plan;
  }

  Graph graph_;
  Options options_;
  std::vector<passes::Region> regions_;
  std::set<std::string> symbols_;
  mutable std::mutex mutex_;
  mutable std::list<Entry> order_;  // most recent first
  mutable std::vector<BufferRef> idle_;
};

class CpuDevice : public Device {
 public:
  CpuDevice() {
    info_.name = "cpu";
    info_.description = std::string("this machine's processor, ") + kernels::table().isa + ", " + std::to_string(machine_threads()) + " threads";
    info_.memory_bytes = machine_memory_bytes();
    info_.cores = machine_threads();
  }
  const DeviceInfo& info() const override { return info_; }
  Support supports(const Graph&, const Node& node) const override {
    if (!node.op->reference && !node.op->decompose) return Support::no("'" + std::string(node.op->name) + "' has no kernel, reference or decomposition");
    return {};
  }
  std::unique_ptr<Executable> compile(Graph graph, const Options& options) const override {
    if (options.accumulate == Accumulate::element)
      fail_unsupported("device 'cpu'", "exact accumulation", "rounding after each step", "Use --device reference");
    return std::make_unique<CpuExecutable>(std::move(graph), options);
  }
  BufferRef allocate(int64_t bytes) const override { return host_allocate(bytes); }
  BufferRef wrap(std::span<const std::byte> host, std::shared_ptr<const void> owner) const override { return host_wrap(host, std::move(owner)); }
  Event copy(BufferRef to, int64_t to_offset, BufferRef from, int64_t from_offset, int64_t bytes) const override { return host_copy(to, to_offset, from, from_offset, bytes); }

 private:
  DeviceInfo info_;
};

[[maybe_unused]] const bool registered = register_device("cpu", []() -> std::unique_ptr<Device> { return std::make_unique<CpuDevice>(); });

}  // namespace
}  // namespace bascule::device
