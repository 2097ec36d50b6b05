// Control flow of constants becomes straight code with the same answers; what only a run decides stays.
#include "passes/resolve.h"

#include <gtest/gtest.h>

#include "graph/builder.h"
#include "graph/evaluate.h"
#include "passes/pipeline.h"

namespace bascule {
namespace {

Type scalar(DType t) { return Type::tensor(t, {}); }

bool straight(const Graph& g) {
  for (const Node& n : g.nodes)
    if (n.op->control || n.specialization) return false;
  return true;
}

HostValues answers(const Graph& g, const HostValues& inputs) {
  EvalContext context;
  return evaluate(g, inputs, context);
}

// x doubled while i < 5, from i = `first` (or from an input).
Graph doubling(Builder& b, Value i, Value x) {
  OpenRegion condition(b, "condition"), body(b, "body");
  const Value ci = condition.argument(b.type(i));
  condition.argument(b.type(x));
  condition.finish({condition.builder().compare(ci, 5, "LT")});
  const Value bi = body.argument(b.type(i)), bx = body.argument(b.type(x));
  body.finish({body.builder().add(bi, 1), body.builder().add(bx, bx)});
  return b.finish({b.ops("while", {i, x}, {}, std::vector<OpenRegion>{std::move(condition), std::move(body)})[1]});
}

TEST(Resolve, a_loop_of_constant_trips_is_unrolled) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {3}), "x");
  Graph g = doubling(b, b.constant(Tensor::scalar_int(DType::i64, 2)), x);
  const HostValues inputs{Tensor::from_doubles(DType::f32, {3}, std::vector<double>{1, 2, 3})};
  const HostValues want = answers(g, inputs);
  ASSERT_TRUE(passes::resolve(g));
  verify(g, "resolve");
  EXPECT_TRUE(straight(g));
  EXPECT_TRUE(answers(g, inputs)[0].tensor().identical(want[0].tensor()));
  EXPECT_FALSE(passes::resolve(g)) << "nothing is left to do";
}

TEST(Resolve, a_loop_of_the_run_stays_until_its_input_is_fixed) {
  Builder b;
  const Value i = b.input(scalar(DType::i64), "i"), x = b.input(Type::tensor(DType::f32, {3}), "x");
  Graph g = doubling(b, i, x);
  EXPECT_FALSE(passes::resolve(g));
  EXPECT_FALSE(straight(g));
  ASSERT_TRUE(passes::resolve(g, {{"i", Tensor::scalar_int(DType::i64, 4)}}));
  EXPECT_TRUE(straight(g));
  ASSERT_EQ(g.inputs.size(), 2u) << "a fixed input stays an input";
  const HostValues out = answers(g, {Tensor::scalar_int(DType::i64, 4), Tensor::from_doubles(DType::f32, {3}, std::vector<double>{1, 2, 3})});
  EXPECT_EQ(out[0].tensor().number(2), 6);
}

TEST(Resolve, a_branch_brings_its_own_sizes) {
  Builder b;
  const Value pred = b.input(scalar(DType::i1), "pred"), x = b.input(Type::tensor(DType::f32, {3}), "x");
  OpenRegion yes(b, "yes"), no(b, "no");
  yes.finish({yes.capture(x)});
  const Value y = no.capture(x);
  no.finish({no.builder().concatenate({y, y}, 0)});
  const Value either = b.ops("if", {pred}, {}, std::vector<OpenRegion>{std::move(yes), std::move(no)})[0];
  ASSERT_FALSE(b.type(either).is_static());
  Graph g = b.finish({b.add(either, either)});
  ASSERT_TRUE(passes::resolve(g, {{"pred", Tensor::scalar_int(DType::i1, 0)}}));
  passes::optimize(g, {});
  EXPECT_TRUE(straight(g));
  EXPECT_EQ(g.type(g.outputs[0]).text(), "f32[6]");
}

TEST(Resolve, rows_of_a_loop_are_stacked) {
  Builder b;
  const Value start = b.input(Type::tensor(DType::i64, {1}), "start");
  OpenRegion body(b, "body");
  const Value i = body.argument(scalar(DType::i64)), go = body.argument(scalar(DType::i1)), product = body.argument(Type::tensor(DType::i64, {1}));
  Builder& in = body.builder();
  const Value next = in.multiply(product, in.broadcast_to(in.add(i, 1), {1}));
  body.finish({go, next, next});
  const Values out = b.ops("loop", {b.constant(Tensor::scalar_int(DType::i64, 4)), kNoValue, start}, {}, std::vector<OpenRegion>{std::move(body)});
  Graph g = b.finish(out);
  const HostValues inputs{Tensor::from_ints(DType::i64, {1}, std::vector<int64_t>{1})};
  const HostValues want = answers(g, inputs);
  ASSERT_TRUE(passes::resolve(g));
  EXPECT_TRUE(straight(g));
  const HostValues got = answers(g, inputs);
  for (size_t k = 0; k < want.size(); ++k) EXPECT_TRUE(got[k].tensor().identical(want[k].tensor())) << k;
}

TEST(Resolve, an_endless_loop_is_refused) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {3}), "x"), i = b.constant(Tensor::scalar_int(DType::i64, 0));
  OpenRegion condition(b, "condition"), body(b, "body");
  const Value ci = condition.argument(b.type(i));
  condition.argument(b.type(x));
  condition.finish({condition.builder().compare(ci, 1, "LT")});
  const Value bi = body.argument(b.type(i)), bx = body.argument(b.type(x));
  body.finish({bi, body.builder().add(bx, bx)});
  Graph g = b.finish({b.ops("while", {i, x}, {}, std::vector<OpenRegion>{std::move(condition), std::move(body)})[1]});
  try {
    passes::resolve(g);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::unsupported);
  }
}

}  // namespace
}  // namespace bascule
