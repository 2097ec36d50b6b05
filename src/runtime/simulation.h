// runtime/simulation.h — several processes of one program in this process, one thread each, with collectives between them: for tests of
// distributed programs. Runs references.
#pragma once
#include <memory>
#include <vector>

#include "graph/collectives.h"

namespace bascule::runtime {

struct SimulatedProcess {
  Process id;
  std::shared_ptr<const Graph> program;
  HostValues inputs;
};

// Results of all processes, in order. Every replica has as many partitions. The first process' error is thrown; processes that all wait
// for others end in a DeviceError. infeed: what each infeed takes, in turn.
std::vector<HostValues> simulate(const std::vector<SimulatedProcess>& processes, std::vector<HostValues> infeed, Accumulate accumulate);

}  // namespace bascule::runtime
