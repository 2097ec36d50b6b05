// import/onnx/ml_features.cc — ai.onnx.ml: operators that prepare features (scale, fill, encode, map, join).
#include <cmath>

#include "import/onnx/ml.h"
#include "ops/rules.h"

namespace bascule::onnx {
namespace {

// A per-feature attribute (one value, or one for each feature of the last axis) as an f32 constant that broadcasts.
Value per_feature(const NodeContext& n, std::string_view name, const Numbers& v, Value x) {
  if (n.b.rank(x) == 0) n.fail("an operand of rank 1 or more", n.b.type(x).text());
  const Dim features = n.b.dim(x, -1);
  if (v.size() != 1 && features.is_constant() && features.value() != static_cast<int64_t>(v.size()))
    n.fail("attribute '" + std::string(name) + "' with 1 or " + features.text() + " values", std::to_string(v.size()));
  return n.b.constant(Tensor::from_doubles(DType::f32, {static_cast<int64_t>(v.size())}, v));
}

Tensor labels_tensor(const NodeContext& n, std::string_view prefix, bool& found) {
  const std::string p(prefix);
  found = true;
  if (n.has_attr(p + "_tensor")) {
    const Tensor t = n.attr_tensor(p + "_tensor");
    return t.reshaped({t.elements()});
  }
  if (n.has_attr(p + "_strings")) return text_tensor(n.texts(p + "_strings"));
  if (n.has_attr(p + "_int64s")) return Tensor::vector_int(n.ints(p + "_int64s"));
  if (n.has_attr(p + "_floats")) {
    const Numbers v = n.numbers(p + "_floats");
    return Tensor::from_doubles(DType::f32, {static_cast<int64_t>(v.size())}, v);
  }
  found = false;
  return {};
}

// LabelEncoder's default for a value type: default_tensor, or the attribute of that type ("_Unused", -1, -0.0).
Tensor default_label(const NodeContext& n, DType t) {
  const std::string text = n.text("default_string", "_Unused");
  const int64_t whole = n.integer("default_int64", -1);
  const double number = n.number("default_float", -0.0);
  if (n.has_attr("default_tensor")) {
    const Tensor d = n.attr_tensor("default_tensor");
    if (d.dtype() != t || d.elements() != 1) n.fail("default_tensor with one element of the values' type " + std::string(info(t).name), d.type_text());
    return d;
  }
  if (is_string(t)) return Tensor::from_strings({1}, {text});
  return is_float(t) ? Tensor::scalar(t, number) : Tensor::scalar_int(t, whole);
}

}  // namespace

// y = (x - offset) * scale, f32
ONNX_ML_OP(Scaler, 1) {
  Value x = b.convert(n.in(0), DType::f32);
  x = b.subtract(x, per_feature(n, "offset", n.numbers("offset", Numbers{0}), x));
  return b.multiply(x, per_feature(n, "scale", n.numbers("scale", Numbers{1}), x));
}

// MAX divides by the signed maximum, as ONNX Runtime does; a row whose norm is 0 stays as it is.
ONNX_ML_OP(Normalizer, 1) {
  const Value x = b.convert(n.in(0), DType::f32);
  const std::string norm = n.text("norm", "MAX");
  if (norm != "MAX" && norm != "L1" && norm != "L2") n.fail("norm MAX, L1 or L2", "'" + norm + "'");
  if (b.rank(x) == 0) n.fail("an input of rank 1 or more", b.type(x).text());
  const Ints last{b.rank(x) - 1};
  Value d = norm == "MAX" ? b.reduce("maximum", x, last, true) : norm == "L1" ? b.sum(b.abs(x), last, true) : b.sqrt(b.sum(b.multiply(x, x), last, true));
  d = b.select(b.compare(d, 0, "EQ"), 1, d);
  return b.divide(x, d);
}

// y = x > threshold ? 1 : 0
ONNX_ML_OP(Binarizer, 1) {
  const Value x = n.in(0);
  return b.convert(b.compare(x, n.number("threshold", 0), "GT"), b.dtype(x));
}

// Elements equal to replaced_value (NaN: those that are NaN) become imputed_value, one for all or one for each feature.
ONNX_ML_OP(Imputer, 1) {
  const Value x = n.in(0);
  const Numbers floats = n.numbers("imputed_value_floats", Numbers{});
  const Ints whole = n.ints("imputed_value_int64s", Ints{});
  const double replaced_float = n.number("replaced_value_float", 0);
  const int64_t replaced_int = n.integer("replaced_value_int64", 0);
  const bool f = is_float(b.dtype(x));
  const size_t count = f ? floats.size() : whole.size();
  if (count == 0) n.fail(f ? "attribute 'imputed_value_floats'" : "attribute 'imputed_value_int64s'", "none");
  if (b.rank(x) == 0) n.fail("an input of rank 1 or more", b.type(x).text());
  const Dim features = b.dim(x, -1);
  if (count != 1 && features.is_constant() && features.value() != static_cast<int64_t>(count)) n.fail("1 or " + features.text() + " imputed values", std::to_string(count));
  const std::vector<int64_t> dims{static_cast<int64_t>(count)};
  const Value fill = b.constant(f ? Tensor::from_doubles(b.dtype(x), dims, floats) : Tensor::from_ints(b.dtype(x), dims, whole));
  const Value gone = f && std::isnan(replaced_float) ? b.compare(x, x, "NE") : b.compare(x, b.constant(f ? Tensor::scalar(b.dtype(x), replaced_float) : Tensor::scalar_int(b.dtype(x), replaced_int)), "EQ");
  return b.select(gone, fill, x);
}

// All inputs as f32 side by side; attribute inputdimensions cuts or zero-fills each to its width.
ONNX_ML_OP(FeatureVectorizer, 1) {
  const Ints widths = n.ints("inputdimensions", Ints{});
  if (!widths.empty() && widths.size() != n.inputs()) n.fail("inputdimensions for each of the " + std::to_string(n.inputs()) + " inputs", std::to_string(widths.size()));
  Values parts;
  for (size_t i = 0; i < n.inputs(); ++i) {
    Value x = b.convert(feature_rows(n, n.in(i)), DType::f32);
    if (!widths.empty()) {
      const Dim want(widths[i]), have = b.dim(x, 1);
      if (widths[i] < 0) n.fail("inputdimensions of 0 or more", std::to_string(widths[i]));
      if (!(have == want)) {
        x = b.slice_axis(x, 1, 0, Dim::min(have, want));
        x = b.pad(x, 0, {Dim(0), Dim(0)}, {Dim(0), Dim::max(want - have, 0)});
      }
    }
    parts.push_back(x);
  }
  if (parts.empty()) n.fail("one or more inputs", "none");
  return b.concatenate(parts, 1);
}

// y[..., k] = (x = category k); unknown values give zeros, or an error with zeros = 0. Numbers are compared as integers.
ONNX_ML_OP(OneHotEncoder, 1) {
  Value x = n.in(0);
  const Ints cats = n.ints("cats_int64s", Ints{});
  const Texts words = n.texts("cats_strings", Texts{});
  const bool zeros = n.flag("zeros", true);
  const bool text = is_string(b.dtype(x));
  const size_t count = text ? words.size() : cats.size();
  if (count == 0) n.fail(text ? "attribute 'cats_strings'" : "attribute 'cats_int64s'", "none");
  if (!text) x = b.convert(x, DType::i64);
  Ints places(count);
  for (size_t i = 0; i < count; ++i) places[i] = static_cast<int64_t>(i);
  const Tensor none = Tensor::scalar_int(DType::i64, -1);
  const Value at = lookup(b, x, text ? text_tensor(words) : Tensor::vector_int(cats), Tensor::vector_int(places), zeros ? &none : nullptr);
  const Value hot = b.compare(b.unsqueeze(at, {b.rank(at)}), b.constant(Tensor::vector_int(places)), "EQ");
  return b.convert(hot, DType::f32);
}

// y[..., k] = x[..., index[k]] of the last axis; a vector counts as one row.
ONNX_ML_OP(ArrayFeatureExtractor, 1) {
  Value x = n.in(0);
  if (b.rank(x) == 0) n.fail("an input of rank 1 or more", b.type(x).text());
  if (b.rank(x) == 1) x = b.reshape(x, {Dim(1), b.dim(x, 0)});
  Value index = n.in(1);
  index = b.reshape(index, {b.type(index).elements_count(), Dim(1)});
  Dims sizes = b.dims(x);
  Ints offset;
  for (int64_t d = 0; d + 1 < b.rank(x); ++d) offset.push_back(d);
  sizes.back() = 1;
  const Ints last{b.rank(x) - 1};
  return b.op("gather", {x, index},
              {{"offset_dims", offset}, {"collapsed_slice_dims", last}, {"operand_batching_dims", Ints{}}, {"start_indices_batching_dims", Ints{}}, {"start_index_map", last},
               {"index_vector_dim", int64_t{1}}, {"slice_sizes", sizes}, {"out_of_bounds", std::string("error")}});
}

// Version 1: class k <-> classes_strings[k].
ONNX_ML_OP(LabelEncoder, 1) {
  const Value x = n.any(0);
  const Texts classes = n.texts("classes_strings");
  const std::string text = n.text("default_string", "_Unused");
  const int64_t whole = n.integer("default_int64", -1);
  Ints places(classes.size());
  for (size_t i = 0; i < places.size(); ++i) places[i] = static_cast<int64_t>(i);
  const Tensor no_text = Tensor::from_strings({1}, {text}), no_place = Tensor::scalar_int(DType::i64, whole);
  if (is_string(b.dtype(x))) return lookup(b, x, text_tensor(classes), Tensor::vector_int(places), &no_place);
  return lookup(b, x, Tensor::vector_int(places, b.dtype(x)), text_tensor(classes), &no_text);
}

// keys_* -> values_* of any of float, int64, string; version 4 adds tensors, and finds a NaN key for NaN, where version 2 answers the default.
static Value encode_labels(const NodeContext& n, bool nan_is_a_key) {
  bool keyed = false, valued = false;
  Tensor keys = labels_tensor(n, "keys", keyed), values = labels_tensor(n, "values", valued);
  if (!keyed || !valued) n.fail("attributes keys_* and values_*", "none");
  if (keys.elements() != values.elements()) n.fail("as many values as keys", std::to_string(values.elements()) + " for " + std::to_string(keys.elements()));
  const Tensor otherwise = default_label(n, values.dtype());
  if (is_float(keys.dtype()) && !nan_is_a_key)  // the default takes the place of its value
    for (int64_t i = 0; i < keys.elements(); ++i)
      if (std::isnan(keys.number(i))) ops::copy_element(otherwise, 0, values, i);
  return lookup(n.b, n.any(0), keys, values, &otherwise);
}
ONNX_ML_OP(LabelEncoder, 2) { return encode_labels(n, false); }
ONNX_ML_OP(LabelEncoder, 4) { return encode_labels(n, true); }

// cats_int64s[k] <-> cats_strings[k]
ONNX_ML_OP(CategoryMapper, 1) {
  const Value x = n.any(0);
  const Texts words = n.texts("cats_strings");
  const Ints numbers = n.ints("cats_int64s");
  const Tensor no_text = Tensor::from_strings({1}, {n.text("default_string", "_Unused")}), no_number = Tensor::scalar_int(DType::i64, n.integer("default_int64", -1));
  if (words.size() != numbers.size()) n.fail("as many cats_int64s as cats_strings", std::to_string(numbers.size()) + " and " + std::to_string(words.size()));
  if (is_string(b.dtype(x))) return lookup(b, x, text_tensor(words), Tensor::vector_int(numbers), &no_number);
  if (!is_int(b.dtype(x))) n.fail("strings or integers", b.type(x).text());
  return lookup(b, x, Tensor::vector_int(numbers, b.dtype(x)), text_tensor(words), &no_text);
}

// map -> tensor[1, k] in the order of the vocabulary; absent keys give 0 or "".
ONNX_ML_OP(DictVectorizer, 1) {
  const Ints numbers = n.ints("int64_vocabulary", Ints{});
  const Texts words = n.texts("string_vocabulary", Texts{});
  if (numbers.empty() == words.empty()) n.fail("one of int64_vocabulary and string_vocabulary", "both or none");
  return b.op("map_to_row", {n.any(0)}, {{"vocabulary", words.empty() ? Tensor::vector_int(numbers) : text_tensor(words)}});
}

// map -> tensor[1, k] of its values in the order of the keys (DENSE), or at the places the keys give in [0, max_map) (SPARSE).
ONNX_ML_OP(CastMap, 1) {
  const std::string to = n.text("cast_to", "TO_FLOAT"), form = n.text("map_form", "DENSE");
  if (to != "TO_FLOAT" && to != "TO_STRING" && to != "TO_INT64") n.fail("cast_to TO_FLOAT, TO_STRING or TO_INT64", "'" + to + "'");
  if (form != "DENSE" && form != "SPARSE") n.fail("map_form DENSE or SPARSE", "'" + form + "'");
  const int64_t most = n.integer("max_map", 1);
  const Value row = b.op("map_values", {n.any(0)}, {{"width", form == "SPARSE" ? most : int64_t{-1}}});
  const DType want = to == "TO_FLOAT" ? DType::f32 : to == "TO_INT64" ? DType::i64 : DType::string, have = b.dtype(row);
  if (want == have) return row;
  if (is_string(want)) return b.op("string_from_number", {row});
  return is_string(have) ? b.op("number_from_string", {row}, {{"dtype", want}}) : b.convert(row, want);
}

// scores[rows, k] -> a sequence of maps from class to score
ONNX_ML_OP(ZipMap, 1) {
  const ClassLabels labels = class_labels(n, "classlabels_int64s", "classlabels_strings");
  return b.op("rows_to_maps", {feature_rows(n, n.in(0))}, {{"keys", labels.texts.empty() ? Tensor::vector_int(labels.ints) : text_tensor(labels.texts)}});
}

}  // namespace bascule::onnx
