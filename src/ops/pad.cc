// ops/pad.cc — padding around and between elements; negative padding cuts.
#include "ops/rules.h"

namespace bascule::ops {
namespace {

const MovementRule rule = [](const OpView& op, const Type&) {
  const std::vector<int64_t> dims = static_dims(op.in(0));
  const std::vector<int64_t> strides = strides_of(dims);
  const std::vector<int64_t> low = op.attrs.static_dims("edge_padding_low");
  const Ints interior = op.attrs.ints("interior_padding");
  return [=](std::span<const int64_t> index) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) {
      if (index[d] < low[d]) return Source{1, 0};
      // Unsigned: any padding of 64 bits, also where the other side takes it back.
      const uint64_t from = static_cast<uint64_t>(index[d]) - static_cast<uint64_t>(low[d]), step = static_cast<uint64_t>(interior[d]) + 1;
      if (from % step != 0 || from / step >= static_cast<uint64_t>(dims[d])) return Source{1, 0};
      at += static_cast<int64_t>(from / step) * strides[d];
    }
    return Source{0, at};
  };
};

}  // namespace

const OpDef pad{
    .name = "pad",
    .doc = "y[i] = x[(i - edge_padding_low) / (interior_padding + 1)] where that is an index of x, else padding_value",
    .inputs = {{"operand"}, {"padding_value"}},
    .attrs = {{"edge_padding_low", AttrKind::dims}, {"edge_padding_high", AttrKind::dims}, {"interior_padding", AttrKind::ints}},
    .type =
        [](const OpView& op) {
          const Type& x = op.in(0);
          if (op.in(1).dtype != x.dtype || op.in(1).rank() != 0) op.fail("a scalar padding_value of the operand's element type", op.in(1).text() + " for " + x.text(), "C1");
          const Dims low = op.attrs.dims("edge_padding_low"), high = op.attrs.dims("edge_padding_high");
          const Ints& interior = op.attrs.ints("interior_padding");
          if (low.size() != x.rank() || high.size() != x.rank() || interior.size() != x.rank())
            op.fail("edge_padding_low, edge_padding_high and interior_padding for each axis of " + x.text(),
                    std::to_string(low.size()) + ", " + std::to_string(high.size()) + " and " + std::to_string(interior.size()), "C2");
          Type t = x;
          for (size_t d = 0; d < x.rank(); ++d) {
            if (interior[d] < 0) op.fail("interior_padding of 0 or more", std::to_string(interior[d]), "C3");
            t.dims[d] = low[d] + x.dims[d] + high[d];
            if (interior[d] != 0) t.dims[d] = t.dims[d] + Dim::max(x.dims[d] - 1, 0) * interior[d];
            if (t.dims[d].is_constant() && t.dims[d].value() < 0) op.fail("result extents of 0 or more", t.text(), "C4");
          }
          return std::vector<Type>{t};
        },
    .reference = movement(rule),
    .symbolic = symbolic_movement(rule),
    .work = no_arithmetic(),
    .cases = {{"edges", {{2, 3}, {}}, {{"edge_padding_low", Dims{1, 0}}, {"edge_padding_high", Dims{0, 2}}, {"interior_padding", Ints{0, 0}}}},
              {"interior", {{2, 3}, {}}, {{"edge_padding_low", Dims{0, 1}}, {"edge_padding_high", Dims{1, 1}}, {"interior_padding", Ints{2, 1}}}, {DType::i32, DType::i32}},
              {"cuts", {{5, 7}, {}}, {{"edge_padding_low", Dims{-1, 2}}, {"edge_padding_high", Dims{1, -3}}, {"interior_padding", Ints{0, 1}}}},
              {"empty", {{0, 3}, {}}, {{"edge_padding_low", Dims{1, 0}}, {"edge_padding_high", Dims{1, 0}}, {"interior_padding", Ints{3, 0}}}},
              {"scalar", {{}, {}}, {{"edge_padding_low", Dims{}}, {"edge_padding_high", Dims{}}, {"interior_padding", Ints{}}}}},
};
BASCULE_OP(pad);

}  // namespace bascule::ops
