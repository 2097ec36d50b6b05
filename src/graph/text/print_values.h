// graph/text/print_values.h — types, numbers and constants as MLIR writes them.
#pragma once
#include <string>
#include <string_view>

#include "graph/attr.h"
#include "graph/type.h"

namespace bascule::mlir {

std::string type_text(const Type& t);  // tensor<?x128xf32, #bascule.dims<"seq","128">>
std::string dims_text(const Dims& d);  // #bascule.dims<"seq","128">
std::string ints_text(const Ints& v);  // array<i64: 1, 2>
std::string number_text(double v);     // 0.1, 1.0e-30; bits in hexadecimal where it is no finite number
// dense<...> : tensor<...>. Lists of up to 32 elements, one value for all, else hexadecimal bytes. largest >= 0: more elements are elided.
std::string tensor_text(const Tensor& t, int64_t largest);
// Whether a value's name can stand after %: an identifier, and none that the printer makes itself ("arg3").
bool is_value_name(std::string_view name);

}  // namespace bascule::mlir
