// import/onnx/wire.cc — bounded protobuf cursor: every length, tag and varint is checked before it is used.
#include "import/onnx/wire.h"

#include <protozero/exception.hpp>
#include <protozero/varint.hpp>

#include "base/budget.h"
#include "base/error.h"

namespace bascule::onnx {

using protozero::pbf_wire_type;

void WireFile::account(size_t bytes) {
  used_bytes_ += static_cast<int64_t>(bytes);
  if (used_bytes_ - checked_bytes_ < 1 << 20) return;
  checked_bytes_ = used_bytes_;
  check_room(used_bytes_, "the structure of an ONNX file");
  check_budget();
}

Wire::Wire(WireFile& file, Bytes bytes, const char* message, int depth)
    : file_(file), message_(message), depth_(depth), at_(reinterpret_cast<const char*>(bytes.data())), end_(at_ + bytes.size()), field_start_(at_) {}

void Wire::fail(const char* name, const std::string& expected, const std::string& found) const {
  auto offset = field_start_ - reinterpret_cast<const char*>(file_.source().bytes.data());
  fail_file(escaped(file_.source().file) + ": byte " + std::to_string(offset) + ", " + message_ + (*name ? "." : "") + name, expected, found,
            "The file is damaged, cut short or not ONNX: export or download it again");
}

uint64_t Wire::raw_varint(const char* name) {
  try {
    return protozero::decode_varint(&at_, end_);
  } catch (const protozero::varint_too_long_exception&) {
    fail(name, "a varint of at most 10 bytes", "a longer one");
  } catch (const protozero::end_of_buffer_exception&) {
    fail(name, "a whole varint", "the end of the message after " + std::to_string(end_ - at_) + " bytes");
  }
}

Bytes Wire::take(uint64_t count, const char* name) {
  auto left = static_cast<uint64_t>(end_ - at_);
  if (count > left) fail(name, std::to_string(count) + " bytes", "only " + std::to_string(left) + " left in the message");
  Bytes out(reinterpret_cast<const std::byte*>(at_), static_cast<size_t>(count));
  at_ += count;
  return out;
}

void Wire::expect(pbf_wire_type type, const char* name) const {
  if (type_ == type) return;
  fail(name, "wire type " + std::to_string(static_cast<int>(type)), "wire type " + std::to_string(static_cast<int>(type_)));
}

bool Wire::next() {
  if (at_ == end_) return false;
  field_start_ = at_;
  uint64_t tag = raw_varint("");
  uint64_t number = tag >> 3;
  if (number == 0 || number > (1U << 29) - 1) fail("", "a field number from 1 to 536870911", std::to_string(number));
  field_ = static_cast<uint32_t>(number);
  auto wire = static_cast<uint32_t>(tag & 7);
  if (wire != 0 && wire != 1 && wire != 2 && wire != 5) {
    fail("", "wire type 0, 1, 2 or 5", "wire type " + std::to_string(wire) + " of field " + std::to_string(number));
  }
  type_ = static_cast<pbf_wire_type>(wire);
  return true;
}

void Wire::skip() {
  switch (type_) {
    case pbf_wire_type::varint: raw_varint(""); break;
    case pbf_wire_type::fixed64: take(8, ""); break;
    case pbf_wire_type::fixed32: take(4, ""); break;
    default: take(raw_varint(""), ""); break;
  }
}

uint64_t Wire::varint(const char* name) {
  expect(pbf_wire_type::varint, name);
  return raw_varint(name);
}

float Wire::f32(const char* name) {
  expect(pbf_wire_type::fixed32, name);
  float value;
  std::memcpy(&value, take(4, name).data(), 4);
  return value;
}

double Wire::f64(const char* name) {
  expect(pbf_wire_type::fixed64, name);
  double value;
  std::memcpy(&value, take(8, name).data(), 8);
  return value;
}

Bytes Wire::bytes(const char* name) {
  expect(pbf_wire_type::length_delimited, name);
  return take(raw_varint(name), name);
}

std::string_view Wire::str(const char* name) {
  Bytes b = bytes(name);
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

Bytes Wire::fixed_bytes(const char* name, size_t size_bytes) {
  auto single = size_bytes == 4 ? pbf_wire_type::fixed32 : pbf_wire_type::fixed64;
  Bytes packed = type_ == single ? take(size_bytes, name) : bytes(name);
  if (packed.size() % size_bytes != 0) {
    fail(name, "packed values of " + std::to_string(size_bytes) + " bytes each", std::to_string(packed.size()) + " bytes");
  }
  return packed;
}

int64_t Wire::count_fixed(const char* name, size_t size_bytes) { return static_cast<int64_t>(fixed_bytes(name, size_bytes).size() / size_bytes); }

Wire Wire::message(const char* name, const char* message) {
  Bytes inside = bytes(name);
  constexpr int kMaxDepth = kMaxNesting * 4;  // graph, node, attribute, graph: at most four messages per level
  if (depth_ >= kMaxDepth) fail(name, "messages nested at most " + std::to_string(kMaxDepth) + " deep", "deeper nesting");
  return Wire(file_, inside, message, depth_ + 1);
}

}  // namespace bascule::onnx
