// graph/collectives.h — what collective operators ask of whoever runs several processes of one program: who am I, and an exchange of values.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "graph/op_def.h"

namespace bascule {

struct Process {
  int64_t replica = 0, partition = 0;
  friend auto operator<=>(const Process&, const Process&) = default;
};

// One process' view. Every call may wait for others; DeviceError when they cannot come (all wait, or one failed).
class Collectives {
 public:
  virtual ~Collectives() = default;
  virtual Process self() const = 0;
  virtual int64_t replicas() const = 0;
  virtual int64_t partitions() const = 0;
  // All processes of `group` call this with equal `key` and group; each gets what each gave, in the group's order.
  virtual std::vector<HostValues> exchange(const std::string& key, const std::vector<Process>& group, HostValues mine) = 0;
  virtual void send(int64_t channel, HostValues values) = 0;
  virtual HostValues receive(int64_t channel) = 0;
  virtual HostValues infeed() = 0;
  virtual void outfeed(HostValues values) = 0;
};

// A context with other processes beside it. In any other context an operator runs as the only process.
class CollectiveContext : public EvalContext {
 public:
  explicit CollectiveContext(Collectives& c) : collectives(&c) {}
  Collectives* collectives;
};

}  // namespace bascule
