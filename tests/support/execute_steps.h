// Runs steps of a modelled chip by loops over strides, in double: what a mapper must reproduce. Slow and literal.
#pragma once
#include <vector>

#include "device/chip/step.h"
#include "graph/tensor.h"

namespace bascule {

// The graph's outputs for inputs in the order of graph.inputs. Steps of kind host, and weights, by their references.
std::vector<Tensor> execute_steps(const Graph& graph, const std::vector<device::chip::Step>& steps, const std::vector<Tensor>& inputs);

}  // namespace bascule
