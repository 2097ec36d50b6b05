// tests/chips/values_kernels.cc — conversions and products of modelled chips against exact arithmetic.
#include "device/chip/values_kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

namespace bascule::device::chip {
namespace {

TEST(ChipKernels, every_16_bit_float_is_read_exactly) {
  for (const DType t : {DType::bf16, DType::f16}) {
    for (uint32_t code = 0; code < 65536; ++code) {
      const auto c = static_cast<uint16_t>(code);
      std::byte bytes[2];
      std::memcpy(bytes, &c, 2);
      float got;
      load_f32(t, bytes, 0, 1, 1, &got);
      const double want = load_double(t, bytes, 0);
      if (std::isnan(want)) EXPECT_TRUE(std::isnan(got)) << code;
      else EXPECT_EQ(static_cast<double>(got), want) << code;
    }
  }
}

TEST(ChipKernels, stores_round_as_the_types_definition) {
  for (const DType t : {DType::bf16, DType::f16, DType::f8e4m3fn, DType::f8e5m2}) {
    const int bytes = info(t).storage_bits / 8;
    for (uint64_t k = 0; k < (uint64_t{1} << 32); k += 1048573 / (t == DType::bf16 || t == DType::f16 ? 32 : 1)) {
      const auto x = std::bit_cast<float>(static_cast<uint32_t>(k));
      std::byte got[4] = {}, want[4] = {};
      store_f32(t, got, 0, 1, 1, &x);
      store_double(t, want, 0, static_cast<double>(x));
      if (std::isnan(x)) EXPECT_TRUE(std::isnan(load_double(t, got, 0)));
      else EXPECT_EQ(std::memcmp(got, want, static_cast<size_t>(bytes)), 0) << info(t).name << " " << x;
    }
  }
  // Halfway cases and the ends of the range.
  for (const float x : {65504.0f, 65519.996f, 65520.0f, 0x1p-24f, 0x1p-25f, 0x1.8p-25f, 0x1.ffcp-15f, 0x1.ffep-15f, 1.00048828125f, 1.00146484375f, 3.4e38f, -0.0f}) {
    for (const DType t : {DType::bf16, DType::f16}) {
      std::byte got[2], want[2];
      store_f32(t, got, 0, 1, 1, &x);
      store_double(t, want, 0, static_cast<double>(x));
      EXPECT_EQ(std::memcmp(got, want, 2), 0) << info(t).name << " " << x;
    }
  }
}

TEST(ChipKernels, products_of_any_size_add_in_order_of_k) {
  for (const int64_t M : {1, 3, 6, 7, 13})
    for (const int64_t N : {1, 8, 9, 31})
      for (const int64_t K : {0, 1, 17}) {
        std::vector<float> a(static_cast<size_t>(K * M)), b(static_cast<size_t>(K * N)), out(static_cast<size_t>(M * N), 7);
        float seed = 0;
        for (float& x : a) x = std::sin(seed += 0.3f);
        for (float& x : b) x = std::cos(seed += 0.7f);
        product_f32(a.data(), b.data(), M, K, N, out.data());
        for (int64_t m = 0; m < M; ++m)
          for (int64_t n = 0; n < N; ++n) {
            float want = 0;
            for (int64_t k = 0; k < K; ++k) {
              const volatile float product = a[static_cast<size_t>(k * M + m)] * b[static_cast<size_t>(k * N + n)];  // rounded: never fused
              want += product;
            }
            EXPECT_EQ(out[static_cast<size_t>(m * N + n)], want) << M << " " << N << " " << K;
          }
      }
}

}  // namespace
}  // namespace bascule::device::chip
