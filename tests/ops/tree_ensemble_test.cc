// tests/ops/tree_ensemble_test.cc — trees from hostile files end, and say what is wrong.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "graph/builder.h"
#include "graph/evaluate.h"

namespace bascule {
namespace {

// One node that compares x[0] <= 0, and two leaves.
Attrs tree(int64_t on_true, int64_t feature, int64_t target, int64_t missing = 0) {
  return {{"feature", Ints{feature, 0, 0}}, {"mode", Ints{1, 0, 0}}, {"split", Numbers{0, 0, 0}}, {"on_true", Ints{on_true, 0, 0}}, {"on_false", Ints{2, 0, 0}},
          {"missing", Ints{missing, 0, 0}}, {"weight_begin", Ints{0, 0, 1, 2}}, {"weight_target", Ints{0, target}}, {"weight", Numbers{1, 2}},
          {"member_begin", Ints{0, 0, 0, 0}}, {"member", Numbers{}}, {"roots", Ints{0}}, {"targets", int64_t{2}}, {"fold", std::string("sum")}, {"dtype", DType::f32}};
}

HostValues run(const std::vector<double>& x, Attrs attrs) {
  Builder b;
  b.fold = false;
  const Tensor rows = Tensor::from_doubles(DType::f32, {static_cast<int64_t>(x.size()), 1}, x);
  const Values out = b.ops("tree_ensemble", {b.input(Type::of(rows))}, std::move(attrs));
  EvalContext context;
  return evaluate(b.finish(out), {rows}, context);
}

std::string error(Attrs attrs) {
  try {
    run({-1}, std::move(attrs));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(TreeEnsemble, missing_values_go_where_the_node_says) {
  EXPECT_EQ(run({-1, 1, NAN}, tree(1, 0, 1, 0))[0].tensor().doubles(), (std::vector<double>{1, 0, 0, 2, 0, 2}));
  EXPECT_EQ(run({NAN}, tree(1, 0, 1, 1))[0].tensor().doubles(), (std::vector<double>{1, 0}));
}

TEST(TreeEnsemble, targets_without_a_leaf_are_not_hit) { EXPECT_EQ(run({-1, 1}, tree(1, 0, 1))[1].tensor().ints(), (std::vector<int64_t>{1, 0, 0, 1})); }

TEST(TreeEnsemble, hostile_trees_are_refused) {
  EXPECT_NE(error(tree(0, 0, 1)).find("expected a path to a leaf, found nodes that lead back to themselves"), std::string::npos);
  EXPECT_NE(error(tree(3, 0, 1)).find("expected children among the nodes, found 3 and 2"), std::string::npos);
  EXPECT_NE(error(tree(1, 7, 1)).find("expected features below the 1 of x, found 7"), std::string::npos);
  EXPECT_NE(error(tree(1, 0, 2)).find("expected targets in [0, 2), found 2"), std::string::npos);
}

}  // namespace
}  // namespace bascule
