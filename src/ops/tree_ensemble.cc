// ops/tree_ensemble.cc — decision trees over rows of features: random forests, gradient boosting, isolation trees.
#include <algorithm>
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

enum Mode : int64_t { kLeaf, kLessEqual, kLess, kGreaterEqual, kGreater, kEqual, kNotEqual, kMember, kModes };

void require_offsets(const OpView& op, const Ints& offsets, size_t nodes, size_t entries, const char* what) {
  op.require(offsets.size() == nodes + 1 && offsets.front() == 0 && offsets.back() == static_cast<int64_t>(entries) && std::is_sorted(offsets.begin(), offsets.end()),
             std::string(what) + ": nodes + 1 offsets that rise from 0 to the number of entries", std::to_string(offsets.size()) + " offsets");
}

std::vector<Type> type(const OpView& op) {
  const Type& x = op.in(0);
  op.require(x.rank() == 2, "x of shape [rows, features]", x.text());
  const auto &feature = op.attrs.ints("feature"), &mode = op.attrs.ints("mode"), &on_true = op.attrs.ints("on_true"), &on_false = op.attrs.ints("on_false");
  const size_t nodes = feature.size();
  op.require(mode.size() == nodes && on_true.size() == nodes && on_false.size() == nodes && op.attrs.numbers("split").size() == nodes && op.attrs.ints("missing").size() == nodes,
             "node attributes of one length", std::to_string(nodes) + " features, " + std::to_string(mode.size()) + " modes");
  const int64_t targets = op.attrs.integer("targets");
  op.require(targets >= 1 && targets <= INT32_MAX, "targets in [1, 2^31)", std::to_string(targets));
  require_offsets(op, op.attrs.ints("weight_begin"), nodes, op.attrs.numbers("weight").size(), "weight_begin");
  require_offsets(op, op.attrs.ints("member_begin"), nodes, op.attrs.numbers("member").size(), "member_begin");
  op.require(op.attrs.ints("weight_target").size() == op.attrs.numbers("weight").size(), "a target for each weight", std::to_string(op.attrs.ints("weight_target").size()));
  const auto inside = [](int64_t i, size_t n) { return i >= 0 && static_cast<uint64_t>(i) < n; };
  for (size_t i = 0; i < nodes; ++i) {
    op.require(mode[i] >= 0 && mode[i] < kModes, "a mode in [0, 8)", std::to_string(mode[i]));
    if (mode[i] == kLeaf) continue;
    op.require(inside(on_true[i], nodes) && inside(on_false[i], nodes), "children among the nodes", std::to_string(on_true[i]) + " and " + std::to_string(on_false[i]));
    op.require(feature[i] >= 0, "a feature of 0 or more", std::to_string(feature[i]));
    if (x.dims[1].is_constant()) op.require(feature[i] < x.dims[1].value(), "features below the " + x.dims[1].text() + " of x", std::to_string(feature[i]));
  }
  for (const int64_t t : op.attrs.ints("weight_target")) op.require(t >= 0 && t < targets, "targets in [0, " + std::to_string(targets) + ")", std::to_string(t));
  for (const int64_t r : op.attrs.ints("roots")) op.require(inside(r, nodes), "roots among the nodes", std::to_string(r));
  const std::string& fold = op.attrs.text("fold");
  op.require(fold == "sum" || fold == "average" || fold == "min" || fold == "max", "fold sum, average, min or max", fold);
  const DType t = op.attrs.dtype("dtype");
  op.require(is_float(t), "a float dtype", std::string(info(t).name));
  const Dims out{x.dims[0], Dim(targets)};
  return {Type::tensor(t, out), Type::tensor(DType::i1, out)};
}

bool goes_true(Mode mode, double x, double split, const double* members, const double* members_end) {
  switch (mode) {
    case kLessEqual: return x <= split;
    case kLess: return x < split;
    case kGreaterEqual: return x >= split;
    case kGreater: return x > split;
    case kEqual: return x == split;
    case kNotEqual: return x != split;
    case kMember: return std::find(members, members_end, x) != members_end;
    default: return false;
  }
}

HostValues reference(const Call& call) {
  const Attrs& a = call.op.attrs;
  const auto &feature = a.ints("feature"), &mode = a.ints("mode"), &on_true = a.ints("on_true"), &on_false = a.ints("on_false"), &missing = a.ints("missing");
  const auto &weight_begin = a.ints("weight_begin"), &weight_target = a.ints("weight_target"), &member_begin = a.ints("member_begin"), &roots = a.ints("roots");
  const auto &split = a.numbers("split"), &weight = a.numbers("weight"), &member = a.numbers("member");
  const std::string& fold = a.text("fold");
  const bool least = fold == "min", most = fold == "max";
  const Tensor& x = call.in(0);
  Tensor scores = call.result(0), hits = call.result(1);
  const int64_t rows = x.dim(0), columns = x.dim(1), targets = a.integer("targets");
  std::byte *score_out = scores.mutable_data(), *hit_out = hits.mutable_data();
  check_room(targets * 9, "totals of a tree ensemble");
  std::vector<double> row(static_cast<size_t>(columns)), total(static_cast<size_t>(targets));
  std::vector<uint8_t> hit(static_cast<size_t>(targets));
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t c = 0; c < columns; ++c) row[static_cast<size_t>(c)] = x.number(n * columns + c);
    std::fill(total.begin(), total.end(), 0.0);
    std::fill(hit.begin(), hit.end(), uint8_t{0});
    for (const int64_t root : roots) {
      check_budget();
      size_t at = static_cast<size_t>(root);
      for (size_t steps = 0; mode[at] != kLeaf; ++steps) {
        if (steps > mode.size()) call.op.fail("a path to a leaf", "nodes that lead back to themselves");
        const double v = row[static_cast<size_t>(feature[at])];
        const double *first = member.data() + member_begin[at], *last = member.data() + member_begin[at + 1];
        const bool yes = goes_true(static_cast<Mode>(mode[at]), v, split[at], first, last) || (missing[at] != 0 && std::isnan(v));
        at = static_cast<size_t>(yes ? on_true[at] : on_false[at]);
      }
      for (int64_t w = weight_begin[at]; w < weight_begin[at + 1]; ++w) {
        const auto t = static_cast<size_t>(weight_target[static_cast<size_t>(w)]);
        const double v = weight[static_cast<size_t>(w)];
        if (least) total[t] = hit[t] ? std::min(total[t], v) : v;
        else if (most) total[t] = hit[t] ? std::max(total[t], v) : v;
        else total[t] += v;
        hit[t] = 1;
      }
    }
    for (int64_t t = 0; t < targets; ++t) {
      const double v = total[static_cast<size_t>(t)];
      store_double(scores.dtype(), score_out, n * targets + t, fold == "average" ? v / static_cast<double>(roots.size()) : v);
      store_int(DType::i1, hit_out, n * targets + t, hit[static_cast<size_t>(t)]);
    }
  }
  return {HostValue(std::move(scores)), HostValue(std::move(hits))};
}

Attrs stump(std::string fold) {  // x[1] <= 0.25 ? target 0 += 1.5 : target 1 += -2
  return {{"feature", Ints{1, 0, 0}}, {"mode", Ints{1, 0, 0}}, {"split", Numbers{0.25, 0, 0}}, {"on_true", Ints{1, 0, 0}}, {"on_false", Ints{2, 0, 0}},
          {"missing", Ints{1, 0, 0}}, {"weight_begin", Ints{0, 0, 1, 2}}, {"weight_target", Ints{0, 1}}, {"weight", Numbers{1.5, -2}},
          {"member_begin", Ints{0, 0, 0, 0}}, {"member", Numbers{}}, {"roots", Ints{0, 0}}, {"targets", int64_t{2}}, {"fold", std::move(fold)}, {"dtype", DType::f32}};
}

}  // namespace

const OpDef tree_ensemble{
    .name = "tree_ensemble",
    .dialect = "bascule",
    .doc = "scores[n, t] = fold over trees of the weights for target t at the leaf that row n reaches (0 where none), hits[n, t] = whether any leaf had one",
    .inputs = {{"x", DTypes::reals}},
    .attrs = {{"feature", AttrKind::ints}, {"mode", AttrKind::ints}, {"split", AttrKind::numbers}, {"on_true", AttrKind::ints}, {"on_false", AttrKind::ints},
              {"missing", AttrKind::ints},  // NaN goes to the true side
              {"weight_begin", AttrKind::ints}, {"weight_target", AttrKind::ints}, {"weight", AttrKind::numbers},
              {"member_begin", AttrKind::ints}, {"member", AttrKind::numbers}, {"roots", AttrKind::ints}, {"targets", AttrKind::integer}, {"fold", AttrKind::text}, {"dtype", AttrKind::dtype}},
    .type = type,
    .reference = reference,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          // A path of log2(nodes per tree) comparisons in each tree.
          const double trees = static_cast<double>(op.attrs.ints("roots").size()), nodes = static_cast<double>(op.attrs.ints("mode").size());
          const double rows = elements(Type::tensor(DType::f32, {op.in(0).dims[0]}));
          Work w{.adds = rows * trees, .compares = rows * trees * std::log2(1 + nodes / std::max(1.0, trees))};
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"sum", {{5, 2}}, stump("sum")}, {"average", {{5, 2}}, stump("average")}, {"min", {{5, 3}}, stump("min")}, {"max", {{1, 2}}, stump("max")}, {"empty", {{0, 2}}, stump("sum")}},
};
BASCULE_OP(tree_ensemble);

}  // namespace bascule::ops
