// device/chip/step.h — a prepared graph as the mapper sees it: a list of fused steps, each an anchor (product, convolution, row operator, region,
// move) with the elementwise work that follows it on the same elements. Knows no tile and no chip.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "device/common/lower.h"
#include "graph/graph.h"

namespace bascule {
struct Work;
}

namespace bascule::device::chip {

struct Chip;

// An operand as it lies in the value that holds it: views (reshape, transpose, slice, broadcast) cost nothing here.
struct View {
  Value value;    // a graph input, a weight, or the result of an earlier step, dense in row-major order; kNoValue: an absent optional operand
  Layout layout;  // strides of the axes named where it is used, in elements of `value`; 0 where it repeats. Negative in a reversing move only
};

// One elementwise instruction after an anchor: result = fn(a, b, c) on each element, in `dtype`.
struct Epilogue {
  // An operand: >= 0: an earlier epilogue instruction; kAnchor: the anchor's result; kNumber: `number`; <= kOperand: Step::epilogue_operands[kOperand
  // - x].
  static constexpr int32_t kAnchor = -1, kNumber = -2, kOperand = -3;
  loops::Op fn = loops::Op::load;
  DType dtype = DType::f32;                       // of the result; comparisons give i1
  int32_t a = kNumber, b = kNumber, c = kNumber;  // as many as loops::arity(fn)
  double number = 0;
  static bool is_operand(int32_t x) { return x <= kOperand; }
  static size_t operand(int32_t x) { return static_cast<size_t>(kOperand - x); }
};

// One spatial axis of a convolution or window: out[p] reads in[(p * stride + t * dilation - low) / base] for tap t, where that is whole and inside.
struct WindowAxis {
  int64_t in = 1, out = 1, taps = 1, stride = 1, dilation = 1, low = 0;
  int64_t base = 1;       // dilation of the input: base - 1 zeros between its elements
  bool reversed = false;  // tap t uses weight taps - 1 - t
  bool plain() const { return taps == 1 && stride == 1 && low == 0 && base == 1 && in == out; }
};

// A box of elements that a move copies: result[to(i)] = from(i) for i in `extents`.
struct Piece {
  std::vector<int64_t> extents;
  View from;
  Layout to;
};

// Elements are computed over `axes`; element i of them lies in `result` at `out`. `out` reaches every element of the result once; most often it is
// dense, but trailing transposes may be part of it.
struct Step {
  enum Kind : uint8_t {
    contraction,  // out[B, M, N] = sum_K lhs[B, M, K] * rhs[B, K, N]; axes = B... M... N...
    convolution,  // out[N, G, O, S...] = sum of x[N, G, C, ...] * w[G, O, C, T...]; axes = N, G, O, S...
    region,       // elementwise, perhaps ending in a fold: `spec` (its last operand is the result). axes = those of the result
    rows,         // softmax, log_softmax, layer_norm, rms_norm over the axes from `row_axis` on; views: x, scale, bias over `axes`
    attention,    // views: q [B,H,S,D], k [B,H,T,D], v [B,H,T,E], bias and allowed [B,H,S,T] (grouped heads: see kv_heads); axes = B, H, S, E
    window,       // fold by `fold` over windows; axes = those of the result, `windows` for each; views: x over its own axes (as many)
    gather,  // out[P..., R...] = table[index[P...], R...]; axes = P... R..., R from `row_axis` on; views: table over row, R...; index over P...; rows
             // of `table_rows`
    scatter,  // result = table, then result[index[u], R...] = fold(result[...], updates[u, R...]) for u in order, indices out of range left out; axes =
              // those of the table: row, R...; views: table over row, R...; index over u; updates over u, R...; `fold` load: assigned
    scan,    // out[P..., i] = fold of x[P..., 0..i]; axes = P..., i; views: x
    move,    // `pieces` copied into the result, `fill` where no piece lies
    host,    // the chip cannot: reference on the host, because of `reason`
    collective,  // all_reduce by `fold`, or (fold load) all_gather along axis `row_axis`, over `participants` ranks; views: the dense operand. axes = those
                 // of the result
  };
  Kind kind = host;
  std::vector<int32_t> nodes;  // of the graph; all that this step computes, in order
  int32_t anchor = -1;         // the node that gives the kind; -1 for regions and copies
  Value result;                // the step's main result; `results` holds all (host: several)
  std::vector<Value> results;
  std::string reason;  // host: why

  std::vector<int64_t> axes;  // extents
  Layout out;                 // strides of `axes` in `result`

  // contraction: extents in the order of the groups, without those of 1, neighbours merged where all operands and the result allow it. Strides of
  // lhs: B..., M..., K...; of rhs: B..., N..., K...
  std::vector<int64_t> batch, m, n, k;
  View lhs, rhs;
  // convolution: lhs = x over N, G, C, S...; rhs = w over G, O, C, T...; windows: the spatial axes
  int64_t images = 1, groups = 1, in_channels = 1, out_channels = 1;  // channels of one group
  std::vector<WindowAxis> windows;
  // region
  loops::KernelSpec spec;
  std::vector<Value> spec_values;  // the value behind each operand; the last is the result
  // rows, attention, window, gather; host: the anchor's inputs over their own axes
  std::vector<View> views;
  enum RowFunction : uint8_t { softmax, log_softmax, layer_norm, rms_norm } row_function = softmax;
  size_t row_axis = 0;
  double epsilon = 0;
  double scale = 1, softcap = 0;                       // attention; softcap 0: none
  bool causal = false;                                 // key t counts for query s when t <= s + causal_offset
  int64_t causal_offset = 0, keys = 0, head_size = 0;  // T, D
  int64_t kv_heads = 0;                                // k and v are [B, kv_heads, ...]: query head h reads head h / (H / kv_heads)
  loops::Op fold = loops::Op::add;                     // window: add, maximum or minimum, from `initial`; scan: or multiply; scatter: or load
  double initial = 0;
  int64_t updates = 0;     // scatter: rows of the updates
  int64_t table_rows = 0;  // gather
  bool drop = false;       // gather: 0 where the index is out of range; else it is clamped
  int64_t participants = 1;  // collective
  // move
  std::vector<Piece> pieces;
  std::optional<double> fill;

  // After the anchor (contraction, convolution, rows, attention, window, gather), elementwise; the last instruction gives the result.
  std::vector<Epilogue> epilogue;
  std::vector<View> epilogue_operands;  // over `axes`
  DType anchor_type = DType::f32;       // of the anchor's result before the epilogue
};

// Steps in an order that respects data. Nodes that are pure views (reshape, transpose and broadcast that every consumer can read in place) and
// weights belong to no step. Graph outputs are results of steps, except those that are graph inputs or weights themselves.
// attention_epilogue: whether an attention takes along the elementwise work on its result.
std::vector<Step> make_steps(const Graph& graph, bool attention_epilogue = true);
// A constant, or one whose file is absent.
bool is_weight(const Graph& graph, Value v);
// By value: coordinates, which are stored as they are: floats from which integers are computed through nothing but elementwise work (positions jump where such
// numbers are rounded), and what elementwise work makes of those alone.
std::vector<bool> find_coordinates(const Graph& graph);
// Why the chip cannot run the step (element types, most often), "" if it can. Steps of kind host: their reason.
std::string refusal(const Chip& chip, const Graph& graph, const Step& step);

// What the step reads when it runs on the host: operands of its nodes that are inputs, weights or in `made` (the results of steps), seen through the
// views between.
std::vector<Value> host_operands(const Graph& graph, const Step& step, const std::set<Value>& made);

const char* name(Step::Kind kind);
std::string step_name(const Graph& graph, const Step& step);  // "dot_general + add + gelu"
Origin step_origin(const Graph& graph, const Step& step);     // of all its nodes
Work step_work(const Graph& graph, const Step& step);         // of all its nodes
std::string text(const Graph& graph, const Step& step);

}  // namespace bascule::device::chip
