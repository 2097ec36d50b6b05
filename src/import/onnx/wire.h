// import/onnx/wire.h — one protobuf message as a bounded cursor over its bytes. protozero decodes varints; lengths are checked here, in 64 bits.
#pragma once
#include <cstring>
#include <protozero/types.hpp>
#include <string>
#include <string_view>

#include "import/onnx/proto.h"

namespace bascule::onnx {

// What all cursors of one file share: where offsets start, and how much the structs built so far take.
class WireFile {
 public:
  explicit WireFile(const Source& source) : source_(source) {}
  const Source& source() const { return source_; }
  void account(size_t bytes);  // CapacityError once the structs pass the memory limit

 private:
  const Source& source_;
  int64_t used_bytes_ = 0;
  int64_t checked_bytes_ = 0;
};

class Wire {
 public:
  Wire(WireFile& file, Bytes bytes, const char* message, int depth);

  bool next();  // moves to the next field; false at the end. The field must then be read or skipped
  uint32_t field() const { return field_; }
  protozero::pbf_wire_type wire_type() const { return type_; }
  void skip();

  uint64_t varint(const char* name);
  int64_t i64(const char* name) { return static_cast<int64_t>(varint(name)); }
  int32_t i32(const char* name) { return static_cast<int32_t>(varint(name)); }  // protobuf keeps the low 32 bits
  float f32(const char* name);
  double f64(const char* name);
  Bytes bytes(const char* name);
  std::string_view str(const char* name);
  // Deeper by one: a file nested past kMaxNesting * 4 messages is refused before the stack is in danger.
  Wire message(const char* name, const char* message);

  // A repeated scalar field in either encoding; `sink` is called once per value.
  template <class Sink> void varints(const char* name, Sink sink);
  template <class T, class Sink> void fixed(const char* name, Sink sink);
  int64_t count_fixed(const char* name, size_t size_bytes);  // values that fixed() would give, without reading them
  Bytes rest() const { return {reinterpret_cast<const std::byte*>(at_), static_cast<size_t>(end_ - at_)}; }

  WireFile& file() const { return file_; }
  int depth() const { return depth_; }
  [[noreturn]] void fail(const char* name, const std::string& expected, const std::string& found) const;

 private:
  uint64_t raw_varint(const char* name);
  Bytes fixed_bytes(const char* name, size_t size_bytes);
  Bytes take(uint64_t count, const char* name);
  void expect(protozero::pbf_wire_type type, const char* name) const;

  WireFile& file_;
  const char* message_;
  int depth_;
  const char* at_;
  const char* end_;
  const char* field_start_;
  uint32_t field_ = 0;
  protozero::pbf_wire_type type_ = protozero::pbf_wire_type::unknown;
};

template <class Sink> void Wire::varints(const char* name, Sink sink) {
  if (type_ == protozero::pbf_wire_type::varint) return void(sink(raw_varint(name)));
  Bytes packed = bytes(name);
  Wire inner(file_, packed, message_, depth_);
  inner.field_start_ = field_start_;
  while (inner.at_ != inner.end_) sink(inner.raw_varint(name));
}

template <class T, class Sink> void Wire::fixed(const char* name, Sink sink) {
  Bytes packed = fixed_bytes(name, sizeof(T));
  for (size_t i = 0; i < packed.size(); i += sizeof(T)) {
    T value;
    std::memcpy(&value, packed.data() + i, sizeof(T));
    sink(value);
  }
}

}  // namespace bascule::onnx
