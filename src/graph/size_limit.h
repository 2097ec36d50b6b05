// graph/size_limit.h — how graph/dim.cc says that an expression grew too long to keep symbolic; with concrete sizes the same arithmetic works.
#pragma once

namespace bascule {

inline constexpr const char* kSymbolicSizes = "symbolic sizes";  // `where` of that CapacityError

}  // namespace bascule
