// tests/chips/values_check.cc — one tiny program per mistake, with the words it is refused in.
#include "tests/chips/values_chip.h"

namespace bascule::device::chip {
namespace {

const std::string kWhere = "chip:small: instruction 0 ";

// The first line that check() has to say of a program.
std::string said(const Chip& chip, const Program& p) {
  const std::vector<std::string> lines = check(chip, p);
  return lines.empty() ? "" : lines.front();
}

struct Mistake : testing::Test {
  Chip chip = small_core();
  ByHand p{chip};
  std::string said() { return chip::said(chip, p.e.program()); }
  Instruction product(int32_t out, int32_t a, int32_t b) {
    return {.op = Opcode::matmul, .work = WorkClass::matmul, .queue = p.e.matrix(), .out = p.e.whole(out), .in = {p.e.whole(a), p.e.whole(b)}};
  }
  int32_t any(const char* name = "a", int64_t rows = 4, int64_t n = 4) { return p.sbuf(name, DType::f32, rows, n); }
};

TEST_F(Mistake, a_good_program_has_none) {
  p.emit(product(p.psum("o", 4, 8), any("a", 16, 4), any("b", 16, 8)));
  EXPECT_EQ(said(), "");
}

TEST_F(Mistake, outside_its_buffer) {
  const int32_t a = any(), b = any("b");
  p.copy(p.e.engine("vector"), p.e.whole(a), p.e.box(b, 2, 4, 0, 4));
  EXPECT_EQ(said(), kWhere + "(copy on vector) of MatMul 'q': expected an access within the 16 elements of 'b', found in0 from element 8 to 23");
}

TEST_F(Mistake, beyond_the_end_of_a_row) {
  const int32_t a = any(), b = any("b", 8, 4);
  p.copy(p.e.engine("vector"), p.e.whole(a), p.e.box(b, 0, 4, 1, 4));
  EXPECT_EQ(said(), kWhere + "(copy on vector) of MatMul 'q': expected an access within the 4 elements of a row of 'b', found in0 from column 1 to 4");
}

TEST_F(Mistake, more_columns_than_the_array) {
  p.emit(product(p.psum("o", 128, 8), any("a", 16, 128), any("b", 16, 8)));
  chip.matrix.cols = 64;
  EXPECT_EQ(said(), kWhere + "(matmul on tensor) of MatMul 'q': expected at most 64 columns of tensor, found M of 128");
}

TEST_F(Mistake, more_rows_than_the_array) {
  chip.matrix.rows = 8;
  p.emit(product(p.psum("o", 4, 8), any("a", 16, 4), any("b", 16, 8)));
  EXPECT_EQ(said(), kWhere + "(matmul on tensor) of MatMul 'q': expected at most 8 rows of tensor, found K of 16");
}

TEST_F(Mistake, too_long_a_moving_operand) {
  p.emit(product(p.psum("o", 4, 65), any("a", 16, 4), any("b", 16, 65)));
  EXPECT_EQ(said(), kWhere + "(matmul on tensor) of MatMul 'q': expected at most 64 moving columns, found N of 65");
}

TEST_F(Mistake, a_product_across_two_banks) {
  const int32_t o = p.psum("o", 4, 80);
  Instruction i = product(o, any("a", 16, 4), any("b", 16, 60));
  i.out = p.e.box(o, 0, 4, 20, 60);
  p.emit(i);
  EXPECT_EQ(said(), kWhere + "(matmul on tensor) of MatMul 'q': expected a product within one bank of psum (256 bytes of a partition), found banks 0 to 1");
}

TEST_F(Mistake, products_that_do_not_fit_each_other) {
  p.emit(product(p.psum("o", 4, 8), any("a", 16, 4), any("b", 12, 8)));
  EXPECT_EQ(said(), kWhere + "(matmul on tensor) of MatMul 'q': expected one K of both operands, found [16,4] and [12,8]");
}

TEST_F(Mistake, a_type_the_array_does_not_take) {
  p.emit(product(p.psum("o", 4, 8), p.sbuf("a", DType::f16, 16, 4), p.sbuf("b", DType::f16, 16, 8)));
  EXPECT_EQ(said(), kWhere + "(matmul on tensor) of MatMul 'q': expected operands of a type of tensor, found f16");
}

TEST_F(Mistake, the_matrix_engine_writes_the_accumulator_only) {
  p.emit(product(any("o", 4, 8), any("a", 16, 4), any("b", 16, 8)));
  EXPECT_EQ(said(), kWhere + "(matmul on tensor) of MatMul 'q': expected a memory that tensor writes, found out in sbuf");
}

TEST_F(Mistake, an_engine_on_a_memory_it_has_no_port_to) {
  chip.engines[0].reads_accumulator = false;
  p.copy(p.e.engine("vector"), p.e.whole(any()), p.e.whole(p.psum("o", 4, 4)));
  EXPECT_EQ(said(), kWhere + "(copy on vector) of MatMul 'q': expected a memory that vector reads, found in0 in psum");
}

TEST_F(Mistake, an_engine_on_main_memory) {
  p.copy(p.e.engine("vector"), p.e.whole(any("a", 1, 4)), p.e.whole(p.input(numbers(DType::f32, {4}), DType::f32)));
  EXPECT_EQ(said(), kWhere + "(copy on vector) of MatMul 'q': expected vector on local memories, found in0 in hbm");
}

TEST_F(Mistake, both_operands_in_the_accumulator) {
  const int32_t o = p.psum("o", 4, 4);
  p.emit({.op = Opcode::map, .fn = loops::Op::add, .work = WorkClass::arith2, .queue = p.e.engine("vector"), .out = p.e.whole(any()), .in = {p.e.whole(o), p.e.whole(o)}});
  EXPECT_EQ(said(), kWhere + "(map on vector) of MatMul 'q': expected at most one of two operands in psum, found both");
}

TEST_F(Mistake, a_class_of_work_the_engine_does_not_do) {
  p.emit({.op = Opcode::reduce, .fn = loops::Op::add, .work = WorkClass::reduce, .queue = p.e.engine("scalar"), .out = p.e.whole(any("s", 4, 1)), .in = {p.e.whole(any())}});
  EXPECT_EQ(said(), kWhere + "(reduce on scalar) of MatMul 'q': expected a class of work that scalar does, found reduce");
}

TEST_F(Mistake, an_engine_that_does_not_do_the_operation) {
  p.emit({.op = Opcode::map, .fn = loops::Op::negate, .work = WorkClass::arith, .queue = p.e.matrix(), .out = p.e.whole(any()), .in = {p.e.whole(any())}});
  EXPECT_EQ(said(), kWhere + "(map on tensor) of MatMul 'q': expected what tensor does: matmul, transpose, found map");
}

TEST_F(Mistake, a_transfer_that_cannot_transpose) {
  p.emit({.op = Opcode::transpose, .work = WorkClass::transpose, .queue = p.e.dma(0), .out = p.e.whole(any()), .in = {p.e.whole(any())}});
  EXPECT_EQ(said(), kWhere + "(transpose on dma0) of MatMul 'q': expected what dma0 does: copy, gather, scatter, fill; this chip's cannot transpose, found transpose");
}

TEST_F(Mistake, partitions_start_at_quarters) {
  const int32_t a = any("a", 128, 4), b = any("b", 128, 4);
  const auto copy = [&](int64_t from, int64_t rows) {
    p.e.program().code.clear();
    p.copy(p.e.engine("vector"), p.e.box(b, 0, rows, 0, 4), p.e.box(a, from, rows, 0, 4));
    return said();
  };
  EXPECT_EQ(copy(96, 32), "");
  EXPECT_EQ(copy(64, 64), "");
  EXPECT_EQ(copy(16, 8), kWhere + "(copy on vector) of MatMul 'q': expected 8 partitions to start at a multiple of 32, found in0 at partition 16");
  EXPECT_EQ(copy(32, 40), kWhere + "(copy on vector) of MatMul 'q': expected 40 partitions to start at 0 or 64, found in0 at partition 32");
  EXPECT_EQ(copy(32, 96), kWhere + "(copy on vector) of MatMul 'q': expected 96 partitions to start at 0, found in0 at partition 32");
}

TEST_F(Mistake, too_many_elements_of_a_partition) {
  chip.memories[1].bytes = chip.memories[2].bytes = 128 * (1 << 20);
  p.copy(p.e.engine("vector"), p.e.whole(p.sbuf("a", DType::bf16, 4, 4097)), p.e.whole(p.psum("o", 4, 4097)));
  EXPECT_EQ(said(), kWhere + "(copy on vector) of MatMul 'q': expected at most 4096 elements of a partition, found in0 of 4097");
}

TEST_F(Mistake, results_of_another_size) {
  p.copy(p.e.engine("vector"), p.e.whole(any("a", 4, 4)), p.e.whole(any("b", 4, 3)));
  EXPECT_EQ(said(), kWhere + "(copy on vector) of MatMul 'q': expected a result of 12 elements, found [4,4]");
}

TEST_F(Mistake, an_element_written_twice) {
  const int32_t a = any();
  p.copy(p.e.engine("vector"), Emitter::strided(a, 0, {4, 4}, {4, 0}), p.e.whole(any("b")));
  EXPECT_EQ(said(), kWhere + "(copy on vector) of MatMul 'q': expected each element written once, found out with stride 0");
}

TEST_F(Mistake, a_buffer_outside_its_memory) {
  const int32_t a = any("a", 4, 1000);
  p.e.program().buffers[static_cast<size_t>(a)].address = 100;
  EXPECT_EQ(said(), "chip:small: buffer 'a': expected a place within the 4096 bytes of a partition of sbuf, found bytes 100 to 4100");
  p.e.program().buffers[static_cast<size_t>(a)].rows = 129;
  EXPECT_EQ(said(), "chip:small: buffer 'a': expected at most 128 partitions of sbuf, found 129");
}

TEST_F(Mistake, weights_that_something_overwrites) {
  const Value v = p.b.constant(numbers(DType::f32, {4}));
  const int32_t w = p.e.main("w", Buffer::weight, DType::f32, 4, v), x = p.input(numbers(DType::f32, {4}), DType::f32);
  p.copy(p.e.dma(0), p.e.whole(w), p.e.whole(x));
  EXPECT_EQ(said(), kWhere + "(copy on dma0) of MatMul 'q': expected weights that are only read, found out in 'w'");
  p.e.program().buffers[static_cast<size_t>(x)].address = p.e.buffer(w).address + 4;
  EXPECT_EQ(said(), "chip:small: buffer 'x': expected a place of its own: weights stay, found that of 'w'");
}

TEST_F(Mistake, waits_that_can_never_end) {
  const int32_t a = any(), b = any("b");
  p.copy(p.e.engine("vector"), p.e.whole(a), p.e.whole(b));
  p.copy(p.e.engine("scalar"), p.e.whole(b), p.e.whole(a));
  Program& program = p.e.program();
  const auto wait = [&](int32_t queue, int32_t count) {
    program.waits.assign(1, {queue, count});
    program.code[0].wait_first = 0;
    program.code[0].wait_count = 1;
    program.code[1].wait_first = program.code[1].wait_count = 0;
    return said();
  };
  EXPECT_EQ(wait(p.e.engine("scalar"), 0), "");
  EXPECT_EQ(wait(p.e.engine("scalar"), 1), kWhere + "(copy on vector) of MatMul 'q': expected a wait that can end, found one for instruction 1 of scalar, which stands after it");
  EXPECT_EQ(wait(p.e.engine("scalar"), 2), kWhere + "(copy on vector) of MatMul 'q': expected a wait that can end, found one for instruction 2 of scalar, which runs 1");
  EXPECT_EQ(wait(p.e.engine("vector"), 1), kWhere + "(copy on vector) of MatMul 'q': expected a wait that can end, found one for instruction 1 of vector, which stands behind it in its own queue");
  EXPECT_EQ(wait(7, 1), kWhere + "(copy on vector) of MatMul 'q': expected a wait for a queue of the program, found queue 7");
}

TEST_F(Mistake, spread_buffers_in_one_place_at_one_time) {
  chip.level = Level::tile;
  chip.memories[1].partitions = 1;
  const int32_t a = p.e.local(Role::scratchpad, "a", DType::f32, 4, 8, 0, 2), b = p.e.local(Role::scratchpad, "b", DType::f32, 4, 8, 0, 2);
  p.emit({.op = Opcode::fill, .work = WorkClass::fill, .queue = p.e.engine("vector"), .out = p.e.whole(a)});
  p.emit({.op = Opcode::fill, .work = WorkClass::fill, .queue = p.e.engine("vector"), .out = p.e.whole(b)});
  p.copy(p.e.engine("vector"), p.e.whole(b), p.e.whole(a));
  EXPECT_EQ(said(), "");
  p.e.program().buffers[static_cast<size_t>(b)].address = p.e.buffer(a).address + 60;
  EXPECT_EQ(said(), "chip:small: instruction 1 (fill on vector) of MatMul 'q': expected buffer 'b' in a place of its own, found that of 'a', which is in use until instruction 2");
}

TEST(Check, says_at_most_twenty_things) {
  const Chip chip = small_core();
  ByHand p(chip);
  const int32_t a = p.sbuf("a", DType::f32, 4, 4), b = p.sbuf("b", DType::f32, 4, 3);
  for (int k = 0; k < 50; ++k) p.copy(p.e.engine("vector"), p.e.whole(a), p.e.whole(b));
  EXPECT_EQ(check(chip, p.e.program()).size(), 20u);
}

}  // namespace
}  // namespace bascule::device::chip
