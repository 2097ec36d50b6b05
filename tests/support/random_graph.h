// tests/support/random_graph.h — small random graphs of the operators that models are made of, over values of a few dimensions, with seeded weights.
#pragma once
#include <random>

#include "graph/builder.h"
#include "graph/evaluate.h"

namespace bascule::test {

struct RandomGraph {
  Graph graph;
  HostValues inputs;
};

class RandomGraphMaker {
 public:
  explicit RandomGraphMaker(uint32_t seed) : bits_(seed) {}

  RandomGraph make(int64_t batch, int nodes) {
    b_.fold = false;
    RandomGraph out;
    const int count = 1 + below(2);
    for (int k = 0; k < count; ++k) {
      Dims d{batch};
      for (int a = 1 + below(2); a > 0; --a) d.push_back(extent());
      pool_.push_back(b_.input(Type::tensor(DType::f64, d), "x" + std::to_string(k)));
      out.inputs.emplace_back(numbers(constants(d).value()));
    }
    while (nodes > 0)
      if (add()) --nodes;
    Values outputs{pool_.back()};
    for (int k = below(3); k > 0; --k) outputs.push_back(pool_[static_cast<size_t>(below(static_cast<int>(pool_.size())))]);
    out.graph = b_.finish(outputs);
    return out;
  }

 private:
  int below(int n) { return static_cast<int>(bits_() % static_cast<uint32_t>(n)); }
  int64_t extent() {
    static constexpr int64_t kSizes[] = {4, 6, 12, 12, 8, 24, 5, 1};
    return kSizes[below(8)];
  }
  Tensor numbers(std::vector<int64_t> dims) {
    Tensor t(DType::f64, std::move(dims));
    for (double& x : t.as_mutable<double>()) x = (static_cast<double>(bits_() % 2001) - 1000) / 1000;
    return t;
  }
  Value weight(const Dims& d) { return b_.constant(numbers(constants(d).value())); }
  Value any() { return pool_[pool_.size() - 1 - static_cast<size_t>(below(std::min<int>(4, static_cast<int>(pool_.size()))))]; }
  int64_t axis(Value v) { return below(static_cast<int>(b_.rank(v))); }
  int64_t size(Value v, int64_t a) { return b_.dim(v, a).value(); }
  int64_t elements(Value v) { return b_.type(v).elements_count().value(); }

  bool keep(Value v) {
    if (!v || elements(v) > 6000 || b_.rank(v) > 5) return false;
    pool_.push_back(v);
    return true;
  }

  Value elementwise(Value x) {
    static constexpr const char* kUnary[] = {"tanh", "negate", "abs", "logistic", "sine"};
    static constexpr const char* kBinary[] = {"add", "subtract", "multiply", "maximum", "minimum"};
    switch (below(5)) {
      case 0: return b_.unary(kUnary[below(5)], x);
      case 1: return b_.op(below(2) ? "silu" : "gelu", {x}, {});
      case 2: {
        Dims d = b_.dims(x);
        d.erase(d.begin(), d.begin() + below(static_cast<int>(d.size()) + 1));
        return b_.binary(kBinary[below(5)], x, weight(d));
      }
      case 3: return b_.select(b_.compare(x, 0.1, "GT"), x, b_.multiply(x, 0.5));
      default:
        for (size_t k = pool_.size(); k-- > 0;)
          if (!(pool_[k] == x) && b_.dims(pool_[k]) == b_.dims(x)) return b_.binary(kBinary[below(5)], x, pool_[k]);
        return b_.clamp(-0.5, x, 0.5);
    }
  }

  Value move(Value x) {
    Dims d = b_.dims(x);
    const int64_t a = axis(x), n = size(x, a);
    const auto at = static_cast<size_t>(a);
    switch (below(9)) {
      case 0:  // two dimensions become one
        if (at + 1 >= d.size()) return kNoValue;
        d[at] = d[at] * d[at + 1];
        d.erase(d.begin() + a + 1);
        return b_.reshape(x, d);
      case 1: {  // one becomes two
        const int64_t by = below(2) ? 2 : 3;
        if (n % by != 0) return kNoValue;
        d[at] = below(2) ? by : n / by;
        d.insert(d.begin() + a + 1, n / d[at].value());
        return b_.reshape(x, d);
      }
      case 2:
      case 3: {
        Ints p;
        for (int64_t k = 0; k < b_.rank(x); ++k) p.push_back(k);
        std::shuffle(p.begin(), p.end(), bits_);
        return b_.transpose(x, p);
      }
      case 4: {
        const int64_t parts = 1 + below(4);
        if (n % parts != 0) return b_.slice_axis(x, a, 0, std::max<int64_t>(1, n - 1));
        const int64_t k = below(static_cast<int>(parts));
        return b_.slice_axis(x, a, k * (n / parts), (k + 1 + (k + 1 < parts && below(2))) * (n / parts));
      }
      case 5: {
        Values joined{x};
        for (int k = 1 + below(2); k > 0; --k) joined.push_back(below(2) ? x : b_.unary("tanh", x));
        if (below(3) == 0) joined.push_back(weight(d));
        return b_.concatenate(joined, a);
      }
      case 6: return b_.reverse(x, {a});
      case 7: {
        Dims low(d.size(), 0), high(d.size(), 0);
        low[at] = below(2);
        high[at] = below(3);
        return b_.pad(x, 0.25, low, high);
      }
      default: {
        Dims wide = d;
        wide.insert(wide.begin() + a, 1 + below(4));
        Ints axes;
        for (int64_t k = 0; k < b_.rank(x); ++k) axes.push_back(k < a ? k : k + 1);
        return b_.broadcast_in_dim(x, wide, axes);
      }
    }
  }

  Value fold(Value x) {
    static constexpr const char* kBodies[] = {"add", "maximum", "minimum"};
    const int64_t a = axis(x), last = b_.rank(x) - 1;
    switch (below(6)) {
      case 0: return b_.rank(x) > 1 ? b_.reduce(kBodies[below(3)], x, {a}, below(2) == 1) : kNoValue;
      case 1: return b_.op("softmax", {x}, {{"axis", a}});
      case 2: {
        const Dims d{b_.dim(x, last)};
        return b_.op("layer_norm", {x, weight(d), weight(d)}, {{"axis", last}, {"epsilon", 1e-3}});
      }
      case 3: return b_.op("rms_norm", {x, kNoValue}, {{"axis", a}, {"epsilon", 1e-3}});
      case 4: return b_.op("cumulative", {x}, {{"axis", a}});
      default: {
        if (size(x, last) < 2) return kNoValue;
        Dims window(static_cast<size_t>(last) + 1, 1);
        window.back() = 2;
        return b_.ops("reduce_window", {x, b_.constant_like(0, DType::f64)}, {{"window_dimensions", window}},
                      {Builder::scalar_region("add", DType::f64)})[0];
      }
    }
  }

  Value product(Value x) {
    const int64_t a = axis(x), n = size(x, a);
    switch (below(6)) {
      case 0:
      case 1: return b_.dot_general(x, weight({n, below(4) ? extent() : 67}), {}, {}, {a}, {0});
      case 2: return b_.dot_general(x, b_.transpose(weight({extent(), n}), {1, 0}), {}, {}, {a}, {0});
      case 3: return b_.dot_general(weight({extent(), n}), x, {}, {}, {1}, {a});
      case 4: return b_.rank(x) < 3 ? kNoValue : b_.dot_general(x, b_.unary("tanh", x), {0}, {0}, {b_.rank(x) - 1}, {b_.rank(x) - 1});
      default: return convolution(x);
    }
  }

  Value convolution(Value x) {
    if (b_.rank(x) != 3 || size(x, 2) < 2) return kNoValue;
    const int64_t channels = size(x, 1), groups = below(2) ? 1 : below(2) ? channels : channels % 2 == 0 ? 2 : 1, made = groups * (1 + below(4));
    return b_.op("convolution", {x, weight({made, channels / groups, 2})},
                 {{"padding_low", Dims{1}},
                  {"padding_high", Dims{0}},
                  {"input_batch_dimension", int64_t{0}},
                  {"input_feature_dimension", int64_t{1}},
                  {"input_spatial_dimensions", Ints{2}},
                  {"kernel_output_feature_dimension", int64_t{0}},
                  {"kernel_input_feature_dimension", int64_t{1}},
                  {"kernel_spatial_dimensions", Ints{2}},
                  {"output_batch_dimension", int64_t{0}},
                  {"output_feature_dimension", int64_t{1}},
                  {"output_spatial_dimensions", Ints{2}},
                  {"feature_group_count", groups},
                  {"dtype", DType::f64}});
  }

  // Heads from joined or separate columns, grouped or not, masked or not.
  Value attention(Value x) {
    if (b_.rank(x) != 3) return kNoValue;
    const int64_t B = size(x, 0), S = size(x, 1), C = size(x, 2), H = 1 + below(6), K = H % 2 == 0 && below(2) ? H / 2 : H, D = 2;
    const auto heads = [&](Value v, int64_t h) { return b_.transpose(b_.reshape(v, {B, S, h, D}), {0, 2, 1, 3}); };
    Value q, k, v;
    if (below(2)) {
      const Value all = b_.dot_general(x, weight({C, 3 * H * D}), {}, {}, {2}, {0});
      q = heads(b_.slice_axis(all, 2, 0, H * D), H);
      k = heads(b_.slice_axis(all, 2, H * D, 2 * H * D), H);
      v = heads(b_.slice_axis(all, 2, 2 * H * D, 3 * H * D), H);
    } else {
      q = heads(b_.dot_general(x, weight({C, H * D}), {}, {}, {2}, {0}), H);
      k = heads(b_.dot_general(x, weight({C, K * D}), {}, {}, {2}, {0}), K);
      v = heads(b_.dot_general(x, weight({C, K * D}), {}, {}, {2}, {0}), K);
    }
    Values in{q, k, v};
    if (below(2)) in.push_back(b_.broadcast_to(weight({1, 1, S, S}), {B, H, S, S}));
    const Value y = b_.op("attention", in, {{"scale", 0.5}, {"causal", below(2) == 1}});
    return b_.dot_general(b_.reshape(b_.transpose(y, {0, 2, 1, 3}), {B, S, H * D}), weight({H * D, C}), {}, {}, {2}, {0});
  }

  // Rows of a table by an activation's integers; rows of an activation by constants.
  Value gather(Value x) {
    if (below(2)) {
      const int64_t rows = 6, wide = extent();
      const Value index = b_.convert(b_.clamp(0, b_.multiply(b_.abs(x), 6.0), 5), DType::i64);
      const int64_t r = b_.rank(x);
      return b_.op("gather", {weight({rows, wide}), index},
                   {{"offset_dims", Ints{r}},
                    {"collapsed_slice_dims", Ints{0}},
                    {"start_index_map", Ints{0}},
                    {"index_vector_dim", r},
                    {"slice_sizes", Dims{1, wide}}});
    }
    const int64_t a = axis(x), n = size(x, a), taken = below(2) ? n : 1 + below(6);
    std::vector<int64_t> rows;
    for (int64_t k = 0; k < taken; ++k) rows.push_back(taken == n ? k : below(static_cast<int>(n)));
    Dims window = b_.dims(x);
    window[static_cast<size_t>(a)] = 1;
    Ints offsets;
    for (int64_t k = 0; k < b_.rank(x); ++k)
      if (k != a) offsets.push_back(k);
    return b_.op("gather", {x, b_.ints(rows)},
                 {{"offset_dims", offsets},
                  {"collapsed_slice_dims", Ints{a}},
                  {"start_index_map", Ints{a}},
                  {"index_vector_dim", int64_t{1}},
                  {"slice_sizes", window}});
  }

  bool add() {
    const Value x = any();
    if (elements(x) == 0 || b_.rank(x) == 0) return false;
    switch (below(12)) {
      case 0:
      case 1:
      case 2: return keep(elementwise(x));
      case 3:
      case 4:
      case 5: return keep(move(x));
      case 6: return keep(fold(x));
      case 7:
      case 8:
      case 9: return keep(product(x));
      case 10: return keep(attention(x));
      default: return keep(gather(x));
    }
  }

  std::mt19937 bits_;
  Builder b_;
  Values pool_;
};

inline RandomGraph random_graph(uint32_t seed, int64_t batch, int nodes) { return RandomGraphMaker(seed).make(batch, nodes); }

}  // namespace bascule::test
