// tests/graph/text.cc — the text form: print and parse are inverse, both forms of every operator; mistakes get their place and remedy.
#include "graph/text/text.h"

#include <gtest/gtest.h>

#include "graph/builder.h"
#include "ops/cases.h"

namespace bascule {
namespace {

// Equal but for value numbers.
void expect_same(const Graph& a, const Graph& b, const std::string& which) {
  ASSERT_EQ(a.inputs.size(), b.inputs.size()) << which;
  ASSERT_EQ(a.nodes.size(), b.nodes.size()) << which;
  EXPECT_EQ(a.output_names, b.output_names) << which;
  for (size_t i = 0; i < a.inputs.size(); ++i) {
    EXPECT_EQ(a.type(a.inputs[i]), b.type(b.inputs[i])) << which;
    if (which.find("region") == std::string::npos) {
      EXPECT_EQ(a.at(a.inputs[i]).name, b.at(b.inputs[i]).name) << which;
    }
  }
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    const Node &x = a.nodes[i], &y = b.nodes[i];
    ASSERT_EQ(x.op->name, y.op->name) << which;
    EXPECT_EQ(x.attrs, y.attrs) << which << ": " << x.op->name;
    EXPECT_EQ(text(x.origin), text(y.origin)) << which;
    EXPECT_EQ(x.location, y.location) << which;
    ASSERT_EQ(x.outputs.size(), y.outputs.size()) << which;
    for (size_t k = 0; k < x.outputs.size(); ++k) {
      EXPECT_EQ(a.type(x.outputs[k]).text(), b.type(y.outputs[k]).text()) << which;
      EXPECT_EQ(a.at(x.outputs[k]).name, b.at(y.outputs[k]).name) << which;
    }
    ASSERT_EQ(x.regions.size(), y.regions.size()) << which;
    for (size_t k = 0; k < x.regions.size(); ++k)
      if (x.captures == y.captures) expect_same(*x.regions[k], *y.regions[k], which + " region");
  }
}

TEST(GraphText, every_operator_case_is_printed_and_parsed_back_in_both_forms) {
  for (const OpDef* def : OpRegistry::all())
    for (const Case& c : def->cases) {
      const std::string which = std::string(def->name) + " " + std::string(c.name);
      try {
        const Graph g = ops::make_case(*def, c, 1).graph;
        for (const bool generic : {false, true}) {
          PrintOptions o;
          o.generic = generic;
          const std::string first = print(g, o);
          SCOPED_TRACE(first);
          const Graph back = parse_graph(first, {.file = which});
          expect_same(g, back, which);
          EXPECT_EQ(print(back, o), first) << which;
        }
      } catch (const Error& e) {
        ADD_FAILURE() << which << ": " << e.what();
      }
    }
}

TEST(GraphText, names_origins_locations_and_symbols_survive) {
  Builder b("model");
  b.fold = false;
  const Dim seq = Dim::symbol("seq");
  const Value x = b.input(Type::tensor(DType::f32, {seq, 2 * seq + 1, 4}), "ids with space");
  const Value y = b.input(Type::tensor(DType::f32, {seq, 2 * seq + 1, 4}), "y");
  b.origin = make_origin({"Add '/a/b'", "Relu \"c\\\""});
  b.location = "model.onnx:12:5";
  const Value z = b.add(x, y);
  b.graph().at(z).name = "/layer/out";
  b.origin = make_origin({"Exp"});
  b.location = "";
  const Value e = b.exp(z);
  b.graph().at(e).name = "good_name";
  const Graph g = b.finish({e, z}, {"logits", "x\n"});
  const std::string first = print(g);
  const Graph back = parse_graph(first);
  expect_same(g, back, "graph");
  EXPECT_EQ(back.name, "model");
  EXPECT_EQ(print(back), first);
  EXPECT_NE(first.find("#bascule.dims<\"seq\",\"2*seq+1\",\"4\">"), std::string::npos);
}

TEST(GraphText, constants_of_every_type_keep_their_bits) {
  for (int k = 0; k < kDTypeCount; ++k) {
    const auto t = static_cast<DType>(k);
    if (is_string(t)) continue;
    for (const int64_t n : {0, 1, 7, 100}) {
      Tensor tensor(t, {n});
      const int64_t bytes = tensor.bytes();
      if (bytes > 0) {
        std::byte* p = tensor.mutable_data();
        for (int64_t i = 0; i < bytes; ++i) p[i] = static_cast<std::byte>(is_bool(t) ? i % 3 == 0 : info(t).bits == 6 ? (i * 37) & 63 : i * 37 + 11);
      }
      Builder b;
      b.fold = false;
      const Graph g = b.finish({b.constant(tensor)});
      const std::string first = print(g);
      const Graph back = parse_graph(first);
      EXPECT_TRUE(back.nodes.at(0).attrs.tensor("value").identical(tensor)) << first;
    }
  }
  Builder b;
  const Graph g = b.finish({b.constant(Tensor::from_strings({2}, {"a\"b\n", std::string("\0\xFF", 2)}))});
  EXPECT_EQ(print(parse_graph(print(g))), print(g));
}

std::string error_of(const std::string& source) {
  try {
    (void)parse_graph(source, {.file = "t"});
  } catch (const Error& e) {
    return std::string(e.kind_name()) + " " + e.what();
  }
  return "none";
}

TEST(GraphText, mistakes_name_place_expectation_and_remedy) {
  EXPECT_EQ(
      error_of("func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> {\n  %0 = stablehlo.add %a, %b : tensor<2xf32>\n  return %0 : tensor<2xf32>\n}"),
      "InvalidFileError t:2:26: expected a value defined before its use, found %b. Fix the text, or export the model again");
  EXPECT_EQ(error_of("func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> {\n  %0 = stablehlo.add %a %a"),
            "InvalidFileError t:2:25: expected ',', found '%a'. Fix the text, or export the model again");
  EXPECT_EQ(error_of("func.func @main() -> tensor<2xf32> {\n  %0 = stablehlo.constant dense_resource<__elided__> : tensor<2xf32>\n  return %0 : "
                     "tensor<2xf32>\n}")
                .substr(0, 71),
            "UnsupportedError t:2:27: expected constants with their elements, found ");
  EXPECT_EQ(error_of("func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> {\n  %0 = call @main(%a) : (tensor<2xf32>) -> tensor<2xf32>\n  return %0 : "
                     "tensor<2xf32>\n}"),
            "InvalidFileError t:2:8: expected functions that do not call themselves, found @main. Fix the text, or export the model again");
  EXPECT_NE(error_of("func.func @main() { \"stablehlo.while\"() [^bb1] : () -> () }").find("successor"), std::string::npos);
  EXPECT_NE(error_of("").find("a function"), std::string::npos);
  EXPECT_NE(error_of("func.func @main() -> tensor<4611686018427387904xf32> {\n%0 = stablehlo.constant dense<[1.0]> : "
                     "tensor<4611686018427387904xf32>\n return %0 : tensor<4611686018427387904xf32> }")
                .find("4611686018427387904"),
            std::string::npos);
}

TEST(GraphText, deep_nesting_ends_in_an_error) {
  std::string source = "func.func @main() attributes {a = ";
  source.append(100000, '[');
  EXPECT_NE(error_of(source).find("levels of nesting"), std::string::npos);
  std::string types = "func.func @main(%a: ";
  for (int i = 0; i < 100000; ++i) types += "tuple<";
  EXPECT_NE(error_of(types).find("levels of nesting"), std::string::npos);
  // A location that names itself, and a stack of a thousand callers: kept as far as it goes.
  std::string stack = "func.func @main() { return loc(#loc0) }\n#loop = loc(callsite(#loop at #loop))\n#loc1000 = loc(#loop)\n";
  for (int i = 0; i < 1000; ++i) stack += "#loc" + std::to_string(i) + " = loc(\"f\"(#loc" + std::to_string(i + 1) + "))\n";
  EXPECT_EQ(error_of(stack), "none");
  // f0 calls f1 twice, f1 calls f2 twice ...: 2^60 operations if all were inlined.
  std::string calls;
  for (int i = 0; i < 60; ++i) {
    const std::string next = "@f" + std::to_string(i + 1) + "() : () -> ()\n";
    calls += "func.func @" + (i ? "f" + std::to_string(i) : std::string("main")) + "() {\n call " + next + " call " + next + " return\n}\n";
  }
  calls += "func.func @f60() { return }\n";
  EXPECT_NE(error_of(calls).find("after inlining"), std::string::npos);
}

}  // namespace
}  // namespace bascule
