// tests/runtime/arrays.cc — .npy and .npz: every element type there and back, NumPy's other layouts, and files that lie.
#include "runtime/arrays.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/budget.h"
#include "base/error.h"
#include "base/file.h"

namespace bascule::runtime {
namespace {
using namespace std::string_literals;

std::string temporary(const std::string& name) {
  return (std::filesystem::temp_directory_path() / ("bascule-" + std::to_string(getpid()) + name)).string();
}

std::string npy(const std::string& dictionary, const std::string& data) {
  std::string h = "\x93NUMPY\x01\x00"s;
  h += static_cast<char>(dictionary.size() & 255);
  h += static_cast<char>(dictionary.size() >> 8);
  return h + dictionary + data;
}
Array parse(const std::string& s) { return parse_npy(std::as_bytes(std::span(s)), "test"); }

TEST(Arrays, every_element_type_returns_from_an_npz_unchanged) {
  const std::string path = temporary("types.npz");
  std::vector<NamedValue> values;
  for (int t = 0; t < kDTypeCount; ++t) {
    const auto type = static_cast<DType>(t);
    Tensor tensor(type, {3, 1});
    if (type == DType::string) tensor.mutable_strings() = {"a", "", "h\xC3\xA9llo \xF0\x9F\x8C\x89"};
    else
      for (int64_t i = 0; i < 3; ++i) store_double(type, tensor.mutable_data(), i, static_cast<double>(i));
    values.push_back({std::string(info(type).name), tensor});
  }
  write_npz(path, values);
  const std::vector<Array> arrays = read_npz(path);
  ASSERT_EQ(arrays.size(), values.size());
  for (size_t i = 0; i < arrays.size(); ++i) {
    const Tensor& want = values[i].value.tensor();
    EXPECT_EQ(arrays[i].name, values[i].name);
    EXPECT_TRUE(typed(arrays[i], want.dtype(), "test").identical(want)) << values[i].name;
  }
  std::filesystem::remove(path);
}

TEST(Arrays, parts_of_a_sequence_are_numbered) {
  const std::string path = temporary("sequence.npz");
  const std::vector<NamedValue> values{{"s", HostValue::sequence({Tensor::scalar(DType::f32, 1), Tensor::scalar(DType::f32, 2)})}};
  write_npz(path, values);
  const auto arrays = read_npz(path);
  ASSERT_EQ(arrays.size(), 2u);
  EXPECT_EQ(arrays[1].name, "s[1]");
  EXPECT_EQ(arrays[1].tensor.number(0), 2);
  std::filesystem::remove(path);
}

TEST(Arrays, empty_npz_is_written_and_read) {
  const std::string path = temporary("empty.npz");
  write_npz(path, {});
  EXPECT_TRUE(read_npz(path).empty());
  std::filesystem::remove(path);
}

TEST(Arrays, column_major_and_big_endian_read_as_row_major) {
  const Array a = parse(npy("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n", "\0\1\0\4\0\2\0\5\0\3\0\6"s));
  EXPECT_EQ(a.tensor.ints(), (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  const Array s = parse(npy("{'descr': '|S3', 'fortran_order': False, 'shape': (2,), }", "ab\0cde"s));
  EXPECT_EQ(s.tensor.strings(), (std::vector<std::string>{"ab", "cde"}));
}

TEST(Arrays, files_that_lie_are_typed_errors) {
  const auto kind = [](const std::string& s) {
    try {
      parse(s);
    } catch (const Error& e) {
      return e.kind();
    }
    return ErrorKind::internal;
  };
  const std::string f4 = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  EXPECT_EQ(kind("hello"), ErrorKind::invalid_file);
  EXPECT_EQ(kind("\x93NUMPY\x01"s), ErrorKind::invalid_file);
  EXPECT_EQ(kind("\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF"s), ErrorKind::invalid_file);
  EXPECT_EQ(kind(npy(f4 + "(4,), }", "short")), ErrorKind::invalid_file);
  EXPECT_EQ(kind(npy(f4 + "(9223372036854775807, 4), }", "")), ErrorKind::invalid_file);
  EXPECT_EQ(kind(npy(f4 + "(-1,), }", "")), ErrorKind::invalid_file);
  EXPECT_EQ(kind(npy(f4 + "(99999999999999999999,), }", "")), ErrorKind::invalid_file);
  EXPECT_EQ(kind(npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "x")), ErrorKind::invalid_file);
  EXPECT_EQ(kind(npy("{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }", std::string(16, 'x'))), ErrorKind::unsupported);
  EXPECT_EQ(kind(npy("{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000000000,), }", "")), ErrorKind::capacity);
  EXPECT_EQ(kind(npy("{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", "\xFF\xFF\xFF\xFF")), ErrorKind::invalid_file);
}

TEST(Arrays, truncated_npz_is_a_typed_error_at_every_length) {
  const std::string path = temporary("cut.npz");
  const std::vector<NamedValue> values{{"x", Tensor(DType::f32, {5})}, {"y", Tensor(DType::i64, {2, 2})}};
  write_npz(path, values);
  const std::string whole = read_file(path);
  for (size_t n = 0; n < whole.size(); n += 7) {
    write_file(path, std::string_view(whole).substr(0, n));
    EXPECT_THROW(read_npz(path), Error) << n;
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace bascule::runtime
