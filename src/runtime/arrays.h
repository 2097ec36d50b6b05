// runtime/arrays.h — NumPy's .npy and .npz files to and from host tensors. Pickles are refused; no model is known here.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/tensor.h"

namespace bascule::runtime {

// One array of a file. The element types that NumPy has no name for (bf16, f8, f6, f4, int4, int2: ml_dtypes) stand in files as bytes
// without a type ('V2', 'V1', one byte per element): such an array has opaque_bytes 2 or 1, its tensor is u16 or u8, and typed()
// reads it as the type that the model declares.
struct Array {
  std::string name;  // empty for a .npy
  Tensor tensor;
  int opaque_bytes = 0;
};

// The tensor as type `wanted`: opaque arrays by their bits, all others must have that type. UsageError naming `where` otherwise.
Tensor typed(const Array& array, DType wanted, const std::string& where);

// Every read checks sizes before it allocates. Fortran order and either byte order are read; strings ('U', 'S') become UTF-8 with
// trailing NULs stripped, as NumPy has it. InvalidFileError: not NumPy's format, a pickle, truncated. CapacityError: over the budget.
Array read_npy(const std::string& path);
std::vector<Array> read_npz(const std::string& path);  // in the file's order, names without ".npy"
Array parse_npy(std::span<const std::byte> bytes, const std::string& where);

// Row-major, little-endian, as numpy.save and ml_dtypes write them. Strings that are not UTF-8 are written as 'S'.
// A sequence's or optional's parts are stored as NAME[0], NAME[1] ..., a map as NAME.keys and NAME.values.
struct NamedValue {
  std::string name;
  HostValue value;
};
void write_npy(const std::string& path, const Tensor& tensor);
void write_npz(const std::string& path, std::span<const NamedValue> values);
std::string npy_bytes(const Tensor& tensor);

}  // namespace bascule::runtime
