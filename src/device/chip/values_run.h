// device/chip/values_run.h — a checked program ready to run many times: its weights are converted once. Used by device.cc; execute() is the plain way.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "device/chip/values.h"

namespace bascule::device::chip {

class Memories;

// One run at a time. Chip, program and graph must outlive it, and check() must have found nothing.
class Runner {
 public:
  Runner(const Chip& chip, const Program& program, const Graph& graph);
  ~Runner();
  std::vector<Tensor> run(std::span<const Tensor> inputs);

 private:
  const Chip& chip_;
  const Program& program_;
  const Graph& graph_;
  std::unique_ptr<Memories> memories_;
};

// DeviceError with all that check() finds.
void require_valid(const Chip& chip, const Program& program);

}  // namespace bascule::device::chip
