// import/stablehlo/dynamic.cc — operators whose sizes are operands. Sizes that are known before the run (constants, or symbols of the inputs)
// make the static operator at once; others make it at run time, when their values are there (Specialization).
#include <algorithm>

#include "base/error.h"
#include "import/stablehlo/operations.h"

namespace bascule::stablehlo {
namespace {

using mlir::OperationSyntax;

// An attribute of the static operator that an operand gives.
struct FromOperand {
  const char* attribute;
  size_t operand;
  bool integers = false;                    // the attribute is a list of integers, not of sizes
  enum Part { all, even, odd } part = all;  // of the operand's elements: [n,2] holds low and high padding
};
struct Form {
  std::string_view name;
  const char* target;
  size_t kept;  // operands of the static operator; those after them are sizes
  std::vector<FromOperand> values;
};

const std::vector<Form>& forms() {
  static const std::vector<Form> kForms = {
      {"dynamic_reshape", "reshape", 1, {{"dims", 1}}},
      {"dynamic_broadcast_in_dim", "broadcast_in_dim", 1, {{"dims", 1}}},
      {"dynamic_iota", "iota", 0, {{"dims", 0}}},
      {"dynamic_pad", "pad", 2, {{"edge_padding_low", 2}, {"edge_padding_high", 3}, {"interior_padding", 4, true}}},
      {"real_dynamic_slice", "slice", 1, {{"start_indices", 1}, {"limit_indices", 2}, {"strides", 3, true}}},
      {"dynamic_gather", "gather", 2, {{"slice_sizes", 2}}},
      {"dynamic_conv", "convolution", 2, {{"padding_low", 2, false, FromOperand::even}, {"padding_high", 2, false, FromOperand::odd}}},
  };
  return kForms;
}

// False where the attribute must be integers and the elements are symbols.
bool set(Attrs& attrs, const FromOperand& f, const Dims& elements) {
  Dims mine;
  for (size_t i = 0; i < elements.size(); ++i)
    if (f.part == FromOperand::all || (i % 2 == 0) == (f.part == FromOperand::even)) mine.push_back(elements[i]);
  if (!f.integers) {
    attrs.set(f.attribute, std::move(mine));
    return true;
  }
  const auto c = constants(mine);
  if (c) attrs.set(f.attribute, *c);
  return c.has_value();
}

class AtRunTime : public Specialization {
 public:
  AtRunTime(const Form& form, Attrs attrs, std::string where, std::string location, Origin origin)
      : form_(form), attrs_(std::move(attrs)), where_(std::move(where)), location_(std::move(location)), origin_(std::move(origin)) {}

  bool needs_value(size_t operand) const override { return operand >= form_.kept; }
  Graph instantiate(const std::vector<Type>& types, const std::vector<const HostValue*>& values) const override {
    Builder b(form_.target);
    b.where = where_;
    b.location = location_;
    b.origin = origin_;
    b.blame = ErrorKind::usage;
    Values in;
    for (const Type& t : types) in.push_back(b.input(t));
    Attrs attrs = attrs_;
    for (const FromOperand& f : form_.values) {
      const Tensor& t = values.at(f.operand)->tensor();
      if (!is_int(t.dtype())) fail_usage(where_, "sizes of an integer type", t.type_text(), "Check the inputs");
      (void)set(attrs, f, to_dims(t.ints()));
    }
    in.resize(form_.kept);
    return b.finish({b.op(form_.target, in, std::move(attrs))});
  }

 private:
  const Form& form_;
  Attrs attrs_;
  std::string where_, location_;
  Origin origin_;
};

}  // namespace

std::optional<Values> read_dynamic(mlir::Reader& r, const OperationSyntax& op, const Values& operands) {
  const std::string_view name = op.name.starts_with("stablehlo.")   ? std::string_view(op.name).substr(10)
                                : op.name == "chlo.dynamic_reshape" ? "dynamic_reshape"
                                                                    : "";
  const auto form = std::find_if(forms().begin(), forms().end(), [&](const Form& f) { return f.name == name; });
  if (form == forms().end()) return std::nullopt;
  Builder& b = r.builder();
  const size_t count = form->values.back().operand + 1;
  if (operands.size() != count || op.result_types.size() != 1)
    r.fail(op.at, std::to_string(count) + " operands and one result",
           std::to_string(operands.size()) + " and " + std::to_string(op.result_types.size()));
  const Type& declared = op.result_types[0].type;
  const bool told = declared.is_tensor() && declared.ranked && std::none_of(declared.dims.begin(), declared.dims.end(), mlir::is_unknown);

  Attrs attrs;
  bool known = true;
  for (const FromOperand& f : form->values) {
    std::optional<Dims> elements = b.known(operands[f.operand]);
    if (std::string_view(f.attribute) == "dims") {  // the result type may tell, and what it says in numbers wins
      if (!elements && told) elements = declared.dims;
      if (elements && declared.is_tensor() && declared.ranked && declared.dims.size() == elements->size())
        for (size_t i = 0; i < elements->size(); ++i)
          if (!(*elements)[i].is_constant() && declared.dims[i].is_constant()) (*elements)[i] = declared.dims[i];
    }
    known = known && elements && set(attrs, f, *elements);
    if (!known) attrs.set(f.attribute, f.integers ? Attr(Ints{}) : Attr(Dims{}));  // until the run tells
  }
  const OpDef& def = OpRegistry::get(form->target);
  attrs = r.attributes(def, op, std::move(attrs));
  if (known) {
    const Value y = b.op(form->target, Values(operands.begin(), operands.begin() + static_cast<int64_t>(form->kept)), std::move(attrs));
    r.settle(y, op.result_types[0], op.at);
    return Values{y};
  }
  Type result = declared;
  for (Dim& d : result.dims)
    if (mlir::is_unknown(d)) d = fresh_dim("n");
  return b.specialize(std::make_shared<AtRunTime>(*form, std::move(attrs), b.where, b.location, b.origin), operands, {std::move(result)});
}

}  // namespace bascule::stablehlo
