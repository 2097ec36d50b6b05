// A model weighed on a chip: times add up, sizes bind as asked, what no chip holds is refused in full.
#include "inspect/modelled.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "graph/builder.h"

namespace bascule {
namespace {
using inspect::ChipModel;
using inspect::Modelled;

// relu(x[batch, 256] * w[256, 512]) * v[512, 64], weights absent.
Graph two_layers() {
  Builder b;
  const auto weight = [&](int64_t rows, int64_t columns) {
    return b.op("absent", {}, {{"dtype", DType::f32}, {"dims", Dims{rows, columns}}, {"reason", std::string("a test")}});
  };
  const Value x = b.input(Type::tensor(DType::f32, {Dim::symbol("batch"), 256}), "x");
  b.origin = make_origin({"MatMul 'up'"});
  const Value up = b.matmul(x, weight(256, 512));
  b.origin = make_origin({"Relu 'act'"});
  const Value act = b.maximum(up, 0);
  b.origin = make_origin({"MatMul 'down'"});
  return b.finish({b.matmul(act, weight(512, 64))}, {"y"});
}

class Chips : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(all, Chips, testing::Values("trainium1", "tpu_v5e", "h100_sxm", "l4", "gaudi2"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_P(Chips, a_model_without_weights_is_weighed) {
  const auto model = ChipModel::from_graph(two_layers());
  EXPECT_EQ(model->absent_parameters(), 256 * 512 + 512 * 64);
  const Modelled m = model->weigh({.symbols = {{"batch", 128}}}, {.chip = GetParam()});
  EXPECT_EQ(m.batch, 128);
  EXPECT_TRUE(m.fits);
  EXPECT_GT(m.timing->total_ns, 0);
  EXPECT_GE(m.service_ns, m.timing->total_ns * 0.999);
  EXPECT_FALSE(m.timing->limiter.empty());
  EXPECT_GT(m.utilisation, 0);
  EXPECT_LE(m.utilisation, 1);
  for (const auto& e : m.engines) EXPECT_LE(e.share, 1.0001) << e.name;
  EXPECT_NE(m.notes.end(),
            std::find_if(m.notes.begin(), m.notes.end(), [](const std::string& n) { return n.find("weights are absent") != std::string::npos; }));
}

TEST_P(Chips, times_of_source_operators_add_up_to_the_whole) {
  const auto model = ChipModel::from_graph(two_layers());
  const Modelled m = model->weigh({.symbols = {{"batch", 128}}}, {.chip = GetParam()});
  double sum = 0;
  bool up = false, down = false;
  for (const auto& s : inspect::times_by_source(m)) {
    sum += s.ns;
    up = up || s.source == "MatMul 'up'";
    down = down || s.source == "MatMul 'down'";
  }
  EXPECT_NEAR(sum, m.timing->total_ns, 1e-6 * m.timing->total_ns);
  EXPECT_TRUE(up && down);
  double steps = 0;
  for (const auto& s : inspect::roofline(m)) {
    steps += s.ns;
    EXPECT_GE(s.roof_flop_per_s, 0);
  }
  EXPECT_NEAR(steps, m.timing->total_ns, 1e-6 * m.timing->total_ns);
}

TEST_P(Chips, a_second_question_is_answered_from_the_first) {
  const auto model = ChipModel::from_graph(two_layers());
  const Modelled a = model->weigh({.batch = 8}, {.chip = GetParam()}), b = model->weigh({.batch = 8}, {.chip = GetParam()});
  EXPECT_EQ(a.program, b.program);
  EXPECT_EQ(a.graph, model->weigh({.batch = 8}, {.chip = "tpu_v6e"}).graph) << "sizes are bound once for all chips";
  EXPECT_NE(a.program, model->weigh({.batch = 16}, {.chip = GetParam()}).program);
}

TEST(ChipModel, sizes_that_nothing_binds_are_one_and_said) {
  const auto model = ChipModel::from_graph(two_layers());
  const Modelled m = model->weigh({}, {.chip = "tpu_v5e"});
  EXPECT_EQ(m.batch, 1);
  EXPECT_EQ(m.notes[0], "sizes that nothing binds: batch = 1 (bind them with --shape)");
}

TEST(ChipModel, an_unknown_chip_names_the_nearest) {
  const auto model = ChipModel::from_graph(two_layers());
  try {
    model->weigh({}, {.chip = "tranium2"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), 2);
    EXPECT_NE(std::string(e.what()).find("trainium2"), std::string::npos) << e.what();
  }
}

TEST(ChipModel, decisions_of_the_run_are_refused_together) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {4}), "x");
  b.origin = make_origin({"NonZero 'rows'"});
  const Value rows = b.op("nonzero", {x});
  b.origin = make_origin({"If 'either'"});
  OpenRegion yes(b, "yes"), no(b, "no");
  yes.finish({yes.capture(x)});
  no.finish({no.builder().add(no.capture(x), 1)});
  const Value pred = b.compare(b.reshape(b.slice(x, {0}, {1}, {1}), {}), 0, "GT");
  const Value y = b.ops("if", {pred}, {}, std::vector<OpenRegion>{std::move(yes), std::move(no)})[0];
  const auto model = ChipModel::from_graph(b.finish({rows, y}));
  try {
    model->weigh({}, {.chip = "tpu_v5e"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::unsupported);
    EXPECT_EQ(e.problems().size(), 2u) << e.what();
  }
}

TEST(ChipModel, branches_are_chosen_by_the_input_that_decides) {
  Builder b;
  const Value rate = b.input(Type::tensor(DType::i64, {}), "rate"), x = b.input(Type::tensor(DType::f32, {64, 64}), "x");
  OpenRegion yes(b, "yes"), no(b, "no");
  yes.finish({yes.capture(x)});
  const Value inner = no.capture(x);
  no.finish({no.builder().matmul(inner, inner)});
  const Value y = b.ops("if", {b.compare(rate, 16000, "EQ")}, {}, std::vector<OpenRegion>{std::move(yes), std::move(no)})[0];
  const auto model = ChipModel::from_graph(b.finish({b.add(y, y)}));
  const auto flops = [&](const inspect::Sizes& sizes) {
    double sum = 0;
    for (const auto& s : model->weigh(sizes, {.chip = "tpu_v5e"}).program->steps) sum += s.work.multiply_adds;
    return sum;
  };
  EXPECT_EQ(flops({.values = {{"rate", Tensor::scalar_int(DType::i64, 16000)}}}), 0);
  EXPECT_EQ(flops({}), 64 * 64 * 64) << "without a value it is 1";
}

}  // namespace
}  // namespace bascule
