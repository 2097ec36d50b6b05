// runtime/per_shape.cc — see per_shape.h.
#include "runtime/per_shape.h"

#include <list>

#include "base/error.h"
#include "passes/bind.h"

namespace bascule::runtime {
namespace {

constexpr size_t kMostShapes = 16;

class PerShape : public device::Executable {
 public:
  PerShape(const device::Device& device, Graph graph, const device::Options& options)
      : device_(device), graph_(std::move(graph)), options_(options), symbols_(graph_.symbols()) {}

  device::Event run(device::Context& context, const Bindings& symbols, std::span<const device::Array> in, std::span<device::Array> out) const override {
    return compiled(symbols)->run(context, {}, in, out);
  }
  std::string text() const override {
    const std::lock_guard lock(mutex_);
    std::string t;
    for (const Entry& e : order_) {
      t += "// compiled for";
      for (const auto& [name, size] : e.sizes) t += " " + name + "=" + std::to_string(size);
      t += "\n" + e.executable->text();
    }
    return order_.empty() ? "// compiled when the sizes are known\n" : t;
  }
  std::vector<device::Fallback> fallbacks() const override {
    const std::lock_guard lock(mutex_);
    return order_.empty() ? std::vector<device::Fallback>{} : order_.front().executable->fallbacks();
  }

 private:
  struct Entry {
    Bindings sizes;
    std::shared_ptr<const device::Executable> executable;
  };

  // Compiling holds the lock: two runs of one new shape compile it once.
  std::shared_ptr<const device::Executable> compiled(const Bindings& all) const {
    Bindings sizes;
    for (const std::string& s : symbols_) {
      const auto at = all.find(s);
      if (at == all.end()) fail_internal(device_.info().name + " program of " + graph_.name, "a size for the symbol " + s, "none");
      sizes.emplace(s, at->second);
    }
    const std::lock_guard lock(mutex_);
    for (auto at = order_.begin(); at != order_.end(); ++at)
      if (at->sizes == sizes) {
        order_.splice(order_.begin(), order_, at);
        return order_.front().executable;
      }
    std::shared_ptr<const device::Executable> made = device_.compile(passes::bind(graph_, sizes), options_);
    order_.push_front({std::move(sizes), made});
    if (order_.size() > kMostShapes) order_.pop_back();
    return made;
  }

  const device::Device& device_;
  Graph graph_;
  device::Options options_;
  std::set<std::string> symbols_;
  mutable std::mutex mutex_;
  mutable std::list<Entry> order_;  // most recent first
};

}  // namespace

std::unique_ptr<device::Executable> compile_per_shape(const device::Device& device, Graph graph, const device::Options& options) {
  return std::make_unique<PerShape>(device, std::move(graph), options);
}

}  // namespace bascule::runtime
