// tests/import/onnx_tensor_test.cc — TensorProto to Tensor: encodings, sizes, external files; errors name bytes and fields.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "import/onnx/tensor_pb.h"
#include "tests/support/onnx_bytes.h"

namespace bascule::onnx {
namespace {
namespace fs = std::filesystem;
using namespace bascule::test;

Source source_of(const Pb& text) {
  auto keep = std::make_shared<const std::string>(text);
  Source s;
  s.file = "t.pb";
  s.bytes = std::as_bytes(std::span(keep->data(), keep->size()));
  s.owner = keep;
  return s;
}

Tensor load(const Pb& text) {
  Source s = source_of(text);
  return load_present(s, parse_tensor(s), nullptr, "t.pb");
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return std::string(e.kind_name()) + ": " + e.what();
  }
  return "no error";
}

TEST(onnx_tensor, packed_and_unpacked_values_are_equal) {
  Pb unpacked = integer(7, 5) + integer(7, -1) + integer(7, 7);
  Pb packed = bytes(7, varint(5) + varint(static_cast<uint64_t>(-1)) + varint(7));
  EXPECT_TRUE(load(tensor("t", kInt64, {3}, unpacked)).identical(load(tensor("t", kInt64, {3}, packed))));
  EXPECT_EQ(load(tensor("t", kInt64, {3}, packed)).ints(), (std::vector<int64_t>{5, -1, 7}));
}

TEST(onnx_tensor, int32_data_holds_two_4_bit_and_four_2_bit_elements_per_entry) {
  EXPECT_EQ(load(tensor("t", 21, {3}, integer(5, 0x21) + integer(5, 0x0f))).ints(), (std::vector<int64_t>{1, 2, 15}));
  EXPECT_EQ(load(tensor("t", 22, {3}, integer(5, 0xf8) + integer(5, 7))).ints(), (std::vector<int64_t>{-8, -1, 7}));
  EXPECT_EQ(load(tensor("t", 26, {5}, integer(5, 0b11100100) + integer(5, 1))).ints(), (std::vector<int64_t>{0, 1, -2, -1, 1}));
}

TEST(onnx_tensor, six_bit_floats_stand_four_in_three_raw_bytes) {
  // 1, 2, 3, 4 as 6-bit codes of e2m3: 0 01 000 = 8 is 1.0
  unsigned bits = 8U | 16U << 6 | 20U << 12 | 24U << 18;
  Pb three{static_cast<char>(bits), static_cast<char>(bits >> 8), static_cast<char>(bits >> 16)};
  EXPECT_EQ(load(tensor("t", 27, {4}, raw(three))).doubles(), (std::vector<double>{1, 2, 3, 4}));
}

TEST(onnx_tensor, float16_in_int32_data_is_taken_by_its_bits) {
  EXPECT_EQ(load(tensor("t", 10, {2}, integer(5, 0x3c00) + integer(5, 0xc000))).doubles(), (std::vector<double>{1, -2}));
}

TEST(onnx_tensor, sizes_that_contradict_dims_are_errors) {
  auto e = error_of([] { load(tensor("t", kFloat, {2, 3}, raw("12345678"))); });
  EXPECT_EQ(e, "InvalidFileError: t.pb: expected 24 bytes of raw_data for f32[2,3], found 8 bytes. The file contradicts itself: export it again");
  EXPECT_NE(error_of([] { load(tensor("t", kFloat, {-1}, raw(""))); }).find("dims of 0 or more"), std::string::npos);
  EXPECT_NE(error_of([] { load(tensor("t", kFloat, {1LL << 40, 1LL << 40}, raw(""))); }).find("fit 63 bits"), std::string::npos);
  EXPECT_NE(error_of([] { load(tensor("t", kFloat, {1LL << 50}, "")); }).find("expected 1125899906842624 values"), std::string::npos);
  EXPECT_NE(error_of([] { load(tensor("t", 99, {1}, raw("1234"))); }).find("element type"), std::string::npos);
  EXPECT_NE(error_of([] { load(tensor("t", kFloat, {1}, integer(7, 3))); }).find("1 in int64_data"), std::string::npos);
}

class ExternalData : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("bascule_external_" + std::to_string(::getpid()));
    fs::create_directories(folder_ / "model");
    std::ofstream(folder_ / "model" / "w.data", std::ios::binary) << std::string(64, '\1');
    std::ofstream(folder_ / "secret", std::ios::binary) << std::string(64, '\2');
    fs::create_symlink("../secret", folder_ / "model" / "leaves");
    fs::create_symlink("w.data", folder_ / "model" / "stays");
    fs::create_symlink("/dev/zero", folder_ / "model" / "device");
  }
  void TearDown() override { fs::remove_all(folder_); }
  LoadedTensor load_at(const std::string& location, const std::string& offset = "", const std::string& length = "") {
    Pb text = tensor("w", kFloat, {4}, is_external() + external("location", location) + (offset.empty() ? Pb() : external("offset", offset)) +
                                           (length.empty() ? Pb() : external("length", length)));
    Source s = source_of(text);
    ExternalFiles files((folder_ / "model" / "m.onnx").string());
    return load_tensor(s, parse_tensor(s), &files, "m.onnx: initializer 'w'");
  }
  fs::path folder_;
};

TEST_F(ExternalData, is_read_at_any_offset_and_through_links_that_stay_inside) {
  for (const char* offset : {"0", "1", "48"}) EXPECT_TRUE(load_at("w.data", offset, "16").value) << offset;
  EXPECT_TRUE(load_at("stays").value);
}

TEST_F(ExternalData, absent_files_give_a_type_and_a_reason) {
  auto t = load_at("none.data");
  EXPECT_FALSE(t.value);
  EXPECT_EQ(t.dims, std::vector<int64_t>{4});
  EXPECT_EQ(t.absent, "weights file 'none.data' is not there");
}

TEST_F(ExternalData, hostile_locations_offsets_and_lengths_are_typed_errors) {
  for (const char* location : {"../secret", "/etc/passwd", "leaves", "device", "a/../../secret"}) {
    EXPECT_NE(error_of([&] { load_at(location); }).find("InvalidFileError: "), std::string::npos) << location;
  }
  for (const char* offset : {"-4", "9007199254740992", "9223372036854775808", "x", "52"}) {
    EXPECT_NE(error_of([&] { load_at("w.data", offset); }).find("InvalidFileError: m.onnx: initializer 'w'"), std::string::npos) << offset;
  }
  EXPECT_NE(error_of([&] { load_at("w.data", "0", "1125899906842624"); }).find("length 1125899906842624"), std::string::npos);
}

TEST(onnx_sparse, is_made_dense_and_indices_are_checked) {
  auto sparse = [](const std::vector<int64_t>& at) {
    SparseTensorProto s;
    static std::vector<Pb> keep;
    Pb list;
    for (int64_t i : at) list += integer(7, i);
    Source sv = source_of(tensor("v", kFloat, {2}, raw(std::string("\0\0\x80\x3f\0\0\0\x40", 8))));
    Source si = source_of(tensor("i", kInt64, {2}, list));
    s.values = parse_tensor(sv);
    s.indices = parse_tensor(si);
    s.has_values = s.has_indices = true;
    s.dims = {2, 2};
    return load_sparse(sv, s, nullptr, "sparse");
  };
  EXPECT_EQ(sparse({0, 3}).doubles(), (std::vector<double>{1, 0, 0, 2}));
  EXPECT_NE(error_of([&] { sparse({0, 4}); }).find("ascending indices below 4"), std::string::npos);
  EXPECT_NE(error_of([&] { sparse({3, 0}); }).find("ascending"), std::string::npos);
}

}  // namespace
}  // namespace bascule::onnx
