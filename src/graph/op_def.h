// graph/op_def.h — what one operator is: names, types, reference, decomposition, work, cases. One file in src/ops/ defines each;
// everything else (text form, verifier, docs, device suite, cost rows) is derived from here.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "graph/graph.h"

namespace bascule {

class Builder;

// A set of element types.
struct DTypes {
  uint32_t bits = 0;
  constexpr DTypes() = default;
  constexpr DTypes(DType t) : bits(1u << static_cast<int>(t)) {}  // NOLINT
  constexpr explicit DTypes(uint32_t b) : bits(b) {}
  constexpr bool has(DType t) const { return ((bits >> static_cast<int>(t)) & 1u) != 0; }
  friend constexpr DTypes operator|(DTypes a, DTypes b) { return DTypes(a.bits | b.bits); }
  std::string text() const;  // "i8 i16 f32"
  static const DTypes floats, ints, signed_ints, unsigned_ints, bools, complexes, strings, numbers, reals, tensors, any;
};
namespace detail {
constexpr uint32_t range_bits(DType a, DType b) { return ((2u << static_cast<int>(b)) - 1u) & ~((1u << static_cast<int>(a)) - 1u); }
}  // namespace detail
inline constexpr DTypes DTypes::bools{DType::i1};
inline constexpr DTypes DTypes::signed_ints{detail::range_bits(DType::i2, DType::i64)};
inline constexpr DTypes DTypes::unsigned_ints{detail::range_bits(DType::u2, DType::u64)};
inline constexpr DTypes DTypes::ints{detail::range_bits(DType::i2, DType::u64)};
inline constexpr DTypes DTypes::floats{detail::range_bits(DType::f4e2m1fn, DType::f64)};
inline constexpr DTypes DTypes::complexes{detail::range_bits(DType::c64, DType::c128)};
inline constexpr DTypes DTypes::strings{DType::string};
inline constexpr DTypes DTypes::reals = ints | floats;
inline constexpr DTypes DTypes::numbers = reals | complexes;
inline constexpr DTypes DTypes::tensors = numbers | bools;  // all that a device may hold
inline constexpr DTypes DTypes::any = tensors | strings;

struct InputDef {
  std::string_view name;
  DTypes types = DTypes::any;
  enum Kind { one, optional, variadic, host, variadic_host } kind = one;  // variadic: the last one, any number. host: any kind of value (sequence, token...)
};
inline constexpr auto kOptional = InputDef::optional;
inline constexpr auto kVariadic = InputDef::variadic;
inline constexpr auto kHostInput = InputDef::host;
inline constexpr auto kVariadicHost = InputDef::variadic_host;

struct AttrDef {
  std::string_view name;
  AttrKind kind;
  bool required = true;
  Attr fallback = false;  // when not required: its value if absent, unless `no_default`
  bool no_default = false;  // absent means absent
};

// A node seen by its operator: during building (types may be symbolic) and during evaluation (all concrete).
struct OpView {
  const OpDef& def;
  const Attrs& attrs;  // defaults filled in
  std::span<const Type> inputs;  // of the operands, without captures; an absent optional operand has kind `tuple` with no elements: see has()
  std::span<const std::shared_ptr<const Graph>> regions;
  std::span<const Type> captures;
  std::string where;  // for messages: "add 'encoder/add_3'"
  ErrorKind blame = ErrorKind::invalid_file;

  bool has(size_t i) const { return i < inputs.size() && (inputs[i].kind != Type::Kind::tuple || !inputs[i].elements.empty()); }
  const Type& in(size_t i) const { return inputs[i]; }
  // Refuses the node: throws an Error of kind `blame`. label: the specification's ("C3"), "" if none.
  [[noreturn]] void fail(std::string expected, std::string found, std::string_view label = "") const;
  void require(bool ok, std::string_view expected, const std::string& found, std::string_view label = "") const {
    if (!ok) fail(std::string(expected), found, label);
  }
  // Both constant and different is an error; unknown sizes are checked again when they are bound.
  void require_equal(const Dim& a, const Dim& b, std::string_view what, std::string_view label = "") const;
};
inline Type absent_type() { return Type::tuple({}); }

// How sums and products of small floats are kept inside a reference.
enum class Accumulate {
  exact,    // in double or wide integers; one rounding at the end: the oracle of kernels
  element,  // rounded to the element type after each step, in the specification's order: what StableHLO's expected values were made with
};

// What a reference may ask of whoever runs it.
class EvalContext {
 public:
  Accumulate accumulate = Accumulate::exact;
  virtual ~EvalContext() = default;
  // Runs a region on block arguments and captured values (all concrete). The default interprets it with references.
  virtual HostValues call(const std::shared_ptr<const Graph>& region, const HostValues& args);
  // Runs a specialised part.
  virtual HostValues specialize(const std::shared_ptr<const Specialization>& s, const HostValues& args, const std::string& where);
};

// One evaluation: everything concrete.
struct Call {
  const OpView& op;
  std::span<const HostValue> inputs;    // operands, absent optional ones are empty optionals: see op.has()
  std::span<const HostValue> captures;
  std::span<const Type> results;        // from the type rule; data-dependent dims are symbols
  EvalContext& context;
  const Specialization* specialization = nullptr;
  std::shared_ptr<const Specialization> specialization_owner;

  const Tensor& in(size_t i) const { return inputs[i].tensor(); }
  Tensor result(size_t i = 0) const;    // a zeroed tensor of result type i (static)
  std::vector<int64_t> result_dims(size_t i = 0) const;
  // Runs region r on block arguments; captured values are appended.
  HostValues run_region(size_t r, HostValues block_arguments) const;
};

// Scalar operations counted apart, each device knows its own price; bytes of operands and results once each.
struct Work {
  double multiply_adds = 0;    // fused pairs; FLOPs = 2 * multiply_adds + adds + ...
  double adds = 0;             // additions, subtractions, multiplications, negations alone
  double divides = 0;          // divisions, square roots
  double transcendentals = 0;  // exp, log, tanh, erf, sin ...
  double compares = 0;         // comparisons, min, max, select, logic
  double bytes_read = 0, bytes_written = 0;
  double flops() const { return 2 * multiply_adds + adds + divides + transcendentals + compares; }
  Work& operator+=(const Work& o);
};

// One conformance case: inputs of these shapes are generated (seeded), or `build` makes the whole graph.
struct Case {
  std::string_view name;
  std::vector<std::vector<int64_t>> shapes = {};
  Attrs attrs = {};
  std::vector<DType> dtypes = {};  // per input; default: f32 if allowed, else the first allowed
  double low = -1, high = 1;       // range of generated numbers (integers: rounded)
  std::function<std::vector<Value>(Builder&)> build = nullptr;  // adds inputs and nodes, returns outputs
  std::function<HostValues()> inputs = nullptr;  // exact inputs instead of generated ones
  double tolerance = 0;            // extra relative tolerance with its reason beside it; 0: the computed bound
};

using TypeRule = std::function<std::vector<Type>(const OpView&)>;
using Reference = std::function<HostValues(const Call&)>;
// Symbolic elements of the (single) integer result from those of the inputs (null where unknown); nullopt: not known.
using SymbolicRule = std::function<std::optional<Dims>(const OpView&, std::span<const Dims* const>, const Type& result)>;
// Results by other operators.
using Decompose = std::function<std::vector<Value>(Builder&, const OpView&, std::span<const Value> operands)>;
using WorkRule = std::function<Work(const OpView&, std::span<const Type> results)>;

struct OpDef {
  std::string_view name;                  // "dot_general", "softmax"
  std::string_view dialect = "stablehlo";  // stablehlo, chlo: their semantics; bascule: ours, printed as a composite (or generic if host or control)
  std::string_view doc = "";              // one sentence with the formula
  std::vector<InputDef> inputs = {};
  std::vector<AttrDef> attrs = {};
  int regions = 0;                        // how many; -1: any number
  bool host = false;                      // values never enter a device buffer (strings, sequences ...)
  bool control = false;                   // the runtime executes it, region by region
  bool random = false;                    // not folded, not merged; draws from the seed attribute
  bool effect = false;                    // kept though nothing uses its results
  bool data_dependent = false;            // results have sizes known only after it ran
  TypeRule type = nullptr;
  Reference reference = nullptr;
  SymbolicRule symbolic = nullptr;
  Decompose decompose = nullptr;          // nullptr: a primitive
  WorkRule work = nullptr;
  std::vector<Case> cases = {};
};

// The table of all operators. Filled before main by BASCULE_OP; sorted by name when read.
class OpRegistry {
 public:
  static const OpDef* find(std::string_view name);   // nullptr if unknown
  static const OpDef& get(std::string_view name);    // InternalError if unknown
  static std::vector<const OpDef*> all();
  static bool add(const OpDef* def);
};
#define BASCULE_OP(def) [[maybe_unused]] static const bool def##_registered = ::bascule::OpRegistry::add(&def)

// Types of results of a node: checks arity, element types and attributes against the definition, fills defaults, then asks the type rule.
std::vector<Type> infer(const OpDef& def, Attrs& attrs, std::span<const Type> inputs, std::span<const std::shared_ptr<const Graph>> regions,
                        std::span<const Type> captures, const std::string& where, ErrorKind blame);

}  // namespace bascule
