// device/common/host_result.h — results that were computed in host memory, into the arrays that a run was given.
#pragma once
#include <span>

#include "device/device.h"

namespace bascule::device {

// out[i] without a buffer becomes an array of the device; one with a buffer is written there. UsageError: too little room.
void give_results(const Device& device, std::span<const Tensor> results, std::span<Array> out);

}  // namespace bascule::device
