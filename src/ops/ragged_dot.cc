// ops/ragged_dot.cc — matrix product in which one axis is cut into groups of given sizes: mixtures of experts.
#include <algorithm>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

struct Ragged {
  Ints lb, rb, lc, rc, lf, rf;
  int64_t axis, group = -1;  // lhs axis that is cut; rhs axis of groups, or -1
  enum { rows, contracted, batch } kind;
};

bool contains(const Ints& v, int64_t x) { return std::find(v.begin(), v.end(), x) != v.end(); }

Ragged read(const OpView& op) {
  const Attrs& a = op.attrs;
  Ragged r{a.ints("lhs_batching_dimensions"), a.ints("rhs_batching_dimensions"), a.ints("lhs_contracting_dimensions"), a.ints("rhs_contracting_dimensions"), {}, {}, 0, -1, Ragged::rows};
  const Ints &ragged = a.ints("lhs_ragged_dimensions"), &groups = a.ints("rhs_group_dimensions");
  if (ragged.size() != 1) op.fail("one of lhs_ragged_dimensions", std::to_string(ragged.size()), "C11");
  r.axis = require_axis(op, ragged[0], op.in(0).rank(), "lhs_ragged_dimensions", "C12");
  r.kind = contains(r.lb, r.axis) ? Ragged::batch : contains(r.lc, r.axis) ? Ragged::contracted : Ragged::rows;
  if (groups.size() != (r.kind == Ragged::rows ? 1u : 0u)) op.fail(r.kind == Ragged::rows ? "one of rhs_group_dimensions" : "no rhs_group_dimensions", std::to_string(groups.size()), "C15");
  if (!groups.empty()) r.group = require_axis(op, groups[0], op.in(1).rank(), "rhs_group_dimensions", "C14");
  const auto joined = [](Ints x, const Ints& y) {
    x.insert(x.end(), y.begin(), y.end());
    return x;
  };
  const Ints left = joined(r.lb, r.lc);
  Ints right = joined(r.rb, r.rc);
  if (r.group >= 0) right.push_back(r.group);
  if (r.lb.size() != r.rb.size() || r.lc.size() != r.rc.size()) op.fail("as many batching and contracting axes left as right", std::to_string(left.size()) + " and " + std::to_string(r.rb.size() + r.rc.size()), "C1, C2");
  require_axes(op, left, op.in(0).rank(), "lhs axes", "C3");
  require_axes(op, right, op.in(1).rank(), "rhs axes", "C4");
  for (size_t i = 0; i < r.lb.size(); ++i) op.require_equal(op.in(0).dims[static_cast<size_t>(r.lb[i])], op.in(1).dims[static_cast<size_t>(r.rb[i])], "batching axes of equal extent", "C9");
  for (size_t i = 0; i < r.lc.size(); ++i) op.require_equal(op.in(0).dims[static_cast<size_t>(r.lc[i])], op.in(1).dims[static_cast<size_t>(r.rc[i])], "contracting axes of equal extent", "C10");
  for (int64_t d = 0; d < static_cast<int64_t>(op.in(0).rank()); ++d)
    if (!contains(left, d)) r.lf.push_back(d);
  for (int64_t d = 0; d < static_cast<int64_t>(op.in(1).rank()); ++d)
    if (!contains(right, d)) r.rf.push_back(d);
  return r;
}

Dims pick(const Type& t, const Ints& axes) {
  Dims d;
  for (const int64_t a : axes) d.push_back(t.dims[static_cast<size_t>(a)]);
  return d;
}
std::vector<int64_t> pick(const std::vector<int64_t>& v, const Ints& axes) {
  std::vector<int64_t> d;
  for (const int64_t a : axes) d.push_back(v[static_cast<size_t>(a)]);
  return d;
}

std::vector<Type> ragged_type(const OpView& op) {
  const Ragged r = read(op);
  const Type& sizes = op.in(2);
  if (sizes.rank() != 1) fail_unsupported(op.where, "group_sizes of rank 1", sizes.text(), "Use one list of sizes for the whole batch");
  if (r.group >= 0) op.require_equal(op.in(1).dims[static_cast<size_t>(r.group)], sizes.dims[0], "a group size for each group", "C16");
  Dims dims;
  if (r.kind == Ragged::contracted) dims.push_back(sizes.dims[0]);
  for (const Dims& part : {pick(op.in(0), r.lb), pick(op.in(0), r.lf), pick(op.in(1), r.rf)}) dims.insert(dims.end(), part.begin(), part.end());
  return {Type::tensor(op.attrs.dtype("dtype"), dims)};
}

HostValues ragged_reference(const Call& call) {
  const Ragged r = read(call.op);
  const Tensor &lhs = call.in(0), &rhs = call.in(1);
  const std::vector<int64_t> ls = strides_of(lhs.dims()), rs = strides_of(rhs.dims()), sizes = call.in(2).ints();
  const int64_t extent = lhs.dim(static_cast<size_t>(r.axis));
  std::vector<int64_t> group_of(static_cast<size_t>(extent), -1);  // -1: beyond the last group, gives 0
  int64_t next = 0;
  for (size_t g = 0; g < sizes.size(); ++g) {
    if (sizes[g] < 0 || sizes[g] > extent - next) fail_usage(call.op.where, "group sizes that add up to at most " + std::to_string(extent), std::to_string(sizes[g]), "Check the values of group_sizes");
    std::fill_n(group_of.begin() + next, sizes[g], static_cast<int64_t>(g));
    next += sizes[g];
  }
  // Position of the ragged axis within each list of axes.
  const auto place = [&](const Ints& axes) { return static_cast<size_t>(std::find(axes.begin(), axes.end(), r.axis) - axes.begin()); };
  const std::vector<double> x = lhs.doubles(), w = rhs.doubles();
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  int64_t at = 0;
  for (int64_t g = 0; g < (r.kind == Ragged::contracted ? static_cast<int64_t>(sizes.size()) : 1); ++g) {
    Walk right_batch(pick(rhs.dims(), r.rb), pick(rs, r.rb));
    for (Walk batch(pick(lhs.dims(), r.lb), pick(ls, r.lb)); batch; batch.next(), right_batch.next())
      for (Walk row(pick(lhs.dims(), r.lf), pick(ls, r.lf)); row; row.next()) {
        const int64_t group = r.kind == Ragged::rows ? group_of[static_cast<size_t>(row.index()[place(r.lf)])] : r.kind == Ragged::batch ? group_of[static_cast<size_t>(batch.index()[place(r.lb)])] : g;
        const int64_t shift = r.kind == Ragged::rows && group >= 0 ? group * rs[static_cast<size_t>(r.group)] : 0;
        for (Walk column(pick(rhs.dims(), r.rf), pick(rs, r.rf)); column; column.next(), ++at) {
          double sum = 0;
          Walk b(pick(rhs.dims(), r.rc), pick(rs, r.rc));
          for (Walk a(pick(lhs.dims(), r.lc), pick(ls, r.lc)); a && group >= 0; a.next(), b.next()) {
            check_budget();
            if (r.kind == Ragged::contracted && group_of[static_cast<size_t>(a.index()[place(r.lc)])] != g) continue;
            sum += x[static_cast<size_t>(batch.offset() + row.offset() + a.offset())] * w[static_cast<size_t>(right_batch.offset() + shift + column.offset() + b.offset())];
          }
          store_double(y.dtype(), out, at, sum);
        }
      }
  }
  return one(std::move(y));
}

Case grouped(std::string_view name, std::vector<std::vector<int64_t>> shapes, Attrs attrs) {
  return {.name = name, .build = [=](Builder& b) {
            const Value x = b.input(Type::tensor(DType::f32, to_dims(shapes[0]))), w = b.input(Type::tensor(DType::f32, to_dims(shapes[1])));
            return b.ops("ragged_dot", {x, w, b.ints({2, 0, 1})}, attrs);
          }};
}

}  // namespace

const OpDef ragged_dot{
    .name = "ragged_dot",
    .dialect = "chlo",
    .doc = "dot_general with the lhs axis lhs_ragged_dimensions cut into consecutive groups: a free axis multiplies group g's rows with rhs[g]; a contracting axis gives a result for each group; "
           "what lies beyond the groups is 0",
    .inputs = {{"lhs", DTypes::floats}, {"rhs", DTypes::floats}, {"group_sizes", DTypes::ints}},
    .attrs = {{"lhs_batching_dimensions", AttrKind::ints, false, Ints{}},
              {"rhs_batching_dimensions", AttrKind::ints, false, Ints{}},
              {"lhs_contracting_dimensions", AttrKind::ints, false, Ints{}},
              {"rhs_contracting_dimensions", AttrKind::ints, false, Ints{}},
              {"lhs_ragged_dimensions", AttrKind::ints},
              {"rhs_group_dimensions", AttrKind::ints, false, Ints{}},
              {"precision_config", AttrKind::texts, false, Texts{}, true},
              {"dtype", AttrKind::dtype}},
    .type = ragged_type,
    .reference = ragged_reference,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          double k = 1;
          for (const Dim& d : pick(op.in(0), op.attrs.ints("lhs_contracting_dimensions"))) k *= static_cast<double>(d.value());
          w.multiply_adds = elements(results[0]) * k / (read(op).kind == Ragged::contracted ? std::max(1.0, elements(op.in(2))) : 1);
          add_traffic(op, results, w);
          return w;
        },
    .cases = {grouped("rows", {{4, 5}, {3, 5, 2}}, {{"lhs_contracting_dimensions", Ints{1}}, {"rhs_contracting_dimensions", Ints{1}}, {"lhs_ragged_dimensions", Ints{0}}, {"rhs_group_dimensions", Ints{0}}, {"dtype", DType::f32}}),
              grouped("contracted", {{5, 4}, {4, 2}}, {{"lhs_contracting_dimensions", Ints{1}}, {"rhs_contracting_dimensions", Ints{0}}, {"lhs_ragged_dimensions", Ints{1}}, {"dtype", DType::f32}}),
              grouped("batch", {{4, 2, 5}, {4, 5, 2}},
                      {{"lhs_batching_dimensions", Ints{0}}, {"rhs_batching_dimensions", Ints{0}}, {"lhs_contracting_dimensions", Ints{2}}, {"rhs_contracting_dimensions", Ints{1}}, {"lhs_ragged_dimensions", Ints{0}}, {"dtype", DType::f32}})},
};
BASCULE_OP(ragged_dot);

}  // namespace bascule::ops
