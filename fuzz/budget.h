// fuzz/budget.h — what one input of a fuzz target may take.
#pragma once
#include <chrono>
#include <memory>

#include "base/budget.h"

namespace bascule {

// 256 MiB and two seconds from now.
inline std::shared_ptr<Budget> fuzz_budget() {
  auto budget = std::make_shared<Budget>();
  budget->limit_bytes = int64_t{256} << 20;
  budget->deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  return budget;
}

}  // namespace bascule
