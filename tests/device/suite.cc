// The conformance suite of devices: every case of every operator agrees with the reference, static and symbolic; buffers; errors; many threads.
// Modelled chips stand for their kinds: to the instruction and to the tile, scratchpad and cache, f32 and bf16.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "device/device.h"
#include "graph/evaluate.h"
#include "ops/cases.h"
#include "passes/bind.h"
#include "runtime/session.h"

namespace bascule {
namespace {

struct Target {
  std::string device, precision;
  // Of the arithmetic that values pass through: what operands and results are rounded to.
  double epsilon() const { return float_info(*dtype_from_name(precision)).epsilon; }
  runtime::Options options() const { return {.device = device, .precision = precision}; }
};

// |got - want| <= K eps(type) max|want| elementwise scale: sums are in f32 on devices, in double in the reference. Where the device rounds operands to
// fewer bits, eps is its own and K smaller: errors of that size do not pile up in one operator.
std::string difference(const HostValue& got, const HostValue& want, double extra, const Target& target) {
  if (!got.is_tensor() || !want.is_tensor()) return "";
  const Tensor &g = got.tensor(), &w = want.tensor();
  if (g.type_text() != w.type_text()) return g.type_text() + " instead of " + w.type_text();
  if (is_string(w.dtype())) return g.strings() == w.strings() ? "" : "strings differ";
  if (!is_float(w.dtype()) && !is_complex(w.dtype())) return g.identical(w) ? "" : "integers differ";
  double largest = 0;
  const auto number = [](const Tensor& t, int64_t i) { return is_complex(t.dtype()) ? std::abs(t.complex(i)) : t.number(i); };
  for (int64_t i = 0; i < w.elements(); ++i)
    if (std::isfinite(number(w, i))) largest = std::max(largest, std::abs(number(w, i)));
  const double eps = float_info(real_of(w.dtype())).epsilon;
  const double limit = std::max(64 * eps, target.precision == "f32" ? 0 : 8 * target.epsilon());
  for (int64_t i = 0; i < w.elements(); ++i) {
    const double x = number(g, i), y = number(w, i);
    if (std::isnan(y) && std::isnan(x)) continue;
    if (x == y) continue;
    if (std::abs(x - y) <= limit * std::max(largest, 1e-3) + extra * std::abs(y)) continue;
    return "element " + std::to_string(i) + " is " + std::to_string(x) + ", the reference gives " + std::to_string(y);
  }
  return "";
}

// f32 inputs as the device takes them in: where results jump (ceil, casts), both sides then jump together.
HostValues rounded(HostValues inputs, const Target& target) {
  const DType t = *dtype_from_name(target.precision);
  for (HostValue& v : inputs)
    if (v.is_tensor() && v.tensor().dtype() == DType::f32 && t != DType::f32)
      for (float& x : v.tensor().as_mutable<float>()) x = static_cast<float>(round_to(t, static_cast<double>(x)));
  return inputs;
}

class DeviceSuite : public testing::TestWithParam<Target> {};

TEST_P(DeviceSuite, every_case_of_every_operator_agrees_with_the_reference) {
  for (const OpDef* def : OpRegistry::all()) {
    if (def->random) continue;
    for (const Case& c : def->cases)
      for (const bool symbolic : {false, true}) {
        const std::string at = std::string(def->name) + "/" + std::string(c.name) + (symbolic ? " symbolic" : "");
        try {
          ops::CaseGraph made = ops::make_case(*def, c, 7, symbolic);
          made.inputs = rounded(std::move(made.inputs), GetParam());
          EvalContext context;
          const HostValues want = evaluate(made.graph, made.inputs, context);
          const auto session = runtime::Session::from_graph(made.graph, GetParam().options());
          const HostValues got = session->run(made.inputs);
          ASSERT_EQ(got.size(), want.size()) << at;
          for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(difference(got[i], want[i], c.tolerance, GetParam()), "") << at << " output " << i;
        } catch (const Error& e) {
          ADD_FAILURE() << at << ": " << e.what();
        }
      }
  }
}

TEST_P(DeviceSuite, copies_between_buffers_with_offsets_and_refuses_what_lies_outside) {
  const device::Device& d = device::find_device(GetParam().device);
  const Tensor t = Tensor::from_ints(DType::i32, {4}, std::vector<int64_t>{1, 2, 3, 4});
  const device::Array a = device::to_device(d, t);
  const device::BufferRef b = d.allocate(12);
  d.copy(b, 4, a.buffer, a.offset_bytes + 8, 8).wait();
  const Tensor back = device::to_host(d, {DType::i32, {2}, b, 4});
  EXPECT_EQ(back.ints(), (std::vector<int64_t>{3, 4}));
  EXPECT_THROW(d.copy(b, 8, a.buffer, 0, 8), Error);
  EXPECT_THROW(d.copy(b, 0, a.buffer, -4, 4), Error);
  EXPECT_THROW(d.allocate(int64_t{1} << 62), Error);
}

TEST_P(DeviceSuite, writes_results_where_the_caller_wants_them) {
  const device::Device& d = device::find_device(GetParam().device);
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {Dim::symbol("n")}), "x");
  Graph g = b.finish({b.exp(x)}, {"y"});
  const auto e = d.compile(d.info().symbolic ? g : passes::bind(g, {{"n", 3}}), {.precision = GetParam().precision});
  const Tensor in = Tensor::from_doubles(DType::f32, {3}, std::vector<double>{0, 1, 2});
  const device::Array arg = device::to_device(d, in);
  device::Array out{DType::f32, {}, d.allocate(16), 4};
  device::Context context;
  e->run(context, {{"n", 3}}, {&arg, 1}, {&out, 1}).wait();
  EXPECT_EQ(out.dims, (std::vector<int64_t>{3}));
  EXPECT_NEAR(device::to_host(d, out).number(2), std::exp(2.0), 1e-5 + std::exp(2.0) * 2 * (GetParam().precision == "f32" ? 0 : GetParam().epsilon()));
  device::Array small{DType::f32, {}, d.allocate(8), 0};
  EXPECT_THROW(e->run(context, {{"n", 3}}, {&arg, 1}, {&small, 1}).wait(), Error);
}

// A chain of the kinds of kernels there are, small enough to be quick.
Graph mixed_graph() {
  Builder b;
  const Dim n = Dim::symbol("n");
  const Value x = b.input(Type::tensor(DType::f32, {n, 40}), "x");
  std::vector<double> weights(40 * 24);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<double>(i));
  Value y = b.matmul(x, b.constant(Tensor::from_doubles(DType::f32, {40, 24}, weights)));
  y = b.tanh(b.add(y, 0.5));
  y = b.matmul(y, b.transpose(y, {1, 0}));
  y = b.divide(y, b.sum(b.exp(y), {1}, true));
  return b.finish({b.transpose(y, {1, 0}), b.reduce("maximum", y, {0}, false)}, {"y", "m"});
}

TEST_P(DeviceSuite, thread_count_never_changes_a_bit) {
  Tensor x(DType::f32, {300, 40});
  float v = 0;
  for (float& e : x.as_mutable<float>()) e = std::sin(v += 0.37f);
  const HostValues one = runtime::Session::from_graph(mixed_graph(), {.device = GetParam().device, .threads = 1, .precision = GetParam().precision})->run(HostValues(1, x));
  const HostValues all = runtime::Session::from_graph(mixed_graph(), GetParam().options())->run(HostValues(1, x));
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(one[i].tensor().identical(all[i].tensor()));
}

TEST_P(DeviceSuite, one_session_serves_many_threads_and_shapes) {
  const auto session = runtime::Session::from_graph(mixed_graph(), GetParam().options());
  EvalContext context;
  const Graph g = mixed_graph();
  std::vector<HostValues> want(9);
  const auto input = [](int64_t n) {
    Tensor x(DType::f32, {n, 40});
    float v = static_cast<float>(n);
    for (float& e : x.as_mutable<float>()) e = std::sin(v += 0.37f);
    return HostValues(1, x);
  };
  for (int64_t n = 1; n < 9; ++n) want[static_cast<size_t>(n)] = evaluate(g, input(n), context);
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int64_t k = 0; k < 16; ++k) {
        const int64_t n = (t + k) % 8 + 1;
        const HostValues got = session->run(input(n));
        for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(difference(got[i], want[static_cast<size_t>(n)][i], 0, GetParam()), "");
      }
    });
  for (auto& t : threads) t.join();
}

std::string test_name(const testing::TestParamInfo<Target>& p) {
  std::string name = p.param.device + (p.param.device.starts_with("chip:") ? "_" + p.param.precision : "");
  std::replace(name.begin(), name.end(), ':', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Devices, DeviceSuite, testing::Values(Target{"reference", "f32"}, Target{"cpu", "f32"}), test_name);
INSTANTIATE_TEST_SUITE_P(Chips, DeviceSuite,
                         testing::Values(Target{"chip:unit", "f32"}, Target{"chip:trainium1", "f32"}, Target{"chip:trainium1", "bf16"}, Target{"chip:tpu_v5e", "bf16"}, Target{"chip:h100_sxm", "f32"}), test_name);

}  // namespace
}  // namespace bascule
