// tests/support/passes.h — optimises a graph and holds it to the answers it gave before.
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "graph/builder.h"
#include "graph/evaluate.h"
#include "passes/pipeline.h"

namespace bascule::test {

inline int64_t count(const Graph& g, std::string_view op) {
  int64_t n = 0;
  for (const Node& node : g.nodes) n += node.op->name == op;
  return n;
}

inline Tensor wave(std::vector<int64_t> dims, double phase = 0) {
  Tensor t(DType::f32, std::move(dims));
  double x = phase;
  for (float& v : t.as_mutable<float>()) v = static_cast<float>(std::sin(x += 0.7));
  return t;
}

// The optimised graph answers as the original does.
inline Graph optimised(const Graph& g, const HostValues& in) {
  Graph h = g;
  passes::optimize(h, {});
  EvalContext context;
  const HostValues want = evaluate(g, in, context), got = evaluate(h, in, context);
  for (size_t k = 0; k < want.size(); ++k)
    for (int64_t i = 0; i < want[k].tensor().elements(); ++i) EXPECT_NEAR(got[k].tensor().number(i), want[k].tensor().number(i), 2e-5) << "output " << k << " element " << i;
  return h;
}

inline const Dim kBatch = Dim::symbol("batch");

}  // namespace bascule::test
