// ops/rng_bit_generator.cc — random bits from a counter: ThreeFry 2x32 with 20 rounds and Philox 4x32 with 10 (Salmon et al., 2011), laid out as XLA does.
#include <array>
#include <bit>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

using Pair = std::array<uint32_t, 2>;
using Four = std::array<uint32_t, 4>;

Pair halves(uint64_t x) { return {static_cast<uint32_t>(x), static_cast<uint32_t>(x >> 32)}; }
uint64_t joined(uint32_t low, uint32_t high) { return low | static_cast<uint64_t>(high) << 32; }

Pair three_fry(Pair x, Pair key) {
  constexpr int kRotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const std::array<uint32_t, 3> ks{key[0], key[1], 0x1BD11BDAu ^ key[0] ^ key[1]};
  x[0] += ks[0];
  x[1] += ks[1];
  for (uint32_t group = 0; group < 5; ++group) {
    for (const int r : kRotations[group % 2]) {
      x[0] += x[1];
      x[1] = std::rotl(x[1], r) ^ x[0];
    }
    x[0] += ks[(group + 1) % 3];
    x[1] += ks[(group + 2) % 3] + group + 1;
  }
  return x;
}

Four philox(Four x, Pair key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * x[0], b = uint64_t{0xCD9E8D57u} * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ key[0], static_cast<uint32_t>(b), static_cast<uint32_t>(a >> 32) ^ x[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return x;
}

// 64-bit elements: one block each. Narrower ones: blocks lie over the dims with one axis halved (the first even one, else the longest), and
// the two words of a block are neighbours along it. Returns the counter after.
uint64_t three_fry_bits(Tensor& y, uint64_t key, uint64_t counter) {
  const Pair k = halves(key);
  std::byte* out = y.mutable_data();
  const DType t = y.dtype();
  if (info(t).bits == 64) {
    for (int64_t i = 0; i < y.elements(); ++i) {
      check_budget();
      const Pair p = three_fry(halves(counter + static_cast<uint64_t>(i)), k);
      store_int(t, out, i, static_cast<int64_t>(joined(p[0], p[1])));
    }
    return counter + static_cast<uint64_t>(y.elements());
  }
  if (y.rank() == 0) {
    store_int(t, out, 0, three_fry(halves(counter), k)[0]);
    return counter + 1;
  }
  size_t axis = y.rank();
  for (size_t a = 0; a < y.rank() && axis == y.rank(); ++a)
    if (y.dim(a) % 2 == 0) axis = a;
  if (axis == y.rank()) {
    axis = 0;
    for (size_t a = 1; a < y.rank(); ++a)
      if (y.dim(a) > y.dim(axis)) axis = a;
  }
  std::vector<int64_t> blocks = y.dims();
  blocks[axis] = (blocks[axis] + 1) / 2;
  std::vector<int64_t> strides = strides_of(y.dims());
  const int64_t step = strides[axis];
  strides[axis] *= 2;
  for (Walk w(blocks, strides); w; w.next(), ++counter) {
    check_budget();
    const Pair p = three_fry(halves(counter), k);
    store_int(t, out, w.offset(), p[0]);
    if (2 * w.index()[axis] + 1 < y.dim(axis)) store_int(t, out, w.offset() + step, p[1]);
  }
  return counter;
}

// Words of consecutive blocks in order. Advances the 128-bit counter.
void philox_bits(Tensor& y, uint64_t key, std::array<uint64_t, 2>& counter) {
  const Pair k = halves(key);
  std::byte* out = y.mutable_data();
  const DType t = y.dtype();
  const bool wide = info(t).bits == 64;
  const int64_t each = wide ? 2 : 4;
  for (int64_t i = 0; i < y.elements(); i += each) {
    check_budget();
    const Pair low = halves(counter[0]), high = halves(counter[1]);
    const Four p = philox({low[0], low[1], high[0], high[1]}, k);
    for (int64_t j = 0; j < each && i + j < y.elements(); ++j) {
      const auto w = static_cast<size_t>(j);
      store_int(t, out, i + j, wide ? static_cast<int64_t>(joined(p[2 * w], p[2 * w + 1])) : static_cast<int64_t>(p[w]));
    }
    if (++counter[0] == 0) ++counter[1];
  }
}

bool is_three_fry(const OpView& op) { return op.attrs.text("rng_algorithm") == "THREE_FRY"; }

}  // namespace

const OpDef rng_bit_generator{
    .name = "rng_bit_generator",
    .doc = "new state and uniform random bits from a state [key, counter...]; THREE_FRY: ui64[2]; PHILOX, DEFAULT: ui64[2] or ui64[3]",
    .inputs = {{"initial_state", DTypes(DType::u64) | DTypes(DType::u32)}},
    .attrs = {{"rng_algorithm", AttrKind::text}, {"dims", AttrKind::dims}, {"dtype", AttrKind::dtype}},
    .type =
        [](const OpView& op) {
          const std::string& algorithm = op.attrs.text("rng_algorithm");
          op.require(algorithm == "DEFAULT" || algorithm == "THREE_FRY" || algorithm == "PHILOX", "rng_algorithm DEFAULT, THREE_FRY or PHILOX", "'" + escaped(algorithm) + "'");
          const Type& s = op.in(0);
          if (s.rank() != 1) op.fail("a state of rank 1", s.text(), "I2");
          const int64_t words = s.dims[0].constant().value_or(0) * (s.dtype == DType::u32 ? 1 : 2);
          if (words % 2 != 0 || (words != 4 && (is_three_fry(op) || words != 6))) op.fail(is_three_fry(op) ? "a state of 128 bits" : "a state of 128 or 192 bits", s.text(), "C2");
          const Type y = Type::tensor(op.attrs.dtype("dtype"), op.attrs.dims("dims"));
          op.require(is_int(y.dtype) || y.dtype == DType::f32 || y.dtype == DType::f64, "an integer, f32 or f64 result", y.text(), "C1");
          return std::vector<Type>{s, y};
        },
    .reference = [](const Call& call) -> HostValues {
      const Tensor& before = call.in(0);
      std::vector<uint64_t> state;
      if (before.dtype() == DType::u64)
        for (const int64_t s : before.ints()) state.push_back(static_cast<uint64_t>(s));
      else
        for (int64_t i = 0; i + 1 < before.elements(); i += 2) state.push_back(joined(static_cast<uint32_t>(before.integer(i)), static_cast<uint32_t>(before.integer(i + 1))));
      const DType t = call.results[1].dtype;
      Tensor y(t == DType::f32 ? DType::u32 : t == DType::f64 ? DType::u64 : t, call.result_dims(1));
      if (is_three_fry(call.op)) {
        state[1] = three_fry_bits(y, state[0], state[1]);
      } else {
        std::array<uint64_t, 2> counter{state[1], state.size() > 2 ? state[2] : state[0]};  // of two words, XLA takes the key as the high half
        philox_bits(y, state[0], counter);
        state[1] = counter[0];
        if (state.size() > 2) state[2] = counter[1];
      }
      Tensor after = call.result(0);
      std::byte* out = after.mutable_data();
      for (size_t i = 0; i < state.size(); ++i) {
        if (after.dtype() == DType::u64) {
          store_int(DType::u64, out, static_cast<int64_t>(i), static_cast<int64_t>(state[i]));
        } else {
          store_int(DType::u32, out, static_cast<int64_t>(2 * i), static_cast<int64_t>(halves(state[i])[0]));
          store_int(DType::u32, out, static_cast<int64_t>(2 * i + 1), static_cast<int64_t>(halves(state[i])[1]));
        }
      }
      return {after, y.retyped(t)};
    },
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          w.adds = elements(results[1]) * 60;  // 20 rounds of an addition, a rotation and an exclusive or, for each word
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{.name = "three_fry",
               .shapes = {{2}},
               .attrs = {{"rng_algorithm", std::string("THREE_FRY")}, {"dims", Dims{3, 4}}, {"dtype", DType::u32}},
               .inputs = [] { return HostValues{Tensor::from_ints(DType::u64, {2}, std::vector<int64_t>{3, 5})}; }},
              {.name = "philox",
               .shapes = {{3}},
               .attrs = {{"rng_algorithm", std::string("PHILOX")}, {"dims", Dims{7}}, {"dtype", DType::u64}},
               .inputs = [] { return HostValues{Tensor::from_ints(DType::u64, {3}, std::vector<int64_t>{3, 5, 7})}; }}},
};
BASCULE_OP(rng_bit_generator);

}  // namespace bascule::ops
