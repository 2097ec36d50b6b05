// base/threads.h — one pool of threads per process, as many as the affinity mask and the cgroup's quota allow.
#pragma once
#include <cstdint>
#include <functional>

namespace bascule {

int machine_threads();  // processors this process may use, at least 1

// While it lives, parallel_for of this thread uses at most `threads` threads (0: all of machine_threads()).
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};
int thread_limit();  // of this thread, 1 inside a parallel_for

// f(i) for 0 <= i < count, on the calling thread and free ones of the pool, in any order; every i runs under the caller's budget. Returns when
// all ended; rethrows the first error (the remaining i are then skipped). Which thread runs which i never shows in a result: callers split work
// by size alone, never by thread count. A nested call runs on the calling thread.
void parallel_for(int64_t count, const std::function<void(int64_t)>& f);

}  // namespace bascule
