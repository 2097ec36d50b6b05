// graph/text/print_values.cc — text of types, numbers and constants; read back to the same bits.
#include "graph/text/print_values.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "base/budget.h"
#include "graph/text/lexer.h"

namespace bascule::mlir {
namespace {

constexpr char kHex[] = "0123456789ABCDEF";

std::string with_point(std::string s) {  // MLIR's numbers have a point: 1e-05 -> 1.0e-05
  if (s.find('.') != std::string::npos) return s;
  const size_t e = s.find('e');
  return e == std::string::npos ? s + ".0" : s.substr(0, e) + ".0" + s.substr(e);
}

template <class T>
std::string shortest(T v) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v).ptr;
  return with_point(std::string(buffer, end));
}

std::string bits_text(uint64_t bits, int digits) {
  std::string out = "0x";
  for (int i = digits - 1; i >= 0; --i) out += kHex[(bits >> (4 * i)) & 15];
  return out;
}

// Element i of a float type.
std::string real_text(DType t, const std::byte* p, int64_t i) {
  const double v = load_double(t, p, i);
  if (!std::isfinite(v)) {
    uint64_t bits = 0;
    const int bytes = info(t).storage_bits / 8;
    std::memcpy(&bits, p + i * bytes, static_cast<size_t>(bytes));
    return bits_text(bits, bytes * 2);
  }
  if (t == DType::f32) {
    const std::string s = shortest(static_cast<float>(v));
    double back = 0;
    std::from_chars(s.data(), s.data() + s.size(), back);
    if (static_cast<float>(back) == static_cast<float>(v)) return s;
  }
  return shortest(v);
}

std::string element_text(const Tensor& t, int64_t i) {
  const DType d = t.dtype();
  if (is_string(d)) return quoted(t.strings()[static_cast<size_t>(i)]);
  if (is_bool(d)) return t.integer(i) ? "true" : "false";
  if (is_complex(d)) return "(" + real_text(real_of(d), t.data(), 2 * i) + ", " + real_text(real_of(d), t.data(), 2 * i + 1) + ")";
  if (is_float(d)) return real_text(d, t.data(), i);
  return d == DType::u64 ? std::to_string(static_cast<uint64_t>(t.integer(i))) : std::to_string(t.integer(i));
}

bool all_alike(const Tensor& t) {
  const int64_t n = t.elements();
  if (n <= 1) return n == 1;
  if (is_string(t.dtype())) {
    for (const std::string& s : t.strings())
      if (s != t.strings()[0]) return false;
    return true;
  }
  const int width = info(t.dtype()).storage_bits;
  if (width >= 8) return std::memcmp(t.data(), t.data() + width / 8, static_cast<size_t>((n - 1) * (width / 8))) == 0;
  for (int64_t i = 1; i < n; ++i)
    if (load_int(width == 2 ? DType::u2 : DType::u4, t.data(), i) != load_int(width == 2 ? DType::u2 : DType::u4, t.data(), 0)) return false;
  return true;
}

void list_text(std::string& out, const Tensor& t, size_t axis, int64_t& next) {
  out += '[';
  for (int64_t i = 0; i < t.dim(axis); ++i) {
    if (i) out += ", ";
    if (axis + 1 < t.rank()) list_text(out, t, axis + 1, next);
    else out += element_text(t, next++);
  }
  out += ']';
}

}  // namespace

std::string dims_text(const Dims& d) {
  std::string out = "#bascule.dims<";
  for (size_t i = 0; i < d.size(); ++i) out += (i ? "," : "") + quoted(d[i].text());
  return out + ">";
}

std::string ints_text(const Ints& v) {
  std::string out = "array<i64";
  for (size_t i = 0; i < v.size(); ++i) out += (i ? ", " : ": ") + std::to_string(v[i]);
  return out + ">";
}

std::string number_text(double v) {
  if (std::isfinite(v)) return shortest(v);
  uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof bits);
  return bits_text(bits, 16);
}

std::string type_text(const Type& t) {
  switch (t.kind) {
    case Type::Kind::tensor: {
      if (!t.ranked) return "tensor<*x" + std::string(info(t.dtype).mlir_name) + ">";
      std::string out = "tensor<";
      bool open = false;
      for (const Dim& d : t.dims) {
        out += d.is_constant() ? d.text() : "?";
        out += 'x';
        open |= !d.is_constant();
      }
      out += info(t.dtype).mlir_name;
      if (open) out += ", " + dims_text(t.dims);
      return out + ">";
    }
    case Type::Kind::token: return "!stablehlo.token";
    case Type::Kind::any: return "!bascule.any";
    case Type::Kind::sequence: return "!bascule.sequence" + (t.elements.empty() ? "" : "<" + type_text(t.elements[0]) + ">");
    case Type::Kind::optional: return "!bascule.optional" + (t.elements.empty() ? "" : "<" + type_text(t.elements[0]) + ">");
    case Type::Kind::map:
      return "!bascule.map<" + std::string(info(t.dtype).mlir_name) + (t.elements.empty() ? "" : ", " + type_text(t.elements[0])) + ">";
    case Type::Kind::tuple: break;
  }
  std::string out = "tuple<";
  for (size_t i = 0; i < t.elements.size(); ++i) out += (i ? ", " : "") + type_text(t.elements[i]);
  return out + ">";
}

std::string tensor_text(const Tensor& t, int64_t largest) {
  const std::string type = " : " + type_text(Type::tensor(t.dtype(), to_dims(t.dims())));
  const int64_t n = t.elements();
  if (largest >= 0 && n > largest && !all_alike(t)) return "dense_resource<__elided__>" + type;
  if (n == 0) return "dense<>" + type;
  if (all_alike(t)) return "dense<" + element_text(t, 0) + ">" + type;
  constexpr int64_t kMostListed = 32;
  std::string out = "dense<";
  if (n <= kMostListed || is_string(t.dtype())) {
    int64_t next = 0;
    list_text(out, t, 0, next);
    return out + ">" + type;
  }
  const int width = info(t.dtype()).storage_bits;
  const int64_t bytes = width < 8 ? n : n * (width / 8);
  check_room(bytes > INT64_MAX / 2 ? -1 : 2 * bytes, "text of a constant");
  out.reserve(out.size() + static_cast<size_t>(2 * bytes) + 64);
  out += "\"0x";
  for (int64_t i = 0; i < bytes; ++i) {
    const auto b =
        width < 8 ? static_cast<unsigned>(load_int(width == 2 ? DType::u2 : DType::u4, t.data(), i)) : std::to_integer<unsigned>(t.data()[i]);
    out += kHex[b >> 4];
    out += kHex[b & 15];
  }
  return out + "\">" + type;
}

}  // namespace bascule::mlir
