// import/onnx/control.cc — If, Loop, Scan and SequenceMap: subgraphs become regions that capture the names around them.
#include <algorithm>
#include <numeric>

#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

// What a carried value is inside a loop: its initial type, loosened where an iteration gives it back otherwise. Dims once made free stay so.
struct Carried {
  Type type;
  std::vector<bool> free;  // per dim
};

// Loosens `c` until values of type `back` fit; false if they fit already.
bool loosen(Carried& c, const Type& back) {
  if (c.type == back || c.type.kind == Type::Kind::any) return false;
  if (c.type.kind != back.kind) {
    c.type = Type::any();
    return true;
  }
  if (!c.type.is_tensor()) {
    // Items differ in size from one to the next: only their element type is kept.
    const auto joined = join(c.type, back);
    Type loose = joined ? *joined : Type::any();
    if (!loose.elements.empty() && loose.elements[0].is_tensor()) loose.elements[0] = Type::unranked(loose.elements[0].dtype);
    if (loose == c.type) return false;
    c.type = std::move(loose);
    return true;
  }
  if (c.type.dtype != back.dtype || !c.type.ranked) {
    const bool changed = c.type.dtype != back.dtype;
    if (changed) c.type = Type::any();
    return changed;
  }
  if (!back.ranked || back.rank() != c.type.rank()) {
    c.type = Type::unranked(c.type.dtype);
    return true;
  }
  bool changed = false;
  c.free.resize(c.type.rank(), false);
  for (size_t i = 0; i < c.type.rank(); ++i) {
    if (c.free[i] || c.type.dims[i] == back.dims[i]) continue;
    c.type.dims[i] = fresh_dim("n");
    c.free[i] = changed = true;
  }
  return changed;
}

std::vector<Carried> carried_from(Builder& b, const Values& initial) {
  std::vector<Carried> out;
  for (const Value v : initial) out.push_back({b.type(v), {}});
  return out;
}

// Imports a loop body again and again until its carried types hold for every iteration. `import` gets the types of all block arguments;
// the region's results are the condition, the carried values, then rows.
ImportedRegion settled(NodeContext& n, std::vector<Carried>& carried, const std::function<ImportedRegion(const std::vector<Type>&)>& import) {
  for (;;) {
    std::vector<Type> arguments{Type::tensor(DType::i64, {}), Type::tensor(DType::i1, {})};
    for (const Carried& c : carried) arguments.push_back(c.type);
    ImportedRegion body = import(arguments);
    if (body.outputs.size() < 1 + carried.size()) n.fail("a body with at least " + std::to_string(1 + carried.size()) + " results", std::to_string(body.outputs.size()));
    bool again = false;
    for (size_t i = 0; i < carried.size(); ++i) again |= loosen(carried[i], body.outputs[i + 1]);
    if (!again) return body;
  }
}

// A condition that stays true: the argument itself, or the constant.
bool always_true(const ImportedRegion& body, Builder& inner) {
  const Value condition = body.values[0];
  if (const Tensor* t = inner.constant(condition)) return t->elements() == 1 && t->integer(0) != 0;
  return condition == inner.graph().inputs[1];
}

std::vector<OpenRegion> list(OpenRegion a) {
  std::vector<OpenRegion> out;
  out.push_back(std::move(a));
  return out;
}

// x[..., i, ...] along an axis, the axis gone; i a scalar.
Value row(Builder& b, Value x, Value i, int64_t axis) { return take(b, x, i, axis); }

// One Scan over sequences that all have `length` steps. states and xs are values of b. Results: final states, then stacked rows along `out_axes`.
struct ScanForm {
  Ints in_axes, out_axes, in_directions, out_directions;  // axes of xs are not negative; out_axes may be
};
Values scan(NodeContext& n, Builder& b, const Values& states, const Values& xs, const Dim& length, const ScanForm& form) {
  std::vector<Carried> carried = carried_from(b, states);
  const auto import = [&](const std::vector<Type>& arguments) {
    return n.region(
        "body", arguments,
        [&](OpenRegion& r, const Values& block) {
          Builder& inner = r.builder();
          Values inputs(block.begin() + 2, block.end());
          for (size_t k = 0; k < xs.size(); ++k) {
            Value at = block[0];
            if (form.in_directions[k]) at = inner.subtract(inner.subtract(inner.size(length), 1), at);
            inputs.push_back(row(inner, r.capture(xs[k]), at, form.in_axes[k]));
          }
          return inputs;
        },
        [&](Builder&, const Values& block, Values results) {
          if (results.size() < states.size()) n.fail("a body with at least " + std::to_string(states.size()) + " results", std::to_string(results.size()));
          results.insert(results.begin(), block[1]);
          return results;
        });
  };
  ImportedRegion body = settled(n, carried, import);
  const size_t rows = body.outputs.size() - 1 - states.size();
  Values operands{b.size(length), kNoValue};
  operands.insert(operands.end(), states.begin(), states.end());
  Values out = b.ops("loop", operands, {{"trips", Dims{length}}}, list(std::move(body.region)));
  for (size_t k = 0; k < rows; ++k) {
    Value& y = out[states.size() + k];
    if (k < form.out_directions.size() && form.out_directions[k]) y = b.reverse(y, {0});
    if (k >= form.out_axes.size() || form.out_axes[k] == 0) continue;
    const int64_t axis = n.axis(form.out_axes[k], b.rank(y));
    Ints permutation;
    for (int64_t i = 1; i < b.rank(y); ++i) permutation.push_back(i);
    permutation.insert(permutation.begin() + axis, 0);
    y = b.transpose(y, permutation);
  }
  return out;
}

Ints directions(NodeContext& n, std::string_view name, size_t count) {
  const Ints d = n.ints(name, Ints(count, 0));
  if (d.size() != count || !std::all_of(d.begin(), d.end(), [](int64_t x) { return x == 0 || x == 1; })) n.fail("attribute '" + std::string(name) + "' of " + std::to_string(count) + " values 0 or 1", std::to_string(d.size()) + " values");
  return d;
}

// Inputs from `first` on as initial states and scanned values.
void scan_inputs(NodeContext& n, size_t first, Values& states, Values& xs) {
  const int64_t count = n.integer("num_scan_inputs"), given = static_cast<int64_t>(n.inputs() - std::min(first, n.inputs()));
  if (count < 1 || count > given) n.fail("num_scan_inputs from 1 to " + std::to_string(given), std::to_string(count));
  for (size_t i = first; i < n.inputs(); ++i) {
    if (static_cast<int64_t>(i - first) < given - count) states.push_back(n.any(i));
    else xs.push_back(n.in(i));
  }
}

Dim common_length(NodeContext& n, Builder& b, const Values& xs, const Ints& axes) {
  Dim length = b.dim(xs[0], axes[0]);
  for (size_t k = 1; k < xs.size(); ++k) {
    const Dim other = b.dim(xs[k], axes[k]);
    if (length.is_constant() && other.is_constant() && !(length == other)) n.fail("scanned inputs of one length", length.text() + " and " + other.text());
    if (other.is_constant()) length = other;
  }
  return length;
}

size_t body_rows(NodeContext& n, size_t states) {
  const size_t results = n.graph("body").outputs.size();
  return results - std::min(results, states);
}

}  // namespace

// The branches may give other shapes and ranks; a condition known now leaves one of them.
ONNX_OP(If, 1) {
  const Value condition = n.in(0);
  if (b.dtype(condition) != DType::i1) n.fail("a condition of type bool", b.type(condition).text());
  if (const auto known = b.known(condition); known && known->size() == 1 && (*known)[0].is_constant()) {
    n.graph((*known)[0].value() ? "else_branch" : "then_branch");
    return n.inlined((*known)[0].value() ? "then_branch" : "else_branch");
  }
  std::vector<OpenRegion> branches;
  branches.push_back(n.region("then_branch", {}).region);
  branches.push_back(n.region("else_branch", {}).region);
  return b.ops("if", {scalar(b, condition)}, {}, std::move(branches));
}

ONNX_OP(Loop, 1) {
  Values initial;
  for (size_t i = 2; i < n.inputs(); ++i) initial.push_back(n.any(i));
  std::vector<Carried> carried = carried_from(b, initial);
  ImportedRegion body = settled(n, carried, [&](const std::vector<Type>& arguments) { return n.region("body", arguments); });
  Attrs attrs;
  const Value trips = n.has(0) ? scalar(b, n.in(0)) : kNoValue;
  Value condition = n.has(1) ? scalar(b, n.in(1)) : kNoValue;
  if (condition && b.constant(condition) && b.constant(condition)->integer(0) != 0) condition = kNoValue;
  if (trips && !condition && always_true(body, body.region.builder())) {
    if (const auto known = b.known(trips)) attrs.set("trips", Dims{Dim::max((*known)[0], 0)});
  }
  Values operands{trips, condition};
  operands.insert(operands.end(), initial.begin(), initial.end());
  return b.ops("loop", operands, attrs, list(std::move(body.region)));
}

ONNX_OP(Scan, 8) {
  Values states, xs;
  scan_inputs(n, 1, states, xs);
  const Ints directions_in = directions(n, "directions", xs.size());
  const size_t rows = body_rows(n, states.size());
  if (n.has(0)) n.unsupported("Scan_8 without sequence_lens", "sequence_lens", "Pad the sequences and mask inside the body, or export with opset 9 or later");
  for (const Value x : xs)
    if (b.rank(x) < 2) n.fail("scanned inputs [batch, sequence, ...]", b.type(x).text());
  const Dim batch = b.dim(xs[0], 0), length = common_length(n, b, xs, Ints(xs.size(), 1));
  OpenRegion outer(b, "batch");
  const Value i = outer.argument(Type::tensor(DType::i64, {})), go = outer.argument(Type::tensor(DType::i1, {}));
  Builder& inner = outer.builder();
  n.inside(outer, [&](NodeContext& at) {
    Values own_states, own_xs;
    for (const Value v : states) own_states.push_back(row(inner, outer.capture(v), i, 0));
    for (const Value v : xs) own_xs.push_back(row(inner, outer.capture(v), i, 0));
    Values results = scan(at, inner, own_states, own_xs, length, {Ints(xs.size(), 0), Ints(rows, 0), directions_in, Ints(rows, 0)});
    results.insert(results.begin(), go);
    outer.finish(results);
  });
  return b.ops("loop", {b.size(batch), kNoValue}, {{"trips", Dims{batch}}}, list(std::move(outer)));
}

ONNX_OP(Scan, 9) {
  Values states, xs;
  scan_inputs(n, 0, states, xs);
  const size_t rows = body_rows(n, states.size());
  ScanForm form{n.ints("scan_input_axes", Ints(xs.size(), 0)), n.ints("scan_output_axes", Ints(rows, 0)), directions(n, "scan_input_directions", xs.size()),
                directions(n, "scan_output_directions", rows)};
  if (form.in_axes.size() != xs.size() || form.out_axes.size() != rows) n.fail("one axis for each scanned input and output", std::to_string(form.in_axes.size()) + " and " + std::to_string(form.out_axes.size()));
  for (size_t k = 0; k < xs.size(); ++k) form.in_axes[k] = n.axis(form.in_axes[k], b.rank(xs[k]));
  return scan(n, b, states, xs, common_length(n, b, xs, form.in_axes), form);
}

// y[k] = body(sequence[k], additional...[k] or additional); results are sequences
ONNX_OP(SequenceMap, 17) {
  const Value sequence = n.any(0);
  Values all;
  for (size_t i = 0; i < n.inputs(); ++i) all.push_back(n.any(i));
  ImportedRegion body = n.region(
      "body", {Type::tensor(DType::i64, {}), Type::tensor(DType::i1, {})},
      [&](OpenRegion& r, const Values& block) {
        Values inputs;
        for (const Value v : all) {
          const Value inside = r.capture(v);
          inputs.push_back(b.type(v).kind == Type::Kind::sequence ? r.builder().op("sequence_at", {inside, block[0]}) : inside);
        }
        return inputs;
      },
      [](Builder&, const Values& block, Values results) {
        results.insert(results.begin(), block[1]);
        return results;
      });
  return b.ops("loop", {b.op("sequence_length", {sequence}), kNoValue}, {{"as_sequence", true}}, list(std::move(body.region)));
}

}  // namespace bascule::onnx
