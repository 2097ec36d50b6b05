// import/stablehlo/dynamic.cc — operators whose sizes are operands, with sizes that are known before the run (constants, or symbols of the inputs).
#include <algorithm>

#include "base/error.h"
#include "import/stablehlo/operations.h"

namespace bascule::stablehlo {
namespace {

using mlir::AttributeSyntax;
using mlir::OperationSyntax;
using Kind = AttributeSyntax::Kind;

AttributeSyntax sizes_attribute(Dims d, size_t at) {
  AttributeSyntax a;
  a.kind = Kind::dims;
  a.at = at;
  a.dims = std::move(d);
  return a;
}

class Dynamic {
 public:
  Dynamic(mlir::Reader& r, const OperationSyntax& op, const Values& operands) : r_(r), b_(r.builder()), op_(op), operands_(operands) {}

  void need(size_t n) const {
    if (operands_.size() != n || op_.result_types.size() != 1) r_.fail(op_.at, std::to_string(n) + " operands and one result", std::to_string(operands_.size()) + " and " + std::to_string(op_.result_types.size()));
  }
  Value x(size_t i) const { return operands_[i]; }

  // Symbolic elements of operand i.
  Dims known(size_t i, const char* what) const {
    if (const auto k = b_.known(operands_[i])) return *k;
    r_.unsupported(op_.at, std::string(what) + " of " + op_.name + " that follows from constants and from the shapes of inputs", "a value of the run", "Export the model with static shapes, or compute the sizes from input shapes");
  }
  // The same where the result type may tell: what is written there wins.
  Dims result_sizes(size_t i) const {
    const Type& t = op_.result_types[0].type;
    const auto k = b_.known(operands_[i]);
    if (!k && t.is_tensor() && t.ranked && std::none_of(t.dims.begin(), t.dims.end(), mlir::is_unknown)) return t.dims;
    Dims out = known(i, "the shape");
    if (t.is_tensor() && t.ranked && t.dims.size() == out.size())
      for (size_t k2 = 0; k2 < out.size(); ++k2)
        if (!out[k2].is_constant() && t.dims[k2].is_constant()) out[k2] = t.dims[k2];
    return out;
  }
  Ints constant_known(size_t i, const char* what) const {
    const auto c = constants(known(i, what));
    if (!c) r_.unsupported(op_.at, std::string(what) + " of " + op_.name + " that are constants", "sizes of inputs", "Export the model with static shapes");
    return *c;
  }
  Attr attribute(const char* name, AttrKind kind) const {
    const AttributeSyntax* a = mlir::find(op_.attributes, name);
    if (!a) r_.fail(op_.at, std::string("attribute '") + name + "'", "none");
    return r_.attribute(kind, *a);
  }
  // The static operator `name` with the first `n` operands and attributes of this operation, plus some.
  Values as(const char* name, size_t n, std::vector<std::pair<std::string, AttributeSyntax>> more) const {
    OperationSyntax op = op_;
    for (auto& m : more) op.attributes.push_back(std::move(m));
    return r_.apply(OpRegistry::get(name), op, Values(operands_.begin(), operands_.begin() + static_cast<int64_t>(n)));
  }
  Values settled(Value v) const {
    r_.settle(v, op_.result_types[0], op_.at);
    return {v};
  }
  size_t at() const { return op_.at; }
  Builder& builder() const { return b_; }
  mlir::Reader& reader() const { return r_; }

 private:
  mlir::Reader& r_;
  Builder& b_;
  const OperationSyntax& op_;
  const Values& operands_;
};

}  // namespace

std::optional<Values> read_dynamic(mlir::Reader& r, const OperationSyntax& op, const Values& operands) {
  const std::string_view name = op.name.starts_with("stablehlo.") ? std::string_view(op.name).substr(10) : op.name == "chlo.dynamic_reshape" ? "dynamic_reshape" : "";
  const Dynamic d(r, op, operands);
  Builder& b = r.builder();
  if (name == "dynamic_reshape") {
    d.need(2);
    return d.settled(b.op("reshape", {d.x(0)}, {{"dims", d.result_sizes(1)}}));
  }
  if (name == "dynamic_broadcast_in_dim") {
    d.need(2);
    return d.settled(b.op("broadcast_in_dim", {d.x(0)}, {{"dims", d.result_sizes(1)}, {"broadcast_dimensions", d.attribute("broadcast_dimensions", AttrKind::ints)}}));
  }
  if (name == "dynamic_iota") {
    d.need(1);
    return d.settled(b.op("iota", {}, {{"dims", d.result_sizes(0)}, {"dtype", op.result_types[0].type.dtype}, {"iota_dimension", d.attribute("iota_dimension", AttrKind::integer)}}));
  }
  if (name == "dynamic_pad") {
    d.need(5);
    return d.settled(b.op("pad", {d.x(0), d.x(1)}, {{"edge_padding_low", d.known(2, "the padding")}, {"edge_padding_high", d.known(3, "the padding")}, {"interior_padding", d.constant_known(4, "the interior padding")}}));
  }
  if (name == "real_dynamic_slice") {
    d.need(4);
    return d.settled(b.op("slice", {d.x(0)}, {{"start_indices", d.known(1, "the start")}, {"limit_indices", d.known(2, "the limit")}, {"strides", d.constant_known(3, "the strides")}}));
  }
  if (name == "dynamic_gather") {
    d.need(3);
    return d.as("gather", 2, {{"slice_sizes", sizes_attribute(d.known(2, "the slice sizes"), op.at)}});
  }
  if (name == "dynamic_conv") {
    d.need(3);
    const Dims padding = d.known(2, "the padding");
    Dims low, high;
    for (size_t i = 0; i + 1 < padding.size(); i += 2) {
      low.push_back(padding[i]);
      high.push_back(padding[i + 1]);
    }
    return d.as("convolution", 2, {{"padding_low", sizes_attribute(low, op.at)}, {"padding_high", sizes_attribute(high, op.at)}});
  }
  return std::nullopt;
}

}  // namespace bascule::stablehlo
