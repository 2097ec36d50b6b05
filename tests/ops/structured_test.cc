// tests/ops/structured_test.cc — contractions, windows, indexing, sorting, control flow: numbers from the StableHLO specification and ONNX's documents.
#include <gtest/gtest.h>

#include <cmath>

#include "base/budget.h"
#include "graph/evaluate.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

Tensor numbers(DType t, std::vector<int64_t> dims, std::vector<double> v) { return Tensor::from_doubles(t, std::move(dims), v); }
Tensor f32(std::vector<int64_t> dims, std::vector<double> v) { return numbers(DType::f32, std::move(dims), std::move(v)); }
Tensor i64(std::vector<int64_t> dims, std::vector<int64_t> v) { return Tensor::from_ints(DType::i64, std::move(dims), v); }
std::vector<double> iota(int n, double from) {
  std::vector<double> v;
  for (int i = 0; i < n; ++i) v.push_back(from + i);
  return v;
}

HostValues run(std::string_view op, const HostValues& inputs, Attrs attrs, std::vector<std::shared_ptr<const Graph>> regions = {}, Accumulate mode = Accumulate::exact) {
  Builder b;
  b.blame = ErrorKind::usage;
  Values operands;
  for (const HostValue& v : inputs) operands.push_back(b.input(Type::of(v)));
  const Values out = b.ops(op, operands, std::move(attrs), std::move(regions));
  EvalContext context;
  context.accumulate = mode;
  return evaluate(b.finish(out), inputs, context);
}
Tensor first(const HostValues& v) { return v[0].tensor(); }

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(DotGeneral, sums_exactly_or_step_by_step_as_asked) {
  // 2^24 + 1 is not an f32: each of the ones is lost when sums are rounded at every step, none when they are kept.
  std::vector<double> a(9, 1);
  a[0] = 16777216;
  const HostValues in{f32({1, 9}, a), f32({9, 1}, std::vector<double>(9, 1))};
  const Attrs attrs{{"lhs_contracting_dimensions", Ints{1}}, {"rhs_contracting_dimensions", Ints{0}}, {"dtype", DType::f32}};
  EXPECT_EQ(first(run("dot_general", in, attrs)).number(0), 16777224);
  EXPECT_EQ(first(run("dot_general", in, attrs, {}, Accumulate::element)).number(0), 16777216);
}

TEST(DotGeneral, refuses_extents_that_differ_with_the_constraint) {
  const std::string text = message_of([] { run("dot_general", {f32({2, 3}, iota(6, 0)), f32({4, 2}, iota(8, 0))}, {{"lhs_contracting_dimensions", Ints{1}}, {"rhs_contracting_dimensions", Ints{0}}, {"dtype", DType::f32}}); });
  EXPECT_NE(text.find("C10"), std::string::npos) << text;
}

Attrs spec_convolution() {
  return {{"window_strides", Ints{4, 4}}, {"lhs_dilation", Ints{2, 2}}, {"input_batch_dimension", int64_t{0}}, {"input_feature_dimension", int64_t{3}}, {"input_spatial_dimensions", Ints{1, 2}},
          {"kernel_input_feature_dimension", int64_t{2}}, {"kernel_output_feature_dimension", int64_t{3}}, {"kernel_spatial_dimensions", Ints{0, 1}}, {"output_batch_dimension", int64_t{0}},
          {"output_feature_dimension", int64_t{3}}, {"output_spatial_dimensions", Ints{1, 2}}, {"dtype", DType::i64}};
}
TEST(Convolution, specification_example) {
  const HostValues in{i64({1, 4, 4, 1}, {1, 2, 5, 6, 3, 4, 7, 8, 10, 11, 14, 15, 12, 13, 16, 17}), i64({3, 3, 1, 1}, std::vector<int64_t>(9, 1))};
  EXPECT_TRUE(first(run("convolution", in, spec_convolution())).identical(i64({1, 2, 2, 1}, {10, 26, 46, 62})));
}
TEST(Convolution, symbolic_image_gives_symbolic_result) {
  Builder b;
  Attrs a = spec_convolution();
  a.set("lhs_dilation", Ints{1, 1});
  a.set("window_strides", Ints{2, 2});
  const Value y = b.op("convolution", {b.input(Type::tensor(DType::i64, {Dim::symbol("n"), Dim::symbol("h"), 9, 1})), b.input(Type::tensor(DType::i64, {3, 3, 1, 1}))}, a);
  EXPECT_EQ(b.type(y).text(), "i64[n,floordiv(h+1,2)-1,4,1]");
}

TEST(Gather, specification_example_with_clamped_start) {
  const HostValues in{f32({3, 4, 2}, iota(24, 1)), i64({2, 3, 2}, {0, 0, 1, 0, 2, 1, 0, 1, 1, 1, 0, 9})};
  const Attrs attrs{{"offset_dims", Ints{2, 3}}, {"collapsed_slice_dims", Ints{0}}, {"start_index_map", Ints{1, 0}}, {"index_vector_dim", int64_t{2}}, {"slice_sizes", Dims{1, 2, 2}}};
  EXPECT_TRUE(first(run("gather", in, attrs)).identical(f32({2, 3, 2, 2}, {1, 2, 3, 4, 3, 4, 5, 6, 13, 14, 15, 16, 9, 10, 11, 12, 11, 12, 13, 14, 17, 18, 19, 20})));
}
TEST(Gather, out_of_bounds_error_names_index_and_range) {
  const Attrs attrs{{"offset_dims", Ints{}}, {"collapsed_slice_dims", Ints{0}}, {"start_index_map", Ints{0}}, {"index_vector_dim", int64_t{1}}, {"slice_sizes", Dims{1}}, {"out_of_bounds", std::string("error")}};
  const std::string text = message_of([&] { run("gather", {f32({3}, iota(3, 0)), i64({2}, {1, 3})}, attrs); });
  EXPECT_NE(text.find("expected index in [0, 3) for axis 0, found 3"), std::string::npos) << text;
}
TEST(Gather, a_dim_chosen_from_a_shape_stays_symbolic) {
  Builder b;
  const Value shape = b.sizes({Dim::symbol("batch"), 3, Dim::symbol("seq")});
  const Value y = b.op("gather", {shape, b.ints({2, 0})}, {{"offset_dims", Ints{}}, {"collapsed_slice_dims", Ints{0}}, {"start_index_map", Ints{0}}, {"index_vector_dim", int64_t{1}}, {"slice_sizes", Dims{1}}});
  ASSERT_TRUE(b.known(y).has_value());
  EXPECT_EQ(text(*b.known(y)), "[seq,batch]");
}

TEST(Scatter, specification_example_adds_and_drops) {
  const HostValues in{i64({3, 4, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}), i64({2, 3, 2}, {0, 2, 1, 0, 2, 1, 0, 1, 1, 0, 0, 9}), i64({2, 3, 2, 2}, std::vector<int64_t>(24, 1))};
  const Attrs attrs{{"update_window_dims", Ints{2, 3}}, {"inserted_window_dims", Ints{0}}, {"scatter_dims_to_operand_dims", Ints{1, 0}}, {"index_vector_dim", int64_t{2}}};
  const Tensor y = first(run("scatter", in, attrs, {Builder::scalar_region("add", DType::i64)}));
  EXPECT_TRUE(y.identical(i64({3, 4, 2}, {1, 2, 5, 6, 7, 8, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 21, 22, 23, 24})));
}
TEST(Scatter, plain_assignment_moves_strings) {
  Builder region("second");
  region.input(Type::tensor(DType::string, {}));
  const Value update = region.input(Type::tensor(DType::string, {}));
  const auto body = std::make_shared<const Graph>(region.finish({update}));
  const HostValues in{Tensor::from_strings({3}, {"a", "b", "c"}), i64({2, 1}, {2, 0}), Tensor::from_strings({2}, {"x", "y"})};
  const Tensor y = first(run("scatter", in, {{"update_window_dims", Ints{}}, {"inserted_window_dims", Ints{0}}, {"scatter_dims_to_operand_dims", Ints{0}}, {"index_vector_dim", int64_t{1}}}, {body}));
  EXPECT_EQ(y.strings(), (std::vector<std::string>{"y", "b", "x"}));
}

TEST(ReduceWindow, specification_example_with_both_dilations) {
  const Attrs attrs{{"window_dimensions", Dims{2, 1}}, {"window_strides", Ints{4, 1}}, {"base_dilations", Ints{2, 1}}, {"window_dilations", Ints{3, 1}}, {"padding_low", Dims{2, 0}}, {"padding_high", Dims{1, 0}}};
  const Tensor y = first(run("reduce_window", {i64({3, 2}, {1, 2, 3, 4, 5, 6}), i64({}, {0})}, attrs, {Builder::scalar_region("add", DType::i64)}));
  EXPECT_TRUE(y.identical(i64({2, 2}, {0, 0, 3, 4})));
}

TEST(SelectAndScatter, specification_example) {
  Builder b("select");
  const Value p = b.input(Type::tensor(DType::i64, {})), q = b.input(Type::tensor(DType::i64, {}));
  const auto select = std::make_shared<const Graph>(b.finish({b.compare(p, q, "GE")}));
  const Attrs attrs{{"window_dimensions", Dims{3, 1}}, {"window_strides", Ints{2, 1}}, {"padding_low", Dims{0, 0}}, {"padding_high", Dims{1, 0}}};
  const Tensor y = first(run("select_and_scatter", {i64({4, 2}, {1, 5, 2, 5, 3, 6, 4, 4}), i64({2, 2}, {5, 6, 7, 8}), i64({}, {0})}, attrs, {select, Builder::scalar_region("add", DType::i64)}));
  EXPECT_TRUE(y.identical(i64({4, 2}, {0, 0, 0, 0, 5, 14, 7, 0})));
}

TEST(Sort, two_operands_move_together_and_a_contradicting_comparator_ends) {
  Builder b("comparator");
  const Value x = b.input(Type::tensor(DType::i64, {})), y = b.input(Type::tensor(DType::i64, {}));
  b.input(Type::tensor(DType::f32, {}));
  b.input(Type::tensor(DType::f32, {}));
  const auto greater = std::make_shared<const Graph>(b.finish({b.compare(x, y, "GT")}));
  const HostValues out = run("sort", {i64({4}, {1, 3, 2, 3}), f32({4}, {0, 1, 2, 3})}, {{"dimension", int64_t{0}}}, {greater});
  EXPECT_TRUE(out[0].tensor().identical(i64({4}, {3, 3, 2, 1})));
  EXPECT_TRUE(out[1].tensor().identical(f32({4}, {1, 3, 2, 0})));
  Builder c("always");
  const Value u = c.input(Type::tensor(DType::i64, {})), v = c.input(Type::tensor(DType::i64, {}));
  const auto always = std::make_shared<const Graph>(c.finish({c.compare(c.subtract(u, u), c.subtract(v, v), "EQ")}));
  const Tensor z = first(run("sort", {i64({5}, {5, 4, 3, 2, 1})}, {{"dimension", int64_t{0}}}, {always}));
  int64_t sum = 0;
  for (const int64_t e : z.ints()) sum += e;
  EXPECT_EQ(sum, 15);
}

TEST(RngBitGenerator, three_fry_as_xla_draws_it) {
  const HostValues out = run("rng_bit_generator", {Tensor::from_ints(DType::u64, {2}, std::vector<int64_t>{3, 3})}, {{"rng_algorithm", std::string("THREE_FRY")}, {"dims", Dims{}}, {"dtype", DType::u64}});
  EXPECT_EQ(out[0].tensor().ints(), (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(out[1].tensor().integer(0), 3349939604322698703);
}
TEST(RngBitGenerator, philox_known_answer) {  // Random123's vector: counter and key all ones
  const HostValues out = run("rng_bit_generator", {Tensor::from_ints(DType::u64, {3}, std::vector<int64_t>{-1, -1, -1})}, {{"rng_algorithm", std::string("PHILOX")}, {"dims", Dims{4}}, {"dtype", DType::u32}});
  EXPECT_EQ(out[1].tensor().ints(), (std::vector<int64_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(out[0].tensor().ints(), (std::vector<int64_t>{-1, 0, 0}));
}

TEST(RngBitGenerator, philox_of_two_words_as_xla_draws_it) {  // jax.lax.rng_bit_generator of [5, 6] and of the words 0, 7, 0, 9
  const Attrs attrs{{"rng_algorithm", std::string("DEFAULT")}, {"dims", Dims{3}}, {"dtype", DType::u64}};
  const HostValues out = run("rng_bit_generator", {Tensor::from_ints(DType::u64, {2}, std::vector<int64_t>{5, 6})}, attrs);
  EXPECT_EQ(out[0].tensor().ints(), (std::vector<int64_t>{5, 8}));
  EXPECT_EQ(out[1].tensor().ints(), (std::vector<int64_t>{6310486494748335451, 8159586446766182419, static_cast<int64_t>(14169269631707533809u)}));
  const Tensor bytes = run("rng_bit_generator", {Tensor::from_ints(DType::u32, {4}, std::vector<int64_t>{0, 7, 0, 9})}, {{"rng_algorithm", std::string("PHILOX")}, {"dims", Dims{5}}, {"dtype", DType::u8}})[1].tensor();
  EXPECT_EQ(bytes.ints(), (std::vector<int64_t>{4, 204, 207, 76, 67}));
}

TEST(Fft, real_transform_and_its_inverse_agree) {
  const Tensor x = f32({1, 6}, {1, 2, 3, 4, -5, 0.5});
  const Tensor X = first(run("fft", {x}, {{"fft_type", std::string("RFFT")}, {"fft_length", Dims{6}}}));
  EXPECT_NEAR(X.complex(0).real(), 5.5, 1e-6);
  EXPECT_NEAR(X.complex(3).real(), 1 - 2 + 3 - 4 - 5 - 0.5, 1e-6);
  const Tensor y = first(run("fft", {X}, {{"fft_type", std::string("IRFFT")}, {"fft_length", Dims{6}}}));
  for (int64_t i = 0; i < 6; ++i) EXPECT_NEAR(y.number(i), x.number(i), 1e-6);
}

TEST(TriangularSolve, every_side_triangle_and_transpose_solves_its_equation) {
  const double a[2][2] = {{2, 3}, {5, 4}};
  for (const bool left : {true, false})
    for (const bool lower : {true, false})
      for (const bool transposed : {true, false}) {
        const Tensor x = first(run("triangular_solve", {f32({2, 2}, {2, 3, 5, 4}), f32({2, 2}, {1, 2, 3, 4})},
                                   {{"left_side", left}, {"lower", lower}, {"unit_diagonal", false}, {"transpose_a", std::string(transposed ? "TRANSPOSE" : "NO_TRANSPOSE")}}));
        const auto m = [&](int i, int j) { return (lower ? j <= i : j >= i) ? a[i][j] : 0.0; };
        const auto op = [&](int i, int j) { return transposed ? m(j, i) : m(i, j); };
        for (int i = 0; i < 2; ++i)
          for (int j = 0; j < 2; ++j) {
            double sum = 0;
            for (int k = 0; k < 2; ++k) sum += left ? op(i, k) * x.number(k * 2 + j) : x.number(i * 2 + k) * op(k, j);
            EXPECT_NEAR(sum, 1 + 2 * i + j, 1e-5) << left << lower << transposed;
          }
      }
}

TEST(Cholesky, upper_factor_is_the_lower_ones_transpose) {
  EXPECT_TRUE(first(run("cholesky", {f32({2, 2}, {4, 99, 2, 5})}, {{"lower", true}})).identical(f32({2, 2}, {2, 0, 1, 2})));
  EXPECT_TRUE(first(run("cholesky", {f32({2, 2}, {4, 2, 99, 5})}, {{"lower", false}})).identical(f32({2, 2}, {2, 1, 0, 2})));
  EXPECT_TRUE(std::isnan(first(run("cholesky", {f32({2, 2}, {1, 2, 2, 1})}, {{"lower", true}})).number(0)));
}

TEST(Unique, onnx_examples) {
  const HostValues unsorted = run("unique", {f32({6}, {2, 1, 1, 3, 4, 3})}, {{"sorted", false}});
  EXPECT_TRUE(unsorted[0].tensor().identical(f32({4}, {2, 1, 3, 4})));
  EXPECT_EQ(unsorted[1].tensor().ints(), (std::vector<int64_t>{0, 1, 3, 4}));
  EXPECT_EQ(unsorted[2].tensor().ints(), (std::vector<int64_t>{0, 1, 1, 2, 3, 2}));
  EXPECT_EQ(unsorted[3].tensor().ints(), (std::vector<int64_t>{1, 2, 2, 1}));
  const HostValues rows = run("unique", {f32({3, 3}, {1, 0, 0, 1, 0, 0, 2, 3, 4})}, {{"axis", int64_t{0}}});
  EXPECT_TRUE(rows[0].tensor().identical(f32({2, 3}, {1, 0, 0, 2, 3, 4})));
  EXPECT_EQ(rows[2].tensor().ints(), (std::vector<int64_t>{0, 0, 1}));
}

TEST(Topk, lower_index_first_among_equals_and_nan_first) {
  const HostValues out = run("topk", {f32({5}, {1, 3, 3, std::nan(""), 2})}, {{"axis", int64_t{0}}, {"k", Dims{4}}});
  EXPECT_EQ(out[1].tensor().ints(), (std::vector<int64_t>{3, 1, 2, 4}));
}

TEST(TopK, chlo_orders_nan_by_its_sign) {  // as jax.lax.top_k does
  const double inf = HUGE_VAL, nan = std::nan("");
  const HostValues out = run("top_k", {f32({5}, {inf, nan, -nan, -inf, 3})}, {{"k", int64_t{5}}});
  EXPECT_EQ(out[1].tensor().ints(), (std::vector<int64_t>{1, 0, 4, 3, 2}));
}

TEST(Cumulative, exclusive_and_reversed) {
  EXPECT_TRUE(first(run("cumulative", {f32({4}, {1, 2, 3, 4})}, {{"axis", int64_t{0}}, {"exclusive", true}, {"reverse", true}})).identical(f32({4}, {9, 7, 4, 0})));
}

TEST(While, endless_loop_stops_at_the_time_limit) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::i64, {}));
  OpenRegion condition(b, "condition"), body(b, "body");
  condition.argument(b.type(x));
  condition.finish({condition.builder().constant(Tensor::scalar_int(DType::i1, 1))});
  body.finish({body.argument(b.type(x))});
  const Values out = b.ops("while", {x}, {}, std::vector<OpenRegion>{std::move(condition), std::move(body)});
  const Graph g = b.finish(out);
  auto budget = std::make_shared<Budget>();
  budget->deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  const BudgetScope scope(budget);
  EvalContext context;
  EXPECT_THROW(evaluate(g, {i64({}, {0})}, context), Error);
}

// A body of several operators, and one that cannot be compiled (it multiplies matrices), give the same sums.
TEST(ScalarRegion, compiled_and_interpreted_bodies_agree) {
  const auto body = [](bool simple) {
    Builder b("body");
    const Value x = b.input(Type::tensor(DType::f32, {})), y = b.input(Type::tensor(DType::f32, {}));
    const Value square = simple ? b.multiply(y, y) : b.op("dot_general", {y, y}, {{"dtype", DType::f32}});
    return std::make_shared<const Graph>(b.finish({b.add(x, b.select(b.compare(y, 0.0, "GE"), square, b.negate(square)))}));
  };
  const HostValues in{f32({2, 4}, {1, -2, 3, 0.1, -0.3, 5, 7, -8}), f32({}, {0})};
  const Tensor a = first(run("reduce", in, {{"dimensions", Ints{1}}}, {body(true)})), c = first(run("reduce", in, {{"dimensions", Ints{1}}}, {body(false)}));
  EXPECT_TRUE(a.identical(c));
  EXPECT_NEAR(a.number(0), 1 - 4 + 9 + 0.01, 1e-6);
}

}  // namespace
}  // namespace bascule::ops
