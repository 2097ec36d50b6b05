// loops/spec.h — a fused region as plain data: axes with roles, operands with strides, scalar expressions. No graph, no instruction set.
// Meaning (interpret.h runs it literally):
//   for each point of the parallel axes:
//     accumulator[r] = initial(r);  for each point of the reduction axes: run `body`; accumulator[r] = fold(r)(accumulator[r], body value)
//     run `epilogue` (it may read accumulators); do the stores.
// Without reduction axes `body` runs once a point and the epilogue after it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "loops/op.h"

namespace bascule::loops {

enum class Role { parallel, reduction };
struct Axis {
  std::string name;  // "M", "n0"
  int64_t extent = 1;
  Role role = Role::parallel;
};

struct Operand {
  DType dtype = DType::f32;
  std::vector<int64_t> strides;  // elements per step of each axis; 0 repeats, negative runs backward
  int64_t offset = 0;            // element at index 0 of every axis
  bool output = false;
};

const char* name(Op op);
int arity(Op op);  // values it reads: 0 to 3

// Values are numbered: body instructions first, then those of the epilogue.
struct Instruction {
  Op op = Op::load;
  DType dtype = DType::f32;  // of the result; comparisons give i1
  int32_t a = -1, b = -1, c = -1;
  int32_t index = 0;         // load: operand; iota: axis; accumulator: reduction
  double number = 0;         // constant of a float type
  int64_t integer = 0;       // constant of an int or bool type
};

struct Reduction {
  Op fold = Op::add;  // add, multiply, maximum, minimum, bit_and, bit_or
  DType dtype = DType::f32;
  int32_t value = -1;  // of the body
  double initial_number = 0;
  int64_t initial_integer = 0;
};

struct Store {
  int32_t operand = 0, value = 0;
};

struct KernelSpec {
  std::vector<Axis> axes;
  std::vector<Operand> operands;
  std::vector<Instruction> body, epilogue;
  std::vector<Reduction> reductions;
  std::vector<Store> stores;

  std::string text() const;
  std::string check() const;  // "" if every number is in range, else what is wrong
};

// Axes of extent 1 dropped and neighbours merged where every operand runs through both with one stride. Axes that iota reads stay.
KernelSpec collapsed(const KernelSpec& spec);

// How a kernel runs; never part of a result.
struct Schedule {
  int64_t block = 512;           // elements of the vectorised (innermost) axis at a time
  int64_t grain = 16384;         // elements a task at least
  std::vector<int32_t> order;    // axes from outermost to innermost
  std::string text() const;
};
Schedule default_schedule(const KernelSpec& spec);

}  // namespace bascule::loops
