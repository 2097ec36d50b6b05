// ops/rnn.cc — composite: the plain recurrent cell over time.
#include "ops/recurrent.h"

namespace bascule::ops {
namespace {

void step(const CellStep& s) {
  for (size_t k = 0; k < s.h.size(); ++k) s.next_h[k] = s.f[0](s.clipped(s.x[k] + s.product(k, s.h) + s.wb[k] + s.rb[k]));
}
Values build(const CellGraph& g) { return {g.f[0](g.b, g.clipped(g.gate(0)))}; }

const Recurrent& cell() {
  static const Recurrent c{.gates = 1, .activations = 1, .cell_state = false, .plain_gates = 1, .default_activations = {"Tanh"}, .step = step, .build = build};
  return c;
}
[[maybe_unused]] const bool cell_registered = register_recurrent("rnn", cell);

}  // namespace

const OpDef rnn{
    .name = "rnn",
    .dialect = "bascule",
    .doc = "h[t] = f(clip(w x[t] + r h[t-1] + wb + rb)), b = [wb, rb]; results: y = all h, the last h. Steps beyond a row's `lengths` are 0 in y and leave h; "
           "`alpha` and `beta` are taken in order by the activations that have them; clip 0: none",
    .inputs = recurrent_inputs(false),
    .attrs = recurrent_attrs({}),
    .type = [](const OpView& op) { return recurrent_type(op, cell()); },
    .reference = [](const Call& call) { return recurrent_reference(call, cell()); },
    .decompose = [](Builder& b, const OpView& op, std::span<const Value> in) { return recurrent_decompose(b, op, in, cell()); },
    .work = [](const OpView& op, std::span<const Type> results) { return recurrent_work(op, results, cell()); },
    .cases = recurrent_cases(1, false,
                             {{.name = "affine", .attrs = {{"activations", Texts{"Affine"}}, {"alpha", Numbers{0.5}}, {"beta", Numbers{0.1}}}},
                              {.name = "leaky", .attrs = {{"activations", Texts{"LeakyRelu"}}}},
                              {.name = "softplus", .attrs = {{"activations", Texts{"Softplus"}}}},
                              {.name = "scaled_tanh", .attrs = {{"activations", Texts{"ScaledTanh"}}, {"alpha", Numbers{1.7}}, {"beta", Numbers{0.6}}}},
                              {.name = "hard_sigmoid", .attrs = {{"activations", Texts{"HardSigmoid"}}}},
                              {.name = "elu", .attrs = {{"activations", Texts{"Elu"}}}},
                              {.name = "softsign", .attrs = {{"activations", Texts{"Softsign"}}}},
                              {.name = "thresholded", .attrs = {{"activations", Texts{"ThresholdedRelu"}}, {"alpha", Numbers{0.2}}}}}),
};
BASCULE_OP(rnn);

}  // namespace bascule::ops
