// base/budget.h — limits on memory and time for untrusted work. Long loops call check_budget(); tensors charge their bytes.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

namespace bascule {

// One budget is shared by all threads that work for one request or load.
struct Budget {
  int64_t limit_bytes = INT64_MAX;
  std::atomic<int64_t> used_bytes{0};
  std::atomic<int64_t> peak_bytes{0};
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::atomic<bool> cancelled{false};
};

// The budget of this thread; a process-wide one (limit: the cgroup's or the machine's memory) until a scope sets another.
const std::shared_ptr<Budget>& current_budget();
int64_t machine_memory_bytes();  // the smaller of the cgroup limit and physical memory

class BudgetScope {  // makes `b` this thread's budget until the scope ends
 public:
  explicit BudgetScope(std::shared_ptr<Budget> b);
  ~BudgetScope();
  BudgetScope(const BudgetScope&) = delete;
  BudgetScope& operator=(const BudgetScope&) = delete;

 private:
  std::shared_ptr<Budget> before_;
};

// Bytes held against the thread's budget from charge() until destruction, on any thread.
class MemoryCharge {
 public:
  MemoryCharge() = default;
  MemoryCharge(int64_t bytes, const char* what);  // throws CapacityError over the limit, also for bytes < 0 (a size that overflowed)
  ~MemoryCharge();
  MemoryCharge(const MemoryCharge&) = delete;
  MemoryCharge& operator=(const MemoryCharge&) = delete;
  MemoryCharge(MemoryCharge&& other) noexcept;
  MemoryCharge& operator=(MemoryCharge&& other) noexcept;

 private:
  std::shared_ptr<Budget> budget_;
  int64_t bytes_ = 0;
};

// Throws CapacityError when `bytes` more would pass the limit (also for bytes < 0, a size that overflowed). Does not keep a charge.
void check_room(int64_t bytes, const char* what);
// Throws CapacityError when the deadline has passed or the run was cancelled. Cheap: reads the clock every 1,024th call of a thread.
void check_budget();

}  // namespace bascule
