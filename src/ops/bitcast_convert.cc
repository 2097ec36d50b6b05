// ops/bitcast_convert.cc — the same bits seen as another element type; a last axis appears or goes when the widths differ.
#include <cstring>

#include "base/budget.h"
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
          const bool bytes_like = from != 6 && to != 6;
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
          Tensor y = call.result();
          const Tensor& x = call.in(0);
          if (is_bool(x.dtype()) != is_bool(y.dtype())) {  // a truth value is one bit here, and a byte in memory: low bits first
            const int width = info(is_bool(x.dtype()) ? y.dtype() : x.dtype()).bits;
            const Tensor& wide = is_bool(x.dtype()) ? y : x;
            const int64_t words = wide.elements();
            std::byte* out = y.mutable_data();
            for (int64_t i = 0; i < words * width; ++i) {
              check_budget();
              // bit i % width of word i / width; words of 2 and 4 bits are packed low bits first as well
              if (is_bool(y.dtype())) out[i] = (x.data()[i / 8] >> (i % 8)) & std::byte{1};
              else out[i / 8] |= (x.data()[i] & std::byte{1}) << (i % 8);
            }
            return one(std::move(y));
          }
          // packed types store low bits first, so bits stay where they are
          if (y.bytes() > 0) std::memcpy(y.mutable_data(), call.in(0).data(), static_cast<size_t>(y.bytes()));
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{"same_width", {{2, 3}}, {{"dtype", DType::i32}}},
              {"narrower", {{7, 129}}, {{"dtype", DType::u8}}},
              {"wider", {{3, 2}}, {{"dtype", DType::f64}}},
              {"from_i4", {{3, 2}}, {{"dtype", DType::i8}}, {DType::i4}, -8, 7},
              {"to_i4", {{3}}, {{"dtype", DType::i4}}, {DType::i8}, -128, 127},
              {"from_i1", {{3, 16}}, {{"dtype", DType::i16}}, {DType::i1}, 0, 1},
              {"to_i1", {{3}}, {{"dtype", DType::i1}}, {DType::i8}, -128, 127},
              {"scalar", {{}}, {{"dtype", DType::u16}}, {DType::bf16}},
              {"empty", {{0, 3}}, {{"dtype", DType::u16}}, {DType::f16}}},
};
BASCULE_OP(bitcast_convert);

}  // namespace bascule::ops
