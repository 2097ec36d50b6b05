// tests/chips/emitter.cc — which waits an instruction gets, and where buffers come to lie.
#include "device/chip/emitter.h"

#include <gtest/gtest.h>

#include "tests/chips/small_memory.h"

namespace bascule::device::chip {
namespace {

// 8 partitions of 64 bytes of scratchpad, 2 banks of 32 bytes of accumulator, 1 KiB of main memory.
Chip small_chip() {
  Chip c;
  c.name = "small";
  c.matrix.name = "tensor";
  Engine vector;
  vector.name = "vector";
  c.engines.push_back(vector);
  c.memories.push_back(memory("hbm", Role::main, 1024, 1, 1));
  c.memories.push_back(memory("sbuf", Role::scratchpad, 8 * 64, 8, 1));
  c.memories.push_back(memory("psum", Role::accumulator, 8 * 64, 8, 2));
  return c;
}

std::vector<Wait> waits_of(Emitter& e, int32_t instruction) {
  const Program& p = e.program();
  const Instruction& i = p.code[static_cast<size_t>(instruction)];
  return {p.waits.begin() + i.wait_first, p.waits.begin() + i.wait_first + i.wait_count};
}

int32_t copy(Emitter& e, int32_t queue, Access out, Access in) {
  Instruction i;
  i.queue = queue;
  i.out = out;
  i.in[0] = in;
  return e.emit(i);
}

TEST(Emitter, a_reader_waits_for_the_writer_once) {
  const Chip chip = small_chip();
  Emitter e(chip, "m", 1);
  e.begin_step({});
  const int32_t in = e.main("x", Buffer::input, DType::f32, 32);
  const int32_t t = e.local(Role::scratchpad, "t", DType::f32, 8, 4), u = e.local(Role::scratchpad, "u", DType::f32, 8, 4);
  copy(e, e.dma(0), e.whole(t), Emitter::strided(in, 0, {8, 4}, {4, 1}));
  const auto first = waits_of(e, copy(e, e.engine("vector"), e.whole(u), e.whole(t)));
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].queue, e.dma(0));
  EXPECT_EQ(first[0].count, 1);
  EXPECT_TRUE(waits_of(e, copy(e, e.engine("vector"), e.whole(u), e.whole(t))).empty());
}

TEST(Emitter, boxes_side_by_side_do_not_wait_for_each_other) {
  const Chip chip = small_chip();
  Emitter e(chip, "m", 1);
  e.begin_step({});
  const int32_t in = e.main("x", Buffer::input, DType::f32, 64);
  const int32_t t = e.local(Role::scratchpad, "t", DType::f32, 8, 8), u = e.local(Role::scratchpad, "u", DType::f32, 8, 4);
  copy(e, e.dma(0), e.box(t, 0, 8, 0, 4), Emitter::strided(in, 0, {8, 4}, {8, 1}));
  copy(e, e.dma(1), e.box(t, 0, 8, 4, 4), Emitter::strided(in, 4, {8, 4}, {8, 1}));
  const auto waits = waits_of(e, copy(e, e.engine("vector"), e.whole(u), e.box(t, 0, 8, 4, 4)));
  ASSERT_EQ(waits.size(), 1u);
  EXPECT_EQ(waits[0].queue, e.dma(1));
  EXPECT_TRUE(waits_of(e, copy(e, e.dma(2), Emitter::strided(in, 4, {8, 4}, {8, 1}), e.box(t, 0, 8, 0, 4))).size() == 2u);  // written by dma0, read by dma1
}

TEST(Emitter, accumulating_products_follow_each_other_without_a_wait) {
  const Chip chip = small_chip();
  Emitter e(chip, "m", 1);
  e.begin_step({});
  const int32_t a = e.local(Role::scratchpad, "a", DType::f32, 8, 8), p = e.local(Role::accumulator, "p", DType::f32, 8, 4);
  const auto product = [&](bool accumulate) {
    Instruction i;
    i.op = Opcode::matmul;
    i.queue = e.matrix();
    i.accumulate = accumulate;
    i.out = e.whole(p);
    i.in[0] = e.whole(a);
    i.in[1] = e.box(a, 0, 8, 0, 4);
    return e.emit(i);
  };
  product(false);
  EXPECT_TRUE(waits_of(e, product(true)).empty());
  const int32_t out = e.local(Role::scratchpad, "out", DType::f32, 8, 4);
  const auto waits = waits_of(e, copy(e, e.engine("vector"), e.whole(out), e.whole(p)));
  ASSERT_EQ(waits.size(), 1u);
  EXPECT_EQ(waits[0].count, 2);
}

TEST(Emitter, who_takes_a_released_place_waits_for_its_last_users) {
  const Chip chip = small_chip();
  Emitter e(chip, "m", 1);
  e.begin_step({});
  const int32_t in = e.main("x", Buffer::input, DType::f32, 64);
  const int32_t a = e.local(Role::scratchpad, "a", DType::f32, 8, 8);  // 32 of 64 bytes
  const int32_t b = e.local(Role::scratchpad, "b", DType::f32, 8, 8);
  copy(e, e.dma(0), e.whole(a), Emitter::strided(in, 0, {8, 8}, {8, 1}));
  copy(e, e.engine("vector"), e.whole(b), e.whole(a));
  EXPECT_EQ(e.local(Role::scratchpad, "none", DType::f32, 8, 1), -1);
  e.release(a);
  EXPECT_EQ(e.largest_free(Role::scratchpad), 32);
  const int32_t c = e.local(Role::scratchpad, "c", DType::f32, 8, 8);
  ASSERT_GE(c, 0);
  EXPECT_EQ(e.buffer(c).address, e.buffer(a).address);
  const auto waits = waits_of(e, copy(e, e.dma(0), e.whole(c), Emitter::strided(in, 0, {8, 8}, {8, 1})));
  ASSERT_EQ(waits.size(), 1u);
  EXPECT_EQ(waits[0].queue, e.engine("vector"));
}

TEST(Emitter, small_accumulator_buffers_do_not_cross_a_bank) {
  const Chip chip = small_chip();
  Emitter e(chip, "m", 1);
  const int32_t a = e.local(Role::accumulator, "a", DType::f32, 8, 6), b = e.local(Role::accumulator, "b", DType::f32, 8, 4);
  EXPECT_EQ(e.buffer(a).address, 0);
  EXPECT_EQ(e.buffer(b).address, 32);
  EXPECT_EQ(e.local(Role::accumulator, "c", DType::f32, 8, 5), -1);
}

}  // namespace
}  // namespace bascule::device::chip
