// ops/case.cc — one of any number of regions, chosen by an index; out of range takes the last.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef case_def{
    .name = "case",
    .doc = "results of region `index`, or of the last region if index is out of range",
    .inputs = {{"index", DTypes::ints}},
    .regions = -1,
    .control = true,
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          if (op.regions.empty()) op.fail("at least one region", "none", "C1");
          if (op.in(0).ranked && op.in(0).rank() != 0) op.fail("a scalar index", op.in(0).text(), "I1");
          std::set<std::string> known;
          for (const Type& t : op.captures) add_symbols(t, known);
          std::vector<Type> out = op.regions[0]->output_types();
          for (const auto& region : op.regions) {
            if (region->inputs.size() != op.captures.size()) op.fail("regions without block arguments", std::to_string(region->inputs.size()) + " inputs", "C2");
            const std::vector<Type> types = region->output_types();
            if (types.size() != out.size()) op.fail("regions with equally many results", std::to_string(out.size()) + " and " + std::to_string(types.size()), "C3");
            for (size_t i = 0; i < out.size(); ++i) {
              const auto t = join(out[i], types[i]);
              if (!t) op.fail("results of one kind and element type", out[i].text() + " and " + types[i].text(), "C3");
              out[i] = *t;
            }
          }
          for (Type& t : out) t = with_symbols(t, known);
          return out;
        },
    .reference =
        [](const Call& call) {
          const auto regions = static_cast<int64_t>(call.op.regions.size());
          const int64_t index = call.in(0).integer(0);
          return call.run_region(static_cast<size_t>(index >= 0 && index < regions ? index : regions - 1), {});
        },
    .cases = {{.name = "three",
               .build =
                   [](Builder& b) {
                     const Value index = b.input(Type::tensor(DType::i32, {})), x = b.input(Type::tensor(DType::f32, {3}));
                     std::vector<OpenRegion> regions;
                     for (int i = 0; i < 3; ++i) {
                       OpenRegion r(b, "branch");
                       r.finish({r.builder().multiply(r.capture(x), static_cast<double>(i))});
                       regions.push_back(std::move(r));
                     }
                     return b.ops("case", {index}, {}, std::move(regions));
                   },
               .inputs = [] { return HostValues{Tensor::scalar_int(DType::i32, 1), Tensor::from_doubles(DType::f32, {3}, std::vector<double>{1, 2, 3})}; }}},
};
BASCULE_OP(case_def);

}  // namespace bascule::ops
