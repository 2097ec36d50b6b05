// tests/chips/values.cc — programs by hand on numbers: the chip's arithmetic, and what it refuses while running.
#include "tests/chips/values_chip.h"

namespace bascule::device::chip {
namespace {

float rounded(double x) { return static_cast<float>(round_to(DType::bf16, x)); }

// out[m, n] of x[K, M]^T w[K, N] in tiles of `tile` along K: each sum from zero in order of k, then added.
TEST(ChipValues, products_take_bf16_and_add_in_f32_in_program_order) {
  const Chip chip = small_core();
  ByHand p(chip);
  const int64_t K = 96, M = 40, N = 24, tile = 64;
  const Tensor x = numbers(DType::f32, {K, M}), w = numbers(DType::f32, {K, N}, 0.3);
  const int32_t xm = p.input(x, DType::bf16), wm = p.input(w, DType::f32), ym = p.output(DType::f32, {M, N}, DType::f32);
  const int32_t acc = p.psum("acc", M, N), y = p.sbuf("y", DType::f32, M, N);
  for (int64_t k = 0; k < K; k += tile) {
    const int64_t rows = std::min(tile, K - k);
    const int32_t a = p.sbuf("a", DType::bf16, rows, M), b = p.sbuf("b", DType::bf16, rows, N);
    p.copy(p.e.dma(0), p.e.whole(a), p.rows(xm, rows, M, k * M));
    p.copy(p.e.dma(1), p.e.whole(b), p.rows(wm, rows, N, k * N));  // cast on the way
    p.emit({.op = Opcode::matmul, .work = WorkClass::matmul, .accumulate = k > 0, .queue = p.e.matrix(), .out = p.e.whole(acc), .in = {p.e.whole(a), p.e.whole(b)}});
  }
  p.copy(p.e.engine("vector"), p.e.whole(y), p.e.whole(acc));
  p.store(ym, y);
  const Tensor got = p.run().at(0);
  for (int64_t m = 0; m < M; ++m)
    for (int64_t n = 0; n < N; ++n) {
      float want = 0;
      for (int64_t k0 = 0; k0 < K; k0 += tile) {
        float sum = 0;
        for (int64_t k = k0; k < std::min(K, k0 + tile); ++k) sum += rounded(x.number(k * M + m)) * rounded(w.number(k * N + n));
        want = k0 == 0 ? sum : want + sum;
      }
      ASSERT_EQ(static_cast<float>(got.number(m * N + n)), want) << m << "," << n;
    }
}

TEST(ChipValues, stores_round_to_nearest_even) {
  const Chip chip = small_core();
  ByHand p(chip);
  const Tensor x = numbers(DType::f32, {128, 8});
  const int32_t xm = p.input(x, DType::f32), y1 = p.output(DType::bf16, {128, 8}, DType::bf16), y2 = p.output(DType::f16, {128, 8}, DType::f16);
  const int32_t a = p.sbuf("a", DType::f32, 128, 8), b = p.sbuf("b", DType::bf16, 128, 8), c = p.sbuf("c", DType::f16, 128, 8);
  p.load(a, xm);
  p.copy(p.e.engine("vector"), p.e.whole(b), p.e.whole(a));
  p.copy(p.e.engine("scalar"), p.e.whole(c), p.e.whole(a));
  p.store(y1, b);
  p.store(y2, c);
  const std::vector<Tensor> got = p.run();
  EXPECT_TRUE(got[0].identical(Tensor::from_doubles(DType::bf16, {128, 8}, x.doubles())));
  EXPECT_TRUE(got[1].identical(Tensor::from_doubles(DType::f16, {128, 8}, x.doubles())));
}

// softmax of rows by the instructions a NeuronCore has: maximum, exp with the sum beside it, a reciprocal, a scale by row.
TEST(ChipValues, softmax_by_reduce_activate_and_map) {
  const Chip chip = small_core();
  ByHand p(chip);
  const Tensor x = numbers(DType::f32, {32, 50});
  const int32_t xm = p.input(x, DType::f32), ym = p.output(DType::f32, {32, 50}, DType::f32);
  const int32_t a = p.sbuf("a", DType::f32, 32, 50), m = p.sbuf("m", DType::f32, 32, 1), s = p.sbuf("s", DType::f32, 32, 1), y = p.sbuf("y", DType::f32, 32, 50);
  const int32_t vector = p.e.engine("vector"), scalar = p.e.engine("scalar");
  p.load(a, xm);
  p.emit({.op = Opcode::reduce, .fn = loops::Op::maximum, .work = WorkClass::reduce, .queue = vector, .out = p.e.whole(m), .in = {p.e.whole(a)}});
  p.emit({.op = Opcode::map, .fn = loops::Op::multiply, .work = WorkClass::arith, .queue = vector, .out = p.e.whole(m), .in = {p.e.whole(m)}, .immediate = -1});
  p.emit({.op = Opcode::activate, .fn = loops::Op::exponential, .work = WorkClass::transcendental, .queue = scalar, .out = p.e.whole(y), .in = {p.e.whole(a), p.e.whole(m)}, .out2 = p.e.whole(s)});
  p.emit({.op = Opcode::map, .fn = loops::Op::divide, .work = WorkClass::divide, .queue = vector, .out = p.e.whole(y), .in = {p.e.whole(y), Emitter::strided(s, 0, {32, 50}, {1, 0})}});
  p.store(ym, y);
  const Tensor got = p.run().at(0);
  for (int64_t r = 0; r < 32; ++r) {
    double sum = 0;
    for (int64_t k = 0; k < 50; ++k) sum += std::exp(x.number(r * 50 + k));
    for (int64_t k = 0; k < 50; ++k) EXPECT_NEAR(got.number(r * 50 + k), std::exp(x.number(r * 50 + k)) / sum, 1e-7);
  }
}

TEST(ChipValues, gather_transpose_scan_stats_iota) {
  const Chip chip = small_core();
  ByHand p(chip);
  const Tensor table = numbers(DType::f32, {5, 4}), index = Tensor::from_ints(DType::i64, {3}, std::vector<int64_t>{4, -1, 9});
  const int32_t tm = p.input(table, DType::f32), im = p.input(index, DType::i32);
  const int32_t g = p.sbuf("g", DType::f32, 3, 4), t = p.sbuf("t", DType::f32, 4, 3), s = p.sbuf("s", DType::f32, 3, 2), c = p.sbuf("c", DType::f32, 3, 4), n = p.sbuf("n", DType::i32, 3, 4);
  const int32_t vector = p.e.engine("vector");
  p.emit({.op = Opcode::gather, .work = WorkClass::gather, .queue = p.e.dma(0), .out = p.e.whole(g), .in = {p.rows(tm, 5, 4), p.e.whole(im)}});
  p.emit({.op = Opcode::transpose, .work = WorkClass::transpose, .queue = vector, .out = p.e.whole(t), .in = {p.e.whole(g)}});
  p.emit({.op = Opcode::stats, .work = WorkClass::stats, .queue = vector, .out = p.e.whole(s), .in = {p.e.whole(g)}});
  p.emit({.op = Opcode::scan, .fn = loops::Op::add, .work = WorkClass::scan, .queue = vector, .out = p.e.whole(c), .in = {p.e.whole(g)}});
  p.emit({.op = Opcode::iota, .work = WorkClass::fill, .kept = 1, .queue = vector, .out = p.e.whole(n), .immediate = 7});
  for (const int32_t buffer : {g, t, s, c, n}) {
    const Buffer& b = p.e.buffer(buffer);
    p.store(p.output(b.dtype, {b.rows, b.row_elements}, b.dtype), buffer);
  }
  const std::vector<Tensor> got = p.run();
  const int64_t rows[] = {4, 0, 4};  // clamped
  for (int64_t r = 0; r < 3; ++r) {
    double sum = 0, squares = 0;
    float running = 0;
    for (int64_t k = 0; k < 4; ++k) sum += table.number(rows[r] * 4 + k);
    for (int64_t k = 0; k < 4; ++k) {
      const double x = table.number(rows[r] * 4 + k);
      squares += (x - sum / 4) * (x - sum / 4);
      running += static_cast<float>(x);
      EXPECT_EQ(got[0].number(r * 4 + k), x);
      EXPECT_EQ(got[1].number(k * 3 + r), x);
      EXPECT_EQ(static_cast<float>(got[3].number(r * 4 + k)), running);
      EXPECT_EQ(got[4].integer(r * 4 + k), 7 + k);
    }
    EXPECT_NEAR(got[2].number(2 * r), sum / 4, 1e-6);
    EXPECT_NEAR(got[2].number(2 * r + 1), squares / 4, 1e-6);
  }
}

TEST(ChipValues, integers_are_exact_and_comparisons_give_masks) {
  const Chip chip = small_core();
  ByHand p(chip);
  const Tensor x = Tensor::from_ints(DType::i64, {4, 2}, std::vector<int64_t>{16777217, -5, 3, 2000000000, 0, 1, 7, -16777219});
  const int32_t xm = p.input(x, DType::i32), a = p.sbuf("a", DType::i32, 4, 2), mask = p.sbuf("m", DType::i1, 4, 2), vector = p.e.engine("vector");
  p.load(a, xm);
  p.emit({.op = Opcode::map, .fn = loops::Op::less, .work = WorkClass::arith, .queue = vector, .out = p.e.whole(mask), .in = {p.e.whole(a)}, .immediate = 2});
  p.emit({.op = Opcode::map, .fn = loops::Op::select, .work = WorkClass::select, .queue = vector, .out = p.e.whole(a), .in = {p.e.whole(mask), p.e.whole(a)}, .immediate = 9});
  p.store(p.output(DType::i64, {4, 2}, DType::i32), a);
  EXPECT_EQ(p.run().at(0).ints(), (std::vector<int64_t>{9, -5, 9, 9, 0, 1, 9, -16777219}));
}

TEST(ChipValues, an_activation_table_answers_with_its_stated_error) {
  Chip chip = small_core();
  const double error = 1e-3;
  chip.arithmetic.relative_error["exponential"] = error;
  ByHand p(chip);
  const Tensor x = numbers(DType::f32, {128, 64});
  const int32_t xm = p.input(x, DType::f32), a = p.sbuf("a", DType::f32, 128, 64);
  p.load(a, xm);
  p.emit({.op = Opcode::activate, .fn = loops::Op::exponential, .work = WorkClass::transcendental, .queue = p.e.engine("scalar"), .out = p.e.whole(a), .in = {p.e.whole(a)}});
  p.store(p.output(DType::f32, {128, 64}, DType::f32), a);
  const Tensor got = p.run().at(0);
  double worst = 0;
  for (int64_t i = 0; i < got.elements(); ++i) worst = std::max(worst, std::abs(got.number(i) / std::exp(x.number(i)) - 1));
  EXPECT_LE(worst, error * 1.001);
  EXPECT_GE(worst, error / 2.1);
}

TEST(ChipValues, weights_are_laid_out_when_the_model_is_compiled) {
  const Chip chip = small_core();
  ByHand p(chip);
  const Tensor w = numbers(DType::f32, {3, 2});
  const Value v = p.b.constant(w);
  const int32_t wm = p.e.main("w", Buffer::weight, DType::f32, 6, v), a = p.sbuf("a", DType::f32, 2, 3);
  p.e.program().arrangements.push_back({{2, 3}, {1, 2}, 0});  // transposed
  p.e.program().buffers[static_cast<size_t>(wm)].arrangement = 0;
  p.load(a, wm);
  p.store(p.output(DType::f32, {2, 3}, DType::f32), a);
  const Tensor got = p.run().at(0);
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 3; ++j) EXPECT_EQ(got.number(i * 3 + j), w.number(j * 2 + i));
}

// ---- what is refused, with the words

TEST(ChipValues, reading_what_was_never_written_names_instruction_and_node) {
  const Chip chip = small_core();
  ByHand p(chip);
  const int32_t xm = p.input(numbers(DType::f32, {4, 3}), DType::f32), a = p.sbuf("a", DType::f32, 4, 4);
  p.copy(p.e.dma(0), p.e.box(a, 0, 4, 0, 3), p.rows(xm, 4, 3));
  p.store(p.output(DType::f32, {4, 4}, DType::f32), a);
  EXPECT_EQ(p.error(),
            "DeviceError: chip:small: instruction 1 (copy on dma0) of MatMul 'q': expected data that was written before in buffer 'a', partition 0, byte 12, "
            "found none was ever written. Order the instructions, or fill the buffer first");
}

TEST(ChipValues, buffers_alive_together_must_not_overlap) {
  const Chip chip = small_core();
  ByHand p(chip);
  const int32_t xm = p.input(numbers(DType::f32, {4, 4}), DType::f32), a = p.sbuf("a", DType::f32, 4, 4), b = p.sbuf("b", DType::bf16, 4, 4);
  p.e.program().buffers[static_cast<size_t>(b)].address = 8;  // columns 2 and 3 of a
  p.load(a, xm);
  p.load(b, xm);
  p.store(p.output(DType::f32, {4, 4}, DType::f32), a);
  EXPECT_EQ(p.error(),
            "DeviceError: chip:small: instruction 2 (copy on dma0) of MatMul 'q': expected data of buffer 'a', partition 0, byte 8, found it was overwritten by data of "
            "buffer 'b' by chip:small: instruction 1 (copy on dma0) of MatMul 'q'. Buffers that are alive together must not overlap");
}

// On the chip both orders are possible, whatever the order in the program's list.
TEST(ChipValues, a_missing_wait_is_a_race) {
  const Chip chip = small_core();
  const auto without_waits = [&](int64_t instruction) {
    ByHand p(chip);
    const int32_t xm = p.input(numbers(DType::f32, {4, 4}), DType::f32), a = p.sbuf("a", DType::f32, 4, 4), b = p.sbuf("b", DType::f32, 4, 4);
    p.load(a, xm);
    p.copy(p.e.engine("vector"), p.e.whole(b), p.e.whole(a));
    p.load(a, xm);
    p.store(p.output(DType::f32, {4, 4}, DType::f32), b);
    if (instruction >= 0) p.e.program().code[static_cast<size_t>(instruction)].wait_count = 0;
    return p.error();
  };
  EXPECT_EQ(without_waits(-1), "");
  EXPECT_EQ(without_waits(1),
            "DeviceError: chip:small: instruction 1 (copy on vector) of MatMul 'q': expected a wait for who writes buffer 'a' before, found none for chip:small: instruction 0 "
            "(copy on dma0) of MatMul 'q'. Wait for it: on the chip the two may run in either order");
  EXPECT_NE(without_waits(2).find("instruction 2 (copy on dma0) of MatMul 'q': expected a wait for who reads buffer 'a' before, found none for chip:small: instruction 1"), std::string::npos);
}

TEST(ChipValues, an_output_that_is_never_written_is_no_answer) {
  const Chip chip = small_core();
  ByHand p(chip);
  p.output(DType::f32, {4}, DType::f32);
  EXPECT_NE(p.error().find("output 'y': expected data that was written before in buffer 'y', byte 0, found none was ever written"), std::string::npos) << p.error();
}

TEST(ChipValues, an_integer_beyond_the_chips_type_is_the_callers_fault) {
  const Chip chip = small_core();
  ByHand p(chip);
  p.input(Tensor::from_ints(DType::i64, {2}, std::vector<int64_t>{1, int64_t{1} << 31}), DType::i32);
  EXPECT_EQ(p.error(), "UsageError: chip:small: input 'x0', element 1: expected an integer that fits the chip's i32, found 2147483648. Use smaller numbers, or another device");
}

TEST(ChipValues, absent_weights_cannot_be_run_for_values) {
  const Chip chip = small_core();
  ByHand p(chip);
  const Value v = p.b.op("absent", {}, {{"dtype", DType::f32}, {"dims", Dims{4}}, {"reason", std::string("weights file 'm.data' is not there")}});
  const int32_t wm = p.e.main("w", Buffer::weight, DType::f32, 4, v), a = p.sbuf("a", DType::f32, 1, 4);
  p.load(a, wm);
  p.store(p.output(DType::f32, {4}, DType::f32), a);
  EXPECT_NE(p.error().find("UsageError: chip:small: weight 'w': expected its values, found weights file 'm.data' is not there"), std::string::npos) << p.error();
}

}  // namespace
}  // namespace bascule::device::chip
