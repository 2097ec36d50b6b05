// device/chip/step_anchor.cc — the anchor of each step from its node: extents, strides and attributes in the form that mappers read.
#include <algorithm>
#include <numeric>

#include "device/chip/step_maker.h"
#include "graph/builder.h"
#include "graph/op_def.h"

namespace bascule::device::chip {
namespace {

Ints iota(size_t n) {
  Ints out(n);
  std::iota(out.begin(), out.end(), 0);
  return out;
}
bool has(const Ints& list, size_t x) { return std::find(list.begin(), list.end(), static_cast<int64_t>(x)) != list.end(); }
int64_t at_or(const Ints& list, size_t k, int64_t otherwise) { return k < list.size() ? list[k] : otherwise; }
Ints ints_or_none(const Node& n, std::string_view name) { return n.attrs.has(name) ? n.attrs.ints(name) : Ints(); }
Extents dims_or_none(const Node& n, std::string_view name) { return n.attrs.has(name) ? n.attrs.static_dims(name) : Extents(); }

// One group of axes, with the strides of each layout that runs over it.
struct Group {
  Extents extents;
  std::vector<Extents> strides;  // of each layout
  explicit Group(size_t layouts) : strides(layouts) {}
  void push(int64_t extent, const std::vector<int64_t>& s) {
    extents.push_back(extent);
    for (size_t k = 0; k < s.size(); ++k) strides[k].push_back(s[k]);
  }
  void merge() {
    std::vector<Extents*> all;
    for (Extents& s : strides) all.push_back(&s);
    merge_axes(extents, all);
  }
};

void append(Extents& to, const Extents& from) { to.insert(to.end(), from.begin(), from.end()); }

// The groups of a contraction, axes that repeat one operand moved to the other's group, neighbours merged. Before: batch, m, n in that order in
// s.axes.
void regroup(Step& s) {
  const size_t b = s.batch.size(), m = s.m.size(), n = s.n.size(), k = s.k.size(), extra = s.epilogue_operands.size();
  const size_t layouts = 3 + extra;  // lhs, rhs, out, epilogue operands
  Group batch(layouts), rows(layouts), columns(layouts), sum(2);
  const auto push = [&](Group& to, int64_t extent, int64_t l, int64_t r, size_t axis) {
    std::vector<int64_t> strides{l, r, s.out.strides[axis]};
    for (const View& v : s.epilogue_operands) strides.push_back(v.layout.strides[axis]);
    to.push(extent, strides);
  };
  for (size_t a = 0; a < b; ++a) {
    const int64_t l = s.lhs.layout.strides[a], r = s.rhs.layout.strides[a];
    push(s.batch[a] == 1 ? batch : r == 0 ? rows : l == 0 ? columns : batch, s.batch[a], l, r, a);
  }
  for (size_t a = 0; a < m; ++a) push(rows, s.m[a], s.lhs.layout.strides[b + a], 0, b + a);
  for (size_t a = 0; a < n; ++a) push(columns, s.n[a], 0, s.rhs.layout.strides[b + a], b + m + a);
  for (size_t a = 0; a < k; ++a) sum.push(s.k[a], {s.lhs.layout.strides[b + m + a], s.rhs.layout.strides[b + n + a]});
  for (Group* g : {&batch, &rows, &columns, &sum}) g->merge();
  s.batch = batch.extents;
  s.m = rows.extents;
  s.n = columns.extents;
  s.k = sum.extents;
  s.axes.clear();
  for (const Group* g : {&batch, &rows, &columns}) append(s.axes, g->extents);
  const auto collect = [&](size_t layout) {
    Extents out;
    for (const Group* g : {&batch, &rows, &columns}) append(out, g->strides[layout]);
    return out;
  };
  s.lhs.layout.strides = batch.strides[0];
  append(s.lhs.layout.strides, rows.strides[0]);
  append(s.lhs.layout.strides, sum.strides[0]);
  s.rhs.layout.strides = batch.strides[1];
  append(s.rhs.layout.strides, columns.strides[1]);
  append(s.rhs.layout.strides, sum.strides[1]);
  s.out.strides = collect(2);
  for (size_t e = 0; e < extra; ++e) s.epilogue_operands[e].layout.strides = collect(3 + e);
}

// Axes before and from s.row_axis on, merged apart, over every layout that spans both.
void merge_rows(Step& s, const std::vector<View*>& views) {
  Group before(1 + views.size() + s.epilogue_operands.size()), within = before;
  for (size_t a = 0; a < s.axes.size(); ++a) {
    std::vector<int64_t> strides{s.out.strides[a]};
    for (const View* v : views) strides.push_back(v->layout.strides[a]);
    for (const View& v : s.epilogue_operands) strides.push_back(v.layout.strides[a]);
    (a < s.row_axis ? before : within).push(s.axes[a], strides);
  }
  before.merge();
  within.merge();
  s.row_axis = before.extents.size();
  s.axes = before.extents;
  append(s.axes, within.extents);
  size_t at = 0;
  const auto take = [&](Layout& l) {
    l.strides = before.strides[at];
    append(l.strides, within.strides[at++]);
  };
  take(s.out);
  for (View* v : views) take(v->layout);
  for (View& v : s.epilogue_operands) take(v.layout);
}

}  // namespace

void StepMaker::anchor(int32_t i) {
  const Classified& c = kind_[static_cast<size_t>(i)];
  const Node& n = node(i);
  const bool makes = c.kind != NodeKind::weight && c.kind != NodeKind::view && c.kind != NodeKind::elementwise && c.kind != NodeKind::fold;
  if (!makes) return;
  if (c.kind == NodeKind::host) return host(i, c.why);
  if (element_count(dims(n.outputs[0])) == 0) {
    Step s = begin(Step::move, i);
    s.axes = dims(n.outputs[0]);
    s.out = dense_layout(s.axes);
    return add(std::move(s));
  }
  switch (c.kind) {
    case NodeKind::contraction: return contraction(i);
    case NodeKind::convolution: return convolution(i);
    case NodeKind::rows: return rows(i);
    case NodeKind::attention: return attention(i);
    case NodeKind::window: return window(i);
    case NodeKind::gather: return gather(i);
    case NodeKind::collective: return collective(i);
    case NodeKind::scatter: return scatter(i);
    case NodeKind::scan: return scan(i);
    default: return move(i);
  }
}

void StepMaker::contraction(int32_t i) {
  const Node& n = node(i);
  const Ints &lb = n.attrs.ints("lhs_batching_dimensions"), &rb = n.attrs.ints("rhs_batching_dimensions");
  const Ints &lc = n.attrs.ints("lhs_contracting_dimensions"), &rc = n.attrs.ints("rhs_contracting_dimensions");
  const Extents l = dims(n.inputs[0]), r = dims(n.inputs[1]);
  Step s = begin(Step::contraction, i);
  Ints lhs_order = lb, rhs_order = rb;
  for (const int64_t a : lb) s.batch.push_back(l[static_cast<size_t>(a)]);
  for (size_t a = 0; a < l.size(); ++a)
    if (!has(lb, a) && !has(lc, a)) {
      s.m.push_back(l[a]);
      lhs_order.push_back(static_cast<int64_t>(a));
    }
  for (size_t a = 0; a < r.size(); ++a)
    if (!has(rb, a) && !has(rc, a)) {
      s.n.push_back(r[a]);
      rhs_order.push_back(static_cast<int64_t>(a));
    }
  for (size_t a = 0; a < lc.size(); ++a) {
    s.k.push_back(l[static_cast<size_t>(lc[a])]);
    lhs_order.push_back(lc[a]);
    rhs_order.push_back(rc[a]);
  }
  if (element_count(s.k) == 0) return host(i, "a sum over nothing");
  s.lhs = view_of(n.inputs[0], lhs_order);
  s.rhs = view_of(n.inputs[1], rhs_order);
  s.axes = dims(s.result);
  finish(s, {});
  regroup(s);
  add(std::move(s));
}

void StepMaker::convolution(int32_t i) {
  const Node& n = node(i);
  const Ints &in_spatial = n.attrs.ints("input_spatial_dimensions"), &kernel_spatial = n.attrs.ints("kernel_spatial_dimensions"),
             &out_spatial = n.attrs.ints("output_spatial_dimensions");
  const size_t rank = in_spatial.size();
  const auto order = [](int64_t a, int64_t b, const Ints& spatial) {
    Ints o{a, b};
    o.insert(o.end(), spatial.begin(), spatial.end());
    return o;
  };
  const Ints in_order = order(n.attrs.integer("input_batch_dimension"), n.attrs.integer("input_feature_dimension"), in_spatial);
  const Ints kernel_order =
      order(n.attrs.integer("kernel_output_feature_dimension"), n.attrs.integer("kernel_input_feature_dimension"), kernel_spatial);
  const Ints out_order = order(n.attrs.integer("output_batch_dimension"), n.attrs.integer("output_feature_dimension"), out_spatial);
  const Extents x = permuted(dims(n.inputs[0]), in_order), w = permuted(dims(n.inputs[1]), kernel_order), y = permuted(dims(n.outputs[0]), out_order);
  Step s = begin(Step::convolution, i);
  s.images = x[0];
  s.groups = n.attrs.integer("feature_group_count");
  s.in_channels = w[1];
  s.out_channels = w[0] / s.groups;
  if (element_count(w) == 0 || element_count(x) == 0) return host(i, "a sum over nothing");
  const Ints strides = ints_or_none(n, "window_strides"), base = ints_or_none(n, "lhs_dilation"), dilation = ints_or_none(n, "rhs_dilation"),
             reversal = ints_or_none(n, "window_reversal");
  const Extents low = dims_or_none(n, "padding_low"), high = dims_or_none(n, "padding_high");
  bool pointwise = true;
  for (size_t k = 0; k < rank; ++k) {
    WindowAxis a{.in = x[k + 2],
                 .out = y[k + 2],
                 .taps = w[k + 2],
                 .stride = at_or(strides, k, 1),
                 .dilation = at_or(dilation, k, 1),
                 .low = at_or(low, k, 0),
                 .base = at_or(base, k, 1),
                 .reversed = at_or(reversal, k, 0) != 0};
    if (a.in == 1) a.base = 1;
    pointwise = pointwise && a.taps == 1 && a.low == 0 && a.base == 1 && (a.out - 1) * a.stride < a.in;
    s.windows.push_back(a);
  }
  // Channels split into groups: N, G, C, S... and G, O, C, T...
  const auto split = [](const Layout& l, size_t axis, int64_t inner) {
    Layout out = l;
    out.strides.insert(out.strides.begin() + static_cast<int64_t>(axis), l.strides[axis] * inner);
    return out;
  };
  const View xv = view_of(n.inputs[0], in_order), wv = view_of(n.inputs[1], kernel_order);
  s.lhs = {xv.value, split(xv.layout, 1, s.in_channels)};
  s.rhs = {wv.value, split(wv.layout, 0, s.out_channels)};
  Extents grouped{s.images, s.groups, s.out_channels}, spatial(y.begin() + 2, y.end());
  append(grouped, spatial);
  const Hop join{grouped, y, {}}, to_result{y, dims(n.outputs[0]), inverse(out_order)};
  if (!pointwise) {
    s.axes = grouped;
    finish(s, {join, to_result});
    add(std::move(s));
    return;
  }
  // One tap: out[G, O, (N, S...)] = sum_C w[G, O, C] * x[G, (N, S...), C], x read with the strides of the window.
  s.kind = Step::contraction;
  s.batch = {s.groups};
  s.m = {s.out_channels};
  s.n = {s.images};
  append(s.n, spatial);
  s.k = {s.in_channels};
  const View image = s.lhs, weights = s.rhs;
  s.lhs = {weights.value, {{weights.layout.strides[0], weights.layout.strides[1], weights.layout.strides[2]}, weights.layout.offset}};
  s.rhs = {image.value, {{image.layout.strides[1], image.layout.strides[0]}, image.layout.offset}};
  for (size_t k = 0; k < rank; ++k) s.rhs.layout.strides.push_back(image.layout.strides[3 + k] * s.windows[k].stride);
  s.rhs.layout.strides.push_back(image.layout.strides[2]);
  s.windows.clear();
  s.axes = {s.groups, s.out_channels, s.images};
  append(s.axes, spatial);
  Ints images_first = iota(s.axes.size());
  images_first[0] = 2;
  images_first[1] = 0;
  images_first[2] = 1;
  finish(s, {{s.axes, grouped, images_first}, join, to_result});
  regroup(s);
  add(std::move(s));
}

void StepMaker::rows(int32_t i) {
  const Node& n = node(i);
  const std::string_view name = n.op->name;
  Step s = begin(Step::rows, i);
  const Extents x = dims(n.inputs[0]);
  const size_t rank = x.size();
  const auto parameter = [&](size_t k) { return k < n.inputs.size() ? n.inputs[k] : kNoValue; };
  Path path;
  if (name == "group_norm") {
    const int64_t groups = n.attrs.integer("groups");
    s.row_function = Step::layer_norm;
    s.axes = {x[0], groups, x[1] / groups};
    s.axes.insert(s.axes.end(), x.begin() + 2, x.end());
    s.row_axis = 2;
    Layout l = placed(n.inputs[0]).layout;
    l.strides.insert(l.strides.begin() + 1, l.strides[1] * s.axes[2]);
    s.views = {{placed(n.inputs[0]).value, l}};
    for (const size_t k : {size_t{1}, size_t{2}}) {
      View v;
      if (const Value p = parameter(k)) {
        v = {placed(p).value, {Extents(s.axes.size(), 0), placed(p).layout.offset}};
        v.layout.strides[1] = placed(p).layout.strides[0] * s.axes[2];
        v.layout.strides[2] = placed(p).layout.strides[0];
      }
      s.views.push_back(v);
    }
    path = {{s.axes, x, {}}};
  } else if (name == "softmax" || name == "log_softmax") {
    s.row_function = name == "softmax" ? Step::softmax : Step::log_softmax;
    Ints order = iota(rank);
    const auto axis = static_cast<size_t>(n.attrs.integer("axis"));
    std::rotate(order.begin() + static_cast<int64_t>(axis), order.begin() + static_cast<int64_t>(axis) + 1, order.end());
    s.axes = permuted(x, order);
    s.row_axis = rank - 1;
    s.views = {view_of(n.inputs[0], order), {}, {}};
    if (axis + 1 != rank) path = {{s.axes, x, inverse(order)}};
  } else {
    s.row_function = name == "layer_norm" ? Step::layer_norm : Step::rms_norm;
    s.axes = x;
    s.row_axis = static_cast<size_t>(n.attrs.integer("axis"));
    s.views = {placed(n.inputs[0]), aligned(parameter(1), rank), aligned(parameter(2), rank)};
  }
  if (s.row_function == Step::layer_norm || s.row_function == Step::rms_norm) s.epsilon = n.attrs.number("epsilon");
  finish(s, std::move(path));
  std::vector<View*> views;
  for (View& v : s.views)
    if (v.value) views.push_back(&v);
  merge_rows(s, views);
  add(std::move(s));
}

void StepMaker::attention(int32_t i) {
  const Node& n = node(i);
  Step s = begin(Step::attention, i);
  const Extents k = dims(n.inputs[1]);
  s.axes = dims(s.result);
  s.kv_heads = k[1];
  s.keys = k[2];
  s.head_size = k[3];
  for (size_t a = 0; a < 3; ++a) s.views.push_back(placed(n.inputs[a]));
  for (size_t a = 3; a < 5; ++a) s.views.push_back(a < n.inputs.size() ? aligned(n.inputs[a], 4) : View{});
  s.scale = n.attrs.number("scale");
  s.softcap = n.attrs.has("softcap") ? n.attrs.number("softcap") : 0;
  s.causal = n.attrs.has("causal") && n.attrs.flag("causal");
  s.causal_offset = n.attrs.has("causal_offset") ? n.attrs.static_dims("causal_offset").at(0) : 0;
  if (s.keys == 0 || s.head_size == 0) return host(i, "a sum over nothing");
  if (attention_epilogue_) {
    finish(s, {});
  } else {
    taken_[static_cast<size_t>(s.anchor)] = true;
    Path path;
    sink(s, path);
  }
  add(std::move(s));
}

void StepMaker::window(int32_t i) {
  const Node& n = node(i);
  Step s = begin(Step::window, i);
  const Extents x = dims(n.inputs[0]), taps = n.attrs.static_dims("window_dimensions");
  s.axes = dims(s.result);
  const Ints strides = ints_or_none(n, "window_strides"), base = ints_or_none(n, "base_dilations"), dilation = ints_or_none(n, "window_dilations");
  const Extents low = dims_or_none(n, "padding_low");
  for (size_t k = 0; k < x.size(); ++k)
    s.windows.push_back({.in = x[k],
                         .out = s.axes[k],
                         .taps = taps[k],
                         .stride = at_or(strides, k, 1),
                         .dilation = at_or(dilation, k, 1),
                         .low = at_or(low, k, 0),
                         .base = x[k] == 1 ? 1 : at_or(base, k, 1)});
  const std::string_view body = reduction_body(*n.regions[0]);
  s.fold = body == "add" ? loops::Op::add : body == "maximum" ? loops::Op::maximum : loops::Op::minimum;
  const Tensor& start = *g_.constant(n.inputs[1]);
  s.initial = is_float(start.dtype()) ? start.number(0) : static_cast<double>(start.integer(0));
  s.views = {placed(n.inputs[0])};
  finish(s, {});
  add(std::move(s));
}

void StepMaker::gather(int32_t i) {
  const Node& n = node(i);
  const RowGather r = *row_gather(g_, n);
  Step s = begin(Step::gather, i);
  const Extents result = dims(s.result);
  const Ints& offsets = n.attrs.ints("offset_dims");
  Ints order;  // P..., R... among the result's axes
  for (size_t a = 0; a < result.size(); ++a)
    if (!has(offsets, a)) order.push_back(static_cast<int64_t>(a));
  s.row_axis = order.size();
  order.insert(order.end(), offsets.begin(), offsets.end());
  s.axes = permuted(result, order);
  View table{placed(n.inputs[0]).value, {{}, placed(n.inputs[0]).layout.offset}}, index = placed(n.inputs[1]);
  const Extents& t = placed(n.inputs[0]).layout.strides;
  table.layout.strides = {t[r.axis]};
  for (size_t a = 0; a < t.size(); ++a)
    if (a != r.axis) table.layout.strides.push_back(t[a]);
  if (r.vector_axis) index.layout.strides.erase(index.layout.strides.begin() + n.attrs.integer("index_vector_dim"));
  s.table_rows = dims(n.inputs[0])[r.axis];
  s.drop = n.attrs.has("out_of_bounds") && n.attrs.text("out_of_bounds") == "drop";
  if (s.table_rows == 0) return host(i, "a table without rows");
  Path path;
  if (!std::is_sorted(order.begin(), order.end())) path = {{s.axes, result, inverse(order)}};
  finish(s, std::move(path));
  // Both operands over all axes, so that axes merge where both allow; the table's row stride stands before.
  View rows{table.value, {Extents(s.row_axis, 0), table.layout.offset}}, positions = index;
  append(rows.layout.strides, Extents(table.layout.strides.begin() + 1, table.layout.strides.end()));
  positions.layout.strides.resize(s.axes.size(), 0);
  merge_rows(s, {&rows, &positions});
  table.layout.strides.resize(1);
  append(table.layout.strides, Extents(rows.layout.strides.begin() + static_cast<int64_t>(s.row_axis), rows.layout.strides.end()));
  positions.layout.strides.resize(s.row_axis);
  s.views = {table, positions};
  add(std::move(s));
}

void StepMaker::collective(int32_t i) {
  const Node& n = node(i);
  Step s = begin(Step::collective, i);
  const JoinedRanks joined = *joined_ranks(n);
  s.axes = dims(s.result);
  s.out = dense_layout(s.axes);
  s.views = {placed(n.inputs[0])};
  s.participants = joined.count;
  s.fold = joined.fold;
  if (s.fold == loops::Op::load) s.row_axis = static_cast<size_t>(n.attrs.integer("all_gather_dim"));
  add(std::move(s));
}

void StepMaker::scatter(int32_t i) {
  const Node& n = node(i);
  Step s = begin(Step::scatter, i);
  s.axes = dims(s.result);
  s.out = dense_layout(s.axes);
  s.row_axis = 1;
  s.fold = *scatter_fold(g_, n);
  s.updates = dims(n.inputs[1])[0];
  for (const Value v : n.inputs) s.views.push_back(placed(v));
  add(std::move(s));
}

void StepMaker::scan(int32_t i) {
  const Node& n = node(i);
  Step s = begin(Step::scan, i);
  s.axes = dims(s.result);
  s.row_axis = s.axes.size() - 1;
  const std::string& body = n.attrs.text("body");
  s.fold = body == "add" ? loops::Op::add : body == "multiply" ? loops::Op::multiply : body == "maximum" ? loops::Op::maximum : loops::Op::minimum;
  s.views = {placed(n.inputs[0])};
  s.out = dense_layout(s.axes);
  merge_rows(s, {&s.views[0]});
  add(std::move(s));
}

void StepMaker::copy(int32_t i, Value result, const View& from, Extents from_dims) {
  Step s;
  s.kind = Step::move;
  s.nodes = {i};
  s.result = result;
  s.anchor_type = g_.type(result).dtype;
  s.axes = dims(result);
  s.out = dense_layout(s.axes);
  Piece p{std::move(from_dims), from, {}};
  p.to = dense_layout(p.extents);
  merge_axes(p.extents, {&p.from.layout.strides, &p.to.strides});
  if (element_count(s.axes) > 0) s.pieces.push_back(std::move(p));
  add(std::move(s));
}

void StepMaker::move(int32_t i) {
  const Node& n = node(i);
  Step s = begin(Step::move, i);
  s.axes = dims(s.result);
  s.out = dense_layout(s.axes);
  const auto piece = [&](Value v) {
    Piece p{dims(v), placed(v), s.out};
    return p;
  };
  const auto push = [&](Piece p) {
    if (element_count(p.extents) == 0) return;
    merge_axes(p.extents, {&p.from.layout.strides, &p.to.strides});
    s.pieces.push_back(std::move(p));
  };
  if (n.op->name == "concatenate") {
    const auto axis = static_cast<size_t>(n.attrs.integer("dimension"));
    int64_t at = 0;
    for (const Value v : n.inputs) {
      Piece p = piece(v);
      p.to.offset = at * s.out.strides[axis];
      at += p.extents[axis];
      push(std::move(p));
    }
  } else if (n.op->name == "reverse") {
    Piece p = piece(n.inputs[0]);
    for (const int64_t a : n.attrs.ints("dimensions")) {
      const auto k = static_cast<size_t>(a);
      p.from.layout.offset += (p.extents[k] - 1) * p.from.layout.strides[k];
      p.from.layout.strides[k] = -p.from.layout.strides[k];
    }
    push(std::move(p));
  } else {  // pad
    const Tensor& number = *g_.constant(n.inputs[1]);
    s.fill = is_float(number.dtype()) ? number.number(0) : static_cast<double>(number.integer(0));
    const Extents low = n.attrs.static_dims("edge_padding_low");
    const Ints& interior = n.attrs.ints("interior_padding");
    Piece p = piece(n.inputs[0]);
    for (size_t k = 0; k < p.extents.size(); ++k) {
      // Element j of the operand lies at low + j * step, kept where that is in [0, extent).
      const int64_t step = interior[k] + 1, first = low[k] >= 0 ? 0 : (-low[k] + step - 1) / step;
      const int64_t room = s.axes[k] - 1 - low[k], last = std::min(p.extents[k] - 1, room < 0 ? -1 : room / step);
      p.from.layout.offset += first * p.from.layout.strides[k];
      p.to.offset += (low[k] + first * step) * s.out.strides[k];
      p.to.strides[k] *= step;
      p.extents[k] = std::max<int64_t>(0, last - first + 1);
    }
    push(std::move(p));
  }
  add(std::move(s));
}

}  // namespace bascule::device::chip
