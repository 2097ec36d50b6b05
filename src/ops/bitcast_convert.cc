// ops/bitcast_convert.cc — the same bits seen as another element type; a last axis appears or goes when the widths differ.
#include <cstring>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef bitcast_convert{
    .name = "bitcast_convert",
    .doc = "y = the bits of x as `dtype`; a narrower type adds a last axis of the ratio of widths, a wider one takes it away",
    .inputs = {{"operand", DTypes::tensors}},
    .attrs = {{"dtype", AttrKind::dtype}},
    .type =
        [](const OpView& op) {
          Type t = op.in(0);
          t.dtype = op.attrs.dtype("dtype");
          op.require(!is_string(t.dtype), "a numeric or boolean result type", "string");
          const int from = info(op.in(0).dtype).bits, to = info(t.dtype).bits;
          // complex types keep their parts together: stablehlo bitcast_convert C2
          if (is_complex(t.dtype) != is_complex(op.in(0).dtype)) op.fail("both types complex, or neither", op.in(0).text() + " to " + std::string(info(t.dtype).name), "C2");
          if (from == to) return std::vector<Type>{t};
          const bool whole = from % to == 0 || to % from == 0;
          const bool bytes_like = from != 1 && to != 1 && from != 6 && to != 6;
          if (!whole || !bytes_like) op.fail("widths of which one divides the other", op.in(0).text() + " to " + std::string(info(t.dtype).name), "C1");
          if (from > to) {
            t.dims.push_back(from / to);
          } else {
            if (t.rank() == 0 || (t.dims.back().is_constant() && !t.dims.back().is(to / from))) op.fail("a last axis of " + std::to_string(to / from), op.in(0).text(), "C1");
            t.dims.pop_back();
          }
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          Tensor y = call.result();  // packed types store low bits first, so bits stay where they are
          if (y.bytes() > 0) std::memcpy(y.mutable_data(), call.in(0).data(), static_cast<size_t>(y.bytes()));
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{"same_width", {{2, 3}}, {{"dtype", DType::i32}}},
              {"narrower", {{7, 129}}, {{"dtype", DType::u8}}},
              {"wider", {{3, 2}}, {{"dtype", DType::f64}}},
              {"from_i4", {{3, 2}}, {{"dtype", DType::i8}}, {DType::i4}, -8, 7},
              {"to_i4", {{3}}, {{"dtype", DType::i4}}, {DType::i8}, -128, 127},
              {"scalar", {{}}, {{"dtype", DType::u16}}, {DType::bf16}},
              {"empty", {{0, 3}}, {{"dtype", DType::u16}}, {DType::f16}}},
};
BASCULE_OP(bitcast_convert);

}  // namespace bascule::ops
