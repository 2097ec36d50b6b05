// tests/ops/text_test.cc — string operators: facts of their definitions that conformance cases do not reach.
#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/builder.h"
#include "graph/evaluate.h"

namespace bascule {
namespace {

HostValues run(std::string_view op, const std::vector<Tensor>& operands, Attrs attrs) {
  Builder b;
  b.fold = false;
  Values in;
  HostValues args;
  for (const Tensor& t : operands) {
    in.push_back(b.input(Type::of(t)));
    args.emplace_back(t);
  }
  const Values out = b.ops(op, in, std::move(attrs));
  EvalContext context;
  return evaluate(b.finish(out), args, context);
}
Tensor texts(std::vector<std::string> t) {
  const auto n = static_cast<int64_t>(t.size());
  return Tensor::from_strings({n}, std::move(t));
}
using Strings = std::vector<std::string>;

TEST(StringOps, split_at_white_space_keeps_the_rest_after_the_last_cut) {
  const HostValues r = run("string_split", {texts({"  a b  c ", ""})}, {{"delimiter", std::string()}, {"maxsplit", int64_t{1}}});
  EXPECT_EQ(r[0].tensor().strings(), (Strings{"a", "b  c ", "", ""}));
  EXPECT_EQ(r[1].tensor().ints(), (std::vector<int64_t>{2, 0}));
}

TEST(StringOps, an_empty_text_between_delimiters_is_a_piece) {
  const HostValues r = run("string_split", {texts({"-a--", ""})}, {{"delimiter", std::string("-")}, {"maxsplit", int64_t{-1}}});
  EXPECT_EQ(r[0].tensor().strings(), (Strings{"", "a", "", "", "", "", "", ""}));
  EXPECT_EQ(r[1].tensor().ints(), (std::vector<int64_t>{4, 1}));
}

TEST(StringOps, letter_case_follows_unicode_and_the_locale) {
  const auto upper = [](const std::string& s, const std::string& locale) {
    return run("string_normalize", {texts({s})}, {{"change", std::string("upper")}, {"case_sensitive", true}, {"stopwords", Texts{}}, {"locale", locale}})[0].tensor().strings()[0];
  };
  EXPECT_EQ(upper("stra\xC3\x9F" "e", "de_DE"), "STRASSE");
  EXPECT_EQ(upper("i", "tr_TR"), "\xC4\xB0");  // I with a dot
  EXPECT_EQ(upper("i", "C"), "I");
}

TEST(StringOps, invalid_utf8_is_refused_where_letters_matter) {
  try {
    run("string_normalize", {texts({"a\xFF"})}, {{"change", std::string("lower")}, {"case_sensitive", true}, {"stopwords", Texts{}}, {"locale", std::string("C")}});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(e.what()).find("expected valid UTF-8, found 'a\\xFF'"), std::string::npos) << e.what();
  }
}

TEST(StringOps, numbers_survive_the_way_through_text) {
  const std::vector<double> x{0.1, -0.0, 1e30, 16777217, 1.0 / 3};
  const Tensor t = Tensor::from_doubles(DType::f32, {5}, x);
  const Tensor written = run("string_from_number", {t}, {})[0].tensor();
  EXPECT_EQ(written.strings(), (Strings{"0.1", "-0", "1e+30", "16777216", "0.33333334"}));
  EXPECT_TRUE(run("number_from_string", {written}, {{"dtype", DType::f32}})[0].tensor().identical(t));
}

TEST(StringOps, what_spells_no_number_is_named) {
  try {
    run("number_from_string", {texts({"1", "1x"})}, {{"dtype", DType::f64}});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("found '1x' at element 1"), std::string::npos) << e.what();
  }
}

TEST(StringOps, a_pattern_that_re2_does_not_know_is_a_bad_file) {
  try {
    run("regex_full_match", {texts({"a"})}, {{"pattern", std::string("(?=a)")}});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid_file);
  }
}

TEST(StringOps, tokens_of_characters_count_code_points) {
  const HostValues r = run("tokenize", {texts({"a\xC3\xA9", "b"})}, {{"expression", std::string()}, {"separators", Texts{""}}, {"least", int64_t{1}}, {"mark", true}, {"fill", std::string("#")}});
  EXPECT_EQ(r[0].tensor().strings(), (Strings{"\x02", "a", "\xC3\xA9", "\x03", "\x02", "b", "\x03", "#"}));
}

}  // namespace
}  // namespace bascule
