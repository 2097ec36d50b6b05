// device/chip/cost.h — prices a program's instructions; tables of a chip prepared once. The rules stand in timing.h.
#pragma once
#include <array>
#include <vector>

#include "device/chip/timing.h"

namespace bascule::device::chip {

class CostModel {
 public:
  // schedule_factor 0: the chip's. Both outlive the model.
  CostModel(const Chip& chip, const Program& program, double schedule_factor);
  Cost operator()(const Instruction& i) const;

  double main_bytes_per_s() const { return main_bytes_per_s_; }  // of one stack, as far as one rank has it; tile level: of the rank's stacks
  int64_t cores_of_stack() const { return cores_of_stack_; }     // 0: all cores share one
  int64_t banks() const { return banks_; }
  int64_t bank_bytes() const { return bank_bytes_; }  // of one partition of the accumulator
  Role memory(const Access& a) const { return program_.buffers[static_cast<size_t>(a.buffer)].memory; }

 private:
  struct Transfer {
    double bytes = 0;  // as the DMA engines count them
    int64_t rows = 0;  // of a partitioned memory; 0: of none
  };
  DType type(const Access& a) const { return program_.buffers[static_cast<size_t>(a.buffer)].dtype; }
  bool partitioned(const Access& a) const;
  double bytes(const Access& a) const;
  double lane_elements(const Access& a, int64_t lanes) const;
  bool strided(const Access& a) const;
  Transfer transfer(const Access& a) const;
  double passes(const Instruction& i) const;
  double port_cycles(const Instruction& i) const;
  Cost matrix(const Instruction& i) const;
  Cost engine(const Instruction& i, int32_t index) const;
  Cost dma(const Instruction& i) const;
  Cost collective(const Instruction& i) const;
  Cost host(const Instruction& i) const;
  Cost tiles(const Instruction& i, const Queue& q) const;
  [[noreturn]] void refuse(const Instruction& i, const std::string& expected, const std::string& found) const;

  const Chip& chip_;
  const Program& program_;
  double factor_ = 1;
  bool partitioned_scratchpad_ = false, partitioned_accumulator_ = false;
  int64_t partitions_ = 1;
  double main_bytes_per_s_ = 0;
  int64_t cores_of_stack_ = 0;
  int64_t banks_ = 1, bank_bytes_ = 0;
  double scratchpad_bytes_per_cycle_ = 0, accumulator_bytes_per_cycle_ = 0;  // 0: never limit
  double main_latency_ns_ = 0;
  double cache_bytes_per_ns_ = 0;  // of one core; 0: none
  std::array<double, 64> passes_{};  // by element type; 0: the matrix engine does not take it
  std::vector<std::array<std::array<std::optional<ClassRate>, 6>, kWorkClasses>> rates_;  // [engine][class][accumulator * 3 + width]
};

}  // namespace bascule::device::chip
