// runtime/session.h — a loaded model: load once, run with any shapes, from any threads.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "graph/graph.h"

namespace bascule::runtime {

struct Options {
  std::string device = "cpu";
  int threads = 0;                            // 0: all that the process may use. Never changes a result
  std::string precision;                      // of products; "": the device's own. Session::options() has it
  int64_t memory_limit_bytes = 0;             // of the load, and of each run; 0: the machine's
  double time_limit_s = 0;                    // of the load, and of each run; 0: none
  Accumulate accumulate = Accumulate::exact;  // of references
  std::string dump_passes;                    // folder that takes the graph's text after each pass; "" for none
  bool optimize = true;                       // false: the graph runs as it was imported
};

struct Port {
  std::string name;
  Type type;
  bool optional = false;  // has a default in the file
};

class Session {
 public:
  static std::shared_ptr<Session> load(const std::string& path, const Options& options = {});
  static std::shared_ptr<Session> from_graph(Graph graph, const Options& options = {});
  ~Session();

  const std::vector<Port>& inputs() const;
  const std::vector<Port>& outputs() const;
  const Graph& graph() const;      // as imported
  const Graph& optimized() const;  // after the target-independent passes
  const Options& options() const;
  const std::vector<std::pair<std::string, std::string>>& facts() const;  // what the file says of itself

  // Values in the order of inputs(); an empty optional stands for a default. Results in the order of outputs().
  HostValues run(const HostValues& inputs) const;
  // By name. UsageError: a name the model has not, an input missing, a type that does not fit.
  std::map<std::string, HostValue> run(const std::map<std::string, HostValue>& inputs) const;
  // Ends the runs in progress with an error.
  void cancel() const;

  // Nodes that run elsewhere than on the device, or there by their reference, with the reason; of what has been compiled so far.
  std::vector<device::Fallback> fallbacks() const;
  // The device's programs of the model's main part, readable.
  std::string program() const;

 private:
  Session();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bascule::runtime
