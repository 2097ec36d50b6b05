// tests/hostile/onnx_bytes_test.cc — damaged protobuf: each ends in an InvalidFileError that names byte, field, expected and found.
#include <gtest/gtest.h>

#include "base/error.h"
#include "import/onnx/proto.h"
#include "tests/support/onnx_bytes.h"

namespace bascule::onnx {
namespace {
using namespace bascule::test;

std::string outcome(const Pb& text) {
  Source s;
  s.file = "m.onnx";
  s.bytes = std::as_bytes(std::span(text.data(), text.size()));
  try {
    parse_model(s);
  } catch (const Error& e) {
    return std::string(e.kind_name()) + ": " + e.what();
  }
  return "read";
}
const std::string kRemedy = ". The file is damaged, cut short or not ONNX: export or download it again";

TEST(onnx_bytes, lengths_and_varints_are_decoded_in_64_bits) {
  EXPECT_EQ(outcome("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
            "InvalidFileError: m.onnx: byte 0, ModelProto.graph: expected 9223372036854775807 bytes, found only 0 left in the message" + kRemedy);
  // 2^32: a 32-bit length would read it as 0
  EXPECT_EQ(outcome(Pb("\x3a\x80\x80\x80\x80\x10\0", 7)),
            "InvalidFileError: m.onnx: byte 0, ModelProto.graph: expected 4294967296 bytes, found only 1 left in the message" + kRemedy);
  EXPECT_EQ(outcome("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            "InvalidFileError: m.onnx: byte 0, ModelProto.ir_version: expected a varint of at most 10 bytes, found a longer one" + kRemedy);
  EXPECT_EQ(outcome(""), "InvalidFileError: m.onnx: byte 0, ModelProto.graph: expected a graph, found an empty file" + kRemedy);
}

// `levels` messages inside each other, the fields from inside out in turn.
Pb nested(int levels, const std::vector<int>& fields) {
  std::vector<Pb> heads;
  size_t inside = 0;
  for (int i = 0; i < levels; i++) {
    heads.push_back(varint(static_cast<uint64_t>(fields[static_cast<size_t>(i) % fields.size()]) << 3 | 2) + varint(inside));
    inside += heads.back().size();
  }
  Pb out;
  for (size_t i = heads.size(); i-- > 0;) out += heads[i];
  return out;
}

TEST(onnx_bytes, messages_nested_100000_deep_are_refused) {
  EXPECT_NE(outcome(model(nested(99'999, {6, 5, 1}))).find("messages nested at most 256 deep"), std::string::npos);  // g, attribute, node
  EXPECT_NE(outcome(model(inputs({value_info("x", nested(100'000, {1, 4}))}))).find("messages nested at most 256 deep"), std::string::npos);
}

TEST(onnx_bytes, a_file_cut_at_any_byte_is_refused_or_read_without_harm) {
  Pb whole = model(nodes({node("Add", {"x", "w"}, {"y"}, attribute_ints("axes", {1, 2}))}) + initializers({tensor("w", kFloat, {1}, raw("1234"))}) +
                   inputs({value_info("x", tensor_type(kFloat, {-1, 3}))}) + outputs({value_info("y", tensor_type(kFloat, {2, 3}))}));
  EXPECT_EQ(outcome(whole), "read");
  for (size_t n = 0; n < whole.size(); n++) {
    auto result = outcome(whole.substr(0, n));
    EXPECT_TRUE(result == "read" || result.starts_with("InvalidFileError: m.onnx: byte ")) << n << result;
    for (int bit = 0; bit < 8; bit++) {
      Pb flipped = whole;
      flipped[n] = static_cast<char>(flipped[n] ^ (1 << bit));
      result = outcome(flipped);
      EXPECT_TRUE(result == "read" || result.starts_with("InvalidFileError: m.onnx: byte ")) << n << result;
    }
  }
}

}  // namespace
}  // namespace bascule::onnx
