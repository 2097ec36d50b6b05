// device/cpu/contraction.cc — dot_general as batched matrix products on the operands where they lie.
#include <algorithm>

#include "device/cpu/binder.h"
#include "kernels/gemm.h"

namespace bascule::device::cpu {
namespace {

// Axes of one operand by role, in the order of the result or of the contraction.
struct Axes {
  std::vector<int64_t> extents, strides;
};

// One stride for all of the axes (in row-major order of them), if there is one.
std::optional<int64_t> merged(const Axes& a) {
  int64_t stride = 1, next = 0;
  bool found = false;
  for (size_t k = a.extents.size(); k-- > 0;) {
    if (a.extents[k] == 1) continue;
    if (!found) {
      found = true;
      stride = a.strides[k];
    } else if (a.strides[k] != next) {
      return std::nullopt;
    }
    next = a.strides[k] * a.extents[k];
  }
  return stride;
}

bool contains(const Ints& list, size_t x) { return std::find(list.begin(), list.end(), static_cast<int64_t>(x)) != list.end(); }

struct Side {
  Placed p;
  Axes batch, free, contracted;
};

Side sort_axes(const Placed& p, const std::vector<int64_t>& dims, const Ints& batch, const Ints& contract) {
  Side s;
  s.p = p;
  const auto add = [&](Axes& to, size_t k) {
    to.extents.push_back(dims[k]);
    to.strides.push_back(p.layout.strides[k]);
  };
  for (const int64_t k : batch) add(s.batch, static_cast<size_t>(k));
  for (size_t k = 0; k < dims.size(); ++k)
    if (!contains(batch, k) && !contains(contract, k)) add(s.free, k);
  for (const int64_t k : contract) add(s.contracted, static_cast<size_t>(k));
  return s;
}

// The operand in type T with one stride for its free and one for its contracted axes, copied if it must be.
Side prepare(Binder& b, Value v, DType t, const Ints& batch, const Ints& contract) {
  const auto dims = b.dims(v);
  const DType from = b.type(v).dtype;
  Side s = sort_axes(from == t ? b.placed(v) : b.dense_as(v, t), dims, batch, contract);
  // A matrix whose neither axis runs by ones (a slice with steps, a broadcast) reads a line of cache for each element.
  const auto fine = [&] {
    const auto f = merged(s.free), c = merged(s.contracted);
    return f && c && (*f == 1 || *c == 1 || *f == 0);
  };
  if (fine()) return s;
  std::vector<int64_t> order;
  Placed permuted = s.p;
  permuted.layout.strides.clear();
  std::vector<int64_t> extents;
  for (const Axes* a : {&s.batch, &s.free, &s.contracted})
    for (size_t k = 0; k < a->extents.size(); ++k) {
      extents.push_back(a->extents[k]);
      permuted.layout.strides.push_back(a->strides[k]);
    }
  const Placed dense = b.dense_of(permuted, extents, t, t);
  size_t at = 0;
  for (Axes* a : {&s.batch, &s.free, &s.contracted})
    for (int64_t& stride : a->strides) stride = dense.layout.strides[at++];
  s.p = dense;
  s.p.layout.offset = dense.layout.offset;
  return s;
}

template <class T>
void product_step(Binder& b, const Node& n, DType t, const Placed& out) {
  const Ints &lb = n.attrs.ints("lhs_batching_dimensions"), &rb = n.attrs.ints("rhs_batching_dimensions");
  const Ints &lc = n.attrs.ints("lhs_contracting_dimensions"), &rc = n.attrs.ints("rhs_contracting_dimensions");
  const Side l = prepare(b, n.inputs[0], t, lb, lc), r = prepare(b, n.inputs[1], t, rb, rc);
  const int64_t m = element_count(l.free.extents), nn = element_count(r.free.extents), k = element_count(l.contracted.extents);
  const int64_t batch = element_count(l.batch.extents);
  std::vector<kernels::Offsets> offsets;
  offsets.reserve(static_cast<size_t>(batch));
  for (int64_t i = 0; i < batch; ++i) {
    kernels::Offsets o;
    int64_t rest = i;
    for (size_t a = l.batch.extents.size(); a-- > 0;) {
      const int64_t x = rest % l.batch.extents[a];
      rest /= l.batch.extents[a];
      o.a += x * l.batch.strides[a];
      o.b += x * r.batch.strides[a];
    }
    o.c = i * m * nn;
    offsets.push_back(o);
  }
  const int64_t a_row = *merged(l.free), a_col = *merged(l.contracted), b_row = *merged(r.contracted), b_col = *merged(r.free);
  std::string name = "matrix product " + std::to_string(batch) + " x " + std::to_string(m) + " x " + std::to_string(k) + " x " + std::to_string(nn);
  b.step(&n, std::move(name), {l.p.storage, r.p.storage, out.storage},
         [=, left = l.p, right = r.p, offsets = std::move(offsets)](const Frame& f) {
           const T* pa = pointer<T>(f, left);
           const T* pb = pointer<T>(f, right);
           T* pc = pointer<T>(f, out);
           // One column: the transposed product, whose result lies the same.
           if (nn == 1 && m > 1) {
             std::vector<kernels::Offsets> swapped = offsets;
             for (auto& o : swapped) std::swap(o.a, o.b);
             kernels::gemm<T>(1, m, k, {pb, b_col, b_row}, {pa, a_col, a_row}, {pc, m, 1}, swapped);
           } else {
             kernels::gemm<T>(m, nn, k, {pa, a_row, a_col}, {pb, b_row, b_col}, {pc, nn, 1}, offsets);
           }
         });
}

}  // namespace

CPU_KERNEL(dot_general) {
  const DType t = b.type(n.outputs[0]).dtype, x = b.type(n.inputs[0]).dtype, y = b.type(n.inputs[1]).dtype;
  const auto narrow = [](DType d) { return d == DType::f32 || d == DType::bf16 || d == DType::f16; };
  const auto whole = [](DType d) { return d == DType::i8 || d == DType::u8 || d == DType::i16 || d == DType::u16 || d == DType::i32; };
  if (t == DType::f64 && (narrow(x) || x == t) && (narrow(y) || y == t)) {
    product_step<double>(b, n, t, b.result(n.outputs[0]));
    return "";
  }
  if (narrow(t) && narrow(x) && narrow(y)) {
    if (t == DType::f32) {
      product_step<float>(b, n, t, b.result(n.outputs[0]));
      return "";
    }
    const auto d = b.dims(n.outputs[0]);
    const Placed wide{b.fresh(4 * element_count(d)), dense_layout(d)};
    product_step<float>(b, n, DType::f32, wide);
    b.convert_into(n, wide, DType::f32, n.outputs[0]);
    return "";
  }
  if (t == DType::i32 && whole(x) && whole(y)) {
    product_step<int32_t>(b, n, t, b.result(n.outputs[0]));
    return "";
  }
  return "no matrix product of " + std::string(info(x).name) + " and " + std::string(info(y).name) + " to " + std::string(info(t).name);
}

}  // namespace bascule::device::cpu
