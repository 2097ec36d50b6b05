// Steps of modelled chips: run literally, they give what the references give; every node is in one step; models come apart as people would cut them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "device/chip/chip.h"
#include "device/chip/map.h"
#include "device/chip/step.h"
#include "graph/builder.h"
#include "graph/evaluate.h"
#include "import/importer.h"
#include "inspect/host_split.h"
#include "ops/cases.h"
#include "passes/pipeline.h"
#include "tests/support/convolution.h"
#include "tests/support/execute_steps.h"

namespace bascule {
namespace {

using device::chip::make_steps;
using device::chip::prepare;
using device::chip::Step;

// |got - want| <= 64 eps(type) max|want|, NaN where NaN.
std::string difference(const Tensor& got, const Tensor& want, double extra) {
  if (got.type_text() != want.type_text()) return got.type_text() + " instead of " + want.type_text();
  if (is_complex(want.dtype()) || is_string(want.dtype())) return got.identical(want) ? "" : "differs";
  double largest = 1e-3;
  for (int64_t i = 0; i < want.elements(); ++i)
    if (std::isfinite(want.number(i))) largest = std::max(largest, std::abs(want.number(i)));
  const double eps = is_float(want.dtype()) ? float_info(want.dtype()).epsilon : 0;
  for (int64_t i = 0; i < want.elements(); ++i) {
    const double x = got.number(i), y = want.number(i);
    if ((std::isnan(x) && std::isnan(y)) || x == y || std::abs(x - y) <= 64 * eps * largest + extra * std::abs(y)) continue;
    return "element " + std::to_string(i) + " is " + std::to_string(x) + ", the reference gives " + std::to_string(y);
  }
  return "";
}

std::string steps_text(const Graph& g, const std::vector<Step>& steps) {
  std::string out;
  for (const Step& s : steps) out += text(g, s);
  return out;
}

// Each node is in one step, or is a view or a weight; operands were made before.
std::string partition_fault(const Graph& g, const std::vector<Step>& steps) {
  std::vector<int> in(g.nodes.size(), 0);
  for (const Step& s : steps) {
    if (s.nodes.empty()) return "a step without nodes";
    for (const int32_t i : s.nodes) ++in[static_cast<size_t>(i)];
  }
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    const std::string_view op = g.nodes[i].op->name;
    const bool may_vanish = op == "reshape" || op == "transpose" || op == "slice" || op == "broadcast_in_dim" || op == "optimization_barrier" ||
                            op == "gather" || op == "constant" || op == "absent" || op == "dims";
    if (in[i] > 1 || (in[i] == 0 && !may_vanish)) return std::string(op) + " in " + std::to_string(in[i]) + " steps";
  }
  return "";
}

std::vector<Step> expect_same(const Graph& graph, const HostValues& in, double extra = 0) {
  EvalContext context;
  const HostValues want = evaluate(graph, in, context);
  const Graph g = prepare(graph);
  const std::vector<Step> steps = make_steps(g);
  EXPECT_EQ(partition_fault(g, steps), "") << steps_text(g, steps);
  std::vector<Tensor> tensors;
  for (const HostValue& v : in) tensors.push_back(v.tensor());
  try {
    const std::vector<Tensor> got = execute_steps(g, steps, tensors);
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_EQ(difference(got[i], want[i].tensor(), extra), "") << "output " << i << "\n" << steps_text(g, steps);
  } catch (const std::exception& e) {
    ADD_FAILURE() << e.what() << "\n" << steps_text(g, steps);
  }
  return steps;
}

int64_t count(const std::vector<Step>& steps, Step::Kind kind) {
  return std::count_if(steps.begin(), steps.end(), [&](const Step& s) { return s.kind == kind; });
}

bool tensors_only(const std::vector<Type>& types) {
  return std::all_of(types.begin(), types.end(), [](const Type& t) { return t.is_tensor() && !is_string(t.dtype) && t.is_static(); });
}

TEST(Steps, every_case_of_every_operator_agrees_with_the_reference) {
  for (const OpDef* def : OpRegistry::all()) {
    if (def->random || def->host || def->data_dependent || def->effect) continue;
    for (const Case& c : def->cases) {
      SCOPED_TRACE(std::string(def->name) + "/" + std::string(c.name));
      const ops::CaseGraph made = ops::make_case(*def, c, 7, false);
      bool bound = tensors_only(made.graph.input_types()) && tensors_only(made.graph.output_types());
      for (const auto& v : made.graph.values) bound = bound && (!v.type.is_tensor() || v.type.is_static());
      if (!bound) continue;
      try {
        expect_same(made.graph, made.inputs, c.tolerance);
      } catch (const Error& e) {
        ADD_FAILURE() << e.what();
      }
    }
  }
}

Tensor wave(std::vector<int64_t> dims, double phase = 0) {
  Tensor t(DType::f32, std::move(dims));
  double x = phase;
  for (float& v : t.as_mutable<float>()) v = static_cast<float>(std::sin(x += 0.7));
  return t;
}
Value weight(Builder& b, std::vector<int64_t> dims) { return b.constant(wave(std::move(dims), 0.1 * static_cast<double>(b.graph().nodes.size()))); }

TEST(Steps, an_encoder_layer_is_three_products_attention_and_three_more_products_with_norms) {
  constexpr int64_t B = 2, S = 3, H = 2, D = 4, E = H * D;
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {B, S, E}), "x");
  const auto linear = [&](Value v, int64_t in, int64_t out) { return b.add(b.matmul(v, weight(b, {in, out})), weight(b, {out})); };
  const auto heads = [&](Value v) { return b.transpose(b.reshape(v, {B, S, H, D}), {0, 2, 1, 3}); };
  const Value q = heads(linear(x, E, E)), k = heads(linear(x, E, E)), v = heads(linear(x, E, E));
  const Value a = b.op("attention", {q, k, v}, {{"scale", 0.5}});
  const Value context = b.reshape(b.transpose(a, {0, 2, 1, 3}), {B, S, E});
  const auto norm = [&](Value y) { return b.op("layer_norm", {y, weight(b, {E}), weight(b, {E})}, {{"axis", int64_t{2}}, {"epsilon", 1e-5}}); };
  const Value y = norm(b.add(linear(context, E, E), x));
  const Value z = linear(b.op("gelu", {linear(y, E, 4 * E)}), 4 * E, E);
  const std::vector<Step> steps = expect_same(b.finish({norm(b.add(z, y))}), {wave({B, S, E})});
  EXPECT_EQ(count(steps, Step::contraction), 6);
  EXPECT_EQ(count(steps, Step::attention), 1);
  EXPECT_EQ(count(steps, Step::rows), 2);
  EXPECT_EQ(steps.size(), 9u);
}

TEST(Steps, a_pointwise_convolution_is_a_product) {
  for (const int64_t stride : {1, 2}) {
    Builder b;
    const Value x = b.input(Type::tensor(DType::f32, {2, 6, 5, 4}), "x");
    Attrs a = nchw(2);
    a.set("window_strides", Ints{stride, stride});
    const Value y = b.op("convolution", {x, weight(b, {8, 3, 1, 1})}, a);
    const std::vector<Step> steps = expect_same(b.finish({b.maximum(b.add(y, b.reshape(weight(b, {8}), {8, 1, 1})), 0)}), {wave({2, 6, 5, 4})});
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].kind, Step::contraction);
    EXPECT_EQ(steps[0].epilogue.size(), 2u);
  }
}

TEST(Steps, a_result_that_two_nodes_read_ends_the_epilogue) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {4, 6}), "x");
  const Value p = b.add(b.matmul(x, weight(b, {6, 6})), 1.0);
  const Value q = b.multiply(p, b.logistic(p));  // both uses are inside: one step
  const std::vector<Step> one = expect_same(b.finish({q}), {wave({4, 6})});
  EXPECT_EQ(one.size(), 1u);
  Builder c;
  const Value y = c.input(Type::tensor(DType::f32, {4, 6}), "y");
  const Value r = c.add(c.matmul(y, weight(c, {6, 6})), 1.0);
  const std::vector<Step> two = expect_same(c.finish({c.exp(r), c.reduce("add", r, {0}, false)}), {wave({4, 6})});
  EXPECT_EQ(two.size(), 3u);
  EXPECT_EQ(two[0].epilogue.size(), 1u);
}

// Chains of views and elementwise work after products, seeded.
TEST(Steps, random_chains_agree_with_the_reference) {
  uint64_t state = 12345;
  const auto draw = [&](int64_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(n));
  };
  for (int trial = 0; trial < 300; ++trial) {
    SCOPED_TRACE("trial " + std::to_string(trial));
    Builder b;
    const Value x = b.input(Type::tensor(DType::f32, {2, 3, 4}), "x");
    std::vector<Value> pool{x, b.matmul(x, weight(b, {4, 6}))};
    for (int k = 0; k < 12; ++k) {
      Value v = pool[static_cast<size_t>(std::max<int64_t>(0, static_cast<int64_t>(pool.size()) - 1 - draw(2)))];
      const std::vector<int64_t> d = *constants(b.dims(v));
      const int64_t elements = element_count(d);
      switch (draw(14)) {
        case 0: v = b.add(v, weight(b, {d.back()})); break;
        case 1: v = b.multiply(b.tanh(v), 0.5); break;
        case 2: v = b.op("gelu", {v}); break;
        case 3: {
          Ints p(d.size());
          for (size_t a = 0; a < p.size(); ++a) p[a] = static_cast<int64_t>(a);
          for (size_t a = p.size(); a-- > 1;) std::swap(p[a], p[static_cast<size_t>(draw(static_cast<int64_t>(a) + 1))]);
          v = b.transpose(v, p);
          break;
        }
        case 4: v = b.reshape(v, elements % 4 == 0 ? Dims{elements / 4, 2, 2} : Dims{elements}); break;
        case 5: v = b.reshape(v, {elements}); break;
        case 6: v = b.slice_axis(v, 0, 0, std::max<int64_t>(1, d[0] - 1)); break;
        case 7: {
          const Value w = pool[static_cast<size_t>(draw(static_cast<int64_t>(pool.size())))];
          v = *constants(b.dims(w)) == d ? b.add(v, w) : b.subtract(v, 0.25);
          break;
        }
        case 8: v = b.op("softmax", {v}, {{"axis", draw(static_cast<int64_t>(d.size()))}}); break;
        case 9: v = b.matmul(v, weight(b, {d.back(), 4})); break;
        case 10: v = b.concatenate({v, v}, draw(static_cast<int64_t>(d.size()))); break;
        case 11: v = b.mean(v, {draw(static_cast<int64_t>(d.size()))}, true); break;
        case 12: v = b.subtract(v, b.reduce("maximum", v, {static_cast<int64_t>(d.size()) - 1}, true)); break;
        default: v = b.clamp(-0.5, v, 0.5); break;
      }
      if (element_count(*constants(b.dims(v))) < 2000) pool.push_back(v);
    }
    Values outputs{pool.back()};
    if (draw(2)) outputs.push_back(pool[pool.size() - 2]);
    expect_same(b.finish(outputs), {wave({2, 3, 4})}, 1e-4);
    if (HasFailure()) return;
  }
}

std::string skeleton(const std::string& model) {
  const char* given = std::getenv("BASCULE_SHARED");
  return (given ? std::string(given) : std::string(BASCULE_SOURCE_DIR) + "/../shared") + "/models/skeletons/" + model + ".onnx";
}

struct Cut {
  std::string model;
  Bindings sizes;
  std::map<Step::Kind, int64_t> steps;  // exact numbers of these kinds
  size_t most = 0;                      // in all
};

TEST(Steps, models_come_apart_as_expected) {
  const std::vector<Cut> cuts = {
      // Per layer: q, k, v, attention, its projection with the residual, a norm, two products with gelu and residual, a norm.
      {"bert_base",
       {{"batch", 2}, {"seq", 16}},
       {{Step::contraction, 72}, {Step::attention, 12}, {Step::rows, 25}, {Step::gather, 1}, {Step::region, 3}, {Step::move, 0}, {Step::host, 0}},
       113},
      {"gpt2",
       {{"batch", 1}, {"seq", 16}},
       {{Step::contraction, 49}, {Step::attention, 12}, {Step::rows, 25}, {Step::gather, 1}, {Step::move, 0}, {Step::host, 0}},
       90},
      {"llama_110m",
       {{"batch", 1}, {"seq", 16}},
       {{Step::contraction, 85}, {Step::attention, 12}, {Step::rows, 25}, {Step::gather, 1}, {Step::move, 24}, {Step::host, 0}},
       200},
      {"vit_b_16", {{"batch", 1}}, {{Step::contraction, 49}, {Step::convolution, 1}, {Step::attention, 12}, {Step::rows, 25}, {Step::host, 0}}, 90},
      {"resnet50",
       {{"batch", 1}},
       {{Step::contraction, 37}, {Step::convolution, 17}, {Step::window, 1}, {Step::region, 1}, {Step::move, 0}, {Step::host, 0}},
       56},
      {"whisper_tiny_encoder",
       {{"batch", 1}},
       {{Step::contraction, 24}, {Step::convolution, 2}, {Step::attention, 4}, {Step::rows, 9}, {Step::region, 0}, {Step::host, 0}},
       39},
      {"convnext_tiny", {{"batch", 1}}, {{Step::contraction, 37}, {Step::convolution, 22}, {Step::rows, 23}, {Step::move, 0}, {Step::host, 0}}, 83},
      // 2 layers x 2 directions x 100 time steps: a product with what the input gives, and two regions.
      {"bilstm", {{"batch", 1}}, {{Step::contraction, 401}, {Step::region, 800}, {Step::host, 0}}, 1215},
  };
  for (const Cut& c : cuts) {
    if (!is_regular_file(skeleton(c.model))) GTEST_SKIP() << "'" << skeleton(c.model) << "' is not there (BASCULE_SHARED names the folder)";
    Graph g = import_model(skeleton(c.model)).graph;
    passes::optimize(g, {});
    g = prepare(substitute(g, c.sizes));
    const std::vector<Step> steps = make_steps(g);
    EXPECT_EQ(partition_fault(g, steps), "") << c.model;
    for (const auto& [kind, n] : c.steps) EXPECT_EQ(count(steps, kind), n) << c.model << " " << device::chip::name(kind);
    EXPECT_LE(steps.size(), c.most) << c.model;
  }
}

device::chip::Chip chip_with(double copy_bytes_per_s) {
  device::chip::Chip chip;
  chip.name = "test";
  chip.matrix.passes = {{DType::bf16, 1}};
  chip.software.request_ns = 100;
  chip.software.copy_bytes_per_s = copy_bytes_per_s;
  return chip;
}

TEST(Steps, what_the_host_runs_costs_its_transfers_and_its_work) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {4, 8}), "x");
  const Value gamma = b.unary("lgamma", b.matmul(x, weight(b, {8, 8})));
  const inspect::HostSplit split(b.finish({b.exp(b.transpose(gamma, {1, 0}))}), {});
  const auto parts = split.parts(chip_with(1e9));
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].operators, "lgamma");
  EXPECT_EQ(parts[0].reason, "lgamma: no engine of the chip does it");
  EXPECT_EQ(parts[0].transfer_bytes, 4.0 * (4 * 8 + 4 * 8));  // its operand from the chip, its result to it
  EXPECT_EQ(parts[0].transfer_ns, 256.0);
  EXPECT_EQ(parts[0].request_ns, 100.0);
  EXPECT_GT(*parts[0].host_ns, 0);
  EXPECT_FALSE(split.parts(chip_with(0))[0].transfer_ns);  // no rate: no time
}

TEST(Steps, a_type_without_a_rate_is_refused_with_its_name) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f64, {4, 4}), "x");
  const inspect::HostSplit split(b.finish({b.matmul(x, x)}), {});
  const auto parts = split.parts(chip_with(1e9));
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].reason, "dot_general: f64, for which the chip's file has no rate");
  EXPECT_EQ(parts[0].transfer_bytes, 0.0);  // the model's input and output are the host's anyway
}

}  // namespace
}  // namespace bascule
