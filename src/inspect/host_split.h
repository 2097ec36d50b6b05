// inspect/host_split.h — the parts of a model that a modelled chip leaves to the host: which, why, and what each costs in one run.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "device/chip/step.h"
#include "graph/graph.h"

namespace bascule::inspect {

struct HostPart {
  std::string operators;  // "sort", "dot_general + add"
  Origin origin;
  std::string reason;
  // Operands that the chip makes and results that it reads, over the host link; what the host holds already costs nothing. nullopt: sizes that only a
  // run decides.
  std::optional<double> transfer_bytes;
  std::optional<double> transfer_ns;  // nullopt: as above, or the chip's file gives no rate
  double request_ns = 0;              // the chip is asked once more after it
  std::optional<double> host_ns;      // estimated: timing.h's assumed host
};

// A model split once, asked for many chips.
class HostSplit {
 public:
  // `optimized`: after the target-independent passes. Symbols of inputs without a binding count as 1.
  HostSplit(const Graph& optimized, Bindings symbols);
  std::vector<HostPart> parts(const device::chip::Chip& chip) const;
  size_t size() const { return pieces_.size(); }  // steps, or operators where control flow or data decide sizes

 private:
  struct Piece {
    std::vector<int32_t> nodes;
    const device::chip::Step* step = nullptr;  // nullptr: one node, asked by itself
    std::string inside;                        // "while": of a region of control flow
    std::shared_ptr<const Graph> graph;
  };
  void split_nodes(const std::shared_ptr<const Graph>& graph, const std::string& inside);

  std::vector<device::chip::Step> steps_;
  std::vector<Piece> pieces_;
};

}  // namespace bascule::inspect
