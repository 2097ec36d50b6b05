// ops/lstm.cc — composite: long short-term memory over time.
#include "ops/recurrent.h"

namespace bascule::ops {
namespace {

// Gates i, o, f, c; peepholes i, o, f.
void step(const CellStep& s) {
  const size_t H = s.h.size();
  const bool coupled = s.attrs.flag("input_forget");
  for (size_t k = 0; k < H; ++k) {
    const auto gate = [&](size_t g) { return s.x[g * H + k] + s.product(g * H + k, s.h) + s.wb[g * H + k] + s.rb[g * H + k]; };
    const double i = s.f[0](s.clipped(gate(0) + s.peephole[k] * s.c[k]));
    const double f = coupled ? 1 - i : s.f[0](s.clipped(gate(2) + s.peephole[2 * H + k] * s.c[k]));
    const double c = f * s.c[k] + i * s.f[1](s.clipped(gate(3)));
    const double o = s.f[0](s.clipped(gate(1) + s.peephole[H + k] * c));
    s.next_c[k] = c;
    s.next_h[k] = o * s.f[2](c);  // not clipped: ONNX Runtime and cuDNN clip the gates only
  }
}

Values build(const CellGraph& g) {
  Builder& b = g.b;
  const auto peep = [&](Value v, int64_t k, Value c) { return g.peephole ? b.add(v, b.multiply(g.part(g.peephole, k), c)) : v; };
  const Value i = g.f[0](b, g.clipped(peep(g.gate(0), 0, g.c)));
  const Value f = g.attrs.flag("input_forget") ? b.subtract(1, i) : g.f[0](b, g.clipped(peep(g.gate(2), 2, g.c)));
  const Value c = b.add(b.multiply(f, g.c), b.multiply(i, g.f[1](b, g.clipped(g.gate(3)))));
  const Value o = g.f[0](b, g.clipped(peep(g.gate(1), 1, c)));
  return {b.multiply(o, g.f[2](b, c)), c};
}

const Recurrent& cell() {
  static const Recurrent c{.gates = 4, .activations = 3, .cell_state = true, .plain_gates = 4, .default_activations = {"Sigmoid", "Tanh", "Tanh"}, .step = step, .build = build};
  return c;
}
[[maybe_unused]] const bool cell_registered = register_recurrent("lstm", cell);

}  // namespace

const OpDef lstm{
    .name = "lstm",
    .dialect = "bascule",
    .doc = "i = f(wi x + ri h + pi c + bi), f = f(wf x + rf h + pf c + bf) or, input_forget, 1 - i, c' = f c + i g(wc x + rc h + bc), o = f(wo x + ro h + po c' + bo), h' = o "
           "h(c'); gates in the order i, o, f, c, peepholes i, o, f; results: y = all h, the last h, the last c. Lengths, activations and clip as in rnn",
    .inputs = recurrent_inputs(true),
    .attrs = recurrent_attrs({{.name = "input_forget", .kind = AttrKind::flag, .required = false, .fallback = false}}),
    .type = [](const OpView& op) { return recurrent_type(op, cell()); },
    .reference = [](const Call& call) { return recurrent_reference(call, cell()); },
    .decompose = [](Builder& b, const OpView& op, std::span<const Value> in) { return recurrent_decompose(b, op, in, cell()); },
    .work = [](const OpView& op, std::span<const Type> results) { return recurrent_work(op, results, cell()); },
    .cases = recurrent_cases(4, true, {{.name = "input_forget", .attrs = {{"input_forget", true}}}}),
};
BASCULE_OP(lstm);

}  // namespace bascule::ops
