// runtime/plan.h — a graph cut into device subgraphs, host nodes and control nodes, in an order that respects data and data-dependent symbols.
#pragma once
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device/device.h"
#include "graph/graph.h"

namespace bascule::runtime {

class PlanCache;

// One run of a session: what all its plans share.
struct Run {
  PlanCache& plans;
  std::shared_ptr<Budget> budget;
  int threads = 0;
  std::mutex mutex;
  std::vector<device::Fallback> fallbacks;
};

// Immutable once made.
class Plan {
 public:
  Plan(std::shared_ptr<const Graph> graph, const device::Device& device, const device::Options& options);
  // Values for the graph's inputs; symbols of enclosing graphs.
  HostValues run(Run& run, const HostValues& args, Bindings symbols) const;
  std::vector<device::Fallback> fallbacks() const;
  std::string text() const;

 private:
  struct Step {
    int32_t node = -1;  // a host or control node, or -1:
    std::unique_ptr<device::Executable> executable;
    std::vector<Value> in, out;
    std::string reason;  // why a host node is none of the device's; "" for host and control operators
  };
  void run_node(const Node& n, Run& run, HostValues& values, Bindings& symbols) const;

  std::shared_ptr<const Graph> graph_;
  const device::Device& device_;
  device::Options options_;
  std::vector<Step> steps_;
  std::vector<std::vector<Value>> drop_;  // after each step: values not used again
};

// Plans of regions and of specialised parts, made when first needed, least recently used first out.
class PlanCache {
 public:
  PlanCache(const device::Device& device, device::Options options, bool optimize) : device_(device), options_(std::move(options)), optimize_(optimize) {}
  std::shared_ptr<const Plan> region(const std::shared_ptr<const Graph>& g);
  std::shared_ptr<const Plan> specialized(const std::shared_ptr<const Specialization>& s, const HostValues& args);
  std::vector<device::Fallback> fallbacks() const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const void> owner;  // keeps the address in the key unique
    std::shared_ptr<const Plan> plan;
  };
  std::shared_ptr<const Plan> find(const std::string& key);
  std::shared_ptr<const Plan> add(std::string key, std::shared_ptr<const void> owner, Graph g);

  const device::Device& device_;
  device::Options options_;
  bool optimize_;
  mutable std::mutex mutex_;
  std::list<Entry> order_;  // most recent first
  std::map<std::string, std::list<Entry>::iterator> index_;
};

}  // namespace bascule::runtime
