// import/onnx/tensor_pb.cc — every element type and every encoding of ONNX tensors, checked against their dims before anything is allocated.
#include "import/onnx/tensor_pb.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/budget.h"
#include "base/error.h"

namespace bascule::onnx {
namespace {

constexpr const char* kExportAgain = "The file contradicts itself: export it again";

// ONNX TensorProto.DataType, by its number.
struct OnnxType {
  DType dtype;
  uint32_t typed_field;  // where values stand that are neither raw nor external
  int per_entry;         // elements in one entry of that field; 0: two entries make one element (complex)
};
constexpr OnnxType kTypes[] = {
    {DType::f32, 0, 0},          {DType::f32, 4, 1},         {DType::u8, 5, 1},         {DType::i8, 5, 1},      {DType::u16, 5, 1},
    {DType::i16, 5, 1},          {DType::i32, 5, 1},         {DType::i64, 7, 1},        {DType::string, 6, 1},  {DType::i1, 5, 1},
    {DType::f16, 5, 1},          {DType::f64, 10, 1},        {DType::u32, 11, 1},       {DType::u64, 11, 1},    {DType::c64, 4, 0},
    {DType::c128, 10, 0},        {DType::bf16, 5, 1},        {DType::f8e4m3fn, 5, 1},   {DType::f8e4m3fnuz, 5, 1}, {DType::f8e5m2, 5, 1},
    {DType::f8e5m2fnuz, 5, 1},   {DType::u4, 5, 2},          {DType::i4, 5, 2},         {DType::f4e2m1fn, 5, 2}, {DType::f8e8m0fnu, 5, 1},
    {DType::u2, 5, 4},           {DType::i2, 5, 4},          {DType::f6e2m3fn, 5, 1},   {DType::f6e3m2fn, 5, 1},
};

bool is_six_bit(DType t) { return info(t).bits == 6; }

// The alignment as<T>() needs: that of the storage type (complex: of its parts).
size_t alignment_of(DType t) {
  int bits = info(t).storage_bits / (is_complex(t) ? 2 : 1);
  return bits < 8 ? 1 : static_cast<size_t>(bits / 8);
}

// ceil(6 n / 8): six-bit elements stand four in three bytes, in a raw buffer only.
int64_t raw_bytes(DType t, int64_t elements) {
  if (!is_six_bit(t)) return storage_bytes(t, elements);
  return elements / 4 * 3 + (elements % 4 * 6 + 7) / 8;
}

Tensor unpack_six_bit(DType t, std::vector<int64_t> dims, Bytes raw) {
  Tensor out(t, std::move(dims));
  std::byte* p = out.mutable_data();
  for (int64_t i = 0; i < out.elements(); i++) {
    auto bit = static_cast<size_t>(i) * 6;
    unsigned low = std::to_integer<unsigned>(raw[bit / 8]);
    unsigned high = bit / 8 + 1 < raw.size() ? std::to_integer<unsigned>(raw[bit / 8 + 1]) : 0;
    p[i] = static_cast<std::byte>(((low | high << 8) >> (bit % 8)) & 0x3f);
  }
  return out;
}

// `raw` has the size that type and dims ask for.
Tensor tensor_of_raw(const Source& source, DType t, std::vector<int64_t> dims, Bytes raw) {
  if (is_six_bit(t)) return unpack_six_bit(t, std::move(dims), raw);
  bool aligned = reinterpret_cast<uintptr_t>(raw.data()) % alignment_of(t) == 0;
  bool canonical = true;
  if (t == DType::i1) {
    for (std::byte b : raw) canonical &= std::to_integer<unsigned>(b) <= 1;
  }
  if (aligned && canonical && !raw.empty()) return Tensor::view(t, std::move(dims), raw.data(), source.owner);
  Tensor out(t, std::move(dims));
  std::byte* p = out.mutable_data();
  if (!raw.empty()) std::memcpy(p, raw.data(), raw.size());
  if (!canonical) {
    for (size_t i = 0; i < raw.size(); i++) p[i] = static_cast<std::byte>(p[i] != std::byte{0});
  }
  if (source.mapping) source.mapping->release(raw);  // so that a model is never in memory twice
  return out;
}

Tensor tensor_of_strings(const Source& source, const TensorProto& t) {
  auto views = read_string_data(source, t);
  return Tensor::from_strings(t.dims, {views.begin(), views.end()});
}

// The decoded entries go through a buffer of 8 bytes each: `entries` was counted in the file, so it is at most 8 times the file's bytes.
Tensor tensor_of_typed(const Source& source, const TensorProto& t, const OnnxType& type, int64_t entries, const std::string& where) {
  Tensor out(type.dtype, t.dims);
  std::byte* p = out.mutable_data();
  if (entries == 0) return out;
  if (type.typed_field == 4) {
    read_floats(source, t, {reinterpret_cast<float*>(p), static_cast<size_t>(entries)});
    return out;
  }
  if (type.typed_field == 10) {
    read_doubles(source, t, {reinterpret_cast<double*>(p), static_cast<size_t>(entries)});
    return out;
  }
  check_room(entries * 8, "the values of a tensor");
  std::vector<int64_t> values(static_cast<size_t>(entries));
  read_varints(source, t, type.typed_field, values);
  int bits = info(type.dtype).storage_bits;
  if (bits == 64) {
    std::memcpy(p, values.data(), values.size() * 8);
    return out;
  }
  int entry_bits = bits < 8 ? 8 : bits;
  int64_t low = -(int64_t{1} << (entry_bits - 1)), high = (int64_t{1} << (is_six_bit(type.dtype) ? 6 : entry_bits)) - 1;
  int64_t out_bytes = out.bytes();
  for (int64_t i = 0; i < entries; i++) {
    int64_t v = values[static_cast<size_t>(i)];
    // A negative int32 is written as a 64-bit varint; an encoder may also write its low 32 bits only.
    if (type.typed_field == 5) v = static_cast<int32_t>(static_cast<uint32_t>(v));
    if (v < low || v > high) {
      fail_file(where, "values of " + std::to_string(entry_bits) + " bits in int32_data or uint64_data", std::to_string(v), kExportAgain);
    }
    if (type.dtype == DType::i1) v = v != 0;
    int64_t at = i * (entry_bits / 8);
    if (at + entry_bits / 8 <= out_bytes) std::memcpy(p + at, &v, static_cast<size_t>(entry_bits / 8));  // little-endian: the low bytes first
  }
  return out;
}

int64_t entries_for(const OnnxType& type, int64_t elements) {
  if (type.per_entry == 0) return elements > INT64_MAX / 2 ? -1 : elements * 2;
  return elements / type.per_entry + (elements % type.per_entry != 0);
}

const char* field_name(uint32_t field) {
  switch (field) {
    case 4: return "float_data";
    case 5: return "int32_data";
    case 6: return "string_data";
    case 7: return "int64_data";
    case 10: return "double_data";
    case 11: return "uint64_data";
    default: return "raw_data";
  }
}

// A decimal byte count of external_data. Absent: `fallback`.
int64_t external_number(const TensorProto& t, std::string_view key, int64_t fallback, const std::string& where) {
  for (const auto& [k, text] : t.external_data) {
    if (k != key) continue;
    int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) {
      fail_file(where, "external data " + std::string(key) + " from 0 to 9223372036854775807", "'" + escaped(text) + "'", kExportAgain);
    }
    return value;
  }
  return fallback;
}

LoadedTensor load_external(const TensorProto& t, LoadedTensor out, int64_t need_bytes, ExternalFiles* files, const std::string& where) {
  if (is_string(out.dtype)) fail_file(where, "string values in the file itself", "external data", kExportAgain);
  if (t.has_raw || t.typed_fields) fail_file(where, "values either in the file or external", "both", kExportAgain);
  std::string_view location;
  for (const auto& [k, v] : t.external_data) {
    if (k == "location") location = v;
  }
  if (location.empty()) fail_file(where, "a location of the external data", "none", kExportAgain);
  int64_t offset = external_number(t, "offset", 0, where), length = external_number(t, "length", -1, where);
  if (length >= 0 && length != need_bytes) {
    fail_file(where, std::to_string(need_bytes) + " bytes of external data for " + type_text(out.dtype, out.dims), "length " + std::to_string(length),
              kExportAgain);
  }
  if (!files) fail_file(where, "values in the file itself", "external data '" + escaped(location) + "'", "Give the model's path, so that its folder is known");
  const Source* file = files->open(location, where);
  if (!file) {
    out.absent = "weights file '" + escaped(location) + "' is not there";
    return out;
  }
  auto size = static_cast<int64_t>(file->bytes.size());
  if (offset > size || need_bytes > size - offset) {
    fail_file(where, "external data within '" + escaped(location) + "' of " + std::to_string(size) + " bytes",
              std::to_string(need_bytes) + " bytes at offset " + std::to_string(offset), "The weights file is cut short or another model's: get both again");
  }
  out.value = tensor_of_raw(*file, out.dtype, out.dims, file->bytes.subspan(static_cast<size_t>(offset), static_cast<size_t>(need_bytes)));
  return out;
}

}  // namespace

std::optional<DType> dtype_of(int32_t n) {
  if (n <= 0 || n >= static_cast<int32_t>(std::size(kTypes))) return std::nullopt;
  return kTypes[n].dtype;
}

int32_t onnx_data_type_of(DType t) {
  for (int32_t n = 1; n < static_cast<int32_t>(std::size(kTypes)); n++) {
    if (kTypes[n].dtype == t) return n;
  }
  return 0;
}

DType dtype_or_fail(int32_t n, const std::string& where) {
  if (auto t = dtype_of(n)) return *t;
  fail_file(where, "an ONNX element type from 1 to " + std::to_string(std::size(kTypes) - 1), std::to_string(n), kExportAgain);
}

const Source* ExternalFiles::open(std::string_view location, const std::string& where) {
  auto known = files_.find(location);
  if (known == files_.end()) {
    auto path = find_beside(model_path_, location, where);
    known = files_.emplace(std::string(location), path ? std::optional(map_source(*path)) : std::nullopt).first;
  }
  return known->second ? &*known->second : nullptr;
}

LoadedTensor load_tensor(const Source& source, const TensorProto& t, ExternalFiles* files, const std::string& where) {
  LoadedTensor out;
  out.dtype = dtype_or_fail(t.data_type, where);
  out.dims = t.dims;
  const OnnxType& type = kTypes[t.data_type];
  if (t.has_segment) fail_unsupported(where, "a whole tensor", "one segment of a tensor", "Export the model without segments");
  for (int64_t d : t.dims) {
    if (d < 0) fail_file(where, "dims of 0 or more", type_text(out.dtype, t.dims), kExportAgain);
  }
  int64_t elements = element_count(t.dims);
  int64_t need_bytes = elements < 0 ? -1 : is_string(out.dtype) ? 0 : storage_bytes(out.dtype, elements);
  if (need_bytes < 0) fail_file(where, "dims whose bytes fit 63 bits", type_text(out.dtype, t.dims), kExportAgain);
  need_bytes = is_string(out.dtype) ? 0 : raw_bytes(out.dtype, elements);

  if (t.external) return load_external(t, std::move(out), need_bytes, files, where);
  if (t.has_raw && (!t.raw_data.empty() || t.typed_fields == 0)) {
    if (is_string(out.dtype)) fail_file(where, "strings in string_data", "raw_data", kExportAgain);
    if (static_cast<int64_t>(t.raw_data.size()) != need_bytes || t.typed_fields) {
      fail_file(where, std::to_string(need_bytes) + " bytes of raw_data for " + type_text(out.dtype, t.dims),
                std::to_string(t.raw_data.size()) + " bytes" + (t.typed_fields ? " and typed data" : ""), kExportAgain);
    }
    out.value = tensor_of_raw(source, out.dtype, out.dims, t.raw_data);
    return out;
  }
  // Other typed fields may stand in the file empty; with values they contradict the type.
  for (uint32_t field : {4U, 5U, 6U, 7U, 10U, 11U}) {
    if (field == type.typed_field || !(t.typed_fields >> field & 1)) continue;
    int64_t stray = count_typed(source, t, field);
    if (stray) {
      fail_file(where, std::string(type_text(out.dtype, t.dims)) + " values in " + field_name(type.typed_field),
                std::to_string(stray) + " in " + field_name(field), kExportAgain);
    }
  }
  int64_t entries = count_typed(source, t, type.typed_field), need = entries_for(type, elements);
  if (entries != need) {
    fail_file(where, std::to_string(need) + " values in " + field_name(type.typed_field) + " for " + type_text(out.dtype, t.dims),
              std::to_string(entries), kExportAgain);
  }
  out.value = is_string(out.dtype) ? tensor_of_strings(source, t) : tensor_of_typed(source, t, type, entries, where);
  return out;
}

Tensor load_present(const Source& source, const TensorProto& t, ExternalFiles* files, const std::string& where) {
  LoadedTensor loaded = load_tensor(source, t, files, where);
  if (!loaded.value) fail_file(where, "the tensor's values", loaded.absent, "Put the weights file beside the model");
  return std::move(*loaded.value);
}

Tensor load_sparse(const Source& source, const SparseTensorProto& s, ExternalFiles* files, const std::string& where) {
  if (!s.has_values) fail_file(where, "values of a sparse tensor", "none", kExportAgain);
  Tensor values = load_present(source, s.values, files, where + ", values");
  Tensor indices = s.has_indices ? load_present(source, s.indices, files, where + ", indices") : Tensor(DType::i64, {0});
  if (values.rank() != 1) fail_file(where, "values of rank 1", values.type_text(), kExportAgain);
  auto rank = static_cast<int64_t>(s.dims.size());
  int64_t count = values.elements();
  bool linear = indices.rank() == 1;
  bool shaped = linear ? indices.dim(0) == count : indices.rank() == 2 && indices.dim(0) == count && indices.dim(1) == rank;
  if (indices.dtype() != DType::i64 || !shaped) {
    fail_file(where, "indices i64[" + std::to_string(count) + "] or i64[" + std::to_string(count) + "," + std::to_string(rank) + "]", indices.type_text(),
              kExportAgain);
  }
  int64_t elements = element_count(s.dims);
  if (elements < 0) fail_file(where, "dims of 0 or more whose product fits 63 bits", type_text(values.dtype(), s.dims), kExportAgain);
  Tensor out(values.dtype(), s.dims);
  for (int64_t k = 0, before = -1; k < count; k++) {
    check_budget();
    int64_t at = linear ? indices.integer(k) : 0;
    for (int64_t a = 0; !linear && a < rank; a++) {
      int64_t i = indices.integer(k * rank + a), d = s.dims[static_cast<size_t>(a)];
      if (i < 0 || i >= d) fail_file(where, "an index from 0 to " + std::to_string(d - 1), std::to_string(i), kExportAgain);
      at = at * d + i;
    }
    if (at <= before || at >= elements) {
      fail_file(where, "ascending indices below " + std::to_string(elements), std::to_string(at) + " after " + std::to_string(before), kExportAgain);
    }
    before = at;
    if (is_string(values.dtype())) out.mutable_strings()[static_cast<size_t>(at)] = values.strings()[static_cast<size_t>(k)];
    else if (is_complex(values.dtype())) store_complex(out.dtype(), out.mutable_data(), at, values.complex(k));
    else if (is_float(values.dtype())) store_double(out.dtype(), out.mutable_data(), at, values.number(k));
    else store_int(out.dtype(), out.mutable_data(), at, values.integer(k));
  }
  return out;
}

namespace {

HostValue value_of_sequence(const Source& source, const ValueProto& v, const std::string& where);
HostValue value_of_optional(const Source& source, const ValueProto& v, const std::string& where);

HostValue value_of_map(const Source& source, const ValueProto& v, const std::string& where) {
  if (v.sequences.size() != 1) fail_file(where, "one list of values in a map", std::to_string(v.sequences.size()), kExportAgain);
  HostValue values = value_of_sequence(source, v.sequences[0], where);
  Tensor keys = v.string_keys.empty() ? Tensor::vector_int(v.int_keys, dtype_of(v.key_type).value_or(DType::i64))
                                      : Tensor::from_strings({static_cast<int64_t>(v.string_keys.size())}, {v.string_keys.begin(), v.string_keys.end()});
  if (keys.elements() != static_cast<int64_t>(values.items().size())) {
    fail_file(where, "one value per key", std::to_string(keys.elements()) + " keys, " + std::to_string(values.items().size()) + " values", kExportAgain);
  }
  // One number for each key: kept as one tensor.
  const auto& items = values.items();
  const bool numbers = !items.empty() && std::all_of(items.begin(), items.end(), [&](const HostValue& i) { return i.is_tensor() && i.tensor().rank() == 0 && i.tensor().dtype() == items[0].tensor().dtype(); });
  if (!numbers) return HostValue::map(std::move(keys), std::move(values));
  const DType t = items[0].tensor().dtype();
  Tensor all(t, {static_cast<int64_t>(items.size())});
  for (size_t i = 0; i < items.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    if (is_string(t)) all.mutable_strings()[i] = items[i].tensor().strings()[0];
    else if (is_complex(t)) store_complex(t, all.mutable_data(), at, items[i].tensor().complex(0));
    else if (is_float(t)) store_double(t, all.mutable_data(), at, items[i].tensor().number(0));
    else store_int(t, all.mutable_data(), at, items[i].tensor().integer(0));
  }
  return HostValue::map(std::move(keys), std::move(all));
}

void append_items(const Source& source, const ValueProto& v, const std::string& where, std::vector<HostValue>& out) {
  for (const auto& t : v.tensors) out.emplace_back(load_present(source, t, nullptr, where));
  for (const auto& s : v.sparse_tensors) out.emplace_back(load_sparse(source, s, nullptr, where));
  for (const auto& s : v.sequences) out.push_back(value_of_sequence(source, s, where));
  for (const auto& m : v.maps) out.push_back(value_of_map(source, m, where));
  for (const auto& o : v.optionals) out.push_back(value_of_optional(source, o, where));
}

HostValue value_of_sequence(const Source& source, const ValueProto& v, const std::string& where) {
  std::vector<HostValue> items;
  append_items(source, v, where, items);
  return HostValue::sequence(std::move(items));
}

HostValue value_of_optional(const Source& source, const ValueProto& v, const std::string& where) {
  std::vector<HostValue> items;
  append_items(source, v, where, items);
  // elem_type SEQUENCE with an empty sequence still writes the sequence message, so no item means no value.
  return items.empty() ? HostValue::none() : HostValue::optional(std::move(items[0]));
}

}  // namespace

Tensor read_tensor_pb(const std::string& path) {
  Source source = map_source(path);
  ExternalFiles files(path);
  return load_present(source, parse_tensor(source), &files, escaped(path));
}

HostValue read_value_pb(const std::string& path, HostValue::Kind kind) {
  Source source = map_source(path);
  switch (kind) {
    case HostValue::Kind::tensor: return read_tensor_pb(path);
    case HostValue::Kind::sequence: return value_of_sequence(source, parse_sequence(source), escaped(path));
    case HostValue::Kind::optional: return value_of_optional(source, parse_optional(source), escaped(path));
    case HostValue::Kind::map: return value_of_map(source, parse_map(source), escaped(path));
    case HostValue::Kind::token: break;
  }
  fail_internal(escaped(path), "a tensor, sequence, optional or map", "a token");
}

}  // namespace bascule::onnx
