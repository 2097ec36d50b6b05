// tests/ops/op_table_test.cc — every operator's row is complete, its cases run, symbols change nothing, and its decomposition equals its reference.
#include <gtest/gtest.h>

#include <cmath>

#include "graph/evaluate.h"
#include "ops/cases.h"

namespace bascule::ops {
namespace {

constexpr uint64_t kSeed = 1;

// Largest error a decomposition may have against the reference: each of its steps rounds once, and each sum of n terms n times, relative to
// the largest magnitudes that met.
double tolerance(const Case& c, DType t, const Graph& steps, const HostValues& inputs, double largest) {
  if (!is_float(t) && !is_complex(t)) return 0;
  double longest = 1;
  for (const HostValue& v : inputs)
    if (v.is_tensor())
      for (const int64_t d : v.tensor().dims()) longest = std::max(longest, static_cast<double>(d));
  return (float_info(real_of(t)).epsilon * (static_cast<double>(steps.nodes.size()) + longest) + c.tolerance) * std::max(largest, 1e-3);
}

void expect_close(const HostValue& got, const HostValue& want, const std::string& where, const std::function<double(DType, double)>& allowed) {
  ASSERT_EQ(got.kind(), want.kind()) << where;
  if (!got.is_tensor()) {
    ASSERT_EQ(got.items().size(), want.items().size()) << where;
    for (size_t i = 0; i < got.items().size(); ++i) expect_close(got.items()[i], want.items()[i], where, allowed);
    return;
  }
  const Tensor &a = got.tensor(), &b = want.tensor();
  ASSERT_EQ(a.type_text(), b.type_text()) << where;
  if (is_string(a.dtype()) || is_int(a.dtype()) || is_bool(a.dtype())) {
    EXPECT_TRUE(a.identical(b)) << where;
    return;
  }
  double largest = 0;
  for (int64_t i = 0; i < b.elements(); ++i)
    if (const double m = std::abs(b.complex(i)); std::isfinite(m)) largest = std::max(largest, m);
  const double limit = allowed(a.dtype(), largest);
  for (int64_t i = 0; i < b.elements(); ++i) {
    const std::complex<double> x = a.complex(i), y = b.complex(i);
    const auto same = [&](double p, double q) { return (std::isnan(p) && std::isnan(q)) || p == q || std::fabs(p - q) <= limit; };
    ASSERT_TRUE(same(x.real(), y.real()) && same(x.imag(), y.imag())) << where << " element " << i << ": " << x << " for " << y << ", allowed " << limit;
  }
}

std::string title(const OpDef& def, const Case& c) { return std::string(def.name) + " case '" + std::string(c.name) + "'"; }

TEST(OpTable, every_row_is_complete) {
  for (const OpDef* def : OpRegistry::all()) {
    const std::string name(def->name);
    EXPECT_FALSE(def->doc.empty()) << name << ": doc";
    EXPECT_TRUE(def->type) << name << ": type rule";
    if (name == "specialize") continue;
    EXPECT_TRUE(def->reference) << name << ": reference";
    EXPECT_TRUE(def->work || def->control || def->host || def->effect) << name << ": work";
    EXPECT_TRUE(!def->cases.empty() || def->host || name == "absent") << name << ": cases";  // `absent` has no value to run on
  }
}

TEST(OpTable, every_case_runs_and_counts_its_work) {
  for (const OpDef* def : OpRegistry::all()) {
    if (def->host) continue;  // maps and sequences: tests of the importers run them
    for (const Case& c : def->cases) {
      try {
        CaseGraph g = make_case(*def, c, kSeed);
        verify(g.graph, "make_case");
        EvalContext context;
        const HostValues out = evaluate(g.graph, g.inputs, context);
        EXPECT_EQ(out.size(), g.graph.outputs.size()) << title(*def, c);
        for (const Node& n : g.graph.nodes) {
          if (n.op != def || !def->work) continue;
          std::vector<Type> in, results;
          bool concrete = true;
          for (size_t i = 0; i < n.operands(); ++i) in.push_back(n.inputs[i] ? g.graph.type(n.inputs[i]) : absent_type());
          for (const Value v : n.outputs) results.push_back(g.graph.type(v));
          for (const auto* list : {&in, &results})
            for (const Type& t : *list) concrete &= !t.is_tensor() || t.is_static();
          if (!concrete) continue;
          const OpView view{*def, n.attrs, in, n.regions, {}, title(*def, c), ErrorKind::internal};
          const Work w = def->work(view, results);
          EXPECT_TRUE(w.flops() >= 0 && w.bytes_read >= 0 && w.bytes_written >= 0) << title(*def, c);
        }
      } catch (const Error& e) {
        ADD_FAILURE() << title(*def, c) << ": " << e.what();
      }
    }
  }
}

TEST(OpTable, symbolic_dims_give_the_same_answers) {
  for (const OpDef* def : OpRegistry::all()) {
    if (def->random) continue;
    for (const Case& c : def->cases) {
      if (c.build || c.inputs) continue;
      try {
        const CaseGraph fixed = make_case(*def, c, kSeed), open = make_case(*def, c, kSeed, true);
        EvalContext context;
        const HostValues want = evaluate(fixed.graph, fixed.inputs, context), got = evaluate(open.graph, open.inputs, context);
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < got.size(); ++i) expect_close(got[i], want[i], title(*def, c), [](DType, double) { return 0.0; });
      } catch (const Error& e) {
        ADD_FAILURE() << title(*def, c) << " with symbols: " << e.what();
      }
    }
  }
}

TEST(OpTable, every_decomposition_equals_its_reference_also_with_symbolic_dims) {
  for (const OpDef* def : OpRegistry::all()) {
    if (!def->decompose || def->random) continue;
    for (const Case& c : def->cases) {
      for (const bool symbolic : {false, true}) {
        if (symbolic && (c.build || c.inputs)) continue;
        const std::string where = title(*def, c) + (symbolic ? " decomposed with symbols" : " decomposed");
        try {
          const CaseGraph whole = make_case(*def, c, kSeed, symbolic);
          const Graph parts = decomposed(whole.graph, *def);
          verify(parts, "decomposed");
          EvalContext context;
          const HostValues want = evaluate(whole.graph, whole.inputs, context), got = evaluate(parts, whole.inputs, context);
          ASSERT_EQ(got.size(), want.size()) << where;
          for (size_t i = 0; i < got.size(); ++i)
            expect_close(got[i], want[i], where, [&](DType t, double largest) { return tolerance(c, t, parts, whole.inputs, largest); });
        } catch (const Error& e) {
          ADD_FAILURE() << where << ": " << e.what();
        }
      }
    }
  }
}

}  // namespace
}  // namespace bascule::ops
