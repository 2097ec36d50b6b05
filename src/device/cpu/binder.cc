// device/cpu/binder.cc — see binder.h.
#include "device/cpu/binder.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "graph/evaluate.h"
#include "kernels/block.h"
#include "kernels/table.h"
#include "base/threads.h"

namespace bascule::device::cpu {
namespace {

std::map<std::string_view, Kernel>& kernels() {
  static std::map<std::string_view, Kernel> t;
  return t;
}

std::string describe(const Node& n) {
  std::string where(n.op->name);
  if (n.origin) where += " of " + text(n.origin);
  return where;
}

// A type of the same size that loads and stores bits as they are.
std::optional<DType> carrier(DType t) {
  switch (info(t).storage_bits) {
    case 8: return DType::i8;
    case 16: return DType::i16;
    case 32: return DType::i32;
    case 64: return DType::i64;
    default: return std::nullopt;
  }
}

int64_t count(const std::vector<int64_t>& dims) { return element_count(dims); }

// to[i] = from[i] under any strides, 4-byte elements whose source runs along another axis than the target: piece by piece.
struct Transposition {
  std::vector<int64_t> extents, from, to;  // outer axes
  int64_t rows = 0, columns = 0, row_from = 0, column_to = 0;  // rows: along the target's unit axis; columns: along the source's
};
std::optional<Transposition> as_transposition(const loops::KernelSpec& s) {
  const auto &x = s.operands[0], &y = s.operands[1];
  if (s.axes.size() < 2 || info(x.dtype).storage_bits != 32 || x.dtype != y.dtype) return std::nullopt;
  std::optional<size_t> along_x, along_y;
  for (size_t a = 0; a < s.axes.size(); ++a) {
    if (x.strides[a] == 1) along_x = a;
    if (y.strides[a] == 1) along_y = a;
  }
  if (!along_x || !along_y || *along_x == *along_y) return std::nullopt;
  Transposition t;
  t.rows = s.axes[*along_y].extent;
  t.columns = s.axes[*along_x].extent;
  t.row_from = x.strides[*along_y];
  t.column_to = y.strides[*along_x];
  for (size_t a = 0; a < s.axes.size(); ++a)
    if (a != *along_x && a != *along_y) {
      t.extents.push_back(s.axes[a].extent);
      t.from.push_back(x.strides[a]);
      t.to.push_back(y.strides[a]);
    }
  return t;
}

void run_transposition(const Transposition& t, const std::byte* from, std::byte* to) {
  constexpr int64_t kPiece = 64;
  const int64_t row_parts = (t.rows + kPiece - 1) / kPiece;
  const int64_t outer = count(t.extents);
  parallel_for(outer * row_parts, [&](int64_t task) {
    int64_t o = task / row_parts, at_from = 0, at_to = 0;
    for (size_t k = t.extents.size(); k-- > 0;) {
      at_from += o % t.extents[k] * t.from[k];
      at_to += o % t.extents[k] * t.to[k];
      o /= t.extents[k];
    }
    const int64_t r = task % row_parts * kPiece;
    kernels::table().transpose4(reinterpret_cast<const uint32_t*>(from) + at_from + r * t.row_from, t.row_from, reinterpret_cast<uint32_t*>(to) + at_to + r, t.column_to,
                                std::min(kPiece, t.rows - r), t.columns);
  });
}

loops::KernelSpec copy_spec(const std::vector<int64_t>& dims, const Layout& layout, DType from, DType to) {
  loops::KernelSpec s;
  for (size_t a = 0; a < dims.size(); ++a) s.axes.push_back({"n" + std::to_string(a), dims[a], loops::Role::parallel});
  s.operands = {{from, layout.strides, layout.offset, false}, {to, dense_layout(dims).strides, 0, true}};
  loops::Instruction load;
  load.dtype = from;
  s.body.push_back(load);
  if (from != to) {
    loops::Instruction cast;
    cast.op = loops::Op::convert;
    cast.dtype = to;
    cast.a = 0;
    s.body.push_back(cast);
  }
  s.stores.push_back({1, static_cast<int32_t>(s.body.size()) - 1});
  return s;
}

}  // namespace

bool register_kernel(std::string_view op, Kernel kernel) { return kernels().emplace(op, kernel).second; }
Kernel find_kernel(std::string_view op) {
  const auto at = kernels().find(op);
  return at == kernels().end() ? nullptr : at->second;
}

Binder::Binder(const Graph& graph, const std::vector<passes::Region>& regions, Accumulate accumulate) : g_(graph), regions_(regions), accumulate_(accumulate), out_(std::make_shared<Bound>()) {}

std::vector<int64_t> Binder::dims(Value v) const {
  auto d = constants(g_.type(v).dims);
  if (!d) fail_internal("cpu plan of " + g_.name, "sizes that are bound", g_.type(v).text());
  return *d;
}

int32_t Binder::fresh(int64_t bytes) {
  Storage s;
  s.bytes = bytes;
  out_->storages.push_back(s);
  return static_cast<int32_t>(out_->storages.size()) - 1;
}

void Binder::step(const Node* n, std::string name, const std::vector<int32_t>& storages, std::function<void(const Frame&)> run) {
  const auto at = static_cast<int32_t>(out_->steps.size());
  for (const int32_t s : storages) {
    Storage& storage = out_->storages[static_cast<size_t>(s)];
    storage.first = std::min(storage.first, at);
    storage.last = std::max(storage.last, at);
  }
  out_->text += "  " + name + (n ? "  // " + describe(*n) : "") + "\n";
  out_->steps.push_back({std::move(name), n ? n->origin : nullptr, std::move(run)});
}

const Placed& Binder::placed(Value v) {
  if (const auto at = placed_.find(v); at != placed_.end()) return at->second;
  if (const Tensor* t = g_.constant(v)) {
    Storage s;
    s.kind = Storage::constant;
    s.data = t->data();
    s.bytes = t->bytes();
    out_->storages.push_back(s);
    return placed_[v] = {static_cast<int32_t>(out_->storages.size()) - 1, dense_layout(t->dims())};
  }
  fail_internal("cpu plan of " + g_.name, "a value that was computed", "%" + std::to_string(v.id));
}

bool Binder::is_dense(const Placed& p, const std::vector<int64_t>& d) const {
  const Layout want = dense_layout(d);
  if (count(d) <= 1) return true;
  for (size_t a = 0; a < d.size(); ++a)
    if (d[a] != 1 && p.layout.strides[a] != want.strides[a]) return false;
  return true;
}

Placed Binder::dense_of(const Placed& p, const std::vector<int64_t>& d, DType from, DType to) {
  if (from == to && is_dense(p, d)) return {p.storage, {dense_layout(d).strides, p.layout.offset}};
  DType a = from, b = to;
  if (from == to) {
    const auto c = carrier(from);
    if (!c) fail_unsupported("cpu", "a view of elements of 8 to 64 bits", std::string(info(from).name), "Use --device reference");
    a = b = *c;
  }
  const loops::KernelSpec spec = loops::collapsed(copy_spec(d, p.layout, a, b));
  std::string why;
  const auto program = kernels::BlockProgram::compile(spec, &why);
  if (!program) fail_internal("cpu copy", "a program", why);
  const int64_t bytes = storage_bytes(to, count(d));
  check_room(bytes, "copy of an array");
  const auto transposition = as_transposition(spec);
  const int64_t offset = spec.operands[0].offset;
  const auto run = [program, transposition, offset](std::byte* in, std::byte* out) {
    if (transposition) {
      run_transposition(*transposition, in + 4 * offset, out);
      return;
    }
    std::byte* const pointers[] = {in, out};
    program->run(pointers);
  };
  const Storage source = out_->storages[static_cast<size_t>(p.storage)];
  if (source.kind == Storage::constant) {  // once, when binding
    const BufferRef made = host_allocate(bytes);
    run(const_cast<std::byte*>(source.data), made->host());
    Storage s;
    s.kind = Storage::constant;
    s.data = made->host();
    s.bytes = bytes;
    out_->owned.push_back(made);
    out_->storages.push_back(s);
    return {static_cast<int32_t>(out_->storages.size()) - 1, dense_layout(d)};
  }
  const int32_t to_storage = fresh(bytes), from_storage = p.storage;
  step(nullptr, transposition ? "transpose" : from == to ? "copy" : "convert", {from_storage, to_storage},
       [run, from_storage, to_storage](const Frame& f) { run(f.base[static_cast<size_t>(from_storage)], f.base[static_cast<size_t>(to_storage)]); });
  return {to_storage, dense_layout(d)};
}

Placed Binder::dense_as(Value v, DType t) {
  const auto key = std::pair(v, t);
  if (const auto at = dense_.find(key); at != dense_.end()) return at->second;
  return dense_[key] = dense_of(placed(v), dims(v), type(v).dtype, t);
}
Placed Binder::dense(Value v) { return dense_as(v, type(v).dtype); }

Placed Binder::result(Value v) {
  const auto d = dims(v);
  const int64_t bytes = storage_bytes(type(v).dtype, count(d));
  check_room(bytes, "array");
  const Placed p{fresh(bytes), dense_layout(d)};
  placed_[v] = p;
  return p;
}

void Binder::own(Value v, Tensor t) {
  Storage s;
  s.kind = Storage::constant;
  s.bytes = t.bytes();
  const auto kept = std::make_shared<const Tensor>(std::move(t));
  s.data = kept->data();
  out_->owned.push_back(kept);
  out_->storages.push_back(s);
  place(v, {static_cast<int32_t>(out_->storages.size()) - 1, dense_layout(kept->dims())});
}

void Binder::convert_into(const Node& n, const Placed& from, DType t, Value v) {
  const Placed to = result(v);
  const auto program = kernels::BlockProgram::compile(copy_spec(dims(v), from.layout, t, type(v).dtype));
  if (!program) fail_internal("cpu conversion", "a program", std::string(info(t).name));
  step(&n, "convert", {from.storage, to.storage}, [program, from, to](const Frame& f) {
    std::byte* const pointers[] = {f.base[static_cast<size_t>(from.storage)], f.base[static_cast<size_t>(to.storage)]};
    program->run(pointers);
  });
}

// Operators that only rename elements: another layout of the same storage.
bool Binder::view(const Node& n) {
  const std::string_view name = n.op->name;
  if (n.outputs.size() != 1 || n.inputs.empty() || !n.inputs[0] || !carrier(type(n.outputs[0]).dtype)) return false;
  const Value x = n.inputs[0], y = n.outputs[0];
  const auto in = dims(x), out = dims(y);
  if (name == "broadcast_in_dim") {
    const Placed& p = placed(x);
    Layout l{std::vector<int64_t>(out.size(), 0), p.layout.offset};
    const Ints& axes = n.attrs.ints("broadcast_dimensions");
    for (size_t k = 0; k < in.size(); ++k) l.strides[static_cast<size_t>(axes[k])] = in[k] == 1 ? 0 : p.layout.strides[k];
    place(y, {p.storage, l});
    return true;
  }
  if (name == "transpose") {
    const Placed& p = placed(x);
    Layout l{{}, p.layout.offset};
    for (const int64_t a : n.attrs.ints("permutation")) l.strides.push_back(p.layout.strides[static_cast<size_t>(a)]);
    place(y, {p.storage, l});
    return true;
  }
  if (name == "slice") {
    const Placed& p = placed(x);
    Layout l = p.layout;
    const auto start = n.attrs.static_dims("start_indices");
    const Ints strides = n.attrs.has("strides") ? n.attrs.ints("strides") : Ints();
    for (size_t k = 0; k < in.size(); ++k) {
      l.offset += start[k] * l.strides[k];
      if (k < strides.size()) l.strides[k] *= strides[k];
    }
    if (count(out) == 0) l.offset = 0;
    place(y, {p.storage, l});
    return true;
  }
  if (name == "reverse") {
    const Placed& p = placed(x);
    Layout l = p.layout;
    for (const int64_t a : n.attrs.ints("dimensions")) {
      const auto k = static_cast<size_t>(a);
      if (in[k] > 0) l.offset += (in[k] - 1) * l.strides[k];
      l.strides[k] = -l.strides[k];
    }
    place(y, {p.storage, l});
    return true;
  }
  if (name == "reshape") {
    // Axes are matched in groups of equal products; a group of the source must run with one stride.
    const Placed p = placed(x);
    std::vector<int64_t> strides(out.size(), 0);
    bool fits = count(out) > 0;
    size_t i = 0, j = 0;
    while (fits && (i < in.size() || j < out.size())) {
      int64_t pi = 1, pj = 1;
      const size_t i0 = i, j0 = j;
      if (i < in.size()) pi = in[i++];
      if (j < out.size()) pj = out[j++];
      while (pi != pj) {
        if (pi < pj && i < in.size()) pi *= in[i++];
        else if (pj < pi && j < out.size()) pj *= out[j++];
        else break;
      }
      if (pi != pj) {
        fits = false;
        break;
      }
      int64_t stride = 1;
      bool found = false;
      for (size_t k = i; k-- > i0;) {
        if (in[k] == 1) continue;
        if (!found) {
          stride = p.layout.strides[k];
          found = true;
          pi = in[k];
        } else {
          fits &= p.layout.strides[k] == stride * pi;
          pi *= in[k];
        }
      }
      int64_t s = stride;
      for (size_t k = j; k-- > j0;) {
        strides[k] = s;
        s *= out[k];
      }
    }
    if (fits) place(y, {p.storage, {strides, p.layout.offset}});
    else {
      const Placed d = dense(x);
      place(y, {d.storage, {dense_layout(out).strides, d.layout.offset}});
    }
    return true;
  }
  if (name == "optimization_barrier" || (name == "bitcast_convert" && in == out && info(type(x).dtype).bits == info(type(y).dtype).bits)) {
    place(y, placed(x));
    return true;
  }
  return false;
}

void Binder::fallback(const Node& n, const std::string& reason) {
  out_->fallbacks.push_back({describe(n), reason});
  std::vector<Placed> in;
  std::vector<Type> types;
  std::vector<int32_t> used;
  std::vector<std::pair<int32_t, int64_t>> out;
  for (const Value v : n.inputs) {
    if (!v) {
      in.push_back({});
      types.push_back(absent_type());
      continue;
    }
    in.push_back(dense(v));
    types.push_back(type(v));
    used.push_back(in.back().storage);
  }
  for (const Value v : n.outputs) {
    const Placed p = result(v);
    used.push_back(p.storage);
    out.emplace_back(p.storage, out_->storages[static_cast<size_t>(p.storage)].bytes);
  }
  step(&n, "reference " + std::string(n.op->name), used, [node = n, in, types, out, mode = accumulate_](const Frame& f) {
    HostValues args;
    for (size_t i = 0; i < in.size(); ++i) {
      if (in[i].storage < 0) {
        args.push_back(HostValue::none());
        continue;
      }
      const std::byte* p = f.base[static_cast<size_t>(in[i].storage)] + in[i].layout.offset * info(types[i].dtype).storage_bits / 8;
      args.emplace_back(Tensor::view(types[i].dtype, *constants(types[i].dims), p, nullptr));
    }
    EvalContext context;
    context.accumulate = mode;
    const HostValues results = evaluate(node, args, {}, context);
    for (size_t i = 0; i < out.size(); ++i) {
      const Tensor& t = results[i].tensor();
      if (t.bytes() != out[i].second) fail_internal("reference of " + std::string(node.op->name), std::to_string(out[i].second) + " bytes", t.type_text());
      if (t.bytes() > 0) std::memcpy(f.base[static_cast<size_t>(out[i].first)], t.data(), static_cast<size_t>(t.bytes()));
    }
  });
}

void Binder::region(const passes::Region& r) {
  const Node& last = g_.nodes[static_cast<size_t>(r.nodes.back())];
  const bool loops_known = passes::is_elementwise(last) || (last.op->name == "reduce" && last.inputs.size() == 2);
  if (!loops_known) {
    if (view(last)) return;
    std::string why = "no kernel";
    if (const Kernel k = find_kernel(last.op->name)) why = k(*this, last);
    if (!why.empty()) fallback(last, why);
    return;
  }
  std::string why;
  const std::function<Layout(Value)> layout = [this](Value v) { return placed(v).layout; };
  auto lowered = lower(g_, r, layout, why);
  std::shared_ptr<const kernels::BlockProgram> program;
  if (lowered) program = kernels::BlockProgram::compile(lowered->spec, &why);
  if (!program) {
    if (r.nodes.size() == 1) {
      fallback(last, why);
      return;
    }
    for (const int32_t i : r.nodes) region({{i}});
    return;
  }
  std::vector<int32_t> used;
  for (size_t k = 0; k + 1 < lowered->operands.size(); ++k) used.push_back(placed(lowered->operands[k]).storage);
  used.push_back(result(last.outputs[0]).storage);
  std::string name = "loops " + std::to_string(r.nodes.size()) + " operators";
  step(&last, std::move(name), used, [program, used](const Frame& f) {
    std::vector<std::byte*> pointers;
    for (const int32_t s : used) pointers.push_back(f.base[static_cast<size_t>(s)]);
    program->run(pointers);
  });
  out_->text += program->spec().text();
}

// First fit over lifetimes.
void Binder::plan_arena() {
  std::vector<size_t> order;
  for (size_t i = 0; i < out_->storages.size(); ++i)
    if (out_->storages[i].kind == Storage::arena && out_->storages[i].last >= 0) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return out_->storages[a].first < out_->storages[b].first; });
  std::vector<size_t> live;  // by offset
  for (const size_t i : order) {
    Storage& s = out_->storages[i];
    std::erase_if(live, [&](size_t k) { return out_->storages[k].last < s.first; });
    const int64_t need = (s.bytes + 63) / 64 * 64;
    int64_t at = 0;
    size_t where = 0;
    for (; where < live.size(); ++where) {
      const Storage& other = out_->storages[live[where]];
      if (other.offset - at >= need) break;
      at = std::max(at, other.offset + (other.bytes + 63) / 64 * 64);
    }
    s.offset = at;
    live.insert(std::upper_bound(live.begin(), live.end(), i, [&](size_t a, size_t b) { return out_->storages[a].offset < out_->storages[b].offset; }), i);
    out_->arena_bytes = std::max(out_->arena_bytes, at + need);
  }
}

std::shared_ptr<const Bound> Binder::bind() {
  for (size_t i = 0; i < g_.inputs.size(); ++i) {
    Storage s;
    s.kind = Storage::input;
    s.index = static_cast<int32_t>(i);
    s.first = -1;
    out_->storages.push_back(s);
    placed_[g_.inputs[i]] = {static_cast<int32_t>(i), dense_layout(dims(g_.inputs[i]))};
  }
  for (const passes::Region& r : regions_) region(r);
  for (size_t i = 0; i < g_.outputs.size(); ++i) {
    const Value v = g_.outputs[i];
    const auto d = dims(v);
    out_->output_types.push_back(type(v));
    const int64_t bytes = storage_bytes(type(v).dtype, count(d));
    Placed p = dense_of(placed(v), d, type(v).dtype, type(v).dtype);
    Storage& s = out_->storages[static_cast<size_t>(p.storage)];
    if (s.kind == Storage::arena && p.layout.offset == 0 && s.bytes == bytes) {  // computed where the caller wants it
      s.kind = Storage::output;
      s.index = static_cast<int32_t>(i);
      out_->output_storage.push_back(p.storage);
      continue;
    }
    const int32_t to = fresh(bytes);
    out_->storages[static_cast<size_t>(to)].kind = Storage::output;
    out_->storages[static_cast<size_t>(to)].index = static_cast<int32_t>(i);
    const int64_t skip = p.layout.offset * info(type(v).dtype).storage_bits / 8;
    const int32_t from = p.storage;
    step(nullptr, "copy to output", {from, to}, [from, to, skip, bytes](const Frame& f) {
      if (bytes > 0) std::memcpy(f.base[static_cast<size_t>(to)], f.base[static_cast<size_t>(from)] + skip, static_cast<size_t>(bytes));
    });
    out_->output_storage.push_back(to);
  }
  plan_arena();
  return out_;
}

}  // namespace bascule::device::cpu
