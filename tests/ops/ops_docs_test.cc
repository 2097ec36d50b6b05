// tests/ops/ops_docs_test.cc — docs/ops.md has a row for every operator, with its operands and attributes. To write the page anew:
//   BASCULE_WRITE_DOCS=1 build/bascule_tests --gtest_filter=ops_docs.*
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "graph/op_def.h"

namespace bascule {
namespace {

const std::string kPage = std::string(BASCULE_SOURCE_DIR) + "/docs/ops.md";

std::string cell(std::string_view s) {
  std::string out;
  for (const char c : s) out += c == '|' ? "\\|" : std::string(1, c);
  return out;
}

std::string operands(const OpDef& op) {
  std::string out;
  for (const InputDef& in : op.inputs) {
    out += (out.empty() ? "" : ", ") + std::string(in.name);
    if (in.kind == InputDef::optional) out += "?";
    if (in.kind == InputDef::variadic || in.kind == InputDef::variadic_host) out += "...";
  }
  return out;
}
std::string attributes(const OpDef& op) {
  std::string out;
  for (const AttrDef& a : op.attrs) out += (out.empty() ? "" : ", ") + std::string(a.name) + (a.required ? "" : "?");
  return out;
}
std::string kind(const OpDef& op) {
  std::string out;
  const auto add = [&](bool is, const char* word) {
    if (is) out += (out.empty() ? "" : ", ") + std::string(word);
  };
  add(op.decompose != nullptr, "composite");
  add(op.host, "host");
  add(op.control, "control");
  add(op.random, "random");
  add(op.effect, "effect");
  add(op.data_dependent, "sizes from data");
  return out;
}
std::string row_start(const OpDef& op) { return "| `" + std::string(op.name) + "` | " + operands(op) + " | " + attributes(op) + " | "; }
std::string row(const OpDef& op) { return row_start(op) + cell(op.doc) + " | " + kind(op) + " |\n"; }

std::string page() {
  std::string out =
      "# Operators\n\nGenerated from the operator table (tests/ops/ops_docs_test.cc says how); do not edit. A `?` marks what may be left out, `...` any number.\n"
      "*composite*: carries its decomposition into other operators. *host*: its values never enter a device. *control*: run by the runtime, region by region.\n";
  const std::pair<const char*, const char*> parts[] = {{"stablehlo", "StableHLO: names and semantics of its specification"}, {"chlo", "CHLO"}, {"bascule", "Bascule's own"}};
  for (const auto& [dialect, title] : parts) {
    out += "\n## " + std::string(title) + "\n\n| operator | operands | attributes | meaning | kind |\n|---|---|---|---|---|\n";
    for (const OpDef* op : OpRegistry::all())
      if (op->dialect == dialect) out += row(*op);
  }
  return out;
}

TEST(ops_docs, page_has_every_operator) {
  if (std::getenv("BASCULE_WRITE_DOCS")) {
    std::ofstream(kPage) << page();
    return;
  }
  std::ifstream file(kPage);
  std::ostringstream text;
  text << file.rdbuf();
  std::string missing;
  for (const OpDef* op : OpRegistry::all())
    if (text.str().find(row_start(*op)) == std::string::npos) missing += " " + std::string(op->name);
  EXPECT_EQ(missing, "") << "docs/ops.md is behind the operators: BASCULE_WRITE_DOCS=1 build/bascule_tests --gtest_filter=ops_docs.*";
}

}  // namespace
}  // namespace bascule
