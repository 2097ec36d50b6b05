// device/chip/values_order.cc — see values_order.h. Vector clocks: an instruction knows what its queue knew, and what those it waits for knew.
#include "device/chip/values_order.h"

#include <algorithm>

namespace bascule::device::chip {

Order::Order(const Program& p) : queues_(p.queues.size()) {
  constexpr size_t kMostClocks = size_t{1} << 25;
  size_t rows = queues_;
  for (const Instruction& i : p.code) rows += i.wait_count > 0;
  if (rows * queues_ > kMostClocks) {
    known_ = false;
    return;
  }
  clocks_.reserve(rows * queues_);
  clocks_.assign(queues_ * queues_, 0);  // what each queue knows at first
  std::vector<size_t> now(queues_);
  for (size_t q = 0; q < queues_; ++q) now[q] = q;
  std::vector<std::vector<size_t>> issued(queues_);  // the clock row of each instruction of a queue
  for (const Instruction& i : p.code) {
    const auto q = static_cast<size_t>(i.queue);
    if (i.wait_count > 0) {
      const size_t row = clocks_.size() / queues_;
      clocks_.resize(clocks_.size() + queues_);
      std::copy_n(clocks_.begin() + static_cast<std::ptrdiff_t>(now[q] * queues_), queues_, clocks_.begin() + static_cast<std::ptrdiff_t>(row * queues_));
      for (int32_t k = i.wait_first; k < i.wait_first + i.wait_count; ++k) {
        const Wait& w = p.waits[static_cast<size_t>(k)];
        if (w.count <= 0) continue;
        const auto other = static_cast<size_t>(w.queue);
        const size_t theirs = issued[other][static_cast<size_t>(w.count - 1)];
        for (size_t c = 0; c < queues_; ++c) clocks_[row * queues_ + c] = std::max(clocks_[row * queues_ + c], clocks_[theirs * queues_ + c]);
        clocks_[row * queues_ + other] = std::max(clocks_[row * queues_ + other], w.count);
      }
      now[q] = row;
    }
    queue_.push_back(i.queue);
    clock_.push_back(now[q]);
    issued[q].push_back(now[q]);
    count_.push_back(static_cast<int32_t>(issued[q].size()));
  }
}

}  // namespace bascule::device::chip
