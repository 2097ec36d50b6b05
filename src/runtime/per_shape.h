// runtime/per_shape.h — a part of a model on a device that needs static shapes: compiled once for each set of sizes, least recently used first out.
#pragma once
#include "device/device.h"

namespace bascule::runtime {

// `device` must outlive it.
std::unique_ptr<device::Executable> compile_per_shape(const device::Device& device, Graph graph, const device::Options& options);

}  // namespace bascule::runtime
