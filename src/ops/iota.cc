// ops/iota.cc — the index along one axis, as values.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef iota{
    .name = "iota",
    .doc = "y[i] = i[iota_dimension]",
    .attrs = {{"dims", AttrKind::dims}, {"dtype", AttrKind::dtype}, {"iota_dimension", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          const Type t = Type::tensor(op.attrs.dtype("dtype"), op.attrs.dims("dims"));
          op.require(is_int(t.dtype) || is_float(t.dtype) || is_complex(t.dtype), "an integer, float or complex element type", std::string(info(t.dtype).name));
          for (const Dim& d : t.dims) op.require(!d.is_constant() || d.value() >= 0, "dims of 0 or more", t.text());
          require_axis(op, op.attrs.integer("iota_dimension"), t.rank(), "iota_dimension", "C1");
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          Tensor y = call.result();
          const auto axis = static_cast<size_t>(call.op.attrs.integer("iota_dimension"));
          std::byte* out = y.mutable_data();
          int64_t i = 0;
          for_each_index(y.dims(), [&](std::span<const int64_t> index) { store_int(y.dtype(), out, i++, index[axis]); });
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{"columns", {}, {{"dims", Dims{2, 3}}, {"dtype", DType::i64}, {"iota_dimension", 1}}},
              {"rows", {}, {{"dims", Dims{7, 5}}, {"dtype", DType::f32}, {"iota_dimension", 0}}},
              {"empty", {}, {{"dims", Dims{0, 3}}, {"dtype", DType::i32}, {"iota_dimension", 0}}},
              {"wraps", {}, {{"dims", Dims{300}}, {"dtype", DType::u8}, {"iota_dimension", 0}}},
              {"complex", {}, {{"dims", Dims{5}}, {"dtype", DType::c64}, {"iota_dimension", 0}}}},
};
BASCULE_OP(iota);

}  // namespace bascule::ops
