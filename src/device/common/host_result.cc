// device/common/host_result.cc — see the header.
#include "device/common/host_result.h"

#include <cstring>

#include "base/error.h"

namespace bascule::device {

void give_results(const Device& device, std::span<const Tensor> results, std::span<Array> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const Tensor& t = results[i];
    if (!out[i].buffer) {
      out[i] = to_device(device, t);
      continue;
    }
    const int64_t room = out[i].buffer->bytes() - out[i].offset_bytes;
    if (room < t.bytes()) fail_usage("result " + std::to_string(i), std::to_string(t.bytes()) + " bytes of room", std::to_string(room), "Give a larger buffer");
    if (t.bytes() > 0) std::memcpy(out[i].buffer->host() + out[i].offset_bytes, t.data(), static_cast<size_t>(t.bytes()));
    out[i].dtype = t.dtype();
    out[i].dims = t.dims();
  }
}

}  // namespace bascule::device
