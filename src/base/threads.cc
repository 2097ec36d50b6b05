// base/threads.cc — the pool. Work is claimed index by index; a caller always works on its own job, so that no job waits for a free thread.
#include "base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/budget.h"

namespace bascule {
namespace {

// Processors granted by the cgroup's quota, rounded up; 0 when there is none.
int quota_threads() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period && quota != "max" && period > 0) return std::max(1, static_cast<int>(std::stod(quota) / period + 0.999));
  std::ifstream v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double micros = 0;
  if (v1 >> micros && v1_period >> period && micros > 0 && period > 0) return std::max(1, static_cast<int>(micros / period + 0.999));
  return 0;
}

thread_local int limit = 0;
thread_local bool inside = false;

struct Job {
  const std::function<void(int64_t)>* f;
  int64_t count;
  std::shared_ptr<Budget> budget;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::condition_variable done;
  int64_t finished = 0;
  std::exception_ptr error;
  int helpers = 0;  // guarded by the pool's mutex

  void work() {
    const bool before = std::exchange(inside, true);
    int64_t ran = 0;
    {
      const BudgetScope scope(budget);
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count; ++ran) {
        if (failed.load(std::memory_order_relaxed)) continue;
        try {
          (*f)(i);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!error) error = std::current_exception();
          failed = true;
        }
      }
    }
    inside = before;
    if (ran == 0) return;
    const std::lock_guard lock(mutex);
    finished += ran;
    if (finished == count) done.notify_all();
  }
};

class Pool {
 public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { loop(); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& t : threads_) t.join();
  }
  void offer(const std::shared_ptr<Job>& job, int helpers) {
    {
      const std::lock_guard lock(mutex_);
      job->helpers = helpers;
      jobs_.push_back(job);
    }
    helpers > 1 ? wake_.notify_all() : wake_.notify_one();
  }
  void withdraw(const std::shared_ptr<Job>& job) {
    const std::lock_guard lock(mutex_);
    std::erase(jobs_, job);
  }

 private:
  void loop() {
    for (;;) {
      std::shared_ptr<Job> job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
        if (stop_) return;
        job = jobs_.front();
        if (--job->helpers <= 0) jobs_.pop_front();
      }
      job->work();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> jobs_;
  std::vector<std::thread> threads_;
  bool stop_ = false;
};

Pool& pool() {
  static Pool p(machine_threads() - 1);
  return p;
}

}  // namespace

int machine_threads() {
  static const int n = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    int by_mask = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency());
    const int quota = quota_threads();
    if (quota > 0) by_mask = std::min(by_mask, quota);
    return std::max(1, by_mask);
  }();
  return n;
}

ThreadLimit::ThreadLimit(int threads) : before_(std::exchange(limit, threads)) {}
ThreadLimit::~ThreadLimit() { limit = before_; }
int thread_limit() { return inside ? 1 : limit > 0 ? std::min(limit, machine_threads()) : machine_threads(); }

void parallel_for(int64_t count, const std::function<void(int64_t)>& f) {
  const int threads = static_cast<int>(std::min<int64_t>(thread_limit(), count));
  if (threads <= 1) {
    for (int64_t i = 0; i < count; ++i) f(i);
    return;
  }
  const auto job = std::make_shared<Job>();
  job->f = &f;
  job->count = count;
  job->budget = current_budget();
  pool().offer(job, threads - 1);
  job->work();
  pool().withdraw(job);
  std::unique_lock lock(job->mutex);
  job->done.wait(lock, [&] { return job->finished == job->count; });
  if (job->error) std::rethrow_exception(job->error);
}

}  // namespace bascule
