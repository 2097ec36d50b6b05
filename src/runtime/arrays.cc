// runtime/arrays.cc — the .npy header and its element types, and .npz members through libzip.
#include "runtime/arrays.h"

#include <zip.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

#include "base/budget.h"
#include "base/error.h"
#include "base/file.h"

namespace bascule::runtime {
namespace {
using Bytes = std::span<const std::byte>;
static_assert(std::endian::native == std::endian::little);

[[noreturn]] void bad_npy(const std::string& where, std::string expected, std::string found) {
  fail_file(where, std::move(expected), std::move(found), "Write it with numpy.save or numpy.savez");
}

// --- The header: a Python dictionary literal {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ------------------------

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Header parse() {
    Header h;
    bool have_descr = false, have_order = false, have_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        h.descr = quoted();
        have_descr = true;
      } else if (key == "fortran_order") {
        h.fortran_order = boolean();
        have_order = true;
      } else if (key == "shape") {
        h.shape = tuple();
        have_shape = true;
      } else {
        fail("the keys descr, fortran_order and shape", "'" + escaped(key) + "'");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!have_descr || !have_order || !have_shape) fail("the keys descr, fortran_order and shape", "a header without one of them");
    return h;
  }

 private:
  [[noreturn]] void fail(std::string expected, std::string found) { bad_npy(where_, std::move(expected), std::move(found)); }
  void skip_space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n' || text_[0] == '\t')) text_.remove_prefix(1);
  }
  bool accept(char c) {
    skip_space();
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(std::string("'") + c + "' in the header", text_.empty() ? "its end" : "'" + escaped(text_.substr(0, 12)) + "'");
  }
  std::string quoted() {
    skip_space();
    if (!text_.empty() && text_[0] == '[') fail("an array of one element type", "a structured type");
    const char quote = !text_.empty() && text_[0] == '"' ? '"' : '\'';
    expect(quote);
    const size_t end = text_.find(quote);
    if (end == std::string_view::npos || end > 64) fail("a short quoted word in the header", "an open or long one");
    const std::string word(text_.substr(0, end));
    text_.remove_prefix(end + 1);
    return word;
  }
  bool boolean() {
    skip_space();
    for (const auto& [word, value] : {std::pair<std::string_view, bool>{"True", true}, {"False", false}})
      if (text_.substr(0, word.size()) == word) {
        text_.remove_prefix(word.size());
        return value;
      }
    fail("True or False", "'" + escaped(text_.substr(0, 12)) + "'");
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> out;
    expect('(');
    while (!accept(')')) {
      skip_space();
      int64_t v = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), v);
      if (error != std::errc() || v < 0) fail("dimensions from 0 to 2^63 - 1", "'" + escaped(text_.substr(0, 24)) + "'");
      text_.remove_prefix(static_cast<size_t>(end - text_.data()));
      if (!text_.empty() && text_[0] == 'L') text_.remove_prefix(1);  // as Python 2 wrote long integers
      out.push_back(v);
      if (out.size() > 64) fail("at most 64 dimensions", "more");
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }

  std::string_view text_;
  const std::string& where_;
};

// --- Element types --------------------------------------------------------------------------------------------------------------

// How one element lies in the file.
struct Element {
  DType type = DType::f32;
  int opaque_bytes = 0;    // 1 or 2: bytes without a type
  int64_t item_bytes = 0;  // in the file
  int64_t swap_bytes = 0;  // big endian: reverse groups of so many bytes
  bool unpacked = false;   // one byte each in the file, packed in the tensor
  char string_kind = 0;    // 'U' or 'S'
};

struct FileType {
  char kind;
  int bytes;
  DType type;
};
constexpr FileType kFileTypes[] = {
    {'b', 1, DType::i1},  {'i', 1, DType::i8},  {'i', 2, DType::i16}, {'i', 4, DType::i32},   {'i', 8, DType::i64},
    {'u', 1, DType::u8},  {'u', 2, DType::u16}, {'u', 4, DType::u32}, {'u', 8, DType::u64},   {'f', 2, DType::f16},
    {'f', 4, DType::f32}, {'f', 8, DType::f64}, {'c', 8, DType::c64}, {'c', 16, DType::c128},
};
struct NamedType {
  std::string_view name;  // of ml_dtypes
  DType type;
};
constexpr NamedType kNamedTypes[] = {
    {"bfloat16", DType::bf16},
    {"float8_e3m4", DType::f8e3m4},
    {"float8_e4m3", DType::f8e4m3},
    {"float8_e4m3fn", DType::f8e4m3fn},
    {"float8_e4m3fnuz", DType::f8e4m3fnuz},
    {"float8_e4m3b11fnuz", DType::f8e4m3b11fnuz},
    {"float8_e5m2", DType::f8e5m2},
    {"float8_e5m2fnuz", DType::f8e5m2fnuz},
    {"float8_e8m0fnu", DType::f8e8m0fnu},
    {"float6_e2m3fn", DType::f6e2m3fn},
    {"float6_e3m2fn", DType::f6e3m2fn},
    {"float4_e2m1fn", DType::f4e2m1fn},
    {"int4", DType::i4},
    {"uint4", DType::u4},
    {"int2", DType::i2},
    {"uint2", DType::u2},
};

// Element i of a packed array := the low bits of *from.
void store_bits(DType t, std::byte* to, int64_t i, const std::byte* from) {
  const int bits = info(t).storage_bits;
  const int shift = static_cast<int>(i % (8 / bits)) * bits;
  const auto mask = static_cast<unsigned>((1 << bits) - 1);
  const auto value = (std::to_integer<unsigned>(*from) & mask) << shift;
  std::byte& byte = to[i * bits / 8];
  byte = static_cast<std::byte>((std::to_integer<unsigned>(byte) & ~(mask << shift)) | value);
}

bool is_packed(DType t) { return info(t).storage_bits > 0 && info(t).storage_bits < 8; }

Element element_of(const std::string& descr, const std::string& where) {
  for (const NamedType& n : kNamedTypes)
    if (n.name == descr) return {.type = n.type, .item_bytes = n.type == DType::bf16 ? 2 : 1, .unpacked = is_packed(n.type)};
  const bool marked = !descr.empty() && std::string_view("<>|=").find(descr[0]) != std::string_view::npos;
  const std::string_view rest = std::string_view(descr).substr(marked ? 1 : 0);
  const char kind = rest.empty() ? '\0' : rest[0];
  int64_t size = 0;
  const bool sized =
      !rest.empty() && std::from_chars(rest.data() + 1, rest.data() + rest.size(), size).ptr == rest.data() + rest.size() && rest.size() > 1;
  if (kind == 'O') bad_npy(where, "an array of numbers or strings", "Python objects (a pickle, which may run code when read)");
  if (sized && (kind == 'U' || kind == 'S') && size >= 0 && size <= INT32_MAX)
    return {.type = DType::string,
            .item_bytes = kind == 'U' ? size * 4 : size,
            .swap_bytes = kind == 'U' && descr[0] == '>' ? 4 : 0,
            .string_kind = kind};
  if (sized && kind == 'V' && (size == 1 || size == 2))
    return {.type = size == 1 ? DType::u8 : DType::u16, .opaque_bytes = static_cast<int>(size), .item_bytes = size};
  if (sized && kind == 'f' && size == 1) return {.type = DType::f8e5m2, .item_bytes = 1};  // ml_dtypes' float8_e5m2 calls itself so
  for (const FileType& t : kFileTypes)
    if (sized && t.kind == kind && t.bytes == size)
      return {.type = t.type, .item_bytes = size, .swap_bytes = descr[0] == '>' && size > 1 ? (kind == 'c' ? size / 2 : size) : 0};
  fail_unsupported(where, "elements of bool, integer, float, complex or string type", "'" + escaped(descr) + "'",
                   "Convert the array with astype before saving it");
}

// --- Elements from file to tensor -----------------------------------------------------------------------------------------------

void append_utf8(std::string& out, uint32_t code, const std::string& where) {
  if (code > 0x10FFFF) bad_npy(where, "characters up to U+10FFFF", std::to_string(code));
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 63));
    out += static_cast<char>(0x80 | (code & 63));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 63));
    out += static_cast<char>(0x80 | ((code >> 6) & 63));
    out += static_cast<char>(0x80 | (code & 63));
  }
}

std::string string_at(const std::byte* p, const Element& e, const std::string& where) {
  if (e.string_kind == 'S') {
    std::string_view s(reinterpret_cast<const char*>(p), static_cast<size_t>(e.item_bytes));
    while (s.ends_with('\0')) s.remove_suffix(1);
    return std::string(s);
  }
  std::string out;
  int64_t length = e.item_bytes / 4;
  const auto code_at = [&](int64_t i) {
    uint32_t code;
    std::memcpy(&code, p + i * 4, 4);
    return e.swap_bytes ? __builtin_bswap32(code) : code;
  };
  while (length > 0 && code_at(length - 1) == 0) --length;
  for (int64_t i = 0; i < length; ++i) append_utf8(out, code_at(i), where);
  return out;
}

// Row-major position -> position in the file, when the file is column-major.
class FortranOrder {
 public:
  explicit FortranOrder(const std::vector<int64_t>& dims) : dims_(dims), at_(dims.size(), 0), strides_(dims.size(), 1) {
    for (size_t i = 1; i < dims.size(); ++i) strides_[i] = strides_[i - 1] * std::max<int64_t>(dims[i - 1], 1);
  }
  int64_t next() {
    const int64_t here = offset_;
    for (size_t i = dims_.size(); i-- > 0;) {
      offset_ += strides_[i];
      if (++at_[i] < dims_[i]) break;
      offset_ -= strides_[i] * dims_[i];
      at_[i] = 0;
    }
    return here;
  }

 private:
  std::vector<int64_t> dims_, at_, strides_;
  int64_t offset_ = 0;
};

void swap_groups(std::byte* p, int64_t bytes, int64_t group) {
  for (int64_t i = 0; i + group <= bytes; i += group) std::reverse(p + i, p + i + group);
}

Tensor elements_of(Bytes data, const Element& e, const Header& h, const std::string& where) {
  Tensor out(e.type, h.shape);
  const bool reorder = h.fortran_order && h.shape.size() > 1;
  FortranOrder order(h.shape);
  const auto source = [&](int64_t i) { return data.data() + (reorder ? order.next() : i) * e.item_bytes; };
  if (e.type == DType::string) {
    std::vector<std::string>& strings = out.mutable_strings();
    for (int64_t i = 0; i < out.elements(); ++i) {
      check_budget();
      strings[static_cast<size_t>(i)] = string_at(source(i), e, where);
    }
    return out;
  }
  std::byte* to = out.mutable_data();
  if (e.unpacked) {
    for (int64_t i = 0; i < out.elements(); ++i) store_bits(e.type, to, i, source(i));
  } else if (reorder) {
    for (int64_t i = 0; i < out.elements(); ++i) std::memcpy(to + i * e.item_bytes, source(i), static_cast<size_t>(e.item_bytes));
  } else if (out.bytes() > 0) {
    std::memcpy(to, data.data(), static_cast<size_t>(out.bytes()));
  }
  if (e.swap_bytes) swap_groups(to, out.bytes(), e.swap_bytes);
  if (e.type == DType::i1)
    for (int64_t i = 0; i < out.elements(); ++i) to[i] = to[i] == std::byte{0} ? std::byte{0} : std::byte{1};
  return out;
}

// --- Writing --------------------------------------------------------------------------------------------------------------------

// Code points of a UTF-8 string, or nothing when it is not UTF-8.
std::optional<std::u32string> code_points(const std::string& s) {
  std::u32string out;
  for (size_t i = 0; i < s.size();) {
    const auto at = [&](size_t k) { return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0u; };
    const unsigned a = at(0);
    const size_t length = a < 0x80 ? 1 : a >= 0xC2 && a < 0xE0 ? 2 : a >= 0xE0 && a < 0xF0 ? 3 : a >= 0xF0 && a < 0xF5 ? 4 : 0;
    if (length == 0) return std::nullopt;
    uint32_t code = length == 1 ? a : a & (0xFFu >> (length + 1));
    for (size_t k = 1; k < length; ++k) {
      if ((at(k) & 0xC0u) != 0x80u) return std::nullopt;
      code = (code << 6) | (at(k) & 63u);
    }
    constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return std::nullopt;
    out += static_cast<char32_t>(code);
    i += length;
  }
  return out;
}

std::string header_bytes(const std::string& descr, const std::vector<int64_t>& dims) {
  std::string shape = "(";
  for (const int64_t d : dims) shape += std::to_string(d) + ", ";
  if (dims.size() > 1) shape.resize(shape.size() - 2);
  else if (dims.size() == 1) shape.pop_back();
  std::string text = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + "), }";
  constexpr size_t kPrefix = 10;  // magic, version, length
  text.append(63 - (kPrefix + text.size()) % 64, ' ');
  text += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(text.size() & 255);
  out += static_cast<char>(text.size() >> 8);
  return out + text;
}

std::string string_npy(const Tensor& t) {
  std::vector<std::u32string> points;
  size_t longest_points = 0, longest_bytes = 0, total = 0;
  bool all_utf8 = true;
  for (const std::string& s : t.strings()) {
    longest_bytes = std::max(longest_bytes, s.size());
    if (!all_utf8) continue;
    auto p = code_points(s);
    if (!p) {
      all_utf8 = false;
      continue;
    }
    longest_points = std::max(longest_points, p->size());
    points.push_back(std::move(*p));
  }
  const size_t width = std::max<size_t>(all_utf8 ? longest_points * 4 : longest_bytes, all_utf8 ? 4 : 1);
  if (__builtin_mul_overflow(width, static_cast<size_t>(t.elements()), &total)) total = SIZE_MAX;
  check_room(total > INT64_MAX ? -1 : static_cast<int64_t>(total), "strings of one width in a .npy");
  std::string out = header_bytes(all_utf8 ? "<U" + std::to_string(width / 4) : "|S" + std::to_string(width), t.dims());
  const size_t start = out.size();
  out.resize(start + total, '\0');
  for (size_t i = 0; i < static_cast<size_t>(t.elements()); ++i) {
    char* to = out.data() + start + i * width;
    if (all_utf8) std::memcpy(to, points[i].data(), points[i].size() * 4);
    else std::memcpy(to, t.strings()[i].data(), t.strings()[i].size());
  }
  return out;
}

std::string descr_of(DType t) {
  for (const FileType& f : kFileTypes)
    if (f.type == t) return (f.bytes == 1 ? "|" : "<") + std::string(1, f.kind) + std::to_string(f.bytes);
  return t == DType::bf16 ? "<V2" : "|V1";
}

// --- Zip ------------------------------------------------------------------------------------------------------------------------

struct ZipCloser {
  void operator()(zip_t* z) const { zip_discard(z); }
  void operator()(zip_file_t* f) const { zip_fclose(f); }
};

void flatten(const std::string& name, const HostValue& value, std::vector<std::pair<std::string, const Tensor*>>& out) {
  switch (value.kind()) {
    case HostValue::Kind::tensor: out.emplace_back(name, &value.tensor()); break;
    case HostValue::Kind::sequence:
    case HostValue::Kind::optional:
      for (size_t i = 0; i < value.items().size(); ++i) flatten(name + "[" + std::to_string(i) + "]", value.items()[i], out);
      break;
    case HostValue::Kind::map:
      out.emplace_back(name + ".keys", &value.keys());
      flatten(name + ".values", value.items()[0], out);
      break;
    case HostValue::Kind::token: break;
  }
}

}  // namespace

Tensor typed(const Array& array, DType wanted, const std::string& where) {
  const Tensor& t = array.tensor;
  if (array.opaque_bytes == 0) {
    if (t.dtype() != wanted)
      fail_usage(where, "elements of type " + std::string(info(wanted).name), std::string(info(t.dtype()).name),
                 "Convert the array with astype before saving it");
    return t;
  }
  if (wanted == DType::string || (info(wanted).storage_bits + 7) / 8 != array.opaque_bytes)
    fail_usage(where, "elements of type " + std::string(info(wanted).name), "untyped elements of " + std::to_string(array.opaque_bytes) + " bytes",
               "Convert the array with astype before saving it");
  if (!is_packed(wanted)) return t.retyped(wanted);
  Tensor out(wanted, t.dims());
  std::byte* to = out.mutable_data();
  for (int64_t i = 0; i < t.elements(); ++i) store_bits(wanted, to, i, t.data() + i);
  return out;
}

Array parse_npy(Bytes bytes, const std::string& where) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with("\x93NUMPY")) bad_npy(where, "the bytes \\x93NUMPY at its start", "'" + escaped(text.substr(0, 6)) + "'");
  if (text.size() < 10) bad_npy(where, "a header", "the file's end");
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(text[i])); };
  const size_t version = byte(6);
  if (version < 1 || version > 3) bad_npy(where, "format version 1, 2 or 3", std::to_string(version));
  const size_t start = version == 1 ? 10 : 12;
  if (text.size() < start) bad_npy(where, "a header", "the file's end");
  const size_t length = version == 1 ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  if (length > text.size() - start) bad_npy(where, "a header of " + std::to_string(length) + " bytes", "the file's end before it");
  const Header h = HeaderParser(text.substr(start, length), where).parse();
  const Element e = element_of(h.descr, where);
  const Bytes data = bytes.subspan(start + length);
  const int64_t count = element_count(h.shape);
  int64_t need = 0;
  if (count < 0 || __builtin_mul_overflow(count, e.item_bytes, &need)) bad_npy(where, "dimensions whose product fits 63 bits", "larger ones");
  if (static_cast<size_t>(need) > data.size())
    bad_npy(where, std::to_string(need) + " bytes of elements", std::to_string(data.size()) + " bytes before the file's end");
  // Elements of no bytes ('S0') need no data, so the count is not bounded by the file: Tensor's charge bounds it.
  return {"", elements_of(data, e, h, where), e.opaque_bytes};
}

Array read_npy(const std::string& path) {
  const auto file = MappedFile::open(path);
  Array out = parse_npy(file->bytes(), escaped(path));
  check_mapped_files();
  return out;
}

std::vector<Array> read_npz(const std::string& path) {
  const auto file = MappedFile::open(path);
  if (file->bytes().empty()) bad_npy(escaped(path), "a zip archive of .npy files", "an empty file");  // libzip takes it for an archive
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(file->bytes().data(), file->bytes().size(), 0, &error);
  const std::unique_ptr<zip_t, ZipCloser> zip(source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr);
  if (!zip) {
    const std::string reason = zip_error_strerror(&error);
    if (source) zip_source_free(source);
    bad_npy(escaped(path), "a zip archive of .npy files", escaped(reason));
  }
  std::vector<Array> out;
  const zip_int64_t entries = zip_get_num_entries(zip.get(), 0);
  for (zip_int64_t i = 0; i < entries; ++i) {
    check_budget();
    const auto index = static_cast<zip_uint64_t>(i);
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(zip.get(), index, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE) || !(stat.valid & ZIP_STAT_NAME))
      bad_npy(escaped(path), "a readable directory of members", "member " + std::to_string(i) + " without a size");
    std::string name = stat.name;
    const std::string where = escaped(path) + ": array '" + escaped(name) + "'";
    if (!name.ends_with(".npy")) bad_npy(where, "members whose name ends in .npy", "another");
    name.resize(name.size() - 4);
    if (stat.size > static_cast<zip_uint64_t>(INT64_MAX)) bad_npy(where, "a size under 2^63", std::to_string(stat.size));
    const MemoryCharge charge(static_cast<int64_t>(stat.size), "an array of an .npz");
    const std::unique_ptr<zip_file_t, ZipCloser> member(zip_fopen_index(zip.get(), index, 0));
    if (!member) bad_npy(where, "a member that opens", escaped(zip_strerror(zip.get())));
    // The size is a claim: the buffer grows with what is really there.
    std::string bytes;
    while (bytes.size() < stat.size) {
      check_budget();
      const size_t before = bytes.size();
      const size_t step = std::min<size_t>(static_cast<size_t>(stat.size) - before, std::max<size_t>(size_t{1} << 20, before));
      bytes.resize(before + step);
      const zip_int64_t got = zip_fread(member.get(), bytes.data() + before, step);
      if (got <= 0)
        bad_npy(where, std::to_string(stat.size) + " bytes",
                got < 0 ? escaped(zip_file_strerror(member.get())) : "its end after " + std::to_string(before));
      bytes.resize(before + static_cast<size_t>(got));
    }
    char extra;
    if (zip_fread(member.get(), &extra, 1) < 0) bad_npy(where, "a matching checksum", escaped(zip_file_strerror(member.get())));
    Array array = parse_npy(std::as_bytes(std::span(bytes)), where);
    array.name = std::move(name);
    out.push_back(std::move(array));
  }
  check_mapped_files();
  return out;
}

std::string npy_bytes(const Tensor& t) {
  if (t.dtype() == DType::string) return string_npy(t);
  std::string out = header_bytes(descr_of(t.dtype()), t.dims());
  if (is_packed(t.dtype())) {
    const auto mask = static_cast<char>((1 << info(t.dtype()).bits) - 1);
    const int per_byte = 8 / info(t.dtype()).storage_bits;
    const size_t start = out.size();
    check_room(t.elements(), "elements of a .npy");
    out.resize(start + static_cast<size_t>(t.elements()));
    for (int64_t i = 0; i < t.elements(); ++i)
      out[start + static_cast<size_t>(i)] =
          static_cast<char>((static_cast<unsigned char>(t.data()[i / per_byte]) >> (i % per_byte * info(t.dtype()).storage_bits)) & mask);
    return out;
  }
  check_room(t.bytes(), "elements of a .npy");
  return out.append(reinterpret_cast<const char*>(t.data()), static_cast<size_t>(t.bytes()));
}

void write_npy(const std::string& path, const Tensor& tensor) { write_file(path, npy_bytes(tensor)); }

void write_npz(const std::string& path, std::span<const NamedValue> values) {
  std::vector<std::pair<std::string, const Tensor*>> arrays;
  for (const NamedValue& v : values) flatten(v.name, v.value, arrays);
  std::vector<std::string> members;
  members.reserve(arrays.size());
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* target = zip_source_buffer_create(nullptr, 0, 0, &error);
  std::unique_ptr<zip_t, ZipCloser> zip(target ? zip_open_from_source(target, ZIP_TRUNCATE, &error) : nullptr);
  const auto fail = [&](const char* reason) { fail_device(escaped(path), "to write an .npz archive", escaped(reason), "Write to another place"); };
  if (!zip) {
    zip_source_free(target);
    fail(zip_error_strerror(&error));
  }
  zip_source_keep(target);
  const std::unique_ptr<zip_source_t, void (*)(zip_source_t*)> keep(target, zip_source_free);
  for (const auto& [name, tensor] : arrays) {
    members.push_back(npy_bytes(*tensor));
    zip_source_t* member = zip_source_buffer(zip.get(), members.back().data(), members.back().size(), 0);
    const zip_int64_t index = member ? zip_file_add(zip.get(), (name + ".npy").c_str(), member, ZIP_FL_ENC_UTF_8) : -1;
    if (index < 0) {
      const std::string reason = zip_strerror(zip.get());
      zip_source_free(member);
      fail(reason.c_str());
    }
    zip_set_file_compression(zip.get(), static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0);
    zip_file_set_mtime(zip.get(), static_cast<zip_uint64_t>(index), 315619200, 0);  // 1980-01-02: same values, same bytes
  }
  if (zip_close(zip.get()) != 0) fail(zip_strerror(zip.get()));
  static_cast<void>(zip.release());
  if (zip_source_open(target) != 0) {  // an archive without members is no file for libzip; this is its empty directory
    write_file(path, std::string_view("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22));
    return;
  }
  zip_stat_t stat;
  zip_stat_init(&stat);
  zip_source_stat(target, &stat);
  std::string bytes(stat.size, '\0');
  const zip_int64_t got = zip_source_read(target, bytes.data(), bytes.size());
  zip_source_close(target);
  if (got != static_cast<zip_int64_t>(bytes.size())) fail("the archive does not read back");
  write_file(path, bytes);
}

}  // namespace bascule::runtime
