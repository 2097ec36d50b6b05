// ops/non_max_suppression.cc — keeps the best boxes of each class, dropping those that overlap a better one too much.
#include <algorithm>
#include <numeric>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// Corners and area in f32, as the standard's own answers are computed: a threshold met exactly is decided by that rounding.
struct Box {
  float y1, x1, y2, x2, area;
};
Box box_at(const Tensor& boxes, int64_t at, bool center) {
  const auto v = [&](int64_t i) { return static_cast<float>(boxes.number(at + i)); };
  Box b;
  if (center) {  // x, y, width, height
    b = {v(1) - v(3) / 2, v(0) - v(2) / 2, v(1) + v(3) / 2, v(0) + v(2) / 2, 0};
  } else {  // any two opposite corners: y1, x1, y2, x2
    b = {std::min(v(0), v(2)), std::min(v(1), v(3)), std::max(v(0), v(2)), std::max(v(1), v(3)), 0};
  }
  b.area = (b.y2 - b.y1) * (b.x2 - b.x1);
  return b;
}
bool overlaps(const Box& a, const Box& b, float threshold) {
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1), width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  if (height <= 0 || width <= 0 || a.area <= 0 || b.area <= 0) return false;
  const float both = height * width;
  const float either = a.area + b.area - both;
  return either > 0 && both / either > threshold;
}

HostValues nms_reference(const Call& call) {
  const Tensor &boxes = call.in(0), &scores = call.in(1);
  const bool center = call.op.attrs.flag("center_point_box");
  const int64_t most = call.op.has(2) ? std::max<int64_t>(call.in(2).integer(0), 0) : 0;
  const float iou = call.op.has(3) ? static_cast<float>(call.in(3).number(0)) : 0;
  if (!(iou >= 0 && iou <= 1)) fail_usage(call.op.where, "iou_threshold in [0, 1]", std::to_string(iou), "Check the value of the input");
  const int64_t B = scores.dim(0), C = scores.dim(1), N = scores.dim(2);
  std::vector<int64_t> out;
  std::vector<Box> all(static_cast<size_t>(N));
  for (int64_t batch = 0; batch < B; ++batch) {
    for (int64_t i = 0; i < N; ++i) all[static_cast<size_t>(i)] = box_at(boxes, (batch * N + i) * 4, center);
    for (int64_t c = 0; c < C && most > 0; ++c) {
      const auto score = [&](int64_t i) { return scores.number((batch * C + c) * N + i); };
      std::vector<int64_t> order;
      for (int64_t i = 0; i < N; ++i)
        if (!call.op.has(4) || score(i) > call.in(4).number(0)) order.push_back(i);
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return score(a) > score(b); });
      std::vector<int64_t> kept;
      for (const int64_t i : order) {
        if (static_cast<int64_t>(kept.size()) >= most) break;
        bool free = true;
        for (size_t k = 0; k < kept.size() && free; ++k) {
          check_budget();
          free = !overlaps(all[static_cast<size_t>(i)], all[static_cast<size_t>(kept[k])], iou);
        }
        if (!free) continue;
        kept.push_back(i);
        out.insert(out.end(), {batch, c, i});
      }
    }
  }
  return one(Tensor::from_ints(DType::i64, {static_cast<int64_t>(out.size() / 3), 3}, out));
}

}  // namespace

const OpDef non_max_suppression{
    .name = "non_max_suppression",
    .dialect = "bascule",
    .doc = "y[j] = (batch, class, box) kept: by descending score, at most max_output_boxes_per_class, none whose intersection / union with a kept one exceeds iou_threshold",
    .inputs = {{"boxes", DTypes::floats}, {"scores", DTypes::floats}, {"max_output_boxes_per_class", DTypes::ints, kOptional}, {"iou_threshold", DTypes::floats, kOptional}, {"score_threshold", DTypes::floats, kOptional}},
    .attrs = {{"center_point_box", AttrKind::flag, false, false}},
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          const Type &boxes = op.in(0), &scores = op.in(1);
          if (boxes.rank() != 3 || scores.rank() != 3) op.fail("boxes [batch, n, 4] and scores [batch, classes, n]", boxes.text() + " and " + scores.text());
          op.require_equal(boxes.dims[2], 4, "boxes of 4 numbers");
          op.require_equal(boxes.dims[0], scores.dims[0], "boxes and scores of one batch");
          op.require_equal(boxes.dims[1], scores.dims[2], "as many scores as boxes");
          for (size_t i = 2; i < 5; ++i)
            if (op.has(i) && op.in(i).elements_count().is_constant() && !op.in(i).elements_count().is(1)) op.fail("one element in operand " + std::to_string(i), op.in(i).text());
          return std::vector<Type>{Type::tensor(DType::i64, {fresh_dim("boxes"), 3})};
        },
    .reference = nms_reference,
    .work =
        [](const OpView& op, std::span<const Type>) {
          Work w;
          w.compares = elements(op.in(1)) * 8;  // one overlap test for each box and class at least
          for (const Type& t : op.inputs) w.bytes_read += bytes(t);
          return w;
        },
    .cases = {{.name = "two_of_three",
               .shapes = {{1, 3, 4}, {1, 1, 3}, {}, {}},
               .dtypes = {DType::f32, DType::f32, DType::i64, DType::f32},
               .inputs =
                   [] {
                     return HostValues{Tensor::from_doubles(DType::f32, {1, 3, 4}, std::vector<double>{0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 10, 1, 11}), Tensor::from_doubles(DType::f32, {1, 1, 3}, std::vector<double>{0.9, 0.75, 0.6}),
                                       Tensor::scalar_int(DType::i64, 3), Tensor::scalar(DType::f32, 0.5)};
                   }}},
};
BASCULE_OP(non_max_suppression);

}  // namespace bascule::ops
