// import/onnx/recurrent.cc — ONNX RNN, GRU and LSTM over the composites of the same names.
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

struct Cell {
  std::string_view op;
  int64_t gates;
  size_t states;  // hidden, and the cell's
};

Results recurrent(NodeContext& n, Builder& b, const Cell& cell, Attrs more) {
  const bool batch_first = n.version >= 14 && n.flag("layout", false);
  n.ignore("output_sequence");  // until version 6: whether y is wanted, which its name says too
  const auto swapped = [&](Value v) { return v && batch_first ? b.transpose(v, {1, 0, 2}) : v; };
  Value x = n.in(0);
  if (b.rank(x) != 3) n.fail("X of rank 3", b.type(x).text());
  Values operands{swapped(x), n.in(1), n.in(2), n.in_or_none(3), n.in_or_none(4), swapped(n.in_or_none(5))};
  if (cell.states == 2) {
    operands.push_back(swapped(n.in_or_none(6)));
    operands.push_back(n.in_or_none(7));
  }
  if (n.has_attr("hidden_size") && b.rank(operands[2]) == 3 && b.dim(operands[2], 2).is_constant() &&
      !b.dim(operands[2], 2).is(n.integer("hidden_size")))
    n.fail("R of " + std::to_string(n.integer("hidden_size")) + " columns from attribute hidden_size", b.type(operands[2]).text());
  more.set("direction", n.text("direction", "forward"));
  more.set("activations", n.texts("activations", Texts{}));
  more.set("alpha", n.numbers("activation_alpha", Numbers{}));
  more.set("beta", n.numbers("activation_beta", Numbers{}));
  more.set("clip", n.number("clip", 0.0));
  Values y = b.ops(cell.op, operands, more);
  if (batch_first) {
    y[0] = b.transpose(y[0], {2, 0, 1, 3});
    for (size_t i = 1; i < y.size(); ++i) y[i] = b.transpose(y[i], {1, 0, 2});
  }
  return y;
}

}  // namespace

ONNX_OP(RNN, 1) { return recurrent(n, b, {"rnn", 1, 1}, {}); }
ONNX_OP(GRU, 1) { return recurrent(n, b, {"gru", 3, 1}, {{"linear_before_reset", n.flag("linear_before_reset", false)}}); }
ONNX_OP(LSTM, 1) { return recurrent(n, b, {"lstm", 4, 2}, {{"input_forget", n.flag("input_forget", false)}}); }

}  // namespace bascule::onnx
