// base/budget.cc — the thread's budget, and the machine's limit it starts from.
#include "base/budget.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "base/error.h"

namespace bascule {
namespace {

int64_t cgroup_limit_bytes() {
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    std::string word;
    if (file >> word && word != "max" && word.size() < 19) return std::stoll(word);
  }
  return INT64_MAX;
}

const std::shared_ptr<Budget>& process_budget() {
  static const auto budget = [] {
    auto b = std::make_shared<Budget>();
    b->limit_bytes = machine_memory_bytes();
    return b;
  }();
  return budget;
}

thread_local std::shared_ptr<Budget> current;

}  // namespace

int64_t machine_memory_bytes() {
  const int64_t physical = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  return std::min(physical, cgroup_limit_bytes());
}

const std::shared_ptr<Budget>& current_budget() { return current ? current : process_budget(); }

BudgetScope::BudgetScope(std::shared_ptr<Budget> b) : before_(std::exchange(current, std::move(b))) {}
BudgetScope::~BudgetScope() { current = std::move(before_); }

MemoryCharge::MemoryCharge(int64_t bytes, const char* what) : budget_(current_budget()), bytes_(bytes) {
  check_room(bytes, what);
  const int64_t now = budget_->used_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t peak = budget_->peak_bytes.load(std::memory_order_relaxed);
  while (now > peak && !budget_->peak_bytes.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}
MemoryCharge::~MemoryCharge() {
  if (budget_) budget_->used_bytes.fetch_sub(bytes_, std::memory_order_relaxed);
}
MemoryCharge::MemoryCharge(MemoryCharge&& other) noexcept : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
MemoryCharge& MemoryCharge::operator=(MemoryCharge&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void check_room(int64_t bytes, const char* what) {
  const Budget& b = *current_budget();
  const int64_t used = b.used_bytes.load(std::memory_order_relaxed);
  if (bytes >= 0 && bytes <= b.limit_bytes - used) return;
  fail_capacity(what, "at most " + std::to_string(b.limit_bytes) + " bytes in all (" + std::to_string(used) + " in use)",
                bytes < 0 ? "a size over 2^63" : std::to_string(bytes) + " bytes more", "Use smaller inputs, or raise --memory-limit");
}

void check_budget() {
  thread_local uint32_t calls = 0;
  if ((++calls & 1023u) != 0) return;
  const Budget& b = *current_budget();
  if (b.cancelled.load(std::memory_order_relaxed)) fail_capacity("run", "to finish", "a cancellation", "Run again");
  if (b.deadline != std::chrono::steady_clock::time_point::max() && std::chrono::steady_clock::now() > b.deadline)
    fail_capacity("run", "to finish within the time limit", "more work left at its end", "Raise --time-limit, or use smaller inputs");
}

}  // namespace bascule
