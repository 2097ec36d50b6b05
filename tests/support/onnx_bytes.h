// tests/support/onnx_bytes.h — writes small ONNX files, right or wrong, byte by byte. For tests only: it checks nothing.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bascule::test {

using Pb = std::string;  // the inside of a message

inline Pb varint(uint64_t v) {
  Pb out;
  for (; v >= 128; v >>= 7) out += static_cast<char>(v | 128);
  return out += static_cast<char>(v);
}
inline Pb integer(int field, int64_t v) { return varint(static_cast<uint64_t>(field) << 3) + varint(static_cast<uint64_t>(v)); }
inline Pb bytes(int field, std::string_view inside) { return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(inside.size()) + Pb(inside); }
inline Pb strings(int field, const std::vector<std::string>& list) {
  Pb out;
  for (const auto& s : list) out += bytes(field, s);
  return out;
}

// TypeProto of a tensor; a dim of -1 is left unknown.
inline Pb tensor_type(int elem_type, const std::vector<int64_t>& dims) {
  Pb shape;
  for (int64_t d : dims) shape += bytes(1, d < 0 ? Pb() : integer(1, d));
  return bytes(1, integer(1, elem_type) + bytes(2, shape));
}
inline Pb value_info(std::string_view name, const Pb& type) { return bytes(1, name) + bytes(2, type); }
inline Pb tensor(std::string_view name, int data_type, const std::vector<int64_t>& dims, const Pb& values) {
  Pb out;
  for (int64_t d : dims) out += integer(1, d);
  return out + integer(2, data_type) + values + bytes(8, name);
}
inline Pb raw(std::string_view data) { return bytes(9, data); }
inline Pb external(std::string_view key, std::string_view value) { return bytes(13, bytes(1, key) + bytes(2, value)); }
inline Pb is_external() { return integer(14, 1); }

inline Pb attribute(std::string_view name, int type, const Pb& value) { return bytes(5, bytes(1, name) + value + integer(20, type)); }
inline Pb attribute_int(std::string_view name, int64_t v) { return attribute(name, 2, integer(3, v)); }
inline Pb attribute_ints(std::string_view name, const std::vector<int64_t>& v) {
  Pb list;
  for (int64_t i : v) list += integer(8, i);
  return attribute(name, 7, list);
}
inline Pb attribute_graph(std::string_view name, const Pb& graph) { return attribute(name, 5, bytes(6, graph)); }
inline Pb node(std::string_view op, const std::vector<std::string>& in, const std::vector<std::string>& out, const Pb& attributes = "",
               std::string_view domain = "") {
  return strings(1, in) + strings(2, out) + bytes(4, op) + (domain.empty() ? Pb() : bytes(7, domain)) + attributes;
}

inline Pb nodes(const std::vector<Pb>& list) {
  Pb out;
  for (const auto& n : list) out += bytes(1, n);
  return out;
}
inline Pb inputs(const std::vector<Pb>& list) { return strings(11, list); }
inline Pb outputs(const std::vector<Pb>& list) { return strings(12, list); }
inline Pb initializers(const std::vector<Pb>& list) { return strings(5, list); }
inline Pb model(const Pb& graph, int64_t opset = 17, int64_t ir_version = 8) {
  return integer(1, ir_version) + bytes(7, graph) + bytes(8, integer(2, opset));
}

inline constexpr int kFloat = 1, kInt64 = 7, kBool = 9;

}  // namespace bascule::test
