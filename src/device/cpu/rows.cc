// device/cpu/rows.cc — composites that work on rows: softmax, layer_norm, rms_norm, attention.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/deadline.h"
#include "base/threads.h"
#include "device/cpu/binder.h"
#include "kernels/gemm.h"
#include "kernels/table.h"

namespace bascule::device::cpu {
namespace {

bool all_f32(const Graph& g, const Node& n) {
  for (const Value v : n.inputs)
    if (v && g.type(v).dtype != DType::f32 && g.type(v).dtype != DType::i1) return false;
  return g.type(n.outputs[0]).dtype == DType::f32;
}

// Whether v is constant-shaped over exactly the axes from `axis` on of x, with extents of 1 before.
bool covers_row(const Graph& g, Value v, const Type& x, int64_t axis) {
  const Dims& d = g.type(v).dims;
  const size_t rows = x.rank() - static_cast<size_t>(axis);
  if (d.size() < rows) return false;
  for (size_t k = 0; k < d.size(); ++k) {
    const size_t from_end = d.size() - k;
    if (from_end > rows ? !d[k].is(1) : !(d[k] == x.dims[x.rank() - from_end])) return false;
  }
  return true;
}

constexpr int64_t kGrain = 16384;  // elements of a task

}  // namespace

bool takes(const Graph& g, const Node& n) {
  const std::string_view name = n.op->name;
  if (!find_kernel(name)) return false;
  if (name == "softmax") return all_f32(g, n) && n.attrs.integer("axis") == static_cast<int64_t>(g.type(n.inputs[0]).rank()) - 1;
  if (name == "layer_norm" || name == "rms_norm") {
    if (!all_f32(g, n)) return false;
    for (size_t i = 1; i < n.inputs.size(); ++i)
      if (n.inputs[i] && !covers_row(g, n.inputs[i], g.type(n.inputs[0]), n.attrs.integer("axis"))) return false;
    return true;
  }
  if (name == "attention") return all_f32(g, n) && n.attrs.number("softcap") == 0;
  return true;
}

CPU_KERNEL(softmax) {
  const auto d = b.dims(n.inputs[0]);
  if (!all_f32(b.graph(), n) || d.empty() || n.attrs.integer("axis") != static_cast<int64_t>(d.size()) - 1) return "softmax of another type or axis";
  const Placed x = b.dense(n.inputs[0]), y = b.result(n.outputs[0]);
  const int64_t row = d.back(), rows = row ? element_count(d) / row : 0;
  b.step(&n, "softmax", {x.storage, y.storage}, [=](const Frame& f) {
    const int64_t group = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row));
    parallel_for((rows + group - 1) / group, [&](int64_t t) {
      check_deadline();
      for (int64_t r = t * group; r < std::min(rows, (t + 1) * group); ++r) kernels::table().softmax(floats(f, x) + r * row, floats(f, y) + r * row, row);
    });
  });
  return "";
}

namespace {
std::string norm(Binder& b, const Node& n, bool rms) {
  const auto d = b.dims(n.inputs[0]);
  if (!takes(b.graph(), n)) return "a norm of another type, or whose scale is not one row";
  const Placed x = b.dense(n.inputs[0]);
  const auto operand = [&](size_t i) { return i < n.inputs.size() && n.inputs[i] ? b.dense(n.inputs[i]) : Placed{}; };
  const Placed scale = operand(1), bias = rms ? Placed{} : operand(2), y = b.result(n.outputs[0]);
  int64_t row = 1;
  for (size_t k = static_cast<size_t>(n.attrs.integer("axis")); k < d.size(); ++k) row *= d[k];
  const int64_t rows = row ? element_count(d) / row : 0;
  const auto epsilon = static_cast<float>(n.attrs.number("epsilon"));
  std::vector<int32_t> used{x.storage, y.storage};
  for (const Placed& p : {scale, bias})
    if (p.storage >= 0) used.push_back(p.storage);
  b.step(&n, rms ? "rms norm" : "layer norm", used, [=](const Frame& f) {
    const float* gamma = scale.storage >= 0 ? floats(f, scale) : nullptr;
    const float* beta = bias.storage >= 0 ? floats(f, bias) : nullptr;
    const int64_t group = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row));
    parallel_for((rows + group - 1) / group, [&](int64_t t) {
      check_deadline();
      for (int64_t r = t * group; r < std::min(rows, (t + 1) * group); ++r) kernels::table().norm(floats(f, x) + r * row, gamma, beta, epsilon, rms, floats(f, y) + r * row, row);
    });
  });
  return "";
}
}  // namespace
CPU_KERNEL(layer_norm) { return norm(b, n, false); }
CPU_KERNEL(rms_norm) { return norm(b, n, true); }

// One block of queries at a time: scores of kQueries x T stay in the cache, softmax in place, then the product with v.
CPU_KERNEL(attention) {
  if (!takes(b.graph(), n)) return "attention of another type or with a soft cap";
  const auto qd = b.dims(n.inputs[0]), kd = b.dims(n.inputs[1]), vd = b.dims(n.inputs[2]), yd = b.dims(n.outputs[0]);
  const int64_t B = qd[0], H = qd[1], S = qd[2], D = qd[3], G = kd[1], T = kd[2], E = vd[3];
  const Placed y = b.result(n.outputs[0]);
  if (element_count(yd) == 0) return "";
  const auto strided = [&](Value v) {  // last axis by ones, as the products want it
    Placed p = b.placed(v);
    const auto d = b.dims(v);
    return p.layout.strides[3] == 1 || d[3] == 1 ? p : b.dense(v);
  };
  const Placed q = strided(n.inputs[0]), k = strided(n.inputs[1]), v = strided(n.inputs[2]);
  const auto mask = [&](size_t i) { return i < n.inputs.size() && n.inputs[i] ? b.placed(n.inputs[i]) : Placed{}; };
  Placed bias = mask(3), allowed = mask(4);
  // Strides of a mask of any rank up to 4 that broadcasts to [B, H, S, T].
  const auto widen = [&](Placed& p, size_t i) {
    if (p.storage < 0) return;
    const auto d = b.dims(n.inputs[i]);
    std::vector<int64_t> s(4, 0);
    for (size_t a = 0; a < d.size(); ++a)
      if (d[a] != 1) s[4 - d.size() + a] = p.layout.strides[a];
    p.layout.strides = s;
  };
  widen(bias, 3);
  widen(allowed, 4);
  const auto scale = static_cast<float>(n.attrs.number("scale"));
  const bool causal = n.attrs.flag("causal");
  const int64_t offset = n.attrs.static_dims("causal_offset").at(0);
  std::vector<int32_t> used{q.storage, k.storage, v.storage, y.storage};
  for (const Placed& p : {bias, allowed})
    if (p.storage >= 0) used.push_back(p.storage);
  constexpr int64_t kQueries = 64;
  const int64_t blocks = (S + kQueries - 1) / kQueries;
  b.step(&n, "attention", used, [=](const Frame& f) {
    parallel_for(B * H * blocks, [&](int64_t task) {
      check_deadline();
      const int64_t s0 = task % blocks * kQueries, h = task / blocks % H, batch = task / (blocks * H), group = h / (H / G);
      const int64_t rows = std::min(kQueries, S - s0);
      const auto at = [](const Placed& p, int64_t i, int64_t j) { return i * p.layout.strides[0] + j * p.layout.strides[1]; };
      std::vector<float> scores(static_cast<size_t>(rows * T));
      kernels::Offsets one;
      const float* keys = floats(f, k) + at(k, batch, group);
      kernels::gemm<float>(rows, T, D, {floats(f, q) + at(q, batch, h) + s0 * q.layout.strides[2], q.layout.strides[2], 1}, {keys, 1, k.layout.strides[2]}, {scores.data(), T, 1}, {&one, 1});
      for (int64_t r = 0; r < rows; ++r) {
        float* line = scores.data() + r * T;
        const int64_t s = s0 + r;
        for (int64_t t = 0; t < T; ++t) line[t] *= scale;
        if (bias.storage >= 0) {
          const float* add = floats(f, bias) + at(bias, batch, h) + s * bias.layout.strides[2];
          for (int64_t t = 0; t < T; ++t) line[t] += add[t * bias.layout.strides[3]];
        }
        constexpr float kNever = -std::numeric_limits<float>::infinity();
        bool any = T > 0;
        if (allowed.storage >= 0 || causal) {
          any = false;
          const uint8_t* may = allowed.storage >= 0 ? pointer<uint8_t>(f, allowed) + at(allowed, batch, h) + s * allowed.layout.strides[2] : nullptr;
          for (int64_t t = 0; t < T; ++t) {
            const bool counts = (!may || may[t * allowed.layout.strides[3]]) && (!causal || t - s <= offset);
            any |= counts;
            if (!counts) line[t] = kNever;
          }
        }
        // A row without keys is 0, not NaN.
        if (any) kernels::table().softmax(line, line, T);
        else std::fill_n(line, T, 0.0f);
      }
      kernels::gemm<float>(rows, E, T, {scores.data(), T, 1}, {floats(f, v) + at(v, batch, group), v.layout.strides[2], 1}, {floats(f, y) + ((batch * H + h) * S + s0) * E, E, 1}, {&one, 1});
    });
  });
  return "";
}

}  // namespace bascule::device::cpu
