// ops/tfidf.cc — counts of known n-grams (with gaps) in rows of tokens, weighted or not.
#include <algorithm>
#include <map>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// The pool as lists: gram g has size(g) tokens from begin(g). All grams of one size stand together: counts[k] is where those of k+1 tokens begin.
struct Pool {
  const Attrs& a;
  size_t tokens() const { return std::max(a.ints("pool_ints").size(), a.texts("pool_texts").size()); }
};

std::vector<Type> type(const OpView& op) {
  const Type& x = op.in(0);
  const Attrs& a = op.attrs;
  const int64_t least = a.integer("min_gram_length"), most = a.integer("max_gram_length"), skip = a.integer("max_skip_count");
  op.require(least >= 1 && most >= least && skip >= 0, "1 <= min_gram_length <= max_gram_length and max_skip_count of 0 or more",
             std::to_string(least) + ", " + std::to_string(most) + ", " + std::to_string(skip));
  const std::string& mode = a.text("mode");
  op.require(mode == "TF" || mode == "IDF" || mode == "TFIDF", "mode TF, IDF or TFIDF", mode);
  const bool texts = is_string(x.dtype);
  op.require(texts ? a.ints("pool_ints").empty() : a.texts("pool_texts").empty(), "a pool of the operand's element type", x.text());
  const int64_t tokens = static_cast<int64_t>(Pool{a}.tokens());
  const Ints &counts = a.ints("ngram_counts"), &indexes = a.ints("ngram_indexes");
  op.require(static_cast<int64_t>(counts.size()) >= most, "an entry of ngram_counts for each size up to " + std::to_string(most), std::to_string(counts.size()));
  int64_t grams = 0;
  for (size_t k = 0; k < counts.size(); ++k) {
    const int64_t begin = counts[k], end = k + 1 < counts.size() ? counts[k + 1] : tokens, size = static_cast<int64_t>(k) + 1;
    op.require(begin >= 0 && begin <= end && end <= tokens && (end - begin) % size == 0, "ngram_counts that cut the pool of " + std::to_string(tokens) + " into whole n-grams",
               std::to_string(begin) + " to " + std::to_string(end) + " for size " + std::to_string(size));
    grams += (end - begin) / size;
  }
  op.require(static_cast<int64_t>(indexes.size()) == grams, std::to_string(grams) + " ngram_indexes", std::to_string(indexes.size()));
  const auto& weights = a.numbers("weights");
  op.require(weights.empty() || weights.size() == indexes.size(), "a weight for each n-gram", std::to_string(weights.size()));
  int64_t width = 0;
  for (const int64_t i : indexes) {
    op.require(i >= 0 && i < (int64_t{1} << 40), "ngram_indexes of 0 or more", std::to_string(i));
    width = std::max(width, i + 1);
  }
  Type y = x;
  y.dtype = DType::f32;
  if (!y.ranked) return {y};
  op.require(x.rank() == 1 || x.rank() == 2, "x of shape [tokens] or [rows, tokens]", x.text());
  y.dims.back() = Dim(width);
  return {y};
}

template <class Token>
void count(const Call& call, const std::vector<Token>& x, const std::vector<Token>& pool, Tensor& y) {
  const Attrs& a = call.op.attrs;
  const auto &counts = a.ints("ngram_counts"), &indexes = a.ints("ngram_indexes");
  const auto& weights = a.numbers("weights");
  const std::string& mode = a.text("mode");
  const size_t least = static_cast<size_t>(a.integer("min_gram_length")), most = static_cast<size_t>(a.integer("max_gram_length"));
  std::map<std::vector<Token>, size_t> grams;  // -> its place in the pool
  size_t place = 0;
  for (size_t k = 0; k < counts.size(); ++k) {
    const size_t size = k + 1, end = k + 1 < counts.size() ? static_cast<size_t>(counts[k + 1]) : pool.size();
    for (size_t at = static_cast<size_t>(counts[k]); at < end; at += size, ++place)
      if (size >= least && size <= most) grams.emplace(std::vector<Token>(pool.begin() + static_cast<std::ptrdiff_t>(at), pool.begin() + static_cast<std::ptrdiff_t>(at + size)), place);
  }
  const Tensor& in = call.in(0);
  const size_t width = static_cast<size_t>(y.dims().back()), length = static_cast<size_t>(in.dims().back());
  const size_t rows = in.rank() == 2 ? static_cast<size_t>(in.dim(0)) : 1;
  std::vector<double> found(indexes.size());
  std::vector<Token> gram;
  std::byte* out = y.mutable_data();
  for (size_t row = 0; row < rows; ++row) {
    std::fill(found.begin(), found.end(), 0.0);
    for (size_t size = least; size <= most; ++size) {
      // Single tokens have no gaps: counted once, whatever max_skip_count is. A gap longer than the row fits nowhere.
      const size_t gaps = size == 1 ? 0 : std::min(static_cast<size_t>(a.integer("max_skip_count")), length);
      for (size_t step = 1; step <= gaps + 1 && (size - 1) <= length / step; ++step)
        for (size_t at = 0; at + (size - 1) * step < length; ++at) {
          check_budget();
          gram.clear();
          for (size_t k = 0; k < size; ++k) gram.push_back(x[row * length + at + k * step]);
          if (const auto g = grams.find(gram); g != grams.end()) ++found[g->second];
        }
    }
    std::vector<double> sum(width);
    for (size_t g = 0; g < found.size(); ++g) {
      const double weight = mode == "TF" || weights.empty() ? 1 : weights[g];
      sum[static_cast<size_t>(indexes[g])] += (mode == "IDF" ? (found[g] > 0 ? 1 : 0) : found[g]) * weight;
    }
    for (size_t i = 0; i < width; ++i) store_double(DType::f32, out, static_cast<int64_t>(row * width + i), sum[i]);
  }
}

}  // namespace

const OpDef tfidf{
    .name = "tfidf",
    .dialect = "bascule",
    .doc = "y[row, ngram_indexes[g]] = how often n-gram g of the pool occurs in the row (TF), whether it does (IDF), times its weight (IDF, TFIDF)",
    .inputs = {{"x", DTypes(DType::i32) | DTypes(DType::i64) | DTypes::strings}},
    .attrs = {{"mode", AttrKind::text}, {"min_gram_length", AttrKind::integer}, {"max_gram_length", AttrKind::integer}, {"max_skip_count", AttrKind::integer},
              {"ngram_counts", AttrKind::ints}, {"ngram_indexes", AttrKind::ints}, {"pool_ints", AttrKind::ints}, {"pool_texts", AttrKind::texts}, {"weights", AttrKind::numbers}},
    .host = true,
    .type = type,
    .reference =
        [](const Call& call) {
          Tensor y = call.result();
          if (is_string(call.in(0).dtype())) count<std::string>(call, call.in(0).strings(), call.op.attrs.texts("pool_texts"), y);
          else count<int64_t>(call, call.in(0).ints(), call.op.attrs.ints("pool_ints"), y);
          return one(std::move(y));
        },
    .work = per_element({.adds = 1}),
    .cases = {{.name = "bigrams", .shapes = {{2, 6}},
               .attrs = {{"mode", std::string("TFIDF")}, {"min_gram_length", int64_t{1}}, {"max_gram_length", int64_t{2}}, {"max_skip_count", int64_t{1}}, {"ngram_counts", Ints{0, 2}},
                         {"ngram_indexes", Ints{1, 0, 2}}, {"pool_ints", Ints{0, 1, 0, 1}}, {"pool_texts", Texts{}}, {"weights", Numbers{1, 2, 3}}},
               .dtypes = {DType::i64}}},
};
BASCULE_OP(tfidf);

}  // namespace bascule::ops
