// graph/text/parse_dense.cc — dense<...> : tensor<...>: lists, one value for all, bits in hexadecimal.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "base/budget.h"
#include "base/error.h"
#include "graph/text/parser.h"
#include "graph/text/parser_depth.h"

namespace bascule::mlir {
namespace {

// Value of a hexadecimal digit, -1 of another character: constants of a model may be gigabytes of them.
constexpr std::array<int8_t, 256> kHexValues = [] {
  std::array<int8_t, 256> v{};
  v.fill(-1);
  for (int i = 0; i < 10; ++i) v[static_cast<size_t>('0' + i)] = static_cast<int8_t>(i);
  for (int i = 0; i < 6; ++i) v[static_cast<size_t>('a' + i)] = v[static_cast<size_t>('A' + i)] = static_cast<int8_t>(10 + i);
  return v;
}();
int hex_value(char c) { return kHexValues[static_cast<unsigned char>(c)]; }

std::vector<int64_t> static_dims(const Type& t, const std::string& where) {
  const auto d = constants(t.dims);
  if (!t.is_tensor() || !t.ranked || !d) fail_file(where, "a constant of static shape", t.text(), "Export the model again");
  return *d;
}

// The low storage bits of element i.
void store_bits(DType t, std::byte* p, int64_t i, uint64_t bits) {
  const int width = info(t).storage_bits;
  if (width == 2) store_int(DType::u2, p, i, static_cast<int64_t>(bits));
  else if (width == 4) store_int(DType::u4, p, i, static_cast<int64_t>(bits));
  else if (is_bool(t)) p[i] = std::byte{bits != 0};
  else std::memcpy(p + i * (width / 8), &bits, static_cast<size_t>(std::min(width, 64) / 8));  // hosts are little-endian
}

void copy_splat(Tensor& t) {  // element 0 everywhere
  const int64_t n = t.elements();
  const DType d = t.dtype();
  if (n <= 1) return;
  if (is_string(d)) {
    auto& s = t.mutable_strings();
    std::fill(s.begin() + 1, s.end(), s[0]);
    return;
  }
  std::byte* p = t.mutable_data();
  const int width = info(d).storage_bits;
  if (width < 8) {
    const int64_t bits = load_int(width == 2 ? DType::u2 : DType::u4, p, 0);
    for (int64_t i = 1; i < n; ++i) {
      check_budget();
      store_int(width == 2 ? DType::u2 : DType::u4, p, i, bits);
    }
    return;
  }
  const size_t bytes = static_cast<size_t>(width) / 8, all = bytes * static_cast<size_t>(n);
  if (std::all_of(p, p + bytes, [](std::byte b) { return b == std::byte{0}; })) return;  // untouched pages stay untouched
  for (size_t done = bytes; done < all; done *= 2) std::memcpy(p + done, p, std::min(done, all - done));
}

}  // namespace

Tensor scalar_from_bits(DType t, uint64_t bits) {
  Tensor out(t, {});
  store_bits(t, out.mutable_data(), 0, bits);
  return out;
}

// Raw elements: one byte or more each, little-endian; i1 also eight to a byte. One element stands for all.
Tensor tensor_from_hex(std::string_view digits, const Type& type, const std::string& where) {
  const std::vector<int64_t> dims = static_dims(type, where);
  const DType t = type.dtype;
  if (is_string(t)) fail_file(where, "strings in quotes", "hexadecimal data", "Export the model again");
  const int64_t n = element_count(dims);
  const int64_t width = std::max(8, info(t).storage_bits) / 8;
  if (digits.size() % 2 != 0)
    fail_file(where, "an even number of hexadecimal digits", std::to_string(digits.size()), "The file is damaged: export it again");
  const auto given = static_cast<int64_t>(digits.size() / 2);
  const auto byte_at = [&](int64_t i) {
    const int high = hex_value(digits[static_cast<size_t>(2 * i)]), low = hex_value(digits[static_cast<size_t>(2 * i) + 1]);
    if ((high | low) < 0)
      fail_file(where, "hexadecimal digits", "'" + escaped(digits.substr(static_cast<size_t>(2 * i), 2)) + "'",
                "The file is damaged: export it again");
    return static_cast<uint64_t>(high * 16 + low);
  };
  const bool packed_bools = is_bool(t) && given == (n + 7) / 8 && given != n;
  const bool splat = given == width && n != 1 && n != 0;
  int64_t want = 0;
  if (n < 0 || __builtin_mul_overflow(n, width, &want)) fail_file(where, "a size that fits 63 bits", type.text(), "Export the model again");
  if (given != want && !splat && !packed_bools)
    fail_file(where, std::to_string(want) + " bytes for " + type.text(), std::to_string(given), "The file is damaged: export it again");
  Tensor out(t, dims);
  if (n == 0) return out;
  std::byte* p = out.mutable_data();
  if (packed_bools && !splat) {
    for (int64_t i = 0; i < n; ++i) p[i] = std::byte{((byte_at(i / 8) >> (i % 8)) & 1) != 0};
    return out;
  }
  const int64_t elements = splat ? 1 : n;
  if (info(t).storage_bits >= 8 && !is_bool(t)) {
    for (int64_t i = 0; i < elements * width; ++i) p[i] = static_cast<std::byte>(byte_at(i));
  } else {
    for (int64_t i = 0; i < elements; ++i) store_bits(t, p, i, byte_at(i));
  }
  if (splat) copy_splat(out);
  return out;
}

// Tokens from `begin` to the '>' at `end`.
Tensor Parser::dense_literal(const Type& type, size_t begin, size_t end) {
  const std::string at = where(begin);
  const std::vector<int64_t> dims = static_dims(type, at);
  const DType t = type.dtype;
  move_to(begin);
  const int64_t n = element_count(dims);
  if (n < 0) fail_file(at, "a size that fits 63 bits", type.text(), "Export the model again");
  if (token_.begin == end) {  // dense<>
    if (n != 0) fail("elements for " + type.text());
    return Tensor(t, dims);
  }
  if (token_.kind == TokenKind::string && !is_string(t)) {
    std::string_view s = token_.text.substr(1, token_.text.size() - 2);
    if (s.size() < 2 || s[0] != '0' || s[1] != 'x') fail("\"0x...\"");
    Tensor out = tensor_from_hex(s.substr(2), type, at);
    take();
    return out;
  }
  const bool list = token_.is('[');
  // Each listed element takes a character at least: refuse before memory is taken.
  if (list && n > static_cast<int64_t>(end - begin)) fail(std::to_string(n) + " elements for " + type.text());
  Tensor out(t, dims);
  std::byte* p = is_string(t) || n == 0 ? nullptr : out.mutable_data();
  const int part_bits = is_complex(t) ? info(t).storage_bits / 2 : info(t).storage_bits;
  // One number of a float type as double, or its bits.
  const auto real = [&](DType f, std::byte* to, int64_t i) {
    const bool negative = accept('-');
    const std::string_view w = token_.text;
    if (token_.kind == TokenKind::integer && w.size() > 2 && w[1] == 'x') {
      uint64_t bits = 0;
      const auto [stop, error] = std::from_chars(w.data() + 2, w.data() + w.size(), bits, 16);
      if (negative || error != std::errc() || stop != w.data() + w.size() || (part_bits < 64 && bits >> std::min(part_bits, info(f).bits) != 0))
        fail("the bits of an " + std::string(info(f).name));
      take();
      store_bits(f, to, i, bits);
      return;
    }
    const double v = number();
    store_double(f, to, i, negative ? -v : v);
  };
  const auto element = [&](int64_t i) {
    check_budget();
    if (is_string(t)) {
      out.mutable_strings()[static_cast<size_t>(i)] = string();
    } else if (is_complex(t)) {
      expect('(');
      real(real_of(t), p, 2 * i);
      expect(',');
      real(real_of(t), p, 2 * i + 1);
      expect(')');
    } else if (is_float(t)) {
      real(t, p, i);
    } else if (accept_word("true")) {
      store_int(t, p, i, is_bool(t) ? 1 : -1);
    } else if (accept_word("false")) {
      store_int(t, p, i, 0);
    } else {
      const size_t here = token_.begin;
      const bool negative = token_.is('-');
      const int64_t v = integer();
      const int bits = info(t).bits;
      const bool fits = bits >= 64 || (negative ? !is_unsigned_int(t) && v >= int_min(t) : static_cast<uint64_t>(v) >> bits == 0);
      if (!fits) fail_at(here, "an element of type " + std::string(info(t).name), std::to_string(v));
      store_int(t, p, i, v);
    }
  };
  if (!list) {
    if (n == 0) {  // dense<0.0> : tensor<0xf32>
      move_to(end);
      return out;
    }
    element(0);
    if (token_.begin != end) fail("'>'");
    copy_splat(out);
    return out;
  }
  int64_t next = 0;
  const auto nested = [&](const auto& self, size_t axis) -> void {
    const Depth deeper(*this);
    expect('[');
    const int64_t extent = dims[axis];
    for (int64_t i = 0; i < extent; ++i) {
      if (i > 0) expect(',');
      if (axis + 1 < dims.size()) self(self, axis + 1);
      else element(next++);
    }
    if (!token_.is(']')) fail("']' after " + std::to_string(extent) + " elements of axis " + std::to_string(axis) + " of " + type.text());
    take();
  };
  if (dims.empty()) fail("one element for " + type.text());
  if (n == 0) {
    move_to(end);
    return out;
  }
  nested(nested, 0);
  if (token_.begin != end) fail("'>'");
  return out;
}

AttributeSyntax Parser::dense(size_t at) {
  if (!token_.is('<')) fail("'<'");
  const size_t begin = token_.end;
  take();
  while (!token_.is('>')) {
    if (token_.kind == TokenKind::end) fail("'>' after the elements");
    take();
  }
  const size_t end = token_.begin;
  take();
  expect(':');
  const TypeSyntax written = type();
  if (written.kind != TypeSyntax::Kind::value || !written.type.is_tensor()) fail_at(end, "a tensor type", "another type");
  const Token after = token_;
  AttributeSyntax a;
  a.kind = AttributeSyntax::Kind::tensor;
  a.at = at;
  a.tensor = std::make_shared<const Tensor>(dense_literal(written.type, begin, end));
  a.type = std::make_shared<TypeSyntax>(written);
  token_ = after;
  return a;
}

}  // namespace bascule::mlir
