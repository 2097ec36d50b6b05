// device/chip/step.h — a prepared graph as the mapper sees it: a list of fused steps, each an anchor (product, convolution, row operator, region,
// move) with the elementwise work that follows it on the same elements. Knows no tile and no chip.
#pragma once
#include <string>
#include <vector>

#include "device/common/lower.h"
#include "graph/graph.h"

namespace bascule::device::chip {

// An operand of a contraction, softmax ... as it lies in the value that holds it: views (reshape, transpose, slice, broadcast) cost nothing here.
struct View {
  Value value;    // a graph input, constant, or the result of an earlier step
  Layout layout;  // strides of the axes named where it is used, in elements of `value`
};

// One elementwise instruction after an anchor: result[j] = fn(a, b, c), each an earlier result (>= 0: instruction number; -1: the anchor's result) or
// an operand.
struct Epilogue {
  loops::Op fn;
  DType dtype;
  int32_t a = -2, b = -2,
          c = -2;  // >= 0: earlier epilogue instruction; -1: the anchor; <= -3: operand number -3 - x of Step::epilogue_operands; -2: `number`
  double number = 0;
};

struct Step {
  enum Kind {
    contraction,  // out[B, M, N] = sum_K lhs[B, M, K] * rhs[B, K, N]
    convolution,  // of rank 1 to 3, grouped, dilated, padded; as node attributes say
    region,       // elementwise, perhaps ending in a fold: `spec`
    rows,         // softmax, log_softmax, layer_norm, rms_norm, group_norm over the last axes
    attention,
    window,  // reduce_window
    gather,  // rows by index
    move,    // transpose, slice, pad, concatenate, reverse, broadcast that must be materialised
    host,    // the chip cannot: reference on the host
  };
  Kind kind = host;
  std::vector<int32_t> nodes;  // of the graph; all that this step computes, in order
  int32_t anchor = -1;         // the node that gives the kind; -1 for regions
  Value result;                // the step's main result; `results` holds all
  std::vector<Value> results;
  std::string reason;  // host: why

  // contraction: axes in the order of the groups; strides of lhs: B..., M..., K...; of rhs: B..., N..., K...
  std::vector<int64_t> batch, m, n, k;  // extents
  View lhs, rhs;
  // region
  loops::KernelSpec spec;
  std::vector<Value> spec_values;  // the value behind each operand; the last is the result
  // rows, attention, window, gather, move: read from the node and these
  std::vector<View> views;  // of the anchor's operands, strides of the operand's own axes
  // after the anchor, elementwise over the result's own dims
  std::vector<Epilogue> epilogue;
  std::vector<View> epilogue_operands;  // strides of the result's axes, 0 where broadcast
  DType anchor_type = DType::f32;       // of the anchor's result before the epilogue
};

// Steps in an order that respects data. Nodes that are pure views (reshape, transpose and broadcast that every consumer can read in place) belong to
// no step.
std::vector<Step> make_steps(const Graph& graph);
std::string text(const Graph& graph, const Step& step);

}  // namespace bascule::device::chip
