// device/chip/step_maker.h — how make_steps works, for its own files: layouts through views, what each node can be, the elementwise work it takes
// along.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "device/chip/step.h"

namespace bascule::device::chip {

using Extents = std::vector<int64_t>;

// ---- layouts (step_view.cc)
// The same elements under other extents; nullopt where that is no affine layout.
std::optional<Layout> reshaped(const Layout& layout, const Extents& from, const Extents& to);
Layout permuted(const Layout& layout, const Ints& permutation);
Extents permuted(const Extents& extents, const Ints& permutation);
Ints inverse(const Ints& permutation);
bool is_dense(const Layout& layout, const Extents& extents);
// Drops axes of extent 1 and merges neighbours that every list of strides runs through as one axis.
void merge_axes(Extents& extents, const std::vector<std::vector<int64_t>*>& strides);

// One view between values of as many elements: a transpose by `permutation`, or, without one, a reshape.
struct Hop {
  Extents from, to;
  Ints permutation;
};
using Path = std::vector<Hop>;
std::optional<Hop> as_hop(const Graph& g, const Node& n);
// A layout over the extents at the end of the path, over those at its start.
std::optional<Layout> back(Layout layout, const Path& path);
// The layout at the end of the path, from one at its start.
std::optional<Layout> along(Layout layout, const Path& path);

// A gather whose indices are known and run evenly through the operand (positions, masks cut from a range) is a view: for each axis of the operand,
// its index as start + sum_a result_index[a] * step[a].
struct EvenIndex {
  int64_t start = 0;
  Extents step;  // of each axis of the result
};
std::optional<std::vector<EvenIndex>> even_gather(const Graph& g, const Node& n);

// ---- nodes (step_kind.cc)
// What a node becomes. view: renames elements only; weight: nothing to run.
enum class NodeKind : uint8_t { weight, view, elementwise, fold, contraction, convolution, rows, attention, window, gather, scatter, scan, move, host, collective };
struct Classified {
  NodeKind kind = NodeKind::host;
  std::string why;  // host: the reason
};
Classified classify(const Graph& g, const Node& n);  // types may be symbolic

// all_reduce of one operand by a sum, maximum or minimum, all_gather of one: over ranks 0, 1, ... in that order. nullopt: another collective.
struct JoinedRanks {
  int64_t count = 1;
  loops::Op fold = loops::Op::load;
};
std::optional<JoinedRanks> joined_ranks(const Node& n);

// A gather along one axis of its operand, whole slices of the others.
struct RowGather {
  size_t axis = 0;           // of the operand
  bool vector_axis = false;  // the index tensor has an axis of extent 1 for the index itself
};
std::optional<RowGather> row_gather(const Graph& g, const Node& n);

// A scatter of whole rows of a matrix at a rank-1 index of them, those out of range left out: what expand makes of all scatters.
bool row_scatter(const Graph& g, const Node& n);
// How a scatter combines: load for assignment, add, maximum, minimum; nullopt: otherwise.
std::optional<loops::Op> scatter_fold(const Graph& g, const Node& n);

// The epilogue of a region becomes instructions of its loops, after its result; the result's operand stays the last.
void append_epilogue(const Graph& g, Step& s);

class StepMaker {
 public:
  StepMaker(const Graph& g, bool attention_epilogue);
  std::vector<Step> run();

 private:
  Extents dims(Value v) const;
  const Node& node(int32_t i) const { return g_.nodes[static_cast<size_t>(i)]; }
  // Where v lies. Structural: views of results, of inputs and of weights; everything else lies in itself.
  const View& placed(Value v) const { return placed_[static_cast<size_t>(v.id)]; }
  View view_of(Value v, const Ints& permutation) const;
  // v over `extents` as NumPy aligns it; absent values have no layout.
  View aligned(Value v, size_t rank) const;
  void place_all();

  void anchor(int32_t i);
  void contraction(int32_t i);
  void convolution(int32_t i);
  void rows(int32_t i);
  void attention(int32_t i);
  void window(int32_t i);
  void gather(int32_t i);
  void scatter(int32_t i);
  void scan(int32_t i);
  void move(int32_t i);
  void collective(int32_t i);
  void host(int32_t i, std::string reason);
  void copy(int32_t i, Value result, const View& from, Extents from_dims);
  void regions();
  void region(const passes::Region& r);
  void outputs();

  Step begin(Step::Kind kind, int32_t i) const;
  // Elementwise nodes after the anchor and trailing views. path: from the step's axes to the anchor's result.
  void finish(Step& s, Path path);
  void take_epilogue(Step& s, Path& path);
  void sink(Step& s, Path& path);
  void add(Step s);

  const Graph& g_;
  bool attention_epilogue_;
  std::vector<std::vector<int32_t>> users_;
  std::vector<bool> taken_;  // nodes that are in a step
  std::vector<Classified> kind_;
  std::vector<View> placed_;
  std::vector<Step> steps_;
};

}  // namespace bascule::device::chip
