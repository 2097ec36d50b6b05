// ops/get_tuple_element.cc — one value of a tuple.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef get_tuple_element{
    .name = "get_tuple_element",
    .doc = "y = element `index` of the tuple",
    .inputs = {{"operand", DTypes::any, kHostInput}},
    .attrs = {{"index", AttrKind::integer}},
    .host = true,
    .type =
        [](const OpView& op) {
          const Type& t = op.in(0);
          const int64_t i = op.attrs.integer("index");
          if (t.kind == Type::Kind::sequence) return std::vector<Type>{Type::token()};  // at run time a tuple is a sequence: the value tells its type
          op.require(t.kind == Type::Kind::tuple, "a tuple", t.text());
          if (i < 0 || i >= static_cast<int64_t>(t.elements.size())) op.fail("an index in [0, " + std::to_string(t.elements.size()) + ")", std::to_string(i), "C1");
          return std::vector<Type>{t.elements[static_cast<size_t>(i)]};
        },
    .reference =
        [](const Call& call) {
          const std::vector<HostValue>& items = call.inputs[0].items();
          const auto i = static_cast<size_t>(call.op.attrs.integer("index"));
          if (i >= items.size()) call.op.fail("a tuple of more than " + std::to_string(i), std::to_string(items.size()), "C1");
          return HostValues{items[i]};
        },
    .work = no_arithmetic(),
    .cases = {{.name = "second",
               .build =
                   [](Builder& b) {
                     const Value x = b.input(Type::tensor(DType::f32, {2})), y = b.input(Type::tensor(DType::i32, {3}));
                     return Values{b.op("get_tuple_element", {b.op("tuple", {x, y})}, {{"index", int64_t{1}}})};
                   }}},
};
BASCULE_OP(get_tuple_element);

}  // namespace bascule::ops
