// See execute_steps.h.
#include "tests/support/execute_steps.h"

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <stdexcept>

#include "graph/evaluate.h"
#include "loops/interpret.h"

namespace bascule {
namespace {

using namespace device;
using namespace device::chip;
using Extents = std::vector<int64_t>;

void require(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error("step: " + what);
}

// Every index of `extents`.
void walk(const Extents& extents, const std::function<void(const Extents&)>& f) {
  if (element_count(extents) == 0) return;
  Extents index(extents.size(), 0);
  while (true) {
    f(index);
    size_t a = extents.size();
    while (a-- > 0) {
      if (++index[a] < extents[a]) break;
      index[a] = 0;
    }
    if (a == static_cast<size_t>(-1)) return;
  }
}

int64_t at(const Layout& l, const Extents& index, size_t from = 0) {
  int64_t x = l.offset;
  require(from + l.strides.size() <= index.size(), "more strides than axes");
  for (size_t a = 0; a < l.strides.size(); ++a) x += l.strides[a] * index[from + a];
  return x;
}

class Executor {
 public:
  Executor(const Graph& g, const std::vector<Tensor>& inputs) : g_(g) {
    for (size_t k = 0; k < inputs.size(); ++k) values_[g.inputs[k]] = inputs[k];
    EvalContext context;
    for (const Node& n : g.nodes) {
      if (n.op->name != "constant" && n.op->name != "dims") continue;
      values_[n.outputs[0]] = evaluate(n, {}, {}, context)[0].tensor();
    }
  }

  void run(const Step& s) {
    switch (s.kind) {
      case Step::host: return host(s);
      case Step::region: return region(s);
      case Step::move: return move(s);
      case Step::scatter: return scatter(s);
      case Step::scan: return scan(s);
      case Step::collective: return require(false, "a collective wants ranks");
      default: break;
    }
    Tensor anchor(DType::f64, s.axes);  // over the axes, dense
    std::function<double(const Extents&)> value;
    switch (s.kind) {
      case Step::contraction: value = [&](const Extents& i) { return product(s, i); }; break;
      case Step::convolution: value = [&](const Extents& i) { return convolution(s, i); }; break;
      case Step::attention: value = [&](const Extents& i) { return attention(s, i); }; break;
      case Step::window: value = [&](const Extents& i) { return window(s, i); }; break;
      case Step::gather: value = [&](const Extents& i) { return gather(s, i); }; break;
      default: value = [&](const Extents& i) { return row(s, i); }; break;
    }
    Tensor& out = result(s);
    std::vector<bool> written(static_cast<size_t>(out.elements()), false);
    std::byte* to = out.mutable_data();
    walk(s.axes, [&](const Extents& i) {
      const loops::Scalar x = epilogue(s, i, value(i));
      const int64_t where = at(s.out, i);
      require(where >= 0 && where < out.elements() && !written[static_cast<size_t>(where)], "a result element outside, or twice");
      written[static_cast<size_t>(where)] = true;
      store(out.dtype(), to, where, x);
    });
    require(out.elements() == element_count(s.axes), "as many axes elements as result elements");
  }

  std::vector<Tensor> outputs() const {
    std::vector<Tensor> out;
    for (const Value v : g_.outputs) out.push_back(values_.at(v));
    return out;
  }

 private:
  static void store(DType t, std::byte* to, int64_t i, loops::Scalar x) {
    if (is_float(t)) store_double(t, to, i, x.number);
    else store_int(t, to, i, x.integer);
  }
  const Tensor& tensor(Value v) const {
    require(values_.contains(v), "a value that no step made before: %" + std::to_string(v.id));
    return values_.at(v);
  }
  loops::Scalar load(const View& v, int64_t where) const {
    const Tensor& t = tensor(v.value);
    require(where >= 0 && where < t.elements(), "an element outside its value");
    if (is_float(t.dtype())) return {t.number(where), 0};
    return {static_cast<double>(t.integer(where)), t.integer(where)};
  }
  double number(const View& v, const Extents& index) const { return load(v, at(v.layout, index)).number; }
  Tensor& result(const Step& s) {
    const Type& t = g_.type(s.result);
    require(!values_.contains(s.result), "a result made twice");
    return values_[s.result] = Tensor(t.dtype, *constants(t.dims));
  }

  loops::Scalar epilogue(const Step& s, const Extents& i, double anchor) const {
    loops::Scalar x;
    if (is_float(s.anchor_type)) x.number = round_to(s.anchor_type, anchor);
    else x.integer = static_cast<int64_t>(anchor);
    std::vector<loops::Scalar> values;
    for (const Epilogue& e : s.epilogue) {
      loops::Scalar in[3];
      DType type = e.dtype;
      const int32_t slots[] = {e.a, e.b, e.c};
      for (int k = loops::arity(e.fn); k-- > 0;) {
        const int32_t n = slots[k];
        if (n == Epilogue::kNumber) {
          in[k] = {e.number, static_cast<int64_t>(e.number)};
        } else if (n == Epilogue::kAnchor) {
          in[k] = x;
          type = s.anchor_type;
        } else if (Epilogue::is_operand(n)) {
          const View& v = s.epilogue_operands.at(Epilogue::operand(n));
          require(v.layout.strides.size() == s.axes.size(), "an epilogue operand over all axes");
          in[k] = load(v, at(v.layout, i));
          type = g_.type(v.value).dtype;
        } else {
          in[k] = values.at(static_cast<size_t>(n));
          type = s.epilogue[static_cast<size_t>(n)].dtype;
        }
      }
      values.push_back(loops::apply(e.fn, e.dtype, type, in[0], in[1], in[2]));
    }
    return values.empty() ? x : values.back();
  }

  double product(const Step& s, const Extents& i) const {
    const size_t b = s.batch.size(), m = s.m.size(), n = s.n.size();
    Extents l(i.begin(), i.begin() + static_cast<int64_t>(b + m)), r(i.begin(), i.begin() + static_cast<int64_t>(b));
    r.insert(r.end(), i.begin() + static_cast<int64_t>(b + m), i.begin() + static_cast<int64_t>(b + m + n));
    double sum = 0;
    walk(s.k, [&](const Extents& k) {
      Extents lk = l, rk = r;
      lk.insert(lk.end(), k.begin(), k.end());
      rk.insert(rk.end(), k.begin(), k.end());
      sum += number(s.lhs, lk) * number(s.rhs, rk);
    });
    return sum;
  }

  double convolution(const Step& s, const Extents& i) const {
    Extents taps{s.in_channels};
    for (const WindowAxis& a : s.windows) taps.push_back(a.taps);
    double sum = 0;
    walk(taps, [&](const Extents& k) {
      Extents x{i[0], i[1], k[0]}, w{i[1], i[2], k[0]};
      for (size_t a = 0; a < s.windows.size(); ++a) {
        const WindowAxis& axis = s.windows[a];
        const int64_t p = i[3 + a] * axis.stride + k[1 + a] * axis.dilation - axis.low;
        if (p < 0 || p % axis.base != 0 || p / axis.base >= axis.in) return;
        x.push_back(p / axis.base);
        w.push_back(axis.reversed ? axis.taps - 1 - k[1 + a] : k[1 + a]);
      }
      sum += number(s.lhs, x) * number(s.rhs, w);
    });
    return sum;
  }

  double window(const Step& s, const Extents& i) const {
    Extents taps;
    for (const WindowAxis& a : s.windows) taps.push_back(a.taps);
    double y = s.initial;
    walk(taps, [&](const Extents& k) {
      Extents x;
      for (size_t a = 0; a < s.windows.size(); ++a) {
        const WindowAxis& axis = s.windows[a];
        const int64_t p = i[a] * axis.stride + k[a] * axis.dilation - axis.low;
        if (p < 0 || p % axis.base != 0 || p / axis.base >= axis.in) return;
        x.push_back(p / axis.base);
      }
      const double v = number(s.views[0], x);
      y = s.fold == loops::Op::add ? y + v : s.fold == loops::Op::maximum ? std::max(y, v) : std::min(y, v);
    });
    return y;
  }

  double row(const Step& s, const Extents& i) const {
    const Extents within(s.axes.begin() + static_cast<int64_t>(s.row_axis), s.axes.end());
    std::vector<double> x;
    walk(within, [&](const Extents& k) {
      Extents index(i.begin(), i.begin() + static_cast<int64_t>(s.row_axis));
      index.insert(index.end(), k.begin(), k.end());
      x.push_back(number(s.views[0], index));
    });
    const double own = number(s.views[0], i), count = static_cast<double>(x.size());
    double y = 0;
    if (s.row_function == Step::softmax || s.row_function == Step::log_softmax) {
      double top = -std::numeric_limits<double>::infinity(), sum = 0;
      for (const double v : x) top = std::max(top, v);
      for (const double v : x) sum += std::exp(v - top);
      return s.row_function == Step::softmax ? std::exp(own - top) / sum : own - top - std::log(sum);
    }
    double mean = 0, square = 0;
    if (s.row_function == Step::layer_norm)
      for (const double v : x) mean += v / count;
    for (const double v : x) square += (v - mean) * (v - mean) / count;
    y = (own - mean) / std::sqrt(square + s.epsilon);
    if (s.views.at(1).value) y *= number(s.views[1], i);
    if (s.views.at(2).value) y += number(s.views[2], i);
    return y;
  }

  double attention(const Step& s, const Extents& i) const {
    const int64_t b = i[0], h = i[1], q = i[2], e = i[3], shared = h / (s.axes[1] / s.kv_heads);
    std::vector<double> score;
    double top = -std::numeric_limits<double>::infinity();
    for (int64_t t = 0; t < s.keys; ++t) {
      double x = 0;
      for (int64_t d = 0; d < s.head_size; ++d) x += number(s.views[0], {b, h, q, d}) * number(s.views[1], {b, shared, t, d});
      x *= s.scale;
      if (s.softcap > 0) x = s.softcap * std::tanh(x / s.softcap);
      if (s.views[3].value) x += number(s.views[3], {b, h, q, t});
      if ((s.causal && t > q + s.causal_offset) || (s.views[4].value && load(s.views[4], at(s.views[4].layout, {b, h, q, t})).integer == 0))
        x = -std::numeric_limits<double>::infinity();
      top = std::max(top, x);
      score.push_back(x);
    }
    if (std::isinf(top)) return 0;
    double sum = 0, y = 0;
    for (int64_t t = 0; t < s.keys; ++t) {
      const double p = std::exp(score[static_cast<size_t>(t)] - top);
      sum += p;
      y += p * number(s.views[2], {b, shared, t, e});
    }
    return y / sum;
  }

  double gather(const Step& s, const Extents& i) const {
    const Extents positions(i.begin(), i.begin() + static_cast<int64_t>(s.row_axis));
    int64_t index = load(s.views[1], at(s.views[1].layout, positions)).integer;
    if (index < 0 || index >= s.table_rows) {
      if (s.drop) return 0;
      index = std::clamp<int64_t>(index, 0, s.table_rows - 1);
    }
    Extents where{index};
    where.insert(where.end(), i.begin() + static_cast<int64_t>(s.row_axis), i.end());
    return number(s.views[0], where);
  }

  void move(const Step& s) {
    Tensor& out = result(s);
    std::byte* to = out.mutable_data();
    std::vector<bool> written(static_cast<size_t>(out.elements()), false);
    if (s.fill)
      for (int64_t i = 0; i < out.elements(); ++i) store(out.dtype(), to, i, {*s.fill, static_cast<int64_t>(*s.fill)});
    for (const Piece& p : s.pieces)
      walk(p.extents, [&](const Extents& i) {
        const int64_t where = at(p.to, i);
        require(where >= 0 && where < out.elements() && !written[static_cast<size_t>(where)], "a moved element outside, or twice");
        written[static_cast<size_t>(where)] = true;
        store(out.dtype(), to, where, load(p.from, at(p.from.layout, i)));
      });
    if (!s.fill)
      for (size_t k = 0; k < written.size(); ++k) require(written[k], "every element written");
  }

  static loops::Scalar folded(loops::Op fold, DType t, loops::Scalar a, loops::Scalar b) { return loops::apply(fold, t, t, a, b, {}); }

  void scatter(const Step& s) {
    Tensor& out = result(s);
    const DType t = out.dtype();
    std::byte* to = out.mutable_data();
    walk(s.axes, [&](const Extents& i) { store(t, to, at(s.out, i), load(s.views[0], at(s.views[0].layout, i))); });
    walk({s.updates, s.axes[1]}, [&](const Extents& i) {
      const int64_t row = load(s.views[1], at(s.views[1].layout, {i[0]})).integer;
      if (row < 0 || row >= s.axes[0]) return;
      const int64_t where = at(s.out, {row, i[1]});
      const loops::Scalar x = load(s.views[2], at(s.views[2].layout, i)), before{is_float(t) ? out.number(where) : 0, is_float(t) ? 0 : out.integer(where)};
      store(t, to, where, s.fold == loops::Op::load ? x : folded(s.fold, t, before, x));
    });
  }

  void scan(const Step& s) {
    Tensor& out = result(s);
    const DType t = out.dtype();
    loops::Scalar sum;
    walk(s.axes, [&](const Extents& i) {
      const loops::Scalar x = load(s.views[0], at(s.views[0].layout, i));
      sum = i.back() == 0 ? x : folded(s.fold, t, sum, x);
      store(t, out.mutable_data(), at(s.out, i), sum);
    });
  }

  void region(const Step& s) {
    std::vector<std::byte*> pointers;
    Tensor& out = result(s);
    for (size_t k = 0; k + 1 < s.spec_values.size(); ++k) pointers.push_back(const_cast<std::byte*>(tensor(s.spec_values[k]).data()));
    require(s.spec_values.back() == s.result, "the region's last operand is its result");
    pointers.push_back(out.mutable_data());
    loops::interpret(s.spec, pointers);
  }

  Tensor dense(const View& v, const Type& t) const {
    if (!t.is_tensor() || is_complex(t.dtype) || tensor(v.value).type_text() == t.text()) return tensor(v.value);
    Tensor out(t.dtype, *constants(t.dims));
    std::byte* to = out.mutable_data();
    int64_t k = 0;
    walk(out.dims(), [&](const Extents& i) { store(t.dtype, to, k++, load(v, at(v.layout, i))); });
    return out;
  }

  void host(const Step& s) {
    const Node& n = g_.nodes[static_cast<size_t>(s.anchor)];
    HostValues in;
    for (size_t k = 0; k < n.inputs.size(); ++k) {
      if (n.inputs[k]) in.emplace_back(dense(s.views.at(k), g_.type(n.inputs[k])));
      else in.push_back(HostValue::none());
    }
    EvalContext context;
    const HostValues out = evaluate(n, in, {}, context);
    for (size_t k = 0; k < out.size(); ++k)
      if (out[k].is_tensor()) values_[n.outputs[k]] = out[k].tensor();
  }

  const Graph& g_;
  std::map<Value, Tensor> values_;
};

}  // namespace

std::vector<Tensor> execute_steps(const Graph& graph, const std::vector<Step>& steps, const std::vector<Tensor>& inputs) {
  Executor e(graph, inputs);
  for (const Step& s : steps) e.run(s);
  return e.outputs();
}

}  // namespace bascule
