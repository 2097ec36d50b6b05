// tests/support/shards.h — runs all ranks of a sharded graph in lock step on the references, and holds their joined answers to the whole graph's.
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "graph/evaluate.h"
#include "passes/shard.h"
#include "runtime/simulation.h"

namespace bascule::test {

// Communication costs nothing: what can be in parts is, however it is joined. Or next to nothing: it is joined with the fewest bytes.
inline constexpr passes::ShardPrices kFree{0, 32, 0}, kCheap{1e-3, 32, 1e-3};

// Part `rank` of `ranks` along a dimension; -1: all of it.
inline Tensor part_along(const Tensor& t, int dim, int64_t ranks, int64_t rank) {
  if (dim < 0) return t;
  const auto a = static_cast<size_t>(dim);
  std::vector<int64_t> dims = t.dims();
  dims[a] /= ranks;
  int64_t outer = 1, inner = dims[a];
  for (size_t k = 0; k < a; ++k) outer *= dims[k];
  for (size_t k = a + 1; k < dims.size(); ++k) inner *= dims[k];
  std::vector<double> part;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) part.push_back(t.number((o * ranks + rank) * inner + i));
  return Tensor::from_doubles(t.dtype(), dims, part);
}

// Up to `extent`.
inline Tensor joined_along(const std::vector<HostValues>& answers, size_t output, int dim, int64_t extent) {
  const Tensor& first = answers[0][output].tensor();
  if (dim < 0) return first;
  const auto a = static_cast<size_t>(dim);
  std::vector<int64_t> dims = first.dims();
  dims[a] = extent;
  int64_t outer = 1, inner = first.dim(a), row = extent;
  for (size_t k = 0; k < a; ++k) outer *= dims[k];
  for (size_t k = a + 1; k < dims.size(); ++k) inner *= dims[k], row *= dims[k];
  std::vector<double> all;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < row; ++i) all.push_back(answers[static_cast<size_t>(i / inner)][output].tensor().number(o * inner + i % inner));
  return Tensor::from_doubles(first.dtype(), dims, all);
}

// "" if all ranks together answer as the whole graph does; their graphs verify and differ in constants and attributes alone.
inline std::string sharded_fault(const Graph& g, const HostValues& in, const passes::Shards& plan) {
  std::vector<runtime::SimulatedProcess> processes;
  for (int64_t r = 0; r < plan.ranks; ++r) {
    auto program = std::make_shared<Graph>(passes::shard(g, plan, r));
    verify(*program, "shard");
    if (r > 0) {
      const Graph& first = *processes[0].program;
      if (program->nodes.size() != first.nodes.size()) return "ranks with other nodes";
      for (size_t i = 0; i < first.nodes.size(); ++i)
        if (program->nodes[i].op != first.nodes[i].op || program->nodes[i].inputs != first.nodes[i].inputs ||
            program->nodes[i].outputs != first.nodes[i].outputs)
          return "ranks with other nodes";
      for (size_t v = 0; v < first.values.size(); ++v)
        if (!(program->values[v].type == first.values[v].type)) return "ranks with other types";
    }
    HostValues inputs;
    for (size_t k = 0; k < in.size(); ++k) inputs.emplace_back(part_along(in[k].tensor(), plan.inputs[k], plan.ranks, r));
    processes.push_back({{r, 0}, std::move(program), std::move(inputs)});
  }
  const std::vector<HostValues> answers = runtime::simulate(processes, {}, Accumulate::exact);
  EvalContext context;
  const HostValues want = evaluate(g, in, context);
  for (size_t k = 0; k < want.size(); ++k) {
    const Tensor& t = want[k].tensor();
    const Tensor got = joined_along(answers, k, plan.outputs[k], plan.outputs[k] < 0 ? 0 : t.dim(static_cast<size_t>(plan.outputs[k])));
    if (got.type_text() != t.type_text()) return got.type_text() + " instead of " + t.type_text();
    double largest = 1e-3;
    for (int64_t i = 0; i < t.elements(); ++i) largest = std::max(largest, std::abs(t.number(i)));
    for (int64_t i = 0; i < t.elements(); ++i)
      if (!(std::abs(got.number(i) - t.number(i)) <= (t.dtype() == DType::f64 ? 1e-9 : 1e-5) * largest))
        return "output " + std::to_string(k) + " element " + std::to_string(i) + ": " + std::to_string(got.number(i)) + " instead of " +
               std::to_string(t.number(i));
  }
  return "";
}

}  // namespace bascule::test
