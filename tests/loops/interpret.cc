// Loops between reference and kernels: the interpreter and the block programs give what the references give.
#include "loops/interpret.h"

#include <gtest/gtest.h>

#include <cmath>

#include "device/common/lower.h"
#include "graph/builder.h"
#include "graph/evaluate.h"
#include "kernels/block.h"
#include "passes/fuse.h"

namespace bascule {
namespace {

Tensor wave(std::vector<int64_t> dims) {
  Tensor t(DType::f32, std::move(dims));
  double x = 0;
  for (float& v : t.as_mutable<float>()) v = static_cast<float>(std::sin(x += 0.7));
  return t;
}

// One region on dense operands, by the interpreter and by the block program.
void check(const Graph& g, const HostValues& in) {
  EvalContext context;
  const Tensor want = evaluate(g, in, context)[0].tensor();
  const auto regions = passes::fuse(g);
  ASSERT_GE(regions.size(), 1u);  // numbers that were broadcast stand before
  std::string why;
  const auto layout = [&](Value v) { return device::dense_layout(*constants(g.type(v).dims)); };
  const auto lowered = device::lower(g, regions.back(), layout, why);
  ASSERT_TRUE(lowered) << why;
  ASSERT_EQ(lowered->spec.check(), "");
  const auto program = kernels::BlockProgram::compile(lowered->spec, &why);
  ASSERT_TRUE(program) << why;
  for (const bool blocks : {false, true}) {
    Tensor out(want.dtype(), want.dims());
    std::vector<std::byte*> pointers;
    for (size_t k = 0; k + 1 < lowered->operands.size(); ++k) {
      if (const Tensor* c = g.constant(lowered->operands[k])) pointers.push_back(const_cast<std::byte*>(c->data()));
      for (size_t i = 0; i < g.inputs.size(); ++i)
        if (g.inputs[i] == lowered->operands[k]) pointers.push_back(const_cast<std::byte*>(in[i].tensor().data()));
    }
    pointers.push_back(out.mutable_data());
    if (blocks) program->run(pointers);
    else loops::interpret(lowered->spec, pointers);
    for (int64_t i = 0; i < want.elements(); ++i)
      if (out.number(i) != want.number(i)) {
        ASSERT_NEAR(out.number(i), want.number(i), 1e-5 * std::max(1.0, std::abs(want.number(i)))) << lowered->spec.text() << (blocks ? "blocks" : "interpreter");
      }
  }
}

TEST(Loops, elementwise_chain) {
  for (const int64_t n : {1, 511, 512, 513, 2000}) {
    Builder b;
    const Value x = b.input(Type::tensor(DType::f32, {n, 3}), "x"), y = b.input(Type::tensor(DType::f32, {n, 3}), "y");
    check(b.finish({b.multiply(b.tanh(b.add(x, y)), b.logistic(b.subtract(x, 0.5)))}), {wave({n, 3}), wave({n, 3})});
  }
}

TEST(Loops, reductions_over_inner_outer_and_middle_axes) {
  for (const std::string_view body : {"add", "maximum", "minimum", "multiply"})
    for (const Ints& axes : {Ints{0}, Ints{1}, Ints{2}, Ints{0, 2}, Ints{0, 1, 2}}) {
      Builder b;
      const Value x = b.input(Type::tensor(DType::f32, {5, 7, 33}), "x");
      check(b.finish({b.reduce(body, b.add(b.abs(x), 0.5), axes, false)}), {wave({5, 7, 33})});
    }
}

TEST(Loops, comparisons_and_selects) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {700}), "x"), y = b.input(Type::tensor(DType::f32, {700}), "y");
  check(b.finish({b.select(b.compare(x, 0.25, "GT"), b.exp(y), b.negate(x))}), {wave({700}), wave({700})});
}

TEST(Loops, contraction_as_loops_equals_its_reference) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {2, 3, 5}), "x"), y = b.input(Type::tensor(DType::f32, {2, 5, 4}), "y");
  const Graph g = b.finish({b.matmul(x, y)});
  const HostValues in{wave({2, 3, 5}), wave({2, 5, 4})};
  EvalContext context;
  const Tensor want = evaluate(g, in, context)[0].tensor();
  const auto lowered = device::lower_contraction(g, g.nodes.back(), [&](Value v) { return device::dense_layout(*constants(g.type(v).dims)); });
  ASSERT_TRUE(lowered);
  Tensor out(DType::f32, want.dims());
  std::byte* const pointers[] = {const_cast<std::byte*>(in[0].tensor().data()), const_cast<std::byte*>(in[1].tensor().data()), out.mutable_data()};
  loops::interpret(lowered->spec, pointers);
  for (int64_t i = 0; i < want.elements(); ++i) EXPECT_NEAR(out.number(i), want.number(i), 1e-6);
}

TEST(Loops, collapse_merges_axes_that_run_together) {
  loops::KernelSpec s;
  s.axes = {{"a", 4, loops::Role::parallel}, {"b", 1, loops::Role::parallel}, {"c", 8, loops::Role::parallel}};
  s.operands = {{DType::f32, {8, 8, 1}, 0, false}, {DType::f32, {8, 8, 1}, 0, true}};
  s.body.push_back({});
  s.stores.push_back({1, 0});
  EXPECT_EQ(loops::collapsed(s).axes.size(), 1u);
  EXPECT_EQ(loops::collapsed(s).axes[0].extent, 32);
}

}  // namespace
}  // namespace bascule
