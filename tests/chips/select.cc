// What data decide, on the chips' engines: sorts, largest elements, positions, running folds, gathers and scatters of any form. Results are exact: numbers are
// moved and compared, never rounded.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "device/device.h"
#include "graph/builder.h"
#include "graph/evaluate.h"
#include "tests/support/convolution.h"

namespace bascule::device::chip {
namespace {

struct Selecting : testing::TestWithParam<const char*> {
  Builder b;
  HostValues inputs;
  // Whole numbers in [low, high], which every float type of the chips holds.
  Value input(DType t, std::vector<int64_t> dims, int low, int high, uint32_t seed = 1) {
    std::vector<int64_t> x(static_cast<size_t>(element_count(dims)));
    for (int64_t& v : x) {
      seed = seed * 1664525u + 1013904223u;
      v = low + static_cast<int64_t>(seed >> 8) % (high - low + 1);
    }
    return given(is_float(t) ? Tensor::from_doubles(t, dims, std::vector<double>(x.begin(), x.end())) : Tensor::from_ints(t, dims, x));
  }
  Value given(Tensor t) {
    const Value v = b.input(Type::tensor(t.dtype(), to_dims(t.dims())), "x" + std::to_string(inputs.size()));
    inputs.emplace_back(std::move(t));
    return v;
  }
  // All on the chip, and what the reference gives.
  std::string check(const Values& outputs) {
    const Graph g = b.finish(outputs);
    const Device& d = find_device("chip:" + std::string(GetParam()));
    const auto e = d.compile(g, {.precision = d.info().precisions.front()});
    for (const Fallback& f : e->fallbacks()) ADD_FAILURE() << f.node << ": " << f.reason;
    EvalContext context;
    const HostValues want = evaluate(g, inputs, context);
    std::vector<Array> in, out(want.size());
    for (const HostValue& v : inputs) in.push_back(to_device(d, v.tensor()));
    Context run;
    e->run(run, {}, in, out).wait();
    for (size_t i = 0; i < want.size(); ++i) {
      const Tensor got = to_host(d, out[i]), &w = want[i].tensor();
      for (int64_t k = 0; k < w.elements(); ++k)
        EXPECT_TRUE(got.number(k) == w.number(k) || (std::isnan(got.number(k)) && std::isnan(w.number(k))))
            << GetParam() << ": output " << i << ", element " << k << " is " << got.number(k) << " instead of " << w.number(k);
    }
    return e->text();
  }
};

TEST_P(Selecting, sorts_several_values_by_one_and_keeps_the_order_of_equals) {
  const Value key = input(DType::f32, {3, 40}, -4, 4), other = input(DType::i32, {3, 40}, -1000, 1000, 9);
  Builder order;
  Values v;
  for (const DType t : {DType::f32, DType::i32})
    for (int k = 0; k < 2; ++k) v.push_back(order.input(Type::tensor(t, {})));
  const auto region = std::make_shared<const Graph>(order.finish({order.compare(v[0], v[1], "GT")}));
  check(b.ops("sort", {key, other}, {{"dimension", int64_t{1}}}, {region}));
}

TEST_P(Selecting, finds_the_largest_with_ties_and_nan_in_short_rows_and_in_long_ones) {
  const Value few = input(DType::f32, {5, 17}, -3, 3);
  Values out = b.ops("topk", {few}, {{"axis", int64_t{1}}, {"k", Dims{4}}});
  Tensor odd = Tensor::from_doubles(DType::f32, {2, 8}, std::vector<double>{INFINITY, 1, NAN, INFINITY, NAN, -INFINITY, 1, 0, 0, NAN, -INFINITY, INFINITY, 3, NAN, 3, INFINITY});
  const Value strange = given(odd);
  for (const bool largest : {true, false}) {
    const Values of_odd = b.ops("topk", {strange}, {{"axis", int64_t{1}}, {"k", Dims{7}}, {"largest", largest}});
    out.insert(out.end(), of_odd.begin(), of_odd.end());
  }
  const Value smallest = b.ops("topk", {few}, {{"axis", int64_t{0}}, {"k", Dims{2}}, {"largest", false}})[1];
  out.push_back(smallest);
  Tensor x(DType::f32, {2, 700});
  auto numbers = x.as_mutable<float>();
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50);
  numbers[300] = numbers[650] = NAN;
  numbers[1000] = -INFINITY;
  const Values many = b.ops("topk", {given(x)}, {{"axis", int64_t{1}}, {"k", Dims{5}}});
  out.insert(out.end(), many.begin(), many.end());
  check(out);
}

TEST_P(Selecting, finds_the_largest_of_long_rows_in_pieces_of_them) {
  const Value x = input(DType::f32, {2, 3000}, -120, 120);  // many equals
  Values out = b.ops("topk", {x}, {{"axis", int64_t{1}}, {"k", Dims{40}}});
  const Values columns = b.ops("topk", {input(DType::i32, {1500, 3}, -1000, 1000, 5)}, {{"axis", int64_t{0}}, {"k", Dims{9}}});
  out.insert(out.end(), columns.begin(), columns.end());
  check(out);
}

TEST_P(Selecting, finds_the_last_position_of_the_largest) {
  const Value x = input(DType::f32, {6, 33}, -2, 2), u = input(DType::u8, {6, 33}, 0, 3, 5);
  check({b.op("arg_max", {x}, {{"axis", int64_t{1}}, {"select_last", true}}), b.op("arg_min", {u}, {{"axis", int64_t{0}}})});
}

TEST_P(Selecting, runs_folds_along_any_axis_in_both_directions) {
  const Value x = input(DType::i32, {5, 4, 130}, -100, 100), y = input(DType::f32, {3, 70}, 0, 3, 3);
  check({b.op("cumulative", {x}, {{"axis", int64_t{2}}}), b.op("cumulative", {x}, {{"axis", int64_t{0}}, {"exclusive", true}}),
         b.op("cumulative", {x}, {{"axis", int64_t{1}}, {"body", std::string("maximum")}, {"reverse", true}}),
         b.op("cumulative", {y}, {{"axis", int64_t{1}}, {"exclusive", true}, {"reverse", true}})});
}

TEST_P(Selecting, gathers_windows_at_several_indices_within_batches) {
  const Value x = input(DType::f32, {2, 6, 7, 3}, -100, 100), at = input(DType::i64, {2, 5, 2}, -2, 8, 7);
  const auto windows = [&](std::string mode) {
    return b.op("gather", {x, at},
                {{"offset_dims", Ints{0, 2, 4}},
                 {"collapsed_slice_dims", Ints{}},
                 {"operand_batching_dims", Ints{0}},
                 {"start_indices_batching_dims", Ints{0}},
                 {"start_index_map", Ints{2, 1}},
                 {"index_vector_dim", int64_t{2}},
                 {"slice_sizes", Dims{1, 2, 3, 3}},
                 {"out_of_bounds", std::move(mode)}});
  };
  check({windows("clamp"), windows("drop")});
}

TEST_P(Selecting, scatters_windows_the_last_of_two_wins_and_leaves_out_what_lies_outside) {
  const Value x = input(DType::f32, {4, 6, 5}, -100, 100), at = input(DType::i32, {7, 2}, -1, 6, 11), u = input(DType::f32, {7, 2, 5}, -9, 9, 13);
  const auto written = [&](const std::shared_ptr<const Graph>& region) {
    return b.ops("scatter", {x, at, u},
                 {{"update_window_dims", Ints{1, 2}},
                  {"inserted_window_dims", Ints{0}},
                  {"scatter_dims_to_operand_dims", Ints{0, 1}},
                  {"index_vector_dim", int64_t{1}},
                  {"out_of_bounds", std::string("drop")}},
                 {region})[0];
  };
  Builder assign;
  assign.input(Type::tensor(DType::f32, {}));
  const Value second = assign.input(Type::tensor(DType::f32, {}));
  const std::string program = check({written(std::make_shared<const Graph>(assign.finish({second}))), written(Builder::scalar_region("add", DType::f32))});
  EXPECT_NE(program.find("scatter"), std::string::npos);
}

TEST_P(Selecting, writes_at_positions_computed_along_several_axes) {
  const Value x = input(DType::f32, {2, 8, 9}, -100, 100), u = input(DType::f32, {2, 3, 4}, -9, 9, 3);
  const Value i = b.reshape(input(DType::i32, {1}, 7, 7), {}), j = b.reshape(input(DType::i32, {1}, 2, 2), {}), zero = b.constant(Tensor::scalar_int(DType::i32, 0));
  check({b.op("dynamic_update_slice", {x, u, zero, i, j})});
}

TEST_P(Selecting, writes_a_row_of_each_head_into_a_cache) {
  const Value cache = input(DType::f32, {2, 3, 64, 32}, -100, 100), now = input(DType::f32, {2, 3, 1, 32}, -9, 9, 3);
  const Value t = b.reshape(input(DType::i64, {1}, 41, 41), {}), zero = b.constant(Tensor::scalar_int(DType::i64, 0));
  const std::string program = check({b.op("dynamic_update_slice", {cache, now, zero, zero, t, zero})});
  EXPECT_NE(program.find("scatter"), std::string::npos);
}

TEST_P(Selecting, folds_by_a_region_of_its_own_in_the_order_of_the_elements) {
  // over two elements the tree is the fold itself
  Builder region;
  const Value p = region.input(Type::tensor(DType::i32, {})), q = region.input(Type::tensor(DType::i32, {}));
  const auto body = std::make_shared<const Graph>(region.finish({region.maximum(region.multiply(p, q), -7)}));
  const Value x = input(DType::i32, {2, 3}, -2, 2);
  check(b.ops("reduce", {x, b.constant(Tensor::scalar_int(DType::i32, 1))}, {{"dimensions", Ints{0}}}, {body}));
}

// ONNX MatMulInteger, ConvInteger: a product of integers less their zero points.
TEST_P(Selecting, multiplies_bytes_less_their_zero_points) {
  const auto less = [&](Value x, double zero) { return b.subtract(b.convert(x, DType::i32), zero); };
  const Value a = input(DType::u8, {3, 5, 40}, 0, 255), w = input(DType::i8, {3, 40, 7}, -128, 127, 3);
  const Value za = b.convert(input(DType::u8, {1}, 117, 117), DType::i32);
  const Value of_activations = b.dot_general(b.subtract(b.convert(a, DType::i32), b.broadcast_to(za, b.dims(a))), less(w, 3), {0}, {0}, {2}, {1});
  std::vector<int64_t> kernel(4 * 2 * 3 * 3);
  for (size_t i = 0; i < kernel.size(); ++i) kernel[i] = static_cast<int64_t>(i * 29 % 256);
  const Value x = input(DType::u8, {2, 2, 9, 8}, 0, 255, 7);
  Attrs window = nchw(1);
  window.set("window_strides", Ints{1, 2});
  window.set("padding_low", Dims{1, 1});
  window.set("padding_high", Dims{1, 0});
  window.set("dtype", DType::i32);
  const Value image = b.op("convolution", {less(x, 100), less(b.constant(Tensor::from_ints(DType::u8, {4, 2, 3, 3}, kernel)), 128)}, window);
  check({of_activations, image});
}

TEST(SelectingAlone, a_running_sum_past_what_the_engine_holds_is_an_error) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::i32, {2, 3}));
  const Graph g = b.finish({b.op("cumulative", {x}, {{"axis", int64_t{1}}})});
  const Device& d = find_device("chip:trainium1");
  const auto e = d.compile(g, {.precision = "bf16"});
  const std::vector<Array> in{to_device(d, Tensor::from_ints(DType::i32, {2, 3}, std::vector<int64_t>{1, 2, 3, 1 << 24, 0, 1}))};
  std::vector<Array> out(1);
  Context run;
  EXPECT_THROW(e->run(run, {}, in, out).wait(), Error);
}

// More terms than sums in f32 hold exactly: on the host, and it says why.
TEST(SelectingAlone, long_sums_of_bytes_are_exact_or_the_hosts) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::i8, {4, 2048})), w = b.input(Type::tensor(DType::i8, {2048, 4}));
  const Graph g = b.finish({b.dot_general(x, w, {}, {}, {1}, {0}, DType::i32)});
  const auto fallbacks = [&](const char* chip, const char* precision) { return find_device(chip).compile(g, {.precision = precision})->fallbacks(); };
  EXPECT_TRUE(fallbacks("chip:h100_sxm", "bf16").empty());
  const auto of_sums = fallbacks("chip:trainium1", "bf16");
  ASSERT_EQ(of_sums.size(), 1u);
  EXPECT_EQ(of_sums[0].reason, "dot_general: sums of integers that may pass 2^24, in f32; runs on the host");
}

INSTANTIATE_TEST_SUITE_P(Chips, Selecting, testing::Values("trainium1", "trainium3", "tpu_v5e", "h100_sxm"), [](const auto& p) { return std::string(p.param); });

}  // namespace
}  // namespace bascule::device::chip
