// device/cpu/recurrent.cc — lstm and gru with their default activations in f32: gates of all times in one product, then a product and a few
// vector loops for each time. Other forms run by their reference.
#include <algorithm>
#include <cstring>

#include "base/deadline.h"
#include "base/error.h"
#include "device/cpu/binder.h"
#include "kernels/gemm.h"
#include "kernels/table.h"

namespace bascule::device::cpu {
namespace {

using loops::Op;

constexpr size_t kX = 0, kW = 1, kR = 2, kB = 3, kLengths = 4, kH0 = 5, kC0 = 6, kPeephole = 7;

// "" if the plain form, else the reason.
std::string plain_form(Binder& b, const Node& n, bool lstm) {
  for (const Value v : n.inputs)
    if (v && b.type(v).dtype != DType::f32) return "recurrence with operands of " + std::string(info(b.type(v).dtype).name);
  const auto given = [&](size_t i) { return i < n.inputs.size() && n.inputs[i]; };
  if (given(kLengths)) return "recurrence with sequence lengths";
  if (lstm && given(kPeephole)) return "lstm with peepholes";
  if (lstm && n.attrs.flag("input_forget")) return "lstm with coupled gates";
  if (n.attrs.number("clip") != 0) return "recurrence with a clip";
  const Texts& names = n.attrs.texts("activations");
  for (size_t i = 0; i < names.size(); ++i) {
    std::string name = names[i];
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const size_t each = lstm ? 3 : 2;
    if (name != (i % each == 0 ? "sigmoid" : "tanh")) return "recurrence with activation " + escaped(name);
  }
  return "";
}

// out = op(a, b) over n floats.
void apply(Op op, float* out, const float* a, const float* b, int64_t n) { kernels::table().op(op, kernels::Hold::f32)(out, a, b, nullptr, n); }

struct Sizes {
  int64_t T, B, I, D, H, G;  // times, batch, inputs, directions, state, gates
};

// c' = f c + i g, h = o tanh c', gates of one time in `gates` [B, 4H] (i, o, f, c).
void lstm_cell(const Sizes& s, float* gates, float* c, float* h) {
  for (int64_t row = 0; row < s.B; ++row) {
    float *i = gates + row * 4 * s.H, *o = i + s.H, *f = o + s.H, *g = f + s.H, *cell = c + row * s.H;
    apply(Op::logistic, i, i, nullptr, 3 * s.H);
    apply(Op::tanh, g, g, nullptr, s.H);
    apply(Op::multiply, f, f, cell, s.H);
    apply(Op::multiply, i, i, g, s.H);
    apply(Op::add, cell, f, i, s.H);
    apply(Op::tanh, g, cell, nullptr, s.H);
    apply(Op::multiply, h + row * s.H, o, g, s.H);
  }
}

std::string recurrence(Binder& b, const Node& n, bool lstm) {
  if (std::string why = plain_form(b, n, lstm); !why.empty()) return why;
  const auto xd = b.dims(n.inputs[kX]), rd = b.dims(n.inputs[kR]);
  const Sizes s{xd[0], xd[1], xd[2], rd[0], rd[2], lstm ? 4 : 3};
  const Placed x = b.dense(n.inputs[kX]), w = b.dense(n.inputs[kW]), r = b.dense(n.inputs[kR]);
  const auto optional = [&](size_t i) { return i < n.inputs.size() && n.inputs[i] ? b.dense(n.inputs[i]) : Placed{}; };
  const Placed bias = optional(kB), h0 = optional(kH0), c0 = lstm ? optional(kC0) : Placed{};
  const Placed y = b.result(n.outputs[0]), last = b.result(n.outputs[1]), last_c = lstm ? b.result(n.outputs[2]) : Placed{};
  const Placed gates{b.fresh(4 * s.T * s.B * s.G * s.H), {}};
  const int64_t GH = s.G * s.H, BH = s.B * s.H;
  const Placed work{b.fresh(4 * (s.B * GH + 3 * BH)), {}};
  std::vector<int32_t> used{x.storage, w.storage, r.storage, y.storage, last.storage, gates.storage, work.storage};
  for (const Placed& p : {bias, h0, c0, last_c})
    if (p.storage >= 0) used.push_back(p.storage);
  const bool reverse = n.attrs.text("direction") == "reverse";
  const bool after = !lstm && n.attrs.flag("linear_before_reset");
  b.step(&n, lstm ? "lstm" : "gru", used, [=](const Frame& f) {
    float *all = floats(f, gates), *product = floats(f, work), *h = product + s.B * GH, *c = h + BH, *reset = c + BH;
    const kernels::Offsets one;
    for (int64_t d = 0; d < s.D; ++d) {
      const float *W = floats(f, w) + d * GH * s.I, *R = floats(f, r) + d * GH * s.H;
      const float* wb = bias.storage >= 0 ? floats(f, bias) + d * 2 * GH : nullptr;
      const float* rb = wb ? wb + GH : nullptr;
      kernels::gemm<float>(s.T * s.B, GH, s.I, {floats(f, x), s.I, 1}, {W, 1, s.I}, {all, GH, 1}, {&one, 1});
      const int64_t plain = lstm ? GH : 2 * s.H;  // gates whose biases simply add up
      if (wb)
        for (int64_t row = 0; row < s.T * s.B; ++row) {
          apply(Op::add, all + row * GH, all + row * GH, wb, GH);
          apply(Op::add, all + row * GH, all + row * GH, rb, plain);
        }
      const auto start = [&](const Placed& p, float* to) {
        if (p.storage >= 0) std::memcpy(to, floats(f, p) + d * BH, 4 * static_cast<size_t>(BH));
        else std::memset(to, 0, 4 * static_cast<size_t>(BH));
      };
      start(h0, h);
      if (lstm) start(c0, c);
      for (int64_t k = 0; k < s.T; ++k) {
        check_deadline();
        const int64_t t = reverse || d == 1 ? s.T - 1 - k : k;
        float* now = all + t * s.B * GH;
        if (lstm) {
          kernels::gemm<float>(s.B, GH, s.H, {h, s.H, 1}, {R, 1, s.H}, {product, GH, 1}, {&one, 1});
          apply(Op::add, now, now, product, s.B * GH);
          lstm_cell(s, now, c, h);
        } else {
          kernels::gemm<float>(s.B, after ? GH : 2 * s.H, s.H, {h, s.H, 1}, {R, 1, s.H}, {product, GH, 1}, {&one, 1});
          for (int64_t row = 0; row < s.B; ++row) {
            float *z = now + row * GH, *p = product + row * GH;
            apply(Op::add, z, z, p, 2 * s.H);
            apply(Op::logistic, z, z, nullptr, 2 * s.H);
            if (!after) apply(Op::multiply, reset + row * s.H, z + s.H, h + row * s.H, s.H);
          }
          if (!after) kernels::gemm<float>(s.B, s.H, s.H, {reset, s.H, 1}, {R + 2 * s.H * s.H, 1, s.H}, {product + 2 * s.H, GH, 1}, {&one, 1});
          for (int64_t row = 0; row < s.B; ++row) {
            float *z = now + row * GH, *g = z + 2 * s.H, *p = product + row * GH + 2 * s.H, *state = h + row * s.H;
            if (rb) apply(Op::add, p, p, rb + 2 * s.H, s.H);
            if (after) apply(Op::multiply, p, p, z + s.H, s.H);
            apply(Op::add, g, g, p, s.H);
            apply(Op::tanh, g, g, nullptr, s.H);
            apply(Op::subtract, state, state, g, s.H);  // g + z (h - g)
            apply(Op::multiply, state, state, z, s.H);
            apply(Op::add, state, state, g, s.H);
          }
        }
        std::memcpy(floats(f, y) + (t * s.D + d) * BH, h, 4 * static_cast<size_t>(BH));
      }
      std::memcpy(floats(f, last) + d * BH, h, 4 * static_cast<size_t>(BH));
      if (lstm) std::memcpy(floats(f, last_c) + d * BH, c, 4 * static_cast<size_t>(BH));
    }
  });
  return "";
}

}  // namespace

CPU_KERNEL(lstm) { return recurrence(b, n, true); }
CPU_KERNEL(gru) { return recurrence(b, n, false); }
CPU_KERNEL(rnn) { return n.inputs.empty() ? "" : "no kernel for elements of " + std::string(info(b.type(n.inputs[0]).dtype).name) + " in a plain recurrence"; }

}  // namespace bascule::device::cpu
