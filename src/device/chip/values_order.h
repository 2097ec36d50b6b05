// device/chip/values_order.h — which instruction surely ends before which starts: in its own queue, or through waits, however far around.
#pragma once
#include <cstdint>
#include <vector>

#include "device/chip/program.h"

namespace bascule::device::chip {

class Order {
 public:
  // `program` has passed check(). known() is false for a program too large to keep clocks for: before() then always says yes.
  explicit Order(const Program& program);
  bool known() const { return known_; }
  bool before(int64_t earlier, int64_t later) const {
    const auto e = static_cast<size_t>(earlier), l = static_cast<size_t>(later);
    return !known_ || queue_[e] == queue_[l] || clocks_[clock_[l] * queues_ + static_cast<size_t>(queue_[e])] >= count_[e];
  }

 private:
  bool known_ = true;
  size_t queues_ = 0;
  std::vector<int32_t> queue_, count_;  // of each instruction: its queue, and which of that queue it is, from 1
  std::vector<size_t> clock_;           // of each instruction: its row of clocks_
  std::vector<int32_t> clocks_;         // rows of one count a queue: so many of its instructions have ended
};

}  // namespace bascule::device::chip
