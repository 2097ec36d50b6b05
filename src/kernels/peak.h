// kernels/peak.h — what this machine can do at most, measured here: the yardstick of every time. Knows no model.
#pragma once

namespace bascule::kernels {

struct Peak {
  double flop_per_s = 0;   // f32 multiply-adds from registers alone (an FMA counts 2), all threads at once
  double bytes_per_s = 0;  // reads of memory too large for the caches, all threads at once
};

// Takes about 0.3 s and 256 MiB. Threads share cores as the system places them.
Peak measure_peak(int threads);

}  // namespace bascule::kernels
