// import/onnx/ml_trees.cc — ai.onnx.ml: TreeEnsembleClassifier, TreeEnsembleRegressor (1, 3) and TreeEnsemble (5), to the operator tree_ensemble.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/budget.h"
#include "import/onnx/ml.h"

namespace bascule::onnx {
namespace {

// tree_ensemble's modes by ONNX's names; TreeEnsemble 5 numbers them 0..6 from BRANCH_LEQ on.
int64_t mode_of(const NodeContext& n, const std::string& name) {
  static constexpr std::string_view kNames[] = {"LEAF", "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"};
  for (int64_t i = 0; i < 7; ++i)
    if (name == kNames[i]) return i;
  n.fail("a node mode BRANCH_LEQ, BRANCH_LT, BRANCH_GTE, BRANCH_GT, BRANCH_EQ, BRANCH_NEQ or LEAF", "'" + name + "'");
}

struct Forest {
  Ints feature, mode, on_true, on_false, missing, roots;
  Numbers split;
  std::vector<std::vector<std::pair<int64_t, double>>> weights;  // of each node: target, weight
  std::vector<Numbers> members;                                   // of each node; empty: none
  int64_t targets = 1;
  std::string fold = "sum";

  size_t size() const { return mode.size(); }

  // Every walk from a root ends: refuses nodes that lead back to themselves.
  void check_acyclic(const NodeContext& n) const {
    std::vector<uint8_t> state(size());  // 1: on the path, 2: done
    std::vector<int64_t> path;
    for (const int64_t root : roots) {
      if (root < 0 || static_cast<size_t>(root) >= size()) n.fail("tree roots among the " + std::to_string(size()) + " nodes", std::to_string(root));
      path.push_back(root);
      while (!path.empty()) {
        check_budget();
        const auto at = static_cast<size_t>(path.back());
        if (state[at] == 0) {
          state[at] = 1;
          if (mode[at] == 0) continue;
          for (const int64_t child : {on_true[at], on_false[at]}) {
            if (child < 0 || static_cast<size_t>(child) >= size()) n.fail("children among the " + std::to_string(size()) + " nodes", std::to_string(child));
            const uint8_t s = state[static_cast<size_t>(child)];
            if (s == 1) n.fail("a tree", "a node that leads back to node " + std::to_string(child));
            if (s == 0) path.push_back(child);
          }
        } else {
          if (state[at] == 1) state[at] = 2;
          path.pop_back();
        }
      }
    }
  }

  Values build(const NodeContext& n, Value x, DType t) const {
    check_acyclic(n);
    Ints weight_begin{0}, weight_target, member_begin{0};
    Numbers weight, member;
    for (size_t i = 0; i < size(); ++i) {
      for (const auto& [target, w] : weights[i]) {
        if (target < 0 || target >= targets) n.fail("targets in [0, " + std::to_string(targets) + ")", std::to_string(target));
        weight_target.push_back(target);
        weight.push_back(w);
      }
      if (i < members.size()) member.insert(member.end(), members[i].begin(), members[i].end());
      weight_begin.push_back(static_cast<int64_t>(weight.size()));
      member_begin.push_back(static_cast<int64_t>(member.size()));
    }
    return n.b.ops("tree_ensemble", {x},
                   {{"feature", feature}, {"mode", mode}, {"split", split}, {"on_true", on_true}, {"on_false", on_false}, {"missing", missing},
                    {"weight_begin", weight_begin}, {"weight_target", weight_target}, {"weight", weight}, {"member_begin", member_begin}, {"member", member},
                    {"roots", roots}, {"targets", targets}, {"fold", fold}, {"dtype", t}});
  }
};

// A list of numbers, given as floats or (version 3) as a tensor named NAME_as_tensor.
Numbers either(const NodeContext& n, const std::string& name, bool& doubles) {
  const Numbers floats = n.numbers(name, Numbers{});
  if (!n.has_attr(name + "_as_tensor")) return floats;
  const Tensor t = n.attr_tensor(name + "_as_tensor");
  if (t.dtype() != DType::f32 && t.dtype() != DType::f64) n.fail(name + "_as_tensor of float or double", t.type_text());
  doubles = doubles || t.dtype() == DType::f64;
  return t.doubles();
}

// Versions 1 and 3: nodes are named by (tree, node); the first node of each tree is its root; weights hang on named leaves (`prefix`: class or target).
Forest named_forest(const NodeContext& n, const std::string& prefix, bool& doubles) {
  Forest f;
  const Ints trees = n.ints("nodes_treeids"), ids = n.ints("nodes_nodeids"), when_true = n.ints("nodes_truenodeids"), when_false = n.ints("nodes_falsenodeids");
  f.feature = n.ints("nodes_featureids");
  f.split = either(n, "nodes_values", doubles);
  f.missing = n.ints("nodes_missing_value_tracks_true", Ints{});
  const Texts modes = n.texts("nodes_modes");
  n.ignore("nodes_hitrates");
  n.ignore("nodes_hitrates_as_tensor");
  const size_t count = ids.size();
  if (f.missing.empty()) f.missing.assign(count, 0);
  for (const size_t s : {trees.size(), when_true.size(), when_false.size(), f.feature.size(), f.split.size(), f.missing.size(), modes.size()})
    if (s != count) n.fail("node attributes of one length " + std::to_string(count), std::to_string(s));
  struct Hash {
    size_t operator()(const std::pair<int64_t, int64_t>& p) const { return std::hash<int64_t>()(p.first * 1000003 ^ p.second); }
  };
  std::unordered_map<std::pair<int64_t, int64_t>, int64_t, Hash> place;
  std::unordered_map<int64_t, int64_t> root;
  for (size_t i = 0; i < count; ++i) {
    if (!place.emplace(std::pair(trees[i], ids[i]), static_cast<int64_t>(i)).second) n.fail("each node once", "node " + std::to_string(ids[i]) + " of tree " + std::to_string(trees[i]) + " twice");
    if (root.emplace(trees[i], static_cast<int64_t>(i)).second) f.roots.push_back(static_cast<int64_t>(i));
    f.mode.push_back(mode_of(n, modes[i]));
  }
  f.on_true.resize(count);
  f.on_false.resize(count);
  for (size_t i = 0; i < count; ++i) {
    if (f.mode[i] == 0) continue;
    const auto child = [&](int64_t id) {
      const auto at = place.find({trees[i], id});
      if (at == place.end()) n.fail("children among the nodes of tree " + std::to_string(trees[i]), "node " + std::to_string(id));
      return at->second;
    };
    f.on_true[i] = child(when_true[i]);
    f.on_false[i] = child(when_false[i]);
  }
  const Ints in_tree = n.ints(prefix + "_treeids"), on_node = n.ints(prefix + "_nodeids"), target = n.ints(prefix + "_ids");
  const Numbers weight = either(n, prefix + "_weights", doubles);
  if (in_tree.size() != weight.size() || on_node.size() != weight.size() || target.size() != weight.size()) n.fail("weight attributes of one length", std::to_string(weight.size()));
  f.weights.resize(count);
  for (size_t i = 0; i < weight.size(); ++i) {
    const auto at = place.find({in_tree[i], on_node[i]});
    if (at == place.end()) n.fail("weights on known nodes", "node " + std::to_string(on_node[i]) + " of tree " + std::to_string(in_tree[i]));
    f.weights[static_cast<size_t>(at->second)].emplace_back(target[i], weight[i]);  // those on inner nodes are never reached
  }
  return f;
}

// score + base, where base has one value for each target
Value with_base(const NodeContext& n, Value scores, const Numbers& base, int64_t targets) {
  if (base.empty()) return scores;
  if (static_cast<int64_t>(base.size()) != targets) n.fail(std::to_string(targets) + " base_values", std::to_string(base.size()));
  return n.b.add(scores, n.b.constant(Tensor::from_doubles(n.b.dtype(scores), {targets}, base)));
}

std::string fold_name(const NodeContext& n) {
  const std::string f = n.text("aggregate_function", "SUM");
  if (f == "SUM") return "sum";
  if (f == "AVERAGE") return "average";
  if (f == "MIN") return "min";
  if (f == "MAX") return "max";
  n.fail("aggregate_function SUM, AVERAGE, MIN or MAX", "'" + f + "'");
}

Results regressor(const NodeContext& n) {
  Builder& b = n.b;
  const Value x = feature_rows(n, n.in(0));
  bool doubles = false;
  Forest f = named_forest(n, "target", doubles);
  f.targets = n.integer("n_targets", 1);
  f.fold = fold_name(n);
  const Numbers base = either(n, "base_values", doubles);
  const std::string transform = post_transform_name(n);
  const DType t = doubles || b.dtype(x) == DType::f64 ? DType::f64 : DType::f32;
  const Values out = f.build(n, x, t);
  Value scores = with_base(n, out[0], base, f.targets);
  // Of several targets, one that no leaf votes for is 0 even with a base value: ONNX Runtime's answer, which deployed models give.
  if (f.targets > 1 && !base.empty()) scores = b.select(out[1], scores, 0);
  return b.convert(post_transform(n, scores, transform), DType::f32);
}

// The score pair of two classes, by ONNX Runtime's rules, which converters of boosted trees are written for: where class 1 has no vote, class 0's score s is the evidence
// for the second class, shown as {-s, s} ({1 - s, s} when no weight is negative; LOGISTIC of both). The label compares that evidence with 0 (0.5 without negative weights);
// it is one of the two labels only if all weights name one class, else 0 or 1.
Results two_classes(const NodeContext& n, const ClassLabels& labels, Value scores, Value hits, const Numbers& base, const Forest& f, const std::string& transform) {
  Builder& b = n.b;
  std::optional<int64_t> only;
  bool one_id = true, negative = false;
  for (const auto& leaf : f.weights)
    for (const auto& [target, w] : leaf) {
      one_id = one_id && (!only || *only == target);
      only = target;
      negative = negative || w < 0;
    }
  const bool positive = one_id && !negative;  // the threshold of 0.5 is for weights of one class only
  const auto column = [&](Value v, int64_t i) { return b.slice_axis(v, 1, i, i + 1); };
  Value s0 = column(scores, 0), s1 = column(scores, 1);
  const Value h0 = column(hits, 0), h1 = column(hits, 1);
  if (base.size() > 2) n.fail("at most 2 base_values for two classes", std::to_string(base.size()));
  if (base.size() == 1) s0 = b.select(h0, b.add(s0, base[0]), 0);  // a class without votes has no base value either
  Value first = s0, second = s1, evidence = b.select(h1, s1, s0);
  if (base.size() == 2) {  // where class 1 has a vote, its score is its base value plus class 0's sum
    const Value sum = b.add(s0, base[1]);
    second = b.select(h1, sum, 0);
    first = b.select(h0, b.select(h1, b.negate(sum), b.add(s0, base[0])), 0);
    evidence = b.select(h1, sum, first);
  }
  const Value pair = post_transform(n, b.concatenate({first, second}, 1), transform);
  Value alone = pair;
  if (base.size() < 2) {
    const Value lone = transform == "LOGISTIC" ? b.concatenate({b.logistic(b.negate(s0)), b.logistic(s0)}, 1)
                       : transform == "PROBIT" ? post_transform(n, b.concatenate({b.subtract(1, s0), s0}, 1), transform)
                                               : b.concatenate({positive ? b.subtract(1, s0) : b.negate(s0), s0}, 1);
    alone = b.select(b.broadcast_to(h1, b.dims(pair)), pair, lone);
  }
  const Value row = b.reshape(evidence, {b.dim(evidence, 0)});
  const Value index = b.convert(b.compare(row, positive ? 0.5 : 0.0, "GT"), DType::i64);
  return {one_id || !labels.texts.empty() ? labels.of(b, index) : index, alone};
}

Results classifier(const NodeContext& n) {
  Builder& b = n.b;
  const Value x = feature_rows(n, n.in(0));
  bool doubles = false;
  Forest f = named_forest(n, "class", doubles);
  const ClassLabels labels = class_labels(n, "classlabels_int64s", "classlabels_strings");
  const Numbers base = either(n, "base_values", doubles);
  const std::string transform = post_transform_name(n);
  f.targets = static_cast<int64_t>(labels.size());
  const DType t = doubles || b.dtype(x) == DType::f64 ? DType::f64 : DType::f32;
  const Values out = f.build(n, x, t);
  const auto narrow = [&](Results r) {
    r.values[1] = b.convert(r.values[1], DType::f32);
    return r;
  };
  if (labels.size() == 2) return narrow(two_classes(n, labels, out[0], out[1], base, f, transform));
  const Value scores = with_base(n, out[0], base, f.targets);
  if (labels.size() == 1) {
    const Value row = b.reshape(scores, {b.dim(scores, 0)});
    if (!labels.texts.empty()) n.unsupported("two or more class labels", "one", "Add the other class's label to the model");
    return narrow({b.convert(b.compare(row, 0, "GT"), DType::i64), post_transform(n, scores, transform)});
  }
  // Only classes that some leaf voted for can win; base values vote for all.
  return narrow({labels.of(b, row_arg_max(b, scores, base.empty() ? out[1] : kNoValue)), post_transform(n, scores, transform)});
}

}  // namespace

ONNX_ML_OP(TreeEnsembleRegressor, 1) { return regressor(n); }
ONNX_ML_OP(TreeEnsembleClassifier, 1) { return classifier(n); }

// Version 5: nodes and leaves are numbered; trueleafs and falseleafs say which a child is. BRANCH_MEMBER nodes take, in order, sets of membership_values that end with NaN.
ONNX_ML_OP(TreeEnsemble, 5) {
  const Value x = feature_rows(n, n.in(0));
  Forest f;
  f.feature = n.ints("nodes_featureids");
  const Tensor modes = n.attr_tensor("nodes_modes"), splits = n.attr_tensor("nodes_splits"), leaf_weights = n.attr_tensor("leaf_weights");
  const Ints when_true = n.ints("nodes_truenodeids"), when_false = n.ints("nodes_falsenodeids"), true_leaf = n.ints("nodes_trueleafs"), false_leaf = n.ints("nodes_falseleafs"),
             leaf_targets = n.ints("leaf_targetids");
  f.missing = n.ints("nodes_missing_value_tracks_true", Ints{});
  f.roots = n.ints("tree_roots");
  f.targets = n.integer("n_targets", 1);
  n.ignore("nodes_hitrates");
  const size_t count = f.feature.size(), leaves = leaf_targets.size();
  if (f.missing.empty()) f.missing.assign(count, 0);
  for (const size_t s : {static_cast<size_t>(modes.elements()), static_cast<size_t>(splits.elements()), when_true.size(), when_false.size(), true_leaf.size(), false_leaf.size(), f.missing.size()})
    if (s != count) n.fail("node attributes of one length " + std::to_string(count), std::to_string(s));
  if (static_cast<size_t>(leaf_weights.elements()) != leaves) n.fail("a weight for each leaf", std::to_string(leaf_weights.elements()) + " for " + std::to_string(leaves));
  if (modes.dtype() != DType::u8) n.fail("nodes_modes of type uint8", modes.type_text());
  if (!is_float(splits.dtype()) || splits.dtype() != leaf_weights.dtype()) n.fail("nodes_splits and leaf_weights of one float type", splits.type_text() + " and " + leaf_weights.type_text());
  f.split = splits.doubles();
  f.weights.resize(count + leaves);
  f.members.resize(count + leaves);
  Numbers sets;
  if (n.has_attr("membership_values")) sets = n.attr_tensor("membership_values").doubles();
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t m = modes.integer(static_cast<int64_t>(i));
    if (m > 6) n.fail("node modes in [0, 6]", std::to_string(m));
    f.mode.push_back(m + 1);
    const auto child = [&](int64_t id, int64_t leaf) {
      const size_t limit = leaf != 0 ? leaves : count;
      if (id < 0 || static_cast<size_t>(id) >= limit) n.fail("children in [0, " + std::to_string(limit) + ")", std::to_string(id));
      return leaf != 0 ? id + static_cast<int64_t>(count) : id;
    };
    f.on_true.push_back(child(when_true[i], true_leaf[i]));
    f.on_false.push_back(child(when_false[i], false_leaf[i]));
    if (m != 6) continue;
    for (; at < sets.size() && !std::isnan(sets[at]); ++at) f.members[i].push_back(sets[at]);
    if (at == sets.size()) n.fail("a set of membership_values, ended by NaN, for each BRANCH_MEMBER node", "none for node " + std::to_string(i));
    ++at;
  }
  for (size_t i = 0; i < leaves; ++i) {
    f.feature.push_back(0);
    f.mode.push_back(0);
    f.split.push_back(0);
    f.on_true.push_back(0);
    f.on_false.push_back(0);
    f.missing.push_back(0);
    f.weights[count + i].emplace_back(leaf_targets[i], leaf_weights.number(static_cast<int64_t>(i)));
  }
  static constexpr const char* kFolds[] = {"average", "sum", "min", "max"};
  static constexpr const char* kTransforms[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  const int64_t fold = n.integer("aggregate_function", 1), transform = n.integer("post_transform", 0);
  if (fold < 0 || fold > 3) n.fail("aggregate_function in [0, 3]", std::to_string(fold));
  if (transform < 0 || transform > 4) n.fail("post_transform in [0, 4]", std::to_string(transform));
  f.fold = kFolds[fold];
  return post_transform(n, f.build(n, x, splits.dtype())[0], kTransforms[transform]);
}

}  // namespace bascule::onnx
