// device/chip/map_tile_attention.cc — softmax(scale q k^T + bias) v for boxes of batch, heads and queries. Where operators overlap, the scores stay on
// the cores; else (the compilers that modelling found to add operators up) they cross main memory between product, softmax and product.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {

using loops::Op;

// All places over B, KV, R, S and T, D or E: query head h = kv * R + r.
struct TileMapper::Attention {
  const Step& step;
  int64_t KV, R, S, T, D, E;
  DType type;
  Place q, k, v, bias, allowed, result;
  std::vector<Place> operands;
  double block = 128;  // direct: queries of one block of threads
  double uneven = 1;  // direct: blocks of queries of the busiest core over those of the mean one; all boxes are one kernel

  Box over(const Box& rows, int64_t last) const {
    Box b = rows;
    b.begin.push_back(0);
    b.size.push_back(last);
    return b;
  }
  // The box of k or v for rows: all keys, and no R.
  Box keys(const Box& rows, int64_t last) const { return {{rows.begin[0], rows.begin[1], 0, 0, 0}, {rows.size[0], rows.size[1], 1, T, last}}; }
};

namespace {

constexpr double kBlocks[] = {128, 64};  // queries of one block of threads

}  // namespace

// scores: out[.., s, t] = sum_d x[.., s, d] y[.., t, d]; else out[.., s, e] = sum_t x[.., s, t] y[.., t, e].
void TileMapper::attention_product(const Attention& a, const Box& rows, const Place& x, const Place& y, bool scores, const Place& out) {
  Product p;
  p.a = x.buffer;
  p.b = y.buffer;
  p.out = out.buffer;
  p.a_offset = x.offset;
  p.b_offset = y.offset;
  p.out_offset = out.offset;
  for (size_t d = 0; d < 4; ++d) {
    p.a_offset += rows.begin[d] * x.strides[d];
    p.out_offset += rows.begin[d] * out.strides[d];
    if (d < 2) p.b_offset += rows.begin[d] * y.strides[d];
  }
  for (size_t d = 0; d < 2; ++d) p.batch.push_back({rows.size[d], x.strides[d], y.strides[d], out.strides[d]});
  for (size_t d = 2; d < 4; ++d) p.m.push_back({rows.size[d], x.strides[d], 0, out.strides[d]});
  const int64_t n = scores ? a.T : a.E, k = scores ? a.D : a.T;
  p.n.push_back({n, 0, y.strides[scores ? 3 : 4], out.strides[4]});
  p.k.push_back({k, x.strides[4], y.strides[scores ? 4 : 3], 0});
  const double heads = static_cast<double>(rows.size[0] * rows.size[1] * rows.size[2]), queries = static_cast<double>(rows.size[3]);
  const double blocks = heads * queries / a.block / cores_ * a.uneven;
  const size_t begin = e_.program().code.size();
  product(p, staged_ ? padded_flops(heads, queries, static_cast<double>(n), static_cast<double>(k)) : blocks * 2 * a.block * static_cast<double>(n) * static_cast<double>(k));
  auto& code = e_.program().code;
  if (!staged_)
    for (size_t c = begin; c < code.size(); ++c) code[c].cache_bytes = blocks * static_cast<double>(a.T * (scores ? a.D : a.E)) * 2 / static_cast<double>(code.size() - begin);
}

// scores = mask(cap(scale * scores) + bias), in place.
void TileMapper::attention_mask(const Attention& a, const Box& box, const Place& scores) {
  const Step& s = a.step;
  const auto number = [](double x) { return Item::Ref{Item::Ref::constant, 0, x}; };
  const double none = -std::numeric_limits<double>::infinity();
  std::vector<Item> items{{Op::load, DType::f32, {{Item::Ref::anchor, 0, 0}, {}, {}}}};
  const auto last = [&] { return Item::Ref{Item::Ref::value, static_cast<int32_t>(items.size()) - 1, 0}; };
  if (s.scale != 1) items.push_back({Op::multiply, DType::f32, {last(), number(s.scale), {}}});
  if (s.softcap > 0) {
    items.push_back({Op::multiply, DType::f32, {last(), number(1 / s.softcap), {}}});
    items.push_back({Op::tanh, DType::f32, {last(), {}, {}}});
    items.push_back({Op::multiply, DType::f32, {last(), number(s.softcap), {}}});
  }
  std::vector<Place> extra;
  const auto operand = [&](const Place& p) {
    extra.push_back(fetch(p, box));
    return Item::Ref{Item::Ref::operand, static_cast<int32_t>(extra.size()) - 1, 0};
  };
  if (live(a.bias)) {
    const Item::Ref x = operand(a.bias);
    items.push_back({Op::add, DType::f32, {last(), x, {}}});
  }
  if (live(a.allowed)) {
    const Item::Ref x = operand(a.allowed);
    items.push_back({Op::select, DType::f32, {x, last(), number(none)}});
  }
  if (items.size() > 1) evaluate(items, extra, {scores}, box, scores);
  if (!s.causal) return;
  // Key t counts where t <= s + offset: one [S, T] table, repeated over the heads.
  const Box table{{box.begin[3], 0}, {box.size[3], a.T}};
  const int32_t mask = temp(DType::i1, table.elements());
  const Place flat = dense(mask, table);
  evaluate({{Op::iota, DType::i32, {{Item::Ref::none, 1, 0}, {}, {}}},
            {Op::iota, DType::i32, {{Item::Ref::none, 0, 0}, {}, {}}},
            {Op::add, DType::i32, {{Item::Ref::value, 1, 0}, number(static_cast<double>(s.causal_offset)), {}}},
            {Op::less_equal, DType::i1, {{Item::Ref::value, 0, 0}, {Item::Ref::value, 2, 0}, {}}}},
           {}, {}, table, flat);
  const Place repeated{flat.buffer, flat.offset, {0, 0, 0, flat.strides[0], flat.strides[1]}};
  evaluate({{Op::select, DType::f32, {{Item::Ref::operand, 0, 0}, {Item::Ref::anchor, 0, 0}, number(none)}}}, {repeated}, {scores}, box, scores);
  drop(mask);
}

void TileMapper::map_attention(const Step& s) {
  const int64_t H = s.axes[1], KV = s.kv_heads > 0 ? s.kv_heads : H, R = H / std::max<int64_t>(KV, 1);
  const auto heads = [&](Place p, bool shared) {  // [B, H or KV, x, y] -> [B, KV, R, x, y]
    const int64_t stride = p.strides[1];
    p.strides[1] = shared ? stride : stride * R;
    p.strides.insert(p.strides.begin() + 2, shared ? 0 : stride);
    return p;
  };
  const auto optional = [&](size_t view) { return s.views.size() > view && s.views[view].value ? heads(place(s.views[view]), false) : Place{}; };
  Attention a{s, KV, R, s.axes[2], s.keys, s.head_size, s.axes[3], precision_, heads(place(s.views[0]), false), heads(place(s.views[1]), true), heads(place(s.views[2]), true),
              optional(3), optional(4), heads({home(s.result), s.out.offset, s.out.strides}, false), {}};
  if (const DType t = e_.buffer(a.q.buffer).dtype; chip_.matrix.passes.contains(t) && info(t).bits <= info(precision_).bits) a.type = t;
  const Extents rows{s.axes[0], KV, R, a.S};
  const auto all = [&](int64_t last) { return Extents{s.axes[0], KV, R, a.S, last}; };
  const Extents k_all{s.axes[0], KV, 1, a.T, a.D}, v_all{s.axes[0], KV, 1, a.T, a.E};
  double main_bytes = bytes_over(a.q, all(a.D)) + bytes_over(a.k, k_all) + bytes_over(a.v, v_all) + bytes_over(a.result, all(a.E));
  for (const Place& p : {a.bias, a.allowed})
    if (live(p)) main_bytes += bytes_over(p, all(a.T));
  for (const View& o : s.epilogue_operands) {
    a.operands.push_back(heads(place(o), false));
    main_bytes += bytes_over(a.operands.back(), all(a.E));
  }
  const auto parts = boxes(rows, 4, local_limit(), [&](const Extents& x) {
    const double h = static_cast<double>(x[0] * x[1]), r = h * static_cast<double>(x[2] * x[3]);
    return r * static_cast<double>(a.T) * (4 + 2 + (live(a.bias) ? 4 : 0) + (live(a.allowed) || s.causal ? 5 : 0)) + r * static_cast<double>(a.D + a.E) * 6 +
           h * static_cast<double>(a.T * (a.D + a.E)) * 2;
  });
  const std::string choice = "boxes=" + std::to_string(parts.size());
  const auto finish = [&](const Box& box, const Place& probabilities, const Place& values) {
    const Box out_box = a.over(box, a.E);
    const Place y = result_box(a.result, out_box);
    if (s.epilogue.empty()) {
      attention_product(a, box, probabilities, values, false, y);
    } else {
      const Place made = dense(temp(DType::f32, out_box.elements()), out_box);
      attention_product(a, box, probabilities, values, false, made);
      std::vector<Place> local;
      for (const Place& o : a.operands) local.push_back(fetch(o, out_box));
      epilogue(s, local, made, out_box, y);
      drop(made.buffer);
    }
    store(y, a.result, out_box);
  };
  if (staged_ && !overlap_) {  // three operators
    const Extents score_axes = all(a.T);
    const Box everything = whole_box(score_axes);
    const Place scores = dense(e_.main("scores", Buffer::activation, a.type, everything.elements()), everything);
    const Place probabilities = dense(e_.main("probabilities", Buffer::activation, a.type, everything.elements()), everything);
    const StepInfo info = e_.step();
    const auto next = [&](const char* what) {
      e_.step().choice = choice;
      auto& code = e_.program().code;
      if (kernel_begin_ < code.size()) code[kernel_begin_].launches = 1;
      StepInfo part = info;
      part.name += what;
      part.work = {};
      e_.begin_step(std::move(part));
      begin_kernel();
    };
    e_.step().name += ": scores";
    for (const Box& box : parts) {
      const Box score_box = a.over(box, a.T);
      const Place q = fetch(a.q, a.over(box, a.D), a.type), k = fetch(a.k, a.keys(box, a.D), a.type);
      const Place sc = dense(temp(DType::f32, score_box.elements()), score_box), y = result_box(scores, score_box);
      attention_product(a, box, q, k, true, sc);
      attention_mask(a, score_box, sc);
      evaluate({{Op::load, DType::f32, {{Item::Ref::anchor, 0, 0}, {}, {}}}}, {}, {sc}, score_box, y);
      store(y, scores, score_box);
      drop(sc.buffer);
      drop_fetched();
    }
    next(": softmax");
    for (const Box& box : parts) {
      const Box score_box = a.over(box, a.T);
      const Place x = fetch(scores, score_box), y = result_box(probabilities, score_box);
      softmax_rows(x, y, score_box, 4, false);
      store(y, probabilities, score_box);
      drop_fetched();
    }
    next(": values");
    for (const Box& box : parts) {
      const Place p = fetch(probabilities, a.over(box, a.T)), v = fetch(a.v, a.keys(box, a.E), a.type);
      finish(box, p, v);
      drop_fetched();
    }
    e_.step().choice = choice;
    e_.release(scores.buffer);
    e_.release(probabilities.buffer);
    return;
  }
  // The block that leaves the busiest core the fewest queries.
  const double all_heads = static_cast<double>(s.axes[0] * H), queries = static_cast<double>(a.S);
  const auto waves_of = [&](double block) { return std::ceil(all_heads * std::ceil(queries / block) / cores_); };
  if (chip_.level != Level::roofline) {
    for (const double block : kBlocks)
      if (waves_of(block) * block < waves_of(a.block) * a.block) a.block = block;
    a.uneven = waves_of(a.block) / std::max(all_heads * queries / a.block / cores_, 1e-9);
  }
  for (const Box& box : parts) {
    const Box score_box = a.over(box, a.T);
    const Place q = fetch(a.q, a.over(box, a.D), a.type), k = fetch(a.k, a.keys(box, a.D), a.type), v = fetch(a.v, a.keys(box, a.E), a.type);
    const Place sc = dense(temp(DType::f32, score_box.elements()), score_box);
    attention_product(a, box, q, k, true, sc);
    attention_mask(a, score_box, sc);
    const Place pr = dense(temp(a.type, score_box.elements()), score_box);
    softmax_rows(sc, pr, score_box, 4, false);
    drop(sc.buffer);
    finish(box, pr, v);
    drop(pr.buffer);
    drop_fetched();
  }
  e_.step().choice = choice;
  if (!staged_)  // cores without a block idle
    for (size_t k = kernel_begin_; k < e_.program().code.size(); ++k)
      if (Instruction& i = e_.program().code[k]; e_.program().queues[static_cast<size_t>(i.queue)].kind == Queue::engine) i.cores = std::max<int32_t>(1, static_cast<int32_t>(std::lround(cores_ / a.uneven)));
  end_kernel(main_bytes, static_cast<int64_t>(waves_of(a.block)));
}

}  // namespace bascule::device::chip
