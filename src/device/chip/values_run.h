// device/chip/values_run.h — a checked program ready to run many times: its weights are converted once. Used by device.cc; execute() is the plain way.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "device/chip/map_ranks.h"
#include "device/chip/values.h"

namespace bascule::device::chip {

class Memories;

// One run at a time. Chip and program (and graph, if given by reference) must outlive it, and check() must have found nothing.
class Runner {
 public:
  Runner(const Chip& chip, const Program& program, const Graph& graph);
  // All ranks of a request on `whole`, the graph that map_ranks() was given: in step with each other, each on its own memories and its own part of the
  // weights, inputs and outputs.
  Runner(const Chip& chip, const Mapped& mapped, std::shared_ptr<const Graph> whole);
  ~Runner();
  std::vector<Tensor> run(std::span<const Tensor> inputs);

 private:
  const Chip& chip_;
  const Program& program_;
  passes::Shards plan_;
  std::shared_ptr<const Graph> whole_;
  std::vector<std::shared_ptr<const Graph>> graphs_;  // of ranks
  std::vector<std::unique_ptr<Memories>> memories_;
};

// As execute() of a program of one rank.
std::vector<Tensor> execute(const Chip& chip, const Mapped& mapped, const std::shared_ptr<const Graph>& whole, const std::vector<Tensor>& inputs);

// DeviceError with all that check() finds.
void require_valid(const Chip& chip, const Program& program);

}  // namespace bascule::device::chip
