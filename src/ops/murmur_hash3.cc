// ops/murmur_hash3.cc — MurmurHash3 (32-bit, x86) of each element's bytes, for hashing features into buckets.
#include <bit>
#include <cstring>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

uint32_t hashed(const unsigned char* p, size_t bytes, uint32_t seed) {
  constexpr uint32_t kFirst = 0xcc9e2d51u, kSecond = 0x1b873593u;
  uint32_t h = seed;
  const auto mixed = [&](uint32_t k) { return std::rotl(k * kFirst, 15) * kSecond; };
  for (size_t i = 0; i + 4 <= bytes; i += 4) {
    uint32_t k = 0;
    std::memcpy(&k, p + i, 4);
    h = std::rotl(h ^ mixed(k), 13) * 5 + 0xe6546b64u;
  }
  if (bytes % 4 != 0) {
    uint32_t k = 0;
    std::memcpy(&k, p + (bytes - bytes % 4), bytes % 4);
    h ^= mixed(k);
  }
  h ^= static_cast<uint32_t>(bytes);
  h = (h ^ (h >> 16)) * 0x85ebca6bu;
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  return h ^ (h >> 16);
}

}  // namespace

const OpDef murmur_hash3{
    .name = "murmur_hash3",
    .dialect = "bascule",
    .doc = "y = MurmurHash3_x86_32 of the bytes of x (little-endian numbers, UTF-8 texts), as dtype u32 or i32",
    .inputs = {{"x", DTypes(DType::i32) | DTypes(DType::u32) | DTypes(DType::i64) | DTypes(DType::u64) | DTypes(DType::f32) | DTypes(DType::f64) | DTypes::strings}},
    .attrs = {{"seed", AttrKind::integer}, {"dtype", AttrKind::dtype}},
    .host = true,
    .type =
        [](const OpView& op) {
          Type t = op.in(0);
          t.dtype = op.attrs.dtype("dtype");
          op.require(t.dtype == DType::u32 || t.dtype == DType::i32, "dtype u32 or i32", std::string(info(t.dtype).name));
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const auto seed = static_cast<uint32_t>(call.op.attrs.integer("seed"));
          Tensor y(call.op.attrs.dtype("dtype"), x.dims());
          std::byte* out = y.mutable_data();
          const size_t size = static_cast<size_t>(info(x.dtype()).storage_bits) / 8;
          for (int64_t i = 0; i < x.elements(); ++i) {
            check_budget();
            const auto at = static_cast<size_t>(i);
            const uint32_t h = is_string(x.dtype()) ? hashed(reinterpret_cast<const unsigned char*>(x.strings()[at].data()), x.strings()[at].size(), seed)
                                                    : hashed(reinterpret_cast<const unsigned char*>(x.data()) + at * size, size, seed);
            store_int(y.dtype(), out, i, static_cast<int64_t>(h));
          }
          return one(std::move(y));
        },
    .work = per_element({.adds = 10}),
    .cases = {{.name = "ints", .shapes = {{2, 2}}, .attrs = {{"seed", int64_t{42}}, {"dtype", DType::u32}}, .dtypes = {DType::i32}}},
};
BASCULE_OP(murmur_hash3);

}  // namespace bascule::ops
