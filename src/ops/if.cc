// ops/if.cc — one of two regions by a predicate. ONNX's branches may differ in shape and rank; StableHLO's may not (its importer checks that).
#include "ops/rules.h"

namespace bascule::ops {

const OpDef if_def{
    .name = "if",
    .doc = "results of region 0 if pred, else of region 1",
    .inputs = {{"pred", DTypes::bools}},
    .regions = 2,
    .control = true,
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          if (op.in(0).ranked && op.in(0).rank() != 0) op.fail("a scalar pred", op.in(0).text(), "I1");
          const std::vector<Type> on_true = op.regions[0]->output_types(), on_false = op.regions[1]->output_types();
          for (const auto& r : op.regions)
            if (r->inputs.size() != op.captures.size()) op.fail("regions without block arguments", std::to_string(r->inputs.size()) + " inputs", "C1");
          if (on_true.size() != on_false.size()) op.fail("regions with equally many results", std::to_string(on_true.size()) + " and " + std::to_string(on_false.size()), "C1");
          std::set<std::string> known;
          for (const Type& t : op.captures) add_symbols(t, known);
          std::vector<Type> out;
          for (size_t i = 0; i < on_true.size(); ++i) {
            const auto t = join(on_true[i], on_false[i]);
            if (!t) op.fail("results of one kind and element type", on_true[i].text() + " and " + on_false[i].text(), "C2");
            out.push_back(with_symbols(*t, known));
          }
          return out;
        },
    .reference = [](const Call& call) { return call.run_region(call.in(0).integer(0) != 0 ? 0 : 1, {}); },
    .cases = {{.name = "captured",
               .build = [](Builder& b) {
                 const Value pred = b.input(Type::tensor(DType::i1, {}), "pred"), x = b.input(Type::tensor(DType::f32, {3}), "x");
                 OpenRegion yes(b, "yes"), no(b, "no");
                 yes.finish({yes.capture(x)});
                 no.finish({no.builder().add(no.capture(x), 1)});
                 std::vector<OpenRegion> regions{std::move(yes), std::move(no)};
                 return b.ops("if", {pred}, {}, std::move(regions));
               }}},
};
BASCULE_OP(if_def);

}  // namespace bascule::ops
