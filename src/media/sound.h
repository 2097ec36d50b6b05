// media/sound.h — an encoded sound (WAV, FLAC, OGG, AIFF ...) to float samples, by libsndfile. No graph.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bascule::media {

// samples[frame * channels + channel], full scale is -1 .. 1
struct Sound {
  int64_t frames = 0;
  int64_t channels = 0;
  int64_t rate_hz = 0;
  std::vector<float> samples;
};

// InvalidFileError on bytes that are no sound, CapacityError when the samples pass the thread's budget.
Sound decode_sound(std::span<const std::byte> file);

}  // namespace bascule::media
