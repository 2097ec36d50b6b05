// runtime/simulation.cc — threads that meet: an exchange completes when all of its group came; when every process waits or has ended, and none
// can go on, the waiting ones say so.
#include "runtime/simulation.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "base/budget.h"
#include "base/error.h"
#include "graph/evaluate.h"

namespace bascule::runtime {
namespace {

struct Hub {
  std::mutex mutex;
  std::condition_variable changed;
  size_t alive = 0;
  bool failed = false;
  std::map<size_t, std::function<bool()>> waiting;  // by process: whether it may go on
  struct Meeting {
    std::map<Process, HostValues> given;
    size_t taken = 0;
  };
  std::map<std::string, Meeting> meetings;
  std::map<int64_t, std::deque<HostValues>> channels;
  std::deque<HostValues> infeed;

  // With the lock held: until ready().
  void wait(std::unique_lock<std::mutex>& lock, size_t process, const std::function<bool()>& ready, const std::string& what) {
    waiting[process] = ready;
    while (!ready() && !failed) {
      bool stuck = waiting.size() == alive;
      for (const auto& [who, may] : waiting) stuck = stuck && !may();
      if (stuck) failed = true;
      if (stuck) changed.notify_all();
      else changed.wait(lock);
    }
    waiting.erase(process);
    if (!ready())
      fail_device(what, "the other processes to come", "all of them waiting or ended",
                  "Give every process of a group the same collective operations in the same order");
  }
  void ended(bool badly) {
    const std::lock_guard lock(mutex);
    --alive;
    failed |= badly;
    changed.notify_all();
  }
};

class View : public Collectives {
 public:
  View(Hub& hub, size_t index, Process self, int64_t replicas, int64_t partitions)
      : hub_(hub), index_(index), self_(self), replicas_(replicas), partitions_(partitions) {}
  Process self() const override { return self_; }
  int64_t replicas() const override { return replicas_; }
  int64_t partitions() const override { return partitions_; }

  std::vector<HostValues> exchange(const std::string& key, const std::vector<Process>& group, HostValues mine) override {
    std::string name = key;
    for (const Process& p : group) name += " " + std::to_string(p.replica) + "," + std::to_string(p.partition);
    name += " #" + std::to_string(turns_[name]++);
    std::unique_lock lock(hub_.mutex);
    Hub::Meeting& m = hub_.meetings[name];
    m.given[self_] = std::move(mine);
    hub_.changed.notify_all();
    hub_.wait(lock, index_, [&] { return m.given.size() == group.size(); }, key);
    std::vector<HostValues> out;
    for (const Process& p : group) out.push_back(m.given.at(p));
    if (++m.taken == group.size()) hub_.meetings.erase(name);
    return out;
  }
  void send(int64_t channel, HostValues values) override {
    const std::lock_guard lock(hub_.mutex);
    hub_.channels[channel].push_back(std::move(values));
    hub_.changed.notify_all();
  }
  HostValues receive(int64_t channel) override {
    std::unique_lock lock(hub_.mutex);
    auto& queue = hub_.channels[channel];
    hub_.wait(lock, index_, [&] { return !queue.empty(); }, "recv from channel " + std::to_string(channel));
    HostValues out = std::move(queue.front());
    queue.pop_front();
    return out;
  }
  HostValues infeed() override {
    const std::lock_guard lock(hub_.mutex);
    if (hub_.infeed.empty()) fail_device("infeed", "a queued tensor", "none", "Queue as many as the program takes");
    HostValues out = std::move(hub_.infeed.front());
    hub_.infeed.pop_front();
    return out;
  }
  void outfeed(HostValues) override {}

 private:
  Hub& hub_;
  size_t index_;
  Process self_;
  int64_t replicas_, partitions_;
  std::map<std::string, int64_t> turns_;  // how often each meeting was held: loops meet again
};

}  // namespace

std::vector<HostValues> simulate(const std::vector<SimulatedProcess>& processes, std::vector<HostValues> infeed, Accumulate accumulate) {
  constexpr size_t kMostProcesses = 256;
  if (processes.size() > kMostProcesses) fail_capacity("simulation", "at most 256 processes", std::to_string(processes.size()), "Simulate fewer");
  int64_t replicas = 0, partitions = 0;
  for (const SimulatedProcess& p : processes) {
    replicas = std::max(replicas, p.id.replica + 1);
    partitions = std::max(partitions, p.id.partition + 1);
  }
  Hub hub;
  hub.alive = processes.size();
  hub.infeed.assign(infeed.begin(), infeed.end());
  std::vector<HostValues> results(processes.size());
  std::vector<std::exception_ptr> errors(processes.size());
  const auto budget = current_budget();
  std::vector<std::thread> threads;
  for (size_t i = 0; i < processes.size(); ++i)
    threads.emplace_back([&, i] {
      const BudgetScope scope(budget);
      try {
        View view(hub, i, processes[i].id, replicas, partitions);
        CollectiveContext context(view);
        context.accumulate = accumulate;
        results[i] = evaluate(*processes[i].program, processes[i].inputs, context);
      } catch (...) {
        errors[i] = std::current_exception();
      }
      hub.ended(errors[i] != nullptr);
    });
  for (std::thread& t : threads) t.join();
  // The first cause: others may only have waited for it.
  std::exception_ptr first;
  for (const std::exception_ptr& e : errors) {
    if (!e) continue;
    if (!first) first = e;
    try {
      std::rethrow_exception(e);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::device) {
        first = e;
        break;
      }
    } catch (...) {
    }
  }
  if (first) std::rethrow_exception(first);
  return results;
}

}  // namespace bascule::runtime
