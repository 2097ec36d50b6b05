// import/onnx/norm.cc — ONNX normalisations and Dropout.
#include <algorithm>
#include <numeric>

#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

// A rank-1 value along axis 1 of x.
Value along_channels(NodeContext& n, Builder& b, Value v, Value x) {
  if (b.rank(v) != 1) n.fail("an operand of rank 1", b.type(v).text());
  return b.broadcast_in_dim(v, b.dims(x), {1});
}

Ints range_axes(int64_t from, int64_t to) {
  Ints axes(static_cast<size_t>(std::max<int64_t>(to - from, 0)));
  std::iota(axes.begin(), axes.end(), from);
  return axes;
}

Ints all_but_channels(int64_t rank) {
  Ints axes = range_axes(0, rank);
  if (rank > 1) axes.erase(axes.begin() + 1);
  return axes;
}

bool small_float(DType t) { return t == DType::f16 || t == DType::bf16; }

// scale * (x - mean) / sqrt(var + epsilon) + bias; statistics are rank 1 over the channels, or per element of C x D1 x ... (spatial 0).
Value batch_norm_inference(NodeContext& n, Builder& b, Value x, Value scale, Value bias, Value mean, Value var, double epsilon, bool spatial) {
  const DType t = b.dtype(x);
  DType wide = small_float(t) ? DType::f32 : t;
  for (const Value v : {scale, bias, mean, var})
    if (info(b.dtype(v)).bits > info(wide).bits) wide = b.dtype(v);
  const auto fit = [&](Value v) {
    v = b.convert(v, wide);
    if (!spatial) return b.rank(v) == 1 && b.rank(x) > 2 ? along_channels(n, b, v, x) : b.broadcast_to(v, b.dims(x));
    return along_channels(n, b, v, x);
  };
  const Value factor = b.multiply(b.convert(scale, wide), b.rsqrt(b.add(b.convert(var, wide), epsilon)));
  const Value y = b.add(b.multiply(b.subtract(b.convert(x, wide), fit(mean)), fit(factor)), fit(bias));
  return b.convert(y, t);
}

// Population statistics over all axes but the channels, rank 1.
struct Moments {
  Value mean, var;
};
Moments batch_moments(Builder& b, Value x, DType wide) {
  const Ints axes = all_but_channels(b.rank(x));
  const Value v = b.convert(x, wide);
  const Value mean = b.mean(v, axes, true);
  const Value d = b.subtract(v, mean);
  return {b.squeeze(mean, axes), b.mean(b.multiply(d, d), axes, false)};
}

// Training: y from the batch's statistics, running = momentum * running + (1 - momentum) * batch.
Results batch_norm_training(NodeContext& n, Builder& b, double epsilon, double momentum, bool saved) {
  const Value x = n.in(0), scale = n.in(1), bias = n.in(2), mean = n.in(3), var = n.in(4);
  const DType t = b.dtype(x), s = b.dtype(mean);
  const DType wide = small_float(t) ? DType::f32 : t;
  const Moments m = batch_moments(b, x, wide);
  const Value y = batch_norm_inference(n, b, x, scale, bias, m.mean, m.var, epsilon, true);
  const auto running = [&](Value old, Value now) {
    const Value v = b.add(b.multiply(b.convert(old, wide), momentum), b.multiply(now, 1 - momentum));
    return b.convert(v, s);
  };
  Results r{y, running(mean, m.mean), running(var, m.var)};
  if (saved) {
    r.values.push_back(b.convert(m.mean, s));
    r.values.push_back(b.convert(m.var, s));
  }
  return r;
}

Results batch_norm(NodeContext& n, Builder& b, bool training, bool spatial, bool saved) {
  n.ignore("consumed_inputs");
  const double epsilon = n.number("epsilon", 1e-5), momentum = n.number("momentum", 0.9);
  const Value x = n.in(0);
  if (b.rank(x) < 1) n.fail("X of rank 1 or more", b.type(x).text());
  if (training) return batch_norm_training(n, b, epsilon, momentum, saved);
  if (b.rank(x) == 1) {  // one channel
    const Value as_row = b.reshape(x, {b.dim(x, 0), Dim(1)});
    return b.reshape(batch_norm_inference(n, b, as_row, n.in(1), n.in(2), n.in(3), n.in(4), epsilon, true), b.dims(x));
  }
  return batch_norm_inference(n, b, x, n.in(1), n.in(2), n.in(3), n.in(4), epsilon, spatial);
}

// (x - mean) / sqrt(var + epsilon) over `axes`, in at least f32; mean and 1 / sqrt(var + epsilon) with extents of 1.
struct Normalized {
  Value y, mean, inverse;
};
Normalized standardize(Builder& b, Value x, const Ints& axes, double epsilon) {
  const Value mean = b.mean(x, axes, true);
  const Value d = b.subtract(x, mean);
  const Value inverse = b.rsqrt(b.add(b.mean(b.multiply(d, d), axes, true), epsilon));
  return {b.multiply(d, inverse), mean, inverse};
}

Results layer_norm(NodeContext& n, Builder& b) {
  const Value x = n.in(0), scale = n.in(1), bias = n.in_or_none(2);
  const int64_t axis = n.axis(n.integer("axis", -1), b.rank(x));
  const double epsilon = n.number("epsilon", 1e-5);
  const DType stash = n.dtype_attr("stash_type", DType::f32), t = b.dtype(x);
  Values y = {b.op("layer_norm", {x, scale, bias}, {{"axis", axis}, {"epsilon", epsilon}})};
  if (!n.wants(1) && !n.wants(2)) return y;
  const DType wide = info(stash).bits >= info(t).bits ? stash : t;
  const Normalized s = standardize(b, b.convert(x, wide), range_axes(axis, b.rank(x)), epsilon);
  y.push_back(b.convert(s.mean, stash));
  y.push_back(b.convert(s.inverse, stash));
  return y;
}

Value instance_norm(NodeContext& n, Builder& b) {
  n.ignore("consumed_inputs");
  const Value x = n.in(0);
  if (b.rank(x) < 3) n.fail("input [N, C, spatial]", b.type(x).text());
  const double epsilon = n.number("epsilon", 1e-5);
  if (b.dim(x, 1).is_constant() && b.dim(x, 1).value() > 0)
    return b.op("group_norm", {x, n.in(1), n.in(2)}, {{"groups", b.dim(x, 1).value()}, {"epsilon", epsilon}});
  const DType t = b.dtype(x), wide = small_float(t) ? DType::f32 : t;
  const Value y = standardize(b, b.convert(x, wide), range_axes(2, b.rank(x)), epsilon).y;
  const Value scaled = b.add(b.multiply(y, along_channels(n, b, b.convert(n.in(1), wide), x)), along_channels(n, b, b.convert(n.in(2), wide), x));
  return b.convert(scaled, t);
}

Value group_norm(NodeContext& n, Builder& b, bool per_channel) {
  const Value x = n.in(0);
  const int64_t groups = n.integer("num_groups");
  if (groups < 1) n.fail("num_groups >= 1", std::to_string(groups));
  if (b.rank(x) < 2) n.fail("X [N, C, ...]", b.type(x).text());
  if (n.has_attr("stash_type")) n.dtype_attr("stash_type");  // statistics are never less precise than that
  const Dim C = b.dim(x, 1);
  if (C.is_constant() && C.value() % groups != 0) n.fail("channels that divide into " + std::to_string(groups) + " groups", C.text());
  const auto spread = [&](Value v) { return per_channel ? v : b.reshape(b.broadcast_in_dim(v, {Dim(groups), Dim::floor_div(C, groups)}, {0}), {C}); };
  return b.op("group_norm", {x, spread(n.in(1)), spread(n.in(2))}, {{"groups", groups}, {"epsilon", n.number("epsilon", 1e-5)}});
}

Value mean_variance(NodeContext& n, Builder& b, const Ints& axes, bool variance) {
  const Value x = n.in(0);
  const Value d = b.subtract(x, b.mean(x, axes, true));
  if (!variance) return d;
  return b.divide(d, b.add(b.sqrt(b.mean(b.multiply(d, d), axes, true)), 1e-9));
}

// y = x with each element kept with probability 1 - ratio and scaled by 1 / (1 - ratio).
Results dropout_training(NodeContext& n, Builder& b, Value ratio, DType mask_type) {
  const Value x = n.in(0);
  Attrs attrs{{"dims", b.dims(x)}, {"dtype", DType::f64}, {"low", 0.0}, {"high", 1.0}};
  if (n.has_attr("seed")) attrs.set("seed", n.integer("seed"));
  const DType t = b.dtype(x), wide = small_float(t) ? DType::f32 : t;
  const Value drop = b.reshape(b.convert(ratio, DType::f64), {});
  const Value kept = b.compare(b.op("random_uniform", {}, attrs), drop, "GE");
  const Value scale = b.convert(b.divide(1, b.subtract(1, drop)), wide);
  const Value y = b.convert(b.select(kept, b.multiply(b.convert(x, wide), scale), 0), t);
  return {y, b.convert(kept, mask_type)};
}

Results dropout_inference(NodeContext& n, Builder& b, DType mask_type, double mask) {
  const Value x = n.in(0);
  if (!n.wants(1)) return x;
  return {x, b.full(b.dims(x), mask_type, mask)};
}

}  // namespace

// is_test = 0 trains: statistics of the batch. Exporters of that time wrote models for inference, and other runtimes compute those either way.
ONNX_OP(BatchNormalization, 1) {
  n.ignore("is_test");
  return batch_norm(n, b, false, n.flag("spatial", true), false);
}
ONNX_OP(BatchNormalization, 7) { return batch_norm(n, b, n.wants(1) || n.wants(2), n.flag("spatial", true), true); }
ONNX_OP(BatchNormalization, 9) { return batch_norm(n, b, n.wants(1) || n.wants(2), true, true); }
ONNX_OP(BatchNormalization, 14) { return batch_norm(n, b, n.flag("training_mode", false), true, false); }

ONNX_OP(LayerNormalization, 17) { return layer_norm(n, b); }
// x / sqrt(mean(x^2) + epsilon) * scale over the axes from `axis` on
ONNX_OP(RMSNormalization, 23) {
  const Value x = n.in(0);
  n.dtype_attr("stash_type", DType::f32);
  return b.op("rms_norm", {x, n.in(1)}, {{"axis", n.axis(n.integer("axis", -1), b.rank(x))}, {"epsilon", n.number("epsilon", 1e-5)}});
}
ONNX_OP(InstanceNormalization, 1) { return instance_norm(n, b); }
ONNX_OP(GroupNormalization, 18) { return group_norm(n, b, false); }  // scale and bias: one for each group
ONNX_OP(GroupNormalization, 21) { return group_norm(n, b, true); }   // one for each channel

ONNX_OP(MeanVarianceNormalization, 1) {
  const bool across = n.flag("across_channels", false), variance = n.flag("normalize_variance", true);
  const int64_t rank = b.rank(n.in(0));
  return mean_variance(n, b, across ? range_axes(0, rank) : all_but_channels(rank), variance);
}
ONNX_OP(MeanVarianceNormalization, 9) { return mean_variance(n, b, n.axes(n.ints("axes", Ints{0, 2, 3}), b.rank(n.in(0))), true); }

// x / ||x||_p along the axis; 0 where the norm is 0
ONNX_OP(LpNormalization, 1) {
  const Value x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", -1), b.rank(x)), p = n.integer("p", 2);
  if (p != 1 && p != 2) n.fail("p 1 or 2", std::to_string(p));
  const Value norm = p == 1 ? b.sum(b.abs(x), {axis}, true) : b.sqrt(b.sum(b.multiply(x, x), {axis}, true));
  return b.select(b.compare(norm, 0, "EQ"), 0, b.divide(x, norm));
}

// x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels)^beta
ONNX_OP(LRN, 1) {
  const Value x = n.in(0);
  const int64_t size = n.integer("size");
  if (size < 1 || size > 65536) n.fail("size from 1 to 65,536", std::to_string(size));
  if (b.rank(x) < 2) n.fail("X [N, C, ...]", b.type(x).text());
  const double alpha = n.number("alpha", 1e-4), beta = n.number("beta", 0.75), bias = n.number("bias", 1.0);
  const DType t = b.dtype(x), wide = small_float(t) ? DType::f32 : t;
  const Value v = b.convert(x, wide);
  const auto rank = static_cast<size_t>(b.rank(x));
  Ints ones(rank, 1), window = ones;
  Dims low(rank, Dim(0)), high = low;
  window[1] = size;
  low[1] = (size - 1) / 2;
  high[1] = size - 1 - (size - 1) / 2;
  const Value sum = b.ops("reduce_window", {b.multiply(v, v), b.constant_like(0, wide)},
                          {{"window_dimensions", window},
                           {"window_strides", ones},
                           {"base_dilations", ones},
                           {"window_dilations", ones},
                           {"padding_low", low},
                           {"padding_high", high}},
                          {Builder::scalar_region("add", wide)})[0];
  const Value denominator = b.power(b.add(b.multiply(sum, alpha / static_cast<double>(size)), bias), beta);
  return b.convert(b.divide(v, denominator), t);
}

ONNX_OP(Dropout, 1) {
  n.ignore("consumed_inputs");
  n.ignore("ratio");
  n.ignore("is_test");                            // a model is run, not trained: 0 was what exporters left there
  return dropout_inference(n, b, n.dtype(0), 0);  // ONNX leaves the mask open; ONNX Runtime gives zeros
}
ONNX_OP(Dropout, 7) {
  n.ignore("ratio");
  return dropout_inference(n, b, n.dtype(0), 0);  // ONNX leaves the mask open; ONNX Runtime gives zeros
}
ONNX_OP(Dropout, 10) {
  n.ignore("ratio");
  return dropout_inference(n, b, DType::i1, 0);
}
ONNX_OP(Dropout, 12) {
  n.ignore("seed");
  const bool training = n.has(2) && number_of(n, 2) != 0;
  if (!training) return dropout_inference(n, b, DType::i1, 1);
  const Value ratio = n.has(1) ? n.in(1) : b.constant_like(0.5, DType::f32);
  return dropout_training(n, b, ratio, DType::i1);
}

}  // namespace bascule::onnx
