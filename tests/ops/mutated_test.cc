// tests/ops/mutated_test.cc — operators with attributes and operands that no exporter writes: refused with a typed error or run, never a crash.
#include <gtest/gtest.h>

#include <limits>

#include "base/budget.h"
#include "graph/evaluate.h"
#include "ops/cases.h"

namespace bascule::ops {
namespace {

constexpr int64_t kOdd[] = {std::numeric_limits<int64_t>::min(), -1, 0, 1, 3, int64_t{1} << 40, std::numeric_limits<int64_t>::max()};

std::vector<Attr> mutations(const Attr& a) {
  std::vector<Attr> out;
  const auto lists = [&](const auto& list, const auto& make) {
    using List = std::decay_t<decltype(list)>;
    out.emplace_back(List{});
    for (const int64_t odd : kOdd) {
      List longer = list;
      longer.push_back(make(odd));
      out.emplace_back(longer);
      for (size_t i = 0; i < list.size(); ++i) {
        List changed = list;
        changed[i] = make(odd);
        out.emplace_back(changed);
      }
    }
  };
  if (std::holds_alternative<int64_t>(a))
    for (const int64_t odd : kOdd) out.emplace_back(odd);
  if (std::holds_alternative<double>(a))
    for (const double odd : {-1.0, 0.0, 1e300, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) out.emplace_back(odd);
  if (std::holds_alternative<std::string>(a))
    for (const char* odd : {"", "no such word"}) out.emplace_back(std::string(odd));
  if (std::holds_alternative<bool>(a)) out.emplace_back(!std::get<bool>(a));
  if (std::holds_alternative<DType>(a))
    for (const DType odd : {DType::i1, DType::i4, DType::u64, DType::f8e8m0fnu, DType::f16, DType::c128, DType::string}) out.emplace_back(odd);
  if (const Ints* v = std::get_if<Ints>(&a)) lists(*v, [](int64_t odd) { return odd; });
  if (const Dims* v = std::get_if<Dims>(&a)) {
    lists(*v, [](int64_t odd) { return Dim(odd); });
    if (!v->empty()) {
      Dims open = *v;
      open[0] = Dim::symbol("open");
      out.emplace_back(open);
    }
  }
  return out;
}

// Built and run within a small budget. Errors of any kind but our own mistakes are answers.
void attempt(const OpDef& def, const Case& c, const std::string& what) {
  auto budget = std::make_shared<Budget>();
  budget->limit_bytes = int64_t{1} << 26;
  budget->deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  const BudgetScope scope(budget);
  const auto shown = [&] { return std::string(def.name) + " case '" + std::string(c.name) + "' with " + what; };
  try {
    const CaseGraph g = make_case(def, c, 1);
    for (const Value v : g.graph.outputs) {
      const Type& t = g.graph.type(v);
      for (const Dim& d : t.dims) EXPECT_TRUE(!d.is_constant() || d.value() >= 0) << shown() << " gives " << t.text();
    }
    if (!def.data_dependent && !g.graph.symbols().empty()) return;  // a size that nothing binds
    EvalContext context;
    evaluate(g.graph, g.inputs, context);
  } catch (const Error& e) {
    const bool ours = e.kind() == ErrorKind::internal && std::string(e.what()).find("case '") != 0 && std::string(e.what()).find("bound sizes") == std::string::npos &&
                      std::string(e.what()).find("static") == std::string::npos;
    EXPECT_FALSE(ours) << shown() << ": " << e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << shown() << ": " << e.what();
  }
}

TEST(Mutated, attributes_are_refused_or_run) {
  for (const OpDef* def : OpRegistry::all()) {
    if (def->host || def->control) continue;
    for (const Case& c : def->cases) {
      if (c.build) continue;
      for (const AttrDef& a : def->attrs) {
        const Attr* given = c.attrs.find(a.name);
        if (!given && (a.required || a.no_default)) continue;
        const Attr before = given ? *given : a.fallback;
        const std::vector<Attr> odd = mutations(before);
        for (size_t i = 0; i < odd.size(); ++i) {
          Case changed = c;
          changed.attrs.set(a.name, odd[i]);
          attempt(*def, changed, std::string(a.name) + ", mutation " + std::to_string(i));
        }
      }
    }
  }
}

TEST(Mutated, operands_are_refused_or_run) {
  for (const OpDef* def : OpRegistry::all()) {
    if (def->host || def->control) continue;
    for (const Case& c : def->cases) {
      if (c.build || c.inputs) continue;
      for (size_t i = 0; i < c.shapes.size(); ++i) {
        if (c.shapes[i] == std::vector<int64_t>{-1}) continue;
        std::vector<std::vector<int64_t>> odd = {{}, {0}, {1}, {2, 0, 3}, {1, 1, 1, 1, 1, 1}};
        for (size_t d = 0; d < c.shapes[i].size(); ++d)
          for (const int64_t extent : {0, 1, 2, 9}) {
            odd.push_back(c.shapes[i]);
            odd.back()[d] = extent;
          }
        for (const auto& dims : odd) {
          Case changed = c;
          changed.shapes[i] = dims;
          attempt(*def, changed, "operand " + std::to_string(i) + " of " + type_text(DType::f32, dims));
        }
      }
    }
  }
}

}  // namespace
}  // namespace bascule::ops
