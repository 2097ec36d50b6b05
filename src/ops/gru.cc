// ops/gru.cc — composite: the gated recurrent unit over time.
#include "ops/recurrent.h"

namespace bascule::ops {
namespace {

// Gates z, r, h.
void step(const CellStep& s) {
  const size_t H = s.h.size();
  const bool after = s.attrs.flag("linear_before_reset");
  std::vector<double> reset(H), gated(H);
  for (size_t k = 0; k < H; ++k) {
    reset[k] = s.f[0](s.clipped(s.x[H + k] + s.product(H + k, s.h) + s.wb[H + k] + s.rb[H + k]));
    gated[k] = reset[k] * s.h[k];
  }
  for (size_t k = 0; k < H; ++k) {
    const double z = s.f[0](s.clipped(s.x[k] + s.product(k, s.h) + s.wb[k] + s.rb[k]));
    const size_t row = 2 * H + k;
    const double recurrent = after ? reset[k] * (s.product(row, s.h) + s.rb[row]) : s.product(row, gated) + s.rb[row];
    const double h = s.f[1](s.clipped(s.x[row] + recurrent + s.wb[row]));
    s.next_h[k] = (1 - z) * h + z * s.h[k];
  }
}

Values build(const CellGraph& g) {
  Builder& b = g.b;
  const Value z = g.f[0](b, g.clipped(g.gate(0))), r = g.f[0](b, g.clipped(g.gate(1)));
  const bool after = g.attrs.flag("linear_before_reset");
  const Value recurrent = after ? b.multiply(r, g.biased(g.product(g.h, 2), g.rb, 2)) : g.biased(g.product(b.multiply(r, g.h), 2), g.rb, 2);
  const Value h = g.f[1](b, g.clipped(g.biased(b.add(g.part(g.x, 2), recurrent), g.wb, 2)));
  return {b.add(b.multiply(b.subtract(1, z), h), b.multiply(z, g.h))};
}

const Recurrent& cell() {
  static const Recurrent c{.gates = 3, .activations = 2, .cell_state = false, .plain_gates = 2, .default_activations = {"Sigmoid", "Tanh"}, .step = step, .build = build};
  return c;
}
[[maybe_unused]] const bool cell_registered = register_recurrent("gru", cell);

}  // namespace

const OpDef gru{
    .name = "gru",
    .dialect = "bascule",
    .doc = "z = f(wz x + rz h + bz), r = f(wr x + rr h + br), n = g(wn x + rn (r h) + bn) or, linear_before_reset, g(wn x + r (rn h + rbn) + wbn); h' = (1 - z) n + z h; gates in "
           "the order z, r, n; results: y = all h, the last h. Lengths, activations and clip as in rnn",
    .inputs = recurrent_inputs(false),
    .attrs = recurrent_attrs({{.name = "linear_before_reset", .kind = AttrKind::flag, .required = false, .fallback = false}}),
    .type = [](const OpView& op) { return recurrent_type(op, cell()); },
    .reference = [](const Call& call) { return recurrent_reference(call, cell()); },
    .decompose = [](Builder& b, const OpView& op, std::span<const Value> in) { return recurrent_decompose(b, op, in, cell()); },
    .work = [](const OpView& op, std::span<const Type> results) { return recurrent_work(op, results, cell()); },
    .cases = recurrent_cases(3, false, {{.name = "linear_before_reset", .attrs = {{"linear_before_reset", true}}}, {.name = "relu", .attrs = {{"activations", Texts{"Sigmoid", "Relu"}}}}}),
};
BASCULE_OP(gru);

}  // namespace bascule::ops
