// ops/recurrent.cc — recurrent cells over time.
#include "ops/recurrent.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>

#include "base/budget.h"
#include "ops/lines.h"

namespace bascule::ops {
namespace {

enum : size_t { kX, kW, kR, kB, kLengths, kH, kC, kP };

struct ActivationDef {
  std::string_view name;
  int parameters;  // 0, alpha, alpha and beta
  double alpha, beta;
};
// Defaults as the operators of these names have them.
constexpr ActivationDef kActivations[] = {{"relu", 0, 0, 0},          {"tanh", 0, 0, 0},       {"sigmoid", 0, 0, 0},         {"affine", 2, 1, 0},
                                          {"leakyrelu", 1, 0.01, 0},  {"thresholdedrelu", 1, 1, 0}, {"scaledtanh", 2, 1, 1}, {"hardsigmoid", 2, 0.2, 0.5},
                                          {"elu", 1, 1, 0},           {"softsign", 0, 0, 0},   {"softplus", 0, 0, 0}};

int64_t directions(const Attrs& attrs) { return attrs.text("direction") == "bidirectional" ? 2 : 1; }

std::vector<Activation> activations(const OpView& op, const Recurrent& cell) {
  const size_t wanted = cell.activations * static_cast<size_t>(directions(op.attrs));
  Texts names = op.attrs.texts("activations");
  if (names.empty())
    for (size_t i = 0; i < wanted; ++i) names.push_back(cell.default_activations[i % cell.activations]);
  if (names.size() != wanted) op.fail(std::to_string(wanted) + " activations", std::to_string(names.size()));
  const Numbers &alphas = op.attrs.numbers("alpha"), &betas = op.attrs.numbers("beta");
  std::vector<Activation> out;
  size_t alpha = 0, beta = 0;
  for (std::string name : names) {
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto def = std::find_if(std::begin(kActivations), std::end(kActivations), [&](const ActivationDef& d) { return d.name == name; });
    if (def == std::end(kActivations)) op.fail("an activation Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, Softsign or Softplus", "'" + escaped(name) + "'");
    Activation a{name, def->alpha, def->beta};
    if (def->parameters >= 1 && alpha < alphas.size()) a.alpha = alphas[alpha++];
    if (def->parameters >= 2 && beta < betas.size()) a.beta = betas[beta++];
    out.push_back(std::move(a));
  }
  return out;
}

void require_shape(const OpView& op, size_t i, const Dims& want, std::string_view what) {
  if (!op.has(i)) return;
  const Type& t = op.in(i);
  if (t.rank() != want.size()) op.fail(std::string(what), t.text());
  for (size_t d = 0; d < want.size(); ++d) op.require_equal(t.dims[d], want[d], std::string(what) + ", with " + text(want) + " for " + t.text());
  if (i != kLengths && t.dtype != op.in(kX).dtype) op.fail("operands of x's element type", t.text());
}

}  // namespace

double Activation::operator()(double x) const {
  if (name == "relu") return x > 0 ? x : std::isnan(x) ? x : 0;
  if (name == "tanh") return std::tanh(x);
  if (name == "sigmoid") return 1 / (1 + std::exp(-x));
  if (name == "affine") return alpha * x + beta;
  if (name == "leakyrelu") return x >= 0 ? x : alpha * x;
  if (name == "thresholdedrelu") return x >= alpha ? x : 0;
  if (name == "scaledtanh") return alpha * std::tanh(beta * x);
  if (name == "hardsigmoid") return std::clamp(alpha * x + beta, 0.0, 1.0);
  if (name == "elu") return x >= 0 ? x : alpha * std::expm1(x);
  if (name == "softsign") return x / (1 + std::fabs(x));
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));  // softplus
}

Value Activation::operator()(Builder& b, Value x) const {
  if (name == "relu") return b.maximum(x, 0);
  if (name == "tanh") return b.tanh(x);
  if (name == "sigmoid") return b.logistic(x);
  if (name == "affine") return b.add(b.multiply(x, alpha), beta);
  if (name == "leakyrelu") return b.select(b.compare(x, 0, "GE"), x, b.multiply(x, alpha));
  if (name == "thresholdedrelu") return b.select(b.compare(x, alpha, "GE"), x, 0);
  if (name == "scaledtanh") return b.multiply(b.tanh(b.multiply(x, beta)), alpha);
  if (name == "hardsigmoid") return b.clamp(0, b.add(b.multiply(x, alpha), beta), 1);
  if (name == "elu") return b.select(b.compare(x, 0, "GE"), x, b.multiply(b.unary("exponential_minus_one", x), alpha));
  if (name == "softsign") return b.divide(x, b.add(b.abs(x), 1));
  return b.add(b.maximum(x, 0), b.unary("log_plus_one", b.exp(b.negate(b.abs(x)))));
}

double CellStep::product(size_t row, std::span<const double> state) const {
  double sum = 0;
  for (size_t k = 0; k < state.size(); ++k) sum += r[row * state.size() + k] * state[k];
  return sum;
}

Value CellGraph::part(Value v, int64_t k) const {
  const Dim H = b.dim(h, 1);
  return b.slice_axis(v, -1, H * k, H * (k + 1));
}
Value CellGraph::product(Value state, int64_t k) const {
  const Dim H = b.dim(h, 1);
  return b.dot_general(state, b.slice_axis(r, 0, H * k, H * (k + 1)), {}, {}, {1}, {1});
}
Value CellGraph::gate(int64_t k) const { return summed ? part(summed, k) : biased(biased(b.add(part(x, k), product(h, k)), wb, k), rb, k); }
Value CellGraph::biased(Value v, Value bias, int64_t k) const { return bias ? b.add(v, part(bias, k)) : v; }
Value CellGraph::clipped(Value v) const { return clip > 0 ? b.clamp(-clip, v, clip) : v; }

std::vector<InputDef> recurrent_inputs(bool cell_state) {
  std::vector<InputDef> in = {{"x", DTypes::floats}, {"w", DTypes::floats}, {"r", DTypes::floats}, {"b", DTypes::floats, kOptional}, {"lengths", DTypes::ints, kOptional}, {"h0", DTypes::floats, kOptional}};
  if (cell_state) {
    in.push_back({"c0", DTypes::floats, kOptional});
    in.push_back({"p", DTypes::floats, kOptional});
  }
  return in;
}

std::vector<AttrDef> recurrent_attrs(std::vector<AttrDef> more) {
  std::vector<AttrDef> out = {{.name = "direction", .kind = AttrKind::text, .required = false, .fallback = std::string("forward")},
                              {.name = "activations", .kind = AttrKind::texts, .required = false, .fallback = Texts{}},
                              {.name = "alpha", .kind = AttrKind::numbers, .required = false, .fallback = Numbers{}},
                              {.name = "beta", .kind = AttrKind::numbers, .required = false, .fallback = Numbers{}},
                              {.name = "clip", .kind = AttrKind::number, .required = false, .fallback = 0.0}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

std::vector<Type> recurrent_type(const OpView& op, const Recurrent& cell) {
  const std::string& direction = op.attrs.text("direction");
  op.require(direction == "forward" || direction == "reverse" || direction == "bidirectional", "direction forward, reverse or bidirectional", "'" + escaped(direction) + "'");
  op.require(op.attrs.number("clip") >= 0, "clip of 0 (none) or more", std::to_string(op.attrs.number("clip")));
  activations(op, cell);
  const Type &x = op.in(kX), &w = op.in(kW), &r = op.in(kR);
  if (x.rank() != 3 || w.rank() != 3 || r.rank() != 3) op.fail("x[T,B,I], w[D,G*H,I] and r[D,G*H,H]", x.text() + ", " + w.text() + " and " + r.text());
  const Dim D = directions(op.attrs), H = r.dims[2], B = x.dims[1];
  require_shape(op, kW, {D, H * cell.gates, x.dims[2]}, "w[D,G*H,I]");
  require_shape(op, kR, {D, H * cell.gates, H}, "r[D,G*H,H]");
  require_shape(op, kB, {D, H * cell.gates * 2}, "b[D,2*G*H]");
  require_shape(op, kLengths, {B}, "lengths[B]");
  require_shape(op, kH, {D, B, H}, "h0[D,B,H]");
  require_shape(op, kC, {D, B, H}, "c0[D,B,H]");
  require_shape(op, kP, {D, H * 3}, "p[D,3*H]");
  std::vector<Type> out = {Type::tensor(x.dtype, {x.dims[0], D, B, H}), Type::tensor(x.dtype, {D, B, H})};
  if (cell.cell_state) out.push_back(out[1]);
  return out;
}

HostValues recurrent_reference(const Call& call, const Recurrent& cell) {
  const Tensor &x = call.in(kX), &w = call.in(kW), &r = call.in(kR);
  const int64_t T = x.dim(0), B = x.dim(1), I = x.dim(2), D = w.dim(0), H = r.dim(2), GH = cell.gates * H;
  const std::vector<Activation> f = activations(call.op, cell);
  const std::string& direction = call.op.attrs.text("direction");
  const double limit = call.op.attrs.number("clip");
  const auto values = [&](size_t i, int64_t count) { return call.op.has(i) ? call.in(i).doubles() : std::vector<double>(static_cast<size_t>(count), 0.0); };
  const std::vector<double> xs = x.doubles(), ws = w.doubles(), rs = r.doubles(), bias = values(kB, D * 2 * GH), peephole = values(kP, D * 3 * H);
  std::vector<double> h = values(kH, D * B * H), c = values(kC, D * B * H), next_h(static_cast<size_t>(H)), next_c(static_cast<size_t>(H)), gate(static_cast<size_t>(GH));
  Tensor y = call.result(0);
  const DType t = y.dtype();
  std::byte* out = y.mutable_data();
  const auto span_of = [](std::vector<double>& v, int64_t start, int64_t n) { return std::span<double>(v.data() + start, static_cast<size_t>(n)); };
  const auto const_span = [](const std::vector<double>& v, int64_t start, int64_t n) { return std::span<const double>(v.data() + start, static_cast<size_t>(n)); };
  for (int64_t d = 0; d < D; ++d) {
    const bool backward = d == 1 || direction == "reverse";
    for (int64_t n = 0; n < B; ++n) {
      const int64_t length = call.op.has(kLengths) ? call.in(kLengths).integer(n) : T;
      if (length < 0 || length > T) call.op.fail("lengths in [0, " + std::to_string(T) + "]", std::to_string(length));
      const std::span<double> state = span_of(h, (d * B + n) * H, H), memory = span_of(c, (d * B + n) * H, H);
      for (int64_t step = 0; step < length; ++step) {
        const int64_t at = backward ? length - 1 - step : step;
        const double* row = xs.data() + (at * B + n) * I;
        for (int64_t g = 0; g < GH; ++g) {
          check_budget();
          double sum = 0;
          for (int64_t i = 0; i < I; ++i) sum += ws[static_cast<size_t>((d * GH + g) * I + i)] * row[i];
          gate[static_cast<size_t>(g)] = sum;
        }
        cell.step(CellStep{gate, const_span(bias, d * 2 * GH, GH), const_span(bias, d * 2 * GH + GH, GH), const_span(rs, d * GH * H, GH * H), const_span(peephole, d * 3 * H, 3 * H), state, memory, next_h, next_c,
                           std::span(f).subspan(static_cast<size_t>(d) * cell.activations, cell.activations), limit > 0 ? limit : std::numeric_limits<double>::infinity(), call.op.attrs});
        std::copy(next_h.begin(), next_h.end(), state.begin());
        if (cell.cell_state) std::copy(next_c.begin(), next_c.end(), memory.begin());
        for (int64_t k = 0; k < H; ++k) store_double(t, out, ((at * D + d) * B + n) * H + k, state[static_cast<size_t>(k)]);
      }
    }
  }
  HostValues results = {std::move(y), Tensor::from_doubles(t, {D, B, H}, h)};
  if (cell.cell_state) results.push_back(Tensor::from_doubles(t, {D, B, H}, c));
  return results;
}

// For each direction: gates of x for all times in one product, then a while over time with the state and y carried.
namespace {

std::map<std::string_view, const Recurrent& (*)()>& cells() {
  static std::map<std::string_view, const Recurrent& (*)()> m;
  return m;
}

// What one direction computes with, in the type of sums.
struct Direction {
  Value gates;  // W x of all time steps, [T, B, G*H]
  Value wb, rb, r, p;
  Value h, c;   // before the first step; c: kNoValue if the cell has none
  Value lengths;
  std::span<const Activation> f;
  bool backward = false;
};

std::vector<Direction> open_directions(Builder& b, const OpView& op, std::span<const Value> in, const Recurrent& cell, std::span<const Activation> f) {
  const DType wide = wide_type(op.in(kX).dtype);
  const Dim B = b.dim(in[kX], 1), H = b.dim(in[kR], 2), GH = H * cell.gates;
  const Value x = b.convert(in[kX], wide);
  std::vector<Direction> out;
  for (int64_t d = 0; d < directions(op.attrs); ++d) {
    Direction dir;
    dir.backward = d == 1 || op.attrs.text("direction") == "reverse";
    const auto own = [&](size_t i) {  // this direction's part of an operand, without the axis
      if (!op.has(i)) return kNoValue;
      const Value v = b.slice_axis(in[i], 0, d, d + 1);
      const Dims dims = b.dims(v);
      return b.convert(b.reshape(v, Dims(dims.begin() + 1, dims.end())), wide);
    };
    dir.gates = b.dot_general(x, own(kW), {}, {}, {2}, {1});
    dir.r = own(kR);
    const Value bias = own(kB);
    dir.p = own(kP);
    if (bias) {
      dir.wb = b.slice_axis(bias, 0, 0, GH);
      dir.rb = b.slice_axis(bias, 0, GH, GH * 2);
    }
    const Value zero = b.full({B, H}, wide, 0);
    dir.h = op.has(kH) ? own(kH) : zero;
    if (cell.cell_state) dir.c = op.has(kC) ? own(kC) : zero;
    dir.lengths = op.has(kLengths) ? b.convert(in[kLengths], DType::i64) : kNoValue;
    dir.f = f.subspan(static_cast<size_t>(d) * cell.activations, cell.activations);
    out.push_back(dir);
  }
  return out;
}

// One time step: the next h (and c), and what y shows. at: the step's number; rows that are over keep their state and show 0.
struct Advanced {
  Values state;
  Value shown;
};
Advanced advance(const Recurrent& cell, const CellGraph& step, Value lengths, Value at) {
  Builder& s = step.b;
  Advanced a{cell.build(step), {}};
  a.shown = a.state[0];
  if (lengths) {
    const Value active = s.broadcast_in_dim(s.compare(at, lengths, "LT"), s.dims(step.h), {0});
    a.shown = s.select(active, a.shown, 0);
    a.state[0] = s.select(active, a.state[0], step.h);
    if (cell.cell_state) a.state[1] = s.select(active, a.state[1], step.c);
  }
  return a;
}

// y[T, D, B, H], h[D, B, H] and c[D, B, H] from those of each direction.
Values together(Builder& b, const OpView& op, const Values& y, const Values& h, const Values& c) {
  const DType t = op.in(kX).dtype;
  const auto joined = [&](const Values& parts, int64_t axis) {
    Values all;
    for (const Value v : parts) all.push_back(b.unsqueeze(v, {axis}));
    return b.convert(b.concatenate(all, axis), t);
  };
  Values results = {joined(y, 1), joined(h, 0)};
  if (!c.empty()) results.push_back(joined(c, 0));
  return results;
}

}  // namespace

bool register_recurrent(std::string_view op, const Recurrent& (*cell)()) { return cells().emplace(op, cell).second; }

Values recurrent_decompose(Builder& b, const OpView& op, std::span<const Value> in, const Recurrent& cell) {
  const DType wide = wide_type(op.in(kX).dtype);
  const std::vector<Activation> f = activations(op, cell);
  const Dim T = b.dim(in[kX], 0), B = b.dim(in[kX], 1), H = b.dim(in[kR], 2), GH = H * cell.gates;
  Values all_y, all_h, all_c;
  for (const Direction& d : open_directions(b, op, in, cell, f)) {
    Values carried = {b.constant(Tensor::scalar_int(DType::i64, 0)), d.h, b.full({T, B, H}, wide, 0)};
    if (cell.cell_state) carried.push_back(d.c);
    const Value count = b.size(T);

    OpenRegion condition(b, "more_time"), body(b, "step");
    Values seen, state;
    for (const Value v : carried) {
      seen.push_back(condition.argument(b.type(v)));
      state.push_back(body.argument(b.type(v)));
    }
    condition.finish({condition.builder().compare(seen[0], condition.capture(count), "LT")});

    Builder& s = body.builder();
    const auto outer = [&](Value v) { return v ? body.capture(v) : kNoValue; };
    const Value total = outer(count), none = s.constant(Tensor::scalar_int(DType::i64, 0));
    const Value at = d.backward ? s.subtract(s.subtract(total, state[0]), 1) : state[0];
    const Value now = s.reshape(s.op("dynamic_slice", {outer(d.gates), at, none, none}, {{"slice_sizes", Dims{1, B, GH}}}), {B, GH});
    const CellGraph step{s, now, outer(d.wb), outer(d.rb), outer(d.r), outer(d.p), state[1], cell.cell_state ? state[3] : kNoValue, d.f, op.attrs.number("clip"), op.attrs};
    const Advanced next = advance(cell, step, outer(d.lengths), at);
    const Value y = s.op("dynamic_update_slice", {state[2], s.reshape(next.shown, {1, B, H}), at, none, none});
    Values results = {s.add(state[0], 1), next.state[0], y};
    if (cell.cell_state) results.push_back(next.state[1]);
    body.finish(std::move(results));
    std::vector<OpenRegion> regions;
    regions.push_back(std::move(condition));
    regions.push_back(std::move(body));
    const Values end = b.ops("while", carried, {}, std::move(regions));
    all_y.push_back(end[2]);
    all_h.push_back(end[1]);
    if (cell.cell_state) all_c.push_back(end[3]);
  }
  return together(b, op, all_y, all_h, all_c);
}

std::optional<Values> recurrent_unrolled(Builder& b, const OpView& op, std::span<const Value> in, int64_t most) {
  const auto known = cells().find(op.def.name);
  if (known == cells().end()) return std::nullopt;
  const Recurrent& cell = known->second();
  const auto T = b.dim(in[kX], 0).constant();
  if (!T || *T < 1 || *T > most) return std::nullopt;
  const std::vector<Activation> f = activations(op, cell);
  const Dim B = b.dim(in[kX], 1), H = b.dim(in[kR], 2), GH = H * cell.gates;
  Values all_y, all_h, all_c;
  for (const Direction& d : open_directions(b, op, in, cell, f)) {
    const Dim plain = H * cell.plain_gates;
    Value gates = d.gates;
    if (d.wb) {  // biases once for all steps
      Value bias = b.add(b.slice_axis(d.wb, 0, 0, plain), b.slice_axis(d.rb, 0, 0, plain));
      if (cell.plain_gates < cell.gates) bias = b.concatenate({bias, b.slice_axis(d.wb, 0, plain, GH)}, 0);
      gates = b.add(gates, b.broadcast_in_dim(bias, b.dims(gates), {2}));
    }
    const Value r = b.slice_axis(d.r, 0, 0, plain);
    Value h = d.h, c = d.c;
    Values shown(static_cast<size_t>(*T));
    for (int64_t k = 0; k < *T; ++k) {
      const int64_t t = d.backward ? *T - 1 - k : k;
      const Value now = b.reshape(b.slice_axis(gates, 0, t, t + 1), {B, GH});
      CellGraph step{b, now, kNoValue, d.rb, d.r, d.p, h, c, d.f, op.attrs.number("clip"), op.attrs};
      step.summed = b.add(b.dot_general(h, r, {}, {}, {1}, {1}), b.slice_axis(now, 1, 0, plain));
      const Advanced next = advance(cell, step, d.lengths, b.constant(Tensor::scalar_int(DType::i64, t)));
      h = next.state[0];
      if (cell.cell_state) c = next.state[1];
      shown[static_cast<size_t>(t)] = b.reshape(next.shown, {1, B, H});
    }
    all_y.push_back(b.concatenate(shown, 0));
    all_h.push_back(h);
    if (cell.cell_state) all_c.push_back(c);
  }
  return together(b, op, all_y, all_h, all_c);
}

Work recurrent_work(const OpView& op, std::span<const Type> results, const Recurrent& cell) {
  Work w;
  const auto n = [&](size_t i, size_t d) { return static_cast<double>(op.in(i).dims[d].value()); };
  const double steps = n(kX, 0) * n(kX, 1) * static_cast<double>(directions(op.attrs)), H = n(kR, 2), gates = static_cast<double>(cell.gates) * H;
  w.multiply_adds = steps * gates * (n(kX, 2) + H);
  w.adds = steps * gates * 3;
  w.transcendentals = steps * (gates + (cell.cell_state ? H : 0));
  add_traffic(op, results, w);
  return w;
}

std::vector<Case> recurrent_cases(int64_t gates, bool cell_state, std::vector<Case> more) {
  const int64_t T = 4, B = 3, I = 5, H = 2;
  const auto shapes = [&](int64_t D, bool all) {
    std::vector<std::vector<int64_t>> s = {{T, B, I}, {D, gates * H, I}, {D, gates * H, H}};
    if (!all) return s;
    s.push_back({D, 2 * gates * H});
    s.push_back({-1});
    s.push_back({D, B, H});
    if (cell_state) {
      s.push_back({D, B, H});
      s.push_back({D, 3 * H});
    }
    return s;
  };
  std::vector<Case> out = {{.name = "plain", .shapes = shapes(1, false)},
                           {.name = "all_operands", .shapes = shapes(1, true)},
                           {.name = "reverse", .shapes = shapes(1, true), .attrs = {{"direction", std::string("reverse")}}},
                           {.name = "bidirectional", .shapes = shapes(2, true), .attrs = {{"direction", std::string("bidirectional")}}},
                           {.name = "clip", .shapes = shapes(1, true), .attrs = {{"clip", 0.3}}}};
  for (const char* direction : {"forward", "reverse"}) {
    Case c{.name = direction[0] == 'f' ? "lengths_forward" : "lengths_reverse", .shapes = shapes(1, true), .attrs = {{"direction", std::string(direction)}}, .dtypes = std::vector<DType>(8, DType::f32), .low = 0, .high = 4};
    c.shapes[kLengths] = {B};
    c.dtypes[kLengths] = DType::i32;
    out.push_back(std::move(c));
  }
  for (Case& c : more) {
    c.shapes = shapes(1, true);
    out.push_back(std::move(c));
  }
  return out;
}

}  // namespace bascule::ops
