// import/onnx/tensor_pb.h — TensorProto, SequenceProto, OptionalProto and MapProto to host values. Bytes are viewed in the mapping where they can be.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/tensor.h"
#include "import/onnx/proto.h"

namespace bascule::onnx {

std::optional<DType> dtype_of(int32_t onnx_data_type);  // nullopt: 0 or a number ONNX does not define
int32_t onnx_data_type_of(DType t);                     // 0 where ONNX has no such type (f8e3m4, ...)
DType dtype_or_fail(int32_t onnx_data_type, const std::string& where);

// Files beside a model that hold its large tensors, found by base/file.h's rules and each mapped once.
class ExternalFiles {
 public:
  explicit ExternalFiles(std::string model_path) : model_path_(std::move(model_path)) {}
  // The mapped file, or null when it does not exist. InvalidFileError for a location outside the folder or not a regular file.
  const Source* open(std::string_view location, const std::string& where);

 private:
  std::string model_path_;
  std::map<std::string, std::optional<Source>, std::less<>> files_;
};

// A tensor whose external file is absent has no value: its type is enough to inspect a model or to estimate its cost.
struct LoadedTensor {
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  std::optional<Tensor> value;
  std::string absent;  // why there is no value: "weights file 'model.data' is not there"
};

// `where` starts the errors: "model.onnx: initializer 'w'". files may be null: then external data is an error.
LoadedTensor load_tensor(const Source& source, const TensorProto& t, ExternalFiles* files, const std::string& where);
Tensor load_present(const Source& source, const TensorProto& t, ExternalFiles* files, const std::string& where);  // InvalidFileError when absent
Tensor load_sparse(const Source& source, const SparseTensorProto& s, ExternalFiles* files, const std::string& where);  // dense

// Test data and inputs: one message in a file of its own. The file does not say what it holds: `kind` does.
Tensor read_tensor_pb(const std::string& path);
HostValue read_value_pb(const std::string& path, HostValue::Kind kind);

}  // namespace bascule::onnx
