// ops/while.cc — repeats a region on carried values of fixed types while a condition region says so.
#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef while_def{
    .name = "while",
    .doc = "x = operands; while region 0 (x) : x = region 1 (x); results: x",
    .inputs = {{"operands", DTypes::any, kVariadic}},
    .regions = 2,
    .control = true,
    .type =
        [](const OpView& op) {
          const Graph &condition = *op.regions[0], &body = *op.regions[1];
          for (const Graph* g : {&condition, &body}) {
            if (g->inputs.size() != op.inputs.size() + op.captures.size()) op.fail("regions of " + std::to_string(op.inputs.size()) + " arguments", std::to_string(g->inputs.size() - std::min(g->inputs.size(), op.captures.size())), g == &body ? "C2" : "C1");
            for (size_t i = 0; i < op.inputs.size(); ++i)
              if (!compatible(op.in(i), g->type(g->inputs[i]))) op.fail("region argument " + std::to_string(i) + " of type " + op.in(i).text(), g->type(g->inputs[i]).text(), g == &body ? "C2" : "C1");
          }
          const std::vector<Type> decides = condition.output_types(), carried = body.output_types();
          if (decides.size() != 1 || !decides[0].is_tensor() || !is_bool(decides[0].dtype) || (decides[0].ranked && decides[0].rank() != 0)) op.fail("a condition region that returns i1[]", decides.empty() ? "nothing" : decides[0].text(), "C1");
          if (carried.size() != op.inputs.size()) op.fail("a body that returns " + std::to_string(op.inputs.size()) + " values", std::to_string(carried.size()), "C2");
          std::vector<Type> out;
          for (size_t i = 0; i < carried.size(); ++i) {
            if (!compatible(carried[i], op.in(i))) op.fail("body result " + std::to_string(i) + " of type " + op.in(i).text(), carried[i].text(), "C2");
            out.push_back(op.in(i));
          }
          return out;
        },
    .reference =
        [](const Call& call) {
          HostValues state(call.inputs.begin(), call.inputs.end());
          for (;;) {
            check_budget();
            if (call.run_region(0, state)[0].tensor().integer(0) == 0) return state;
            state = call.run_region(1, std::move(state));
          }
        },
    .cases = {{.name = "doubling",
               .build =
                   [](Builder& b) {
                     const Value i = b.input(Type::tensor(DType::i64, {})), x = b.input(Type::tensor(DType::f32, {3}));
                     OpenRegion condition(b, "condition"), body(b, "body");
                     const Value ci = condition.argument(b.type(i));
                     condition.argument(b.type(x));
                     condition.finish({condition.builder().compare(ci, 5, "LT")});
                     const Value bi = body.argument(b.type(i)), bx = body.argument(b.type(x));
                     body.finish({body.builder().add(bi, 1), body.builder().add(bx, bx)});
                     return b.ops("while", {i, x}, {}, std::vector<OpenRegion>{std::move(condition), std::move(body)});
                   },
               .inputs = [] { return HostValues{Tensor::scalar_int(DType::i64, 2), Tensor::from_doubles(DType::f32, {3}, std::vector<double>{1, 2, 3})}; }}},
};
BASCULE_OP(while_def);

}  // namespace bascule::ops
