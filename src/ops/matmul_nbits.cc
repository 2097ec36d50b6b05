// ops/matmul_nbits.cc — product with a weight matrix stored in 2, 4 or 8 bits, one scale and zero point for each block of a row.
#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

enum : size_t { kA, kB, kScales, kZeroPoints, kBias };

struct Packing {
  int64_t K, N, bits, block, blocks, zero_bytes;  // zero_bytes: of a row of packed zero points
};
Packing read(const OpView& op) {
  Packing p{op.attrs.integer("K"), op.attrs.integer("N"), op.attrs.integer("bits"), op.attrs.integer("block_size"), 0, 0};
  op.require(p.bits == 2 || p.bits == 4 || p.bits == 8, "bits 2, 4 or 8", std::to_string(p.bits));
  op.require(p.K >= 1 && p.N >= 1 && p.K <= INT32_MAX && p.N <= INT32_MAX, "K and N of 1 or more", std::to_string(p.K) + " and " + std::to_string(p.N));
  op.require(p.block >= 16 && (p.block & (p.block - 1)) == 0 && p.block <= 1 << 20, "a block_size that is a power of 2, 16 or more", std::to_string(p.block));
  p.blocks = (p.K + p.block - 1) / p.block;
  p.zero_bytes = (p.blocks * p.bits + 7) / 8;
  return p;
}

std::vector<Type> nbits_type(const OpView& op) {
  const Packing p = read(op);
  const Type &a = op.in(kA), &b = op.in(kB);
  if (a.rank() < 1) op.fail("a [..., K]", a.text());
  op.require_equal(a.dims.back(), p.K, "a [..., K]");
  const auto elements_are = [&](const Type& t, int64_t n, std::string_view what) { op.require_equal(t.elements_count(), n, what); };
  elements_are(b, p.N * p.blocks * (p.block * p.bits / 8), "b [N, K / block_size, block_size * bits / 8]");
  elements_are(op.in(kScales), p.N * p.blocks, "scales [N, K / block_size]");
  if (op.has(kZeroPoints)) elements_are(op.in(kZeroPoints), p.N * (op.in(kZeroPoints).dtype == DType::u8 ? p.zero_bytes : p.blocks), "a zero point for each block");
  if (op.has(kBias)) elements_are(op.in(kBias), p.N, "bias [N]");
  Type y = a;
  y.dims.back() = p.N;
  return {y};
}

int64_t unpacked(const Tensor& t, int64_t row_bytes, int64_t row, int64_t i, int64_t bits) {
  const int64_t byte = t.integer(row * row_bytes + i * bits / 8);
  return byte >> (i * bits % 8) & ((1 << bits) - 1);
}

HostValues nbits_reference(const Call& call) {
  const Packing p = read(call.op);
  const Tensor &b = call.in(kB), &scales = call.in(kScales);
  const std::vector<double> a = call.in(kA).doubles();
  const int64_t rows = static_cast<int64_t>(a.size()) / p.K;
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  std::vector<double> w(static_cast<size_t>(p.K));
  for (int64_t n = 0; n < p.N; ++n) {
    for (int64_t k = 0; k < p.K; ++k) {
      check_budget();
      const int64_t block = k / p.block;
      double zero = static_cast<double>(int64_t{1} << (p.bits - 1));
      if (call.op.has(kZeroPoints)) {
        const Tensor& z = call.in(kZeroPoints);
        zero = z.dtype() == DType::u8 ? static_cast<double>(unpacked(z, p.zero_bytes, n, block, p.bits)) : z.number(n * p.blocks + block);
      }
      const int64_t v = unpacked(b, p.blocks * (p.block * p.bits / 8), n, k, p.bits);
      w[static_cast<size_t>(k)] = (static_cast<double>(v) - zero) * scales.number(n * p.blocks + block);
    }
    for (int64_t m = 0; m < rows; ++m) {
      check_budget();
      double sum = call.op.has(kBias) ? call.in(kBias).number(n) : 0;
      for (int64_t k = 0; k < p.K; ++k) sum += a[static_cast<size_t>(m * p.K + k)] * w[static_cast<size_t>(k)];
      store_double(y.dtype(), out, m * p.N + n, sum);
    }
  }
  return one(std::move(y));
}

std::vector<Value> nbits_decompose(Builder& b, const OpView& op, std::span<const Value> in) {
  const Packing p = read(op);
  const DType t = b.dtype(in[kA]), small = p.bits == 2 ? DType::u2 : p.bits == 4 ? DType::u4 : DType::u8;
  // u8[rows, bytes] -> numbers [rows, count], low bits first
  const auto unpack = [&](Value v, int64_t row_bytes, int64_t count) {
    v = b.reshape(v, {p.N, row_bytes});
    if (p.bits < 8) v = b.reshape(b.op("bitcast_convert", {v}, {{"dtype", small}}), {p.N, row_bytes * (8 / p.bits)});
    return b.convert(b.slice_axis(v, 1, 0, count), t);
  };
  const auto spread = [&](Value v) {  // [N, blocks] -> [N, blocks * block_size]
    return b.reshape(b.broadcast_in_dim(b.reshape(v, {p.N, p.blocks}), {p.N, p.blocks, p.block}, {0, 1}), {p.N, p.blocks * p.block});
  };
  Value w = unpack(in[kB], p.blocks * (p.block * p.bits / 8), p.blocks * p.block);
  if (!op.has(kZeroPoints)) w = b.subtract(w, static_cast<double>(int64_t{1} << (p.bits - 1)));
  else if (b.dtype(in[kZeroPoints]) == DType::u8) w = b.subtract(w, spread(unpack(in[kZeroPoints], p.zero_bytes, p.blocks)));
  else w = b.subtract(w, spread(b.convert(in[kZeroPoints], t)));
  w = b.slice_axis(b.multiply(w, spread(b.convert(in[kScales], t))), 1, 0, p.K);
  const Value y = b.dot_general(in[kA], w, {}, {}, {b.rank(in[kA]) - 1}, {1});
  return {op.has(kBias) ? b.add(y, b.convert(b.reshape(in[kBias], {p.N}), t)) : y};
}

Attrs packing(int64_t K, int64_t N, int64_t bits, int64_t block) { return {{"K", K}, {"N", N}, {"bits", bits}, {"block_size", block}}; }

}  // namespace

const OpDef matmul_nbits{
    .name = "matmul_nbits",
    .dialect = "bascule",
    .doc = "y[..., n] = bias[n] + sum_k a[..., k] * scales[n, k / block_size] * (b[n, k] - zero_points[n, k / block_size]); b holds `bits` bits each, low bits first; zero point 2^(bits-1) if absent",
    .inputs = {{"a", DTypes::floats}, {"b", DTypes(DType::u8)}, {"scales", DTypes::floats}, {"zero_points", DTypes::floats | DTypes(DType::u8), kOptional}, {"bias", DTypes::floats, kOptional}},
    .attrs = {{"K", AttrKind::integer}, {"N", AttrKind::integer}, {"bits", AttrKind::integer, false, int64_t{4}}, {"block_size", AttrKind::integer}},
    .type = nbits_type,
    .reference = nbits_reference,
    .decompose = nbits_decompose,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          const Packing p = read(op);
          w.multiply_adds = elements(results[0]) * static_cast<double>(p.K) + static_cast<double>(p.K * p.N);
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{.name = "four_bits", .shapes = {{3, 32}, {5, 2, 8}, {5, 2}}, .attrs = packing(32, 5, 4, 16), .dtypes = {DType::f32, DType::u8, DType::f32}, .low = 0, .high = 9},
              {.name = "ragged_with_zero_points", .shapes = {{2, 20}, {3, 2, 8}, {6}, {3, 1}, {3}}, .attrs = packing(20, 3, 4, 16), .dtypes = {DType::f32, DType::u8, DType::f32, DType::u8, DType::f32}, .low = 0, .high = 9},
              {.name = "eight_bits", .shapes = {{1, 2, 16}, {4, 1, 16}, {4}}, .attrs = packing(16, 4, 8, 16), .dtypes = {DType::f32, DType::u8, DType::f32}, .low = 0, .high = 9}},
};
BASCULE_OP(matmul_nbits);

}  // namespace bascule::ops
