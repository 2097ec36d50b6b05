// ops/process_groups.cc — groups of processes and the exchange of their values.
#include "ops/process_groups.h"

#include <algorithm>
#include <set>

#include "base/budget.h"
#include "base/error.h"
#include "ops/scalar_region.h"

namespace bascule::ops {

Collectives* collectives_of(const Call& call) {
  auto* c = dynamic_cast<CollectiveContext*>(&call.context);
  return c ? c->collectives : nullptr;
}

Grouping grouping_of(const OpView& op, bool both) {
  const bool channel = op.attrs.has("channel_id") && op.attrs.integer("channel_id") > 0;
  if (op.attrs.has("use_global_device_ids") && op.attrs.flag("use_global_device_ids")) return Grouping::flattened;
  if (!channel) return Grouping::replicas;
  return both ? Grouping::replicas_and_partitions : Grouping::partitions;
}

void require_groups(const OpView& op, std::string_view label) {
  const Tensor& groups = op.attrs.tensor("replica_groups");
  op.require(groups.rank() == 2 && is_int(groups.dtype()), "replica_groups of rank 2", groups.type_text(), label);
  std::set<int64_t> seen;
  for (const int64_t id : groups.ints())
    op.require(id == -1 || (id >= 0 && seen.insert(id).second), "each process id once, -1 as padding", std::to_string(id), label);
}

std::vector<Process> group_of(const Call& call, Grouping grouping) {
  const Collectives* c = collectives_of(call);
  const int64_t replicas = c ? c->replicas() : 1, partitions = c ? c->partitions() : 1;
  const Process self = c ? c->self() : Process{};
  const Tensor& groups = call.op.attrs.tensor("replica_groups");
  std::vector<std::vector<int64_t>> lists;
  const int64_t rows = groups.rank() == 2 ? groups.dim(0) : 0, columns = groups.rank() == 2 ? groups.dim(1) : 0;
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<int64_t> ids;
    for (int64_t k = 0; k < columns; ++k)
      if (const int64_t id = groups.integer(r * columns + k); id >= 0) ids.push_back(id);
    lists.push_back(std::move(ids));
  }
  if (lists.empty()) {  // no groups: one of all
    lists.emplace_back();
    const int64_t n = grouping == Grouping::flattened ? replicas * partitions : grouping == Grouping::partitions ? partitions : replicas;
    for (int64_t i = 0; i < n; ++i) lists[0].push_back(i);
  }
  for (const auto& ids : lists) {
    std::vector<Process> group;
    switch (grouping) {
      case Grouping::replicas:
        for (const int64_t id : ids) group.push_back({id, self.partition});
        break;
      case Grouping::partitions:
        for (const int64_t id : ids) group.push_back({self.replica, id});
        break;
      case Grouping::replicas_and_partitions:
        for (int64_t p = 0; p < partitions; ++p)
          for (const int64_t id : ids) group.push_back({id, p});
        break;
      case Grouping::flattened:
        for (const int64_t id : ids) group.push_back({id / partitions, id % partitions});
        break;
    }
    if (std::find(group.begin(), group.end(), self) == group.end()) continue;
    for (const Process& p : group)
      if (p.replica >= replicas || p.partition >= partitions)
        fail_usage(call.op.where, std::to_string(replicas) + " replicas and " + std::to_string(partitions) + " partitions at most in the groups",
                   "replica " + std::to_string(p.replica) + ", partition " + std::to_string(p.partition),
                   "Run the program on as many processes as it was made for");
    return group;
  }
  return {};
}

std::vector<Process> own_group(const Call& call) {
  auto group = group_of(call, grouping_of(call.op, true));
  if (group.empty()) fail_usage(call.op.where, "this process in one of the groups", "in none", "Run the program on the processes it was made for");
  return group;
}

int64_t place_in(const Call& call, const std::vector<Process>& group) {
  const Collectives* c = collectives_of(call);
  const auto at = c ? std::find(group.begin(), group.end(), c->self()) : group.end();
  return at == group.end() ? 0 : at - group.begin();
}

std::vector<HostValues> gather_values(const Call& call, const std::vector<Process>& group) {
  Collectives* c = collectives_of(call);
  HostValues mine(call.inputs.begin(), call.inputs.end());
  if (!c) return {std::move(mine)};
  const int64_t channel = call.op.attrs.has("channel_id") ? call.op.attrs.integer("channel_id") : 0;
  return c->exchange(std::string(call.op.def.name) + " " + std::to_string(channel), group, std::move(mine));
}

Tensor fold_elements(const Call& call, const std::vector<HostValues>& given, size_t index, const Type& result) {
  std::vector<const Tensor*> x;
  for (const HostValues& g : given) x.push_back(&g[index].tensor());
  ScalarRegion body(call, 0);
  Tensor y(result.dtype, static_dims(result));
  const DType in = x[0]->dtype();
  std::byte* out = y.mutable_data();
  for (int64_t i = 0; i < y.elements(); ++i) {
    check_budget();
    Scalar sum = load_scalar(in, x[0]->data(), i);
    for (size_t k = 1; k < x.size(); ++k) {
      const Scalar arguments[2] = {sum, load_scalar(in, x[k]->data(), i)};
      body(arguments, std::span(&sum, 1));
    }
    store_scalar(result.dtype, out, i, sum);
  }
  return y;
}

std::vector<AttrDef> with_groups(std::vector<AttrDef> own, bool global_ids) {
  own.push_back({"replica_groups", AttrKind::tensor});
  own.push_back({"channel_id", AttrKind::integer, false, int64_t{0}});
  own.push_back({"channel_type", AttrKind::integer, false, int64_t{0}});
  if (global_ids) own.push_back({"use_global_device_ids", AttrKind::flag, false, false});
  return own;
}

Case alone(std::string_view op, Attrs own) {
  own.set("replica_groups", Tensor::from_ints(DType::i64, {1, 1}, std::vector<int64_t>{0}));
  return {.name = "alone", .build = [op, own](Builder& b) {
            const Value x = b.input(Type::tensor(DType::f32, {2, 3}));
            return b.ops(op, {x}, own, {Builder::scalar_region("add", DType::f32)});
          }};
}

std::vector<Type> token_after_operands(const OpView& op) {
  op.require(!op.inputs.empty() && op.inputs.back().kind == Type::Kind::token, "a token as the last operand", op.inputs.empty() ? "none" : op.inputs.back().text());
  return {Type::token()};
}

std::vector<Type> tensor_and_token(const OpView& op) { return {Type::tensor(op.attrs.dtype("dtype"), op.attrs.dims("dims")), Type::token()}; }

HostValues received(const Call& call, HostValues found, std::string_view remedy) {
  if (found.size() != 1 || !compatible(Type::of(found[0]), call.results[0]))
    fail_usage(call.op.where, call.results[0].text(), found.empty() ? "nothing" : Type::of(found[0]).text(), std::string(remedy));
  found.push_back(HostValue::token());
  return found;
}

}  // namespace bascule::ops
