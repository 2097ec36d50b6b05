// base/deadline.cc — see deadline.h.
#include "base/deadline.h"

#include "base/budget.h"
#include "base/error.h"

namespace bascule {

void check_deadline() {
  const Budget& b = *current_budget();
  if (b.cancelled.load(std::memory_order_relaxed)) fail_capacity("run", "to finish", "a cancellation", "Run again");
  if (b.deadline != std::chrono::steady_clock::time_point::max() && std::chrono::steady_clock::now() > b.deadline)
    fail_capacity("run", "to finish within the time limit", "more work left at its end", "Raise --time-limit, or use smaller inputs");
}

}  // namespace bascule
