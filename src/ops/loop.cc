// ops/loop.cc — iterations with carried values that may change shape and rank, and values stacked over the iterations (ONNX Loop and Scan).
#include <cstring>

#include "base/budget.h"
#include "base/error.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

constexpr size_t kCarriedFrom = 2;  // operands: trip count, condition, carried values

Type stacked(const OpView& op, const Type& each, const std::set<std::string>& known) {
  if (op.attrs.flag("as_sequence")) return Type::sequence(with_symbols(each, known));
  if (each.kind == Type::Kind::any) return each;
  if (!each.is_tensor()) op.fail("tensors as stacked values", each.text());
  if (!each.ranked) return each;
  Type out = with_symbols(each, known);
  out.dims.insert(out.dims.begin(), op.attrs.has("trips") ? op.attrs.dims("trips").at(0) : fresh_dim("trips"));
  return out;
}

std::vector<Type> loop_type(const OpView& op) {
  const Graph& body = *op.regions[0];
  const size_t carried = op.inputs.size() - std::min(op.inputs.size(), kCarriedFrom);
  if (op.inputs.size() < kCarriedFrom) op.fail("a trip count and a condition (or none in their places)", std::to_string(op.inputs.size()) + " operands");
  for (size_t i = 0; i < kCarriedFrom; ++i)
    if (op.has(i) && op.in(i).ranked && !(op.in(i).rank() == 0)) op.fail("a scalar trip count and condition", op.in(i).text());
  if (body.inputs.size() != kCarriedFrom + carried + op.captures.size())
    op.fail("a region of " + std::to_string(kCarriedFrom + carried + op.captures.size()) + " arguments", std::to_string(body.inputs.size()));
  if (body.outputs.size() < 1 + carried) op.fail("a region of at least " + std::to_string(1 + carried) + " results", std::to_string(body.outputs.size()));
  std::set<std::string> known;
  for (const Type& t : op.inputs) add_symbols(t, known);
  for (const Type& t : op.captures) add_symbols(t, known);
  const std::vector<Type> results = body.output_types();
  const bool any = results[0].kind == Type::Kind::any;
  if (!any && (!results[0].is_tensor() || !is_bool(results[0].dtype))) op.fail("a condition i1 as the region's first result", results[0].text());
  std::vector<Type> out;
  for (size_t i = 0; i < results.size() - 1; ++i) {
    if (i >= carried) {
      out.push_back(stacked(op, results[i + 1], known));
      continue;
    }
    const Type &before = op.in(kCarriedFrom + i), &after = results[i + 1];
    const auto joined = before.kind == after.kind ? join(before, after) : Type::any();  // an optional may come back as what was in it
    if (!joined) op.fail("a carried value to keep its kind and element type " + before.text(), after.text());
    out.push_back(with_symbols(*joined, known));
  }
  return out;
}

// All of one shape, along a new first axis. Nothing ran: no rows of the declared dims, unknown ones 0.
Tensor stack(const std::vector<HostValue>& rows, const Type& result, const Call& call) {
  std::vector<int64_t> dims{static_cast<int64_t>(rows.size())};
  if (rows.empty()) {
    if (result.ranked)
      for (size_t i = 1; i < result.rank(); ++i) dims.push_back(result.dims[i].constant().value_or(0));
    return Tensor(result.dtype, dims);
  }
  const Tensor& first = rows[0].tensor();
  dims.insert(dims.end(), first.dims().begin(), first.dims().end());
  Tensor out(first.dtype(), dims);
  const int64_t each = first.elements();
  for (size_t r = 0; r < rows.size(); ++r) {
    const Tensor& row = rows[r].tensor();
    if (row.dims() != first.dims() || row.dtype() != first.dtype())
      call.op.fail("stacked values of one shape over all iterations, as " + first.type_text() + " of the first", row.type_text() + " in iteration " + std::to_string(r));
    const bool whole_bytes = info(row.dtype()).storage_bits % 8 == 0 && !is_string(row.dtype());
    if (whole_bytes && each > 0) std::memcpy(out.mutable_data() + static_cast<int64_t>(r) * row.bytes(), row.data(), static_cast<size_t>(row.bytes()));
    else
      for (int64_t i = 0; i < each; ++i) copy_element(row, i, out, static_cast<int64_t>(r) * each + i);
  }
  return out;
}

HostValues loop_reference(const Call& call) {
  const int64_t trips = call.op.has(0) ? call.in(0).integer(0) : INT64_MAX;
  bool go = call.op.has(1) ? call.in(1).integer(0) != 0 : true;
  const size_t carried = call.inputs.size() - kCarriedFrom;
  HostValues state(call.inputs.begin() + kCarriedFrom, call.inputs.end());
  std::vector<std::vector<HostValue>> rows(call.results.size() - carried);
  for (int64_t i = 0; i < trips && go; ++i) {
    check_budget();
    HostValues args{Tensor::scalar_int(DType::i64, i), Tensor::scalar_int(DType::i1, go)};
    for (HostValue& v : state) args.push_back(std::move(v));
    HostValues out = call.run_region(0, std::move(args));
    if (out[0].tensor().elements() != 1) call.op.fail("a condition of one element", out[0].tensor().type_text());
    go = out[0].tensor().integer(0) != 0;
    for (size_t k = 0; k < carried; ++k) state[k] = std::move(out[1 + k]);
    for (size_t k = 0; k < rows.size(); ++k) rows[k].push_back(std::move(out[1 + carried + k]));
  }
  const bool as_sequence = call.op.attrs.flag("as_sequence");
  for (size_t k = 0; k < rows.size(); ++k) state.push_back(as_sequence ? HostValue::sequence(std::move(rows[k])) : HostValue(stack(rows[k], call.results[carried + k], call)));
  return state;
}

}  // namespace

const OpDef loop{
    .name = "loop",
    .dialect = "bascule",
    .doc = "while i < trip_count and condition: condition, carried..., row... = region(i, condition, carried...); results: carried..., rows stacked...",
    .inputs = {{"trip_count", DTypes::ints, kOptional}, {"condition", DTypes::bools, kOptional}, {"carried", DTypes::any, kVariadic}},
    .attrs = {{"trips", AttrKind::dims, false, {}, true},          // one element: the number of rows, where it is known before the run
              {"as_sequence", AttrKind::flag, false, false, false}},  // rows become the items of sequences instead of being stacked
    .regions = 1,
    .control = true,
    .data_dependent = true,
    .type = loop_type,
    .reference = loop_reference,
    .cases = {{.name = "factorials",
               .build = [](Builder& b) {
                 const Value trips = b.input(Type::tensor(DType::i64, {}), "trips"), start = b.input(Type::tensor(DType::i64, {1}), "start");
                 OpenRegion body(b, "body");
                 const Value i = body.argument(Type::tensor(DType::i64, {})), go = body.argument(Type::tensor(DType::i1, {}));
                 const Value product = body.argument(Type::tensor(DType::i64, {1}));
                 Builder& in = body.builder();
                 const Value next = in.multiply(product, in.broadcast_to(in.add(i, 1), {1}));
                 body.finish({go, next, next});
                 return b.ops("loop", {trips, kNoValue, start}, {}, std::vector<OpenRegion>{std::move(body)});
               },
               .inputs = [] { return HostValues{Tensor::scalar_int(DType::i64, 5), Tensor::from_ints(DType::i64, {1}, std::vector<int64_t>{1})}; }}},
};
BASCULE_OP(loop);

}  // namespace bascule::ops
