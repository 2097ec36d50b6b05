// import/onnx/proto.h — the messages of an .onnx file as plain structs that view its mapped bytes. Judges bytes, not meaning; see import.cc.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace bascule::onnx {

using Bytes = std::span<const std::byte>;

// The bytes that everything else in this header points into, and what keeps them alive.
struct Source {
  std::string file;  // as the user gave it: errors and relative external data start here
  Bytes bytes;
  std::shared_ptr<const void> owner;
  std::shared_ptr<const MappedFile> mapping;  // when the bytes are a file's: what was copied can go back to the system
};

// Graphs inside attributes, and types inside types, may nest this deep; far above any real model, far below the stack.
inline constexpr int kMaxNesting = 64;

struct StringPair {
  std::string_view key, value;
};

struct TensorProto {
  std::string_view name;
  int32_t data_type = 0;
  std::vector<int64_t> dims;
  Bytes message;   // the whole TensorProto: typed *_data and string_data are decoded from here on demand
  Bytes raw_data;
  bool has_raw = false, external = false, has_segment = false;
  uint32_t typed_fields = 0;  // bit n: field n (4 float, 5 int32, 6 string, 7 int64, 10 double, 11 uint64) occurs
  std::vector<StringPair> external_data;
};

struct SparseTensorProto {
  TensorProto values, indices;
  bool has_values = false, has_indices = false;
  std::vector<int64_t> dims;
};

struct DimProto {
  enum class Kind { unknown, value, param } kind = Kind::unknown;
  int64_t value = 0;
  std::string_view param;
};

struct TypeProto {
  enum class Kind { absent, tensor, sparse_tensor, sequence, optional, map, opaque } kind = Kind::absent;
  int32_t elem_type = 0;         // tensor, sparse_tensor: the element's; map: the key's
  bool has_shape = false;        // false: rank unknown
  std::vector<DimProto> shape;
  std::vector<TypeProto> inner;  // sequence, optional, map value: one, or none when the file leaves it out
};

struct ValueInfo {
  std::string_view name;
  TypeProto type;
};

struct GraphProto;

// Single and plural kinds share the lists: kind `graph` has exactly one entry in `graphs`.
struct AttributeProto {
  enum class Kind : int32_t {
    undefined = 0, f = 1, i = 2, s = 3, tensor = 4, graph = 5, floats = 6, ints = 7, strings = 8, tensors = 9, graphs = 10,
    sparse_tensor = 11, sparse_tensors = 12, type = 13, types = 14,
  };
  std::string_view name, ref_attr_name;
  Kind kind = Kind::undefined;
  float f = 0;
  int64_t i = 0;
  std::string_view s;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string_view> strings;
  std::vector<TensorProto> tensors;
  std::vector<SparseTensorProto> sparse_tensors;
  std::vector<TypeProto> types;
  std::vector<GraphProto> graphs;
};
std::string_view attribute_kind_name(AttributeProto::Kind kind);  // "INT", "FLOATS", ...

struct NodeProto {
  std::string_view op_type, domain, name, overload;
  std::vector<std::string_view> inputs, outputs;  // an empty name is an argument left out
  std::vector<AttributeProto> attributes;
};

struct GraphProto {
  std::string_view name;
  std::vector<NodeProto> nodes;
  std::vector<TensorProto> initializers;
  std::vector<SparseTensorProto> sparse_initializers;  // named by their values tensor
  std::vector<ValueInfo> inputs, outputs, value_infos;
};

struct OpsetImport {
  std::string_view domain;
  int64_t version = 0;
};

struct FunctionProto {
  std::string_view domain, name, overload;
  std::vector<std::string_view> inputs, outputs, attributes;  // attributes without a default
  std::vector<AttributeProto> attribute_defaults;
  std::vector<NodeProto> nodes;
  std::vector<OpsetImport> opset_imports;
  std::vector<ValueInfo> value_infos;
};

struct ModelProto {
  Source source;
  int64_t ir_version = 0, model_version = 0;
  std::string_view producer_name, producer_version, domain, doc_string;
  std::vector<OpsetImport> opset_imports;
  GraphProto graph;
  bool has_graph = false, has_training_info = false;
  std::vector<FunctionProto> functions;
  std::vector<StringPair> metadata;
};

// Maps the file (never copied, any size) and reads its structure. InvalidFileError names byte offset and field; UsageError if it cannot be opened.
ModelProto read_model(const std::string& path);
ModelProto parse_model(Source source);
Source map_source(const std::string& path);

TensorProto parse_tensor(const Source& source);

// The values of one typed field of a TensorProto, packed or not, in file order. count_* first, so that nothing is allocated on a promise.
int64_t count_typed(const Source& source, const TensorProto& t, uint32_t field);
void read_floats(const Source& source, const TensorProto& t, std::span<float> out);      // field 4
void read_doubles(const Source& source, const TensorProto& t, std::span<double> out);    // field 10
void read_varints(const Source& source, const TensorProto& t, uint32_t field, std::span<int64_t> out);  // fields 5, 7, 11
std::vector<std::string_view> read_string_data(const Source& source, const TensorProto& t);

// SequenceProto, OptionalProto and MapProto of test data files (onnx-data.proto). elem_type: 1 tensor, 2 sparse, 3 sequence, 4 map, 5 optional.
struct ValueProto {
  int32_t elem_type = 0;
  std::vector<TensorProto> tensors;
  std::vector<SparseTensorProto> sparse_tensors;
  std::vector<ValueProto> sequences, optionals;
  std::vector<ValueProto> maps;  // of a map: int_keys or string_keys, and its values in sequences[0]
  int32_t key_type = 0;
  std::vector<int64_t> int_keys;
  std::vector<std::string_view> string_keys;
};
ValueProto parse_sequence(const Source& source);
ValueProto parse_optional(const Source& source);
ValueProto parse_map(const Source& source);

}  // namespace bascule::onnx
