// import/onnx/proto.cc — ModelProto bytes to structs. One function per message, one case per field; unknown fields are skipped.
#include "import/onnx/proto.h"

#include "base/error.h"
#include "import/onnx/wire.h"

namespace bascule::onnx {
namespace {

constexpr const char* kTwice = "the field once";

template <class T> T& add(Wire& w, std::vector<T>& list, T item) {
  w.file().account(sizeof(T));
  list.push_back(std::move(item));
  return list.back();
}

StringPair parse_pair(Wire w) {
  StringPair p;
  while (w.next()) {
    switch (w.field()) {
      case 1: p.key = w.str("key"); break;
      case 2: p.value = w.str("value"); break;
      default: w.skip();
    }
  }
  return p;
}

void parse_ints(Wire& w, const char* name, std::vector<int64_t>& out) {
  w.varints(name, [&](uint64_t v) {
    w.file().account(sizeof(int64_t));
    out.push_back(static_cast<int64_t>(v));
  });
}

TensorProto parse_tensor_message(Wire w, Bytes message) {
  TensorProto t;
  t.message = message;
  while (w.next()) {
    switch (w.field()) {
      case 1: parse_ints(w, "dims", t.dims); break;
      case 2: t.data_type = w.i32("data_type"); break;
      case 3: t.has_segment = true; w.skip(); break;
      case 4: case 5: case 6: case 7: case 10: case 11: t.typed_fields |= 1U << w.field(); w.skip(); break;
      case 8: t.name = w.str("name"); break;
      case 9: t.raw_data = w.bytes("raw_data"); t.has_raw = true; break;
      case 13: add(w, t.external_data, parse_pair(w.message("external_data", "StringStringEntryProto"))); break;
      case 14: t.external = w.i32("data_location") == 1; break;
      default: w.skip();
    }
  }
  return t;
}

// The message's own bytes are kept beside the cursor on them: typed data is decoded later from there.
TensorProto parse_tensor_field(Wire& w, const char* name) {
  Wire inner = w.message(name, "TensorProto");
  return parse_tensor_message(inner, inner.rest());
}

SparseTensorProto parse_sparse(Wire w) {
  SparseTensorProto s;
  while (w.next()) {
    switch (w.field()) {
      case 1:
        if (s.has_values) w.fail("values", kTwice, "a second one");
        s.values = parse_tensor_field(w, "values");
        s.has_values = true;
        break;
      case 2:
        if (s.has_indices) w.fail("indices", kTwice, "a second one");
        s.indices = parse_tensor_field(w, "indices");
        s.has_indices = true;
        break;
      case 3: parse_ints(w, "dims", s.dims); break;
      default: w.skip();
    }
  }
  return s;
}

DimProto parse_dim(Wire w) {
  DimProto d;
  while (w.next()) {
    switch (w.field()) {
      case 1: d.kind = DimProto::Kind::value; d.value = w.i64("dim_value"); break;
      case 2: d.kind = DimProto::Kind::param; d.param = w.str("dim_param"); break;
      default: w.skip();
    }
  }
  if (d.kind == DimProto::Kind::param && d.param.empty()) d.kind = DimProto::Kind::unknown;
  return d;
}

TypeProto parse_type(Wire w);

void parse_tensor_type(Wire w, TypeProto& type) {
  while (w.next()) {
    switch (w.field()) {
      case 1: type.elem_type = w.i32("elem_type"); break;
      case 2: {
        type.has_shape = true;
        Wire shape = w.message("shape", "TensorShapeProto");
        while (shape.next()) {
          if (shape.field() == 1) add(shape, type.shape, parse_dim(shape.message("dim", "Dimension")));
          else shape.skip();
        }
        break;
      }
      default: w.skip();
    }
  }
}

void parse_inner_type(Wire w, TypeProto& type, uint32_t elem_field, bool map) {
  while (w.next()) {
    if (map && w.field() == 1) {
      type.elem_type = w.i32("key_type");
    } else if (w.field() == elem_field) {
      if (!type.inner.empty()) w.fail("elem_type", kTwice, "a second one");
      TypeProto inner = parse_type(w.message("elem_type", "TypeProto"));
      add(w, type.inner, std::move(inner));
    } else {
      w.skip();
    }
  }
}

TypeProto parse_type(Wire w) {
  using Kind = TypeProto::Kind;
  TypeProto type;
  auto set = [&](Kind kind) {
    if (type.kind != Kind::absent) w.fail("value", "one kind of type", "a second one");
    type.kind = kind;
  };
  while (w.next()) {
    switch (w.field()) {
      case 1: set(Kind::tensor); parse_tensor_type(w.message("tensor_type", "TypeProto.Tensor"), type); break;
      case 8: set(Kind::sparse_tensor); parse_tensor_type(w.message("sparse_tensor_type", "TypeProto.SparseTensor"), type); break;
      case 4: set(Kind::sequence); parse_inner_type(w.message("sequence_type", "TypeProto.Sequence"), type, 1, false); break;
      case 9: set(Kind::optional); parse_inner_type(w.message("optional_type", "TypeProto.Optional"), type, 1, false); break;
      case 5: set(Kind::map); parse_inner_type(w.message("map_type", "TypeProto.Map"), type, 2, true); break;
      case 7: set(Kind::opaque); w.skip(); break;
      default: w.skip();
    }
  }
  return type;
}

ValueInfo parse_value_info(Wire w) {
  ValueInfo v;
  while (w.next()) {
    switch (w.field()) {
      case 1: v.name = w.str("name"); break;
      case 2:
        if (v.type.kind != TypeProto::Kind::absent) w.fail("type", kTwice, "a second one");
        v.type = parse_type(w.message("type", "TypeProto"));
        break;
      default: w.skip();
    }
  }
  return v;
}

GraphProto parse_graph(Wire w);

// IR versions before 2 wrote no `type`: the field that is present tells.
AttributeProto::Kind kind_of_fields(const AttributeProto& a, bool has_f, bool has_i, bool has_s) {
  using Kind = AttributeProto::Kind;
  if (has_f) return Kind::f;
  if (has_i) return Kind::i;
  if (has_s) return Kind::s;
  if (!a.floats.empty()) return Kind::floats;
  if (!a.ints.empty()) return Kind::ints;
  if (!a.strings.empty()) return Kind::strings;
  if (!a.tensors.empty()) return a.tensors.size() == 1 ? Kind::tensor : Kind::tensors;
  if (!a.graphs.empty()) return a.graphs.size() == 1 ? Kind::graph : Kind::graphs;
  if (!a.sparse_tensors.empty()) return a.sparse_tensors.size() == 1 ? Kind::sparse_tensor : Kind::sparse_tensors;
  if (!a.types.empty()) return a.types.size() == 1 ? Kind::type : Kind::types;
  return Kind::undefined;
}

AttributeProto parse_attribute(Wire w) {
  using Kind = AttributeProto::Kind;
  AttributeProto a;
  bool has_f = false, has_i = false, has_s = false;
  int32_t declared = 0;
  while (w.next()) {
    switch (w.field()) {
      case 1: a.name = w.str("name"); break;
      case 21: a.ref_attr_name = w.str("ref_attr_name"); break;
      case 20: declared = w.i32("type"); break;
      case 2: a.f = w.f32("f"); has_f = true; break;
      case 3: a.i = w.i64("i"); has_i = true; break;
      case 4: a.s = w.str("s"); has_s = true; break;
      case 5: case 10: add(w, a.tensors, parse_tensor_field(w, w.field() == 5 ? "t" : "tensors")); break;
      case 6: case 11: add(w, a.graphs, parse_graph(w.message(w.field() == 6 ? "g" : "graphs", "GraphProto"))); break;
      case 22: case 23: add(w, a.sparse_tensors, parse_sparse(w.message("sparse_tensor", "SparseTensorProto"))); break;
      case 14: case 15: add(w, a.types, parse_type(w.message("tp", "TypeProto"))); break;
      case 7:
        w.fixed<float>("floats", [&](float v) {
          w.file().account(sizeof(float));
          a.floats.push_back(v);
        });
        break;
      case 8: parse_ints(w, "ints", a.ints); break;
      case 9: add(w, a.strings, w.str("strings")); break;
      default: w.skip();
    }
  }
  if (declared < 0 || declared > static_cast<int32_t>(Kind::types)) w.fail("type", "an attribute type from 0 to 14", std::to_string(declared));
  Kind present = kind_of_fields(a, has_f, has_i, has_s);
  a.kind = declared == 0 ? present : static_cast<Kind>(declared);
  bool single = a.kind == Kind::tensor || a.kind == Kind::graph || a.kind == Kind::sparse_tensor || a.kind == Kind::type;
  size_t held = a.kind == Kind::tensor ? a.tensors.size() : a.kind == Kind::graph ? a.graphs.size()
              : a.kind == Kind::sparse_tensor ? a.sparse_tensors.size() : a.types.size();
  if (single && held != 1 && a.ref_attr_name.empty()) {
    w.fail(a.name.empty() ? "type" : "t", "one value of type " + std::string(attribute_kind_name(a.kind)) + " in attribute '" + escaped(a.name) + "'",
           std::to_string(held));
  }
  return a;
}

NodeProto parse_node(Wire w) {
  NodeProto n;
  while (w.next()) {
    switch (w.field()) {
      case 1: add(w, n.inputs, w.str("input")); break;
      case 2: add(w, n.outputs, w.str("output")); break;
      case 3: n.name = w.str("name"); break;
      case 4: n.op_type = w.str("op_type"); break;
      case 5: add(w, n.attributes, parse_attribute(w.message("attribute", "AttributeProto"))); break;
      case 7: n.domain = w.str("domain"); break;
      case 8: n.overload = w.str("overload"); break;
      default: w.skip();
    }
  }
  return n;
}

GraphProto parse_graph(Wire w) {
  GraphProto g;
  while (w.next()) {
    switch (w.field()) {
      case 1: add(w, g.nodes, parse_node(w.message("node", "NodeProto"))); break;
      case 2: g.name = w.str("name"); break;
      case 5: add(w, g.initializers, parse_tensor_field(w, "initializer")); break;
      case 11: add(w, g.inputs, parse_value_info(w.message("input", "ValueInfoProto"))); break;
      case 12: add(w, g.outputs, parse_value_info(w.message("output", "ValueInfoProto"))); break;
      case 13: add(w, g.value_infos, parse_value_info(w.message("value_info", "ValueInfoProto"))); break;
      case 15: add(w, g.sparse_initializers, parse_sparse(w.message("sparse_initializer", "SparseTensorProto"))); break;
      default: w.skip();
    }
  }
  return g;
}

OpsetImport parse_opset(Wire w) {
  OpsetImport o;
  while (w.next()) {
    switch (w.field()) {
      case 1: o.domain = w.str("domain"); break;
      case 2: o.version = w.i64("version"); break;
      default: w.skip();
    }
  }
  return o;
}

FunctionProto parse_function(Wire w) {
  FunctionProto f;
  while (w.next()) {
    switch (w.field()) {
      case 1: f.name = w.str("name"); break;
      case 4: add(w, f.inputs, w.str("input")); break;
      case 5: add(w, f.outputs, w.str("output")); break;
      case 6: add(w, f.attributes, w.str("attribute")); break;
      case 7: add(w, f.nodes, parse_node(w.message("node", "NodeProto"))); break;
      case 9: add(w, f.opset_imports, parse_opset(w.message("opset_import", "OperatorSetIdProto"))); break;
      case 10: f.domain = w.str("domain"); break;
      case 11: add(w, f.attribute_defaults, parse_attribute(w.message("attribute_proto", "AttributeProto"))); break;
      case 12: add(w, f.value_infos, parse_value_info(w.message("value_info", "ValueInfoProto"))); break;
      case 13: f.overload = w.str("overload"); break;
      default: w.skip();
    }
  }
  return f;
}

ValueProto parse_value(Wire w, bool optional);

ValueProto parse_map_message(Wire w) {
  ValueProto v;
  while (w.next()) {
    switch (w.field()) {
      case 2: v.key_type = w.i32("key_type"); break;
      case 3: parse_ints(w, "keys", v.int_keys); break;
      case 4: add(w, v.string_keys, w.str("string_keys")); break;
      case 5: add(w, v.sequences, parse_value(w.message("values", "SequenceProto"), false)); break;
      default: w.skip();
    }
  }
  return v;
}

// SequenceProto and OptionalProto number their value fields alike, but for the last two.
ValueProto parse_value(Wire w, bool optional) {
  ValueProto v;
  while (w.next()) {
    switch (w.field()) {
      case 2: v.elem_type = w.i32("elem_type"); break;
      case 3: add(w, v.tensors, parse_tensor_field(w, "tensor_value")); break;
      case 4: add(w, v.sparse_tensors, parse_sparse(w.message("sparse_tensor_value", "SparseTensorProto"))); break;
      case 5: add(w, v.sequences, parse_value(w.message("sequence_value", "SequenceProto"), false)); break;
      case 6: add(w, v.maps, parse_map_message(w.message("map_value", "MapProto"))); break;
      case 7: add(w, v.optionals, parse_value(w.message("optional_value", "OptionalProto"), true)); break;
      default: w.skip();
    }
  }
  size_t held = v.tensors.size() + v.sparse_tensors.size() + v.sequences.size() + v.maps.size() + v.optionals.size();
  if (optional && held > 1) w.fail("value", "at most one value in an OptionalProto", std::to_string(held));
  return v;
}

}  // namespace

std::string_view attribute_kind_name(AttributeProto::Kind kind) {
  static constexpr std::string_view kNames[] = {"UNDEFINED", "FLOAT",   "INT",    "STRING",        "TENSOR",         "GRAPH",      "FLOATS",     "INTS",
                                                "STRINGS",   "TENSORS", "GRAPHS", "SPARSE_TENSOR", "SPARSE_TENSORS", "TYPE_PROTO", "TYPE_PROTOS"};
  auto i = static_cast<size_t>(kind);
  return i < std::size(kNames) ? kNames[i] : "?";
}

ModelProto parse_model(Source source) {
  ModelProto m;
  m.source = std::move(source);
  WireFile file(m.source);
  Wire w(file, m.source.bytes, "ModelProto", 0);
  while (w.next()) {
    switch (w.field()) {
      case 1: m.ir_version = w.i64("ir_version"); break;
      case 2: m.producer_name = w.str("producer_name"); break;
      case 3: m.producer_version = w.str("producer_version"); break;
      case 4: m.domain = w.str("domain"); break;
      case 5: m.model_version = w.i64("model_version"); break;
      case 6: m.doc_string = w.str("doc_string"); break;
      case 7:
        if (m.has_graph) w.fail("graph", kTwice, "a second one");
        m.graph = parse_graph(w.message("graph", "GraphProto"));
        m.has_graph = true;
        break;
      case 8: add(w, m.opset_imports, parse_opset(w.message("opset_import", "OperatorSetIdProto"))); break;
      case 14: add(w, m.metadata, parse_pair(w.message("metadata_props", "StringStringEntryProto"))); break;
      case 20: m.has_training_info = true; w.skip(); break;
      case 25: add(w, m.functions, parse_function(w.message("functions", "FunctionProto"))); break;
      default: w.skip();
    }
  }
  if (!m.has_graph) w.fail("graph", "a graph", m.source.bytes.empty() ? "an empty file" : "none");
  return m;
}

Source map_source(const std::string& path) {
  Source s;
  s.file = path;
  s.mapping = MappedFile::open(path);
  s.owner = s.mapping;
  s.bytes = s.mapping->bytes();
  return s;
}

ModelProto read_model(const std::string& path) { return parse_model(map_source(path)); }

TensorProto parse_tensor(const Source& source) {
  WireFile file(source);
  return parse_tensor_message(Wire(file, source.bytes, "TensorProto", 0), source.bytes);
}

int64_t count_typed(const Source& source, const TensorProto& t, uint32_t field) {
  WireFile file(source);
  Wire w(file, t.message, "TensorProto", 0);
  int64_t count = 0;
  while (w.next()) {
    if (w.field() != field) w.skip();
    else if (field == 4) count += w.count_fixed("float_data", 4);
    else if (field == 10) count += w.count_fixed("double_data", 8);
    else if (field == 6) count++, w.skip();
    else w.varints("typed data", [&](uint64_t) { count++; });
  }
  return count;
}

namespace {
template <class T> void read_fixed(const Source& source, const TensorProto& t, uint32_t field, const char* name, std::span<T> out) {
  WireFile file(source);
  Wire w(file, t.message, "TensorProto", 0);
  size_t at = 0;
  while (w.next()) {
    if (w.field() != field) w.skip();
    else w.fixed<T>(name, [&](T v) { if (at < out.size()) out[at++] = v; });
  }
}
}  // namespace

void read_floats(const Source& source, const TensorProto& t, std::span<float> out) { read_fixed(source, t, 4, "float_data", out); }
void read_doubles(const Source& source, const TensorProto& t, std::span<double> out) { read_fixed(source, t, 10, "double_data", out); }

void read_varints(const Source& source, const TensorProto& t, uint32_t field, std::span<int64_t> out) {
  WireFile file(source);
  Wire w(file, t.message, "TensorProto", 0);
  size_t at = 0;
  while (w.next()) {
    if (w.field() != field) w.skip();
    else w.varints("typed data", [&](uint64_t v) { if (at < out.size()) out[at++] = static_cast<int64_t>(v); });
  }
}

std::vector<std::string_view> read_string_data(const Source& source, const TensorProto& t) {
  WireFile file(source);
  Wire w(file, t.message, "TensorProto", 0);
  std::vector<std::string_view> out;
  while (w.next()) {
    if (w.field() == 6) add(w, out, w.str("string_data"));
    else w.skip();
  }
  return out;
}

ValueProto parse_sequence(const Source& source) {
  WireFile file(source);
  return parse_value(Wire(file, source.bytes, "SequenceProto", 0), false);
}

ValueProto parse_optional(const Source& source) {
  WireFile file(source);
  return parse_value(Wire(file, source.bytes, "OptionalProto", 0), true);
}

ValueProto parse_map(const Source& source) {
  WireFile file(source);
  return parse_map_message(Wire(file, source.bytes, "MapProto", 0));
}

}  // namespace bascule::onnx
