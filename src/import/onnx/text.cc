// import/onnx/text.cc — strings, n-grams and pictures: operators on the host.
#include "import/onnx/op.h"

namespace bascule::onnx {

// z = x followed by y
ONNX_OP(StringConcat, 20) { return b.op("string_concat", {n.any(0), n.any(1)}); }

ONNX_OP(StringSplit, 20) {
  return b.ops("string_split", {n.any(0)}, {{"delimiter", n.text("delimiter", "")}, {"maxsplit", n.has_attr("maxsplit") ? n.integer("maxsplit") : int64_t{-1}}});
}

ONNX_OP(StringNormalizer, 10) {
  const std::string change = n.text("case_change_action", "NONE");
  if (change != "NONE" && change != "LOWER" && change != "UPPER") n.fail("case_change_action NONE, LOWER or UPPER", "'" + change + "'");
  return b.op("string_normalize", {n.any(0)},
              {{"change", std::string(change == "NONE" ? "none" : change == "LOWER" ? "lower" : "upper")},
               {"case_sensitive", n.flag("is_case_sensitive", false)},
               {"stopwords", n.texts("stopwords", Texts{})},
               {"locale", n.text("locale", "en_US")}});
}

ONNX_OP(RegexFullMatch, 20) { return b.op("regex_full_match", {n.any(0)}, {{"pattern", n.text("pattern")}}); }

ONNX_OP(TfIdfVectorizer, 9) {
  return b.op("tfidf", {n.in(0)},
              {{"mode", n.text("mode")},
               {"min_gram_length", n.integer("min_gram_length")},
               {"max_gram_length", n.integer("max_gram_length")},
               {"max_skip_count", n.integer("max_skip_count")},
               {"ngram_counts", n.ints("ngram_counts")},
               {"ngram_indexes", n.ints("ngram_indexes")},
               {"pool_ints", n.ints("pool_int64s", Ints{})},
               {"pool_texts", n.texts("pool_strings", Texts{})},
               {"weights", n.numbers("weights", Numbers{})}});
}

// The stream's format is found from its bytes.
ONNX_OP(ImageDecoder, 20) {
  const std::string format = n.text("pixel_format", "RGB");
  if (format != "RGB" && format != "BGR" && format != "Grayscale") n.fail("pixel_format RGB, BGR or Grayscale", "'" + format + "'");
  return b.op("decode_image", {n.any(0)}, {{"order", std::string(format == "RGB" ? "rgb" : format == "BGR" ? "bgr" : "gray")}});
}

// [rows..., tokens]; attribute tokenexp wins over separators.
ONNX_MS_OP(Tokenizer, 1) {
  const std::string expression = n.text("tokenexp", "");
  const Texts separators = n.texts("separators", Texts{});
  const bool marks = n.flag("mark", false);
  return b.op("tokenize", {n.any(0)},
              {{"expression", expression},
               {"separators", expression.empty() ? separators : Texts{}},
               {"least", n.integer("mincharnum", 1)},
               {"mark", marks},
               {"fill", n.text("pad_value", "")}});
}

ONNX_MS_OP(MurmurHash3, 1) {
  return b.op("murmur_hash3", {n.in(0)}, {{"seed", n.integer("seed", 0)}, {"dtype", n.flag("positive", true) ? DType::u32 : DType::i32}});
}

}  // namespace bascule::onnx
