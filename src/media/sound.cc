// media/sound.cc — libsndfile over bytes in memory.
#include "media/sound.h"

#include <sndfile.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/budget.h"
#include "base/error.h"

namespace bascule::media {
namespace {

struct Source {
  std::span<const std::byte> bytes;
  sf_count_t at = 0;
};

sf_count_t length(void* user) { return static_cast<sf_count_t>(static_cast<Source*>(user)->bytes.size()); }
sf_count_t tell(void* user) { return static_cast<Source*>(user)->at; }
sf_count_t seek(sf_count_t offset, int whence, void* user) {
  auto& s = *static_cast<Source*>(user);
  const sf_count_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? s.at : length(user);
  s.at = std::clamp<sf_count_t>(from + offset, 0, length(user));
  return s.at;
}
sf_count_t read(void* out, sf_count_t count, void* user) {
  auto& s = *static_cast<Source*>(user);
  const sf_count_t n = std::clamp<sf_count_t>(count, 0, length(user) - s.at);
  if (n > 0) std::memcpy(out, s.bytes.data() + s.at, static_cast<size_t>(n));
  s.at += n;
  return n;
}
sf_count_t write(const void*, sf_count_t, void*) { return 0; }

}  // namespace

Sound decode_sound(std::span<const std::byte> file) {
  Source source{file};
  SF_VIRTUAL_IO io{length, seek, read, write, tell};
  SF_INFO info = {};
  const std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> sound(sf_open_virtual(&io, SFM_READ, &info, &source), sf_close);
  if (!sound) fail_file("sound", "a sound file that libsndfile reads", sf_strerror(nullptr), "Convert it to WAV");
  Sound out;
  out.channels = info.channels;
  out.rate_hz = info.samplerate;
  // The header's frame count is a claim: read in blocks, so that memory follows what is really there.
  constexpr sf_count_t kBlock_frames = 1 << 16;
  for (;;) {
    check_budget();
    const size_t before = out.samples.size();
    const auto block = static_cast<size_t>(kBlock_frames) * static_cast<size_t>(info.channels);
    check_room(static_cast<int64_t>((before + block) * 2 * sizeof(float)), "decoded sound");
    out.samples.resize(before + block);
    const sf_count_t got = sf_readf_float(sound.get(), out.samples.data() + before, kBlock_frames);
    out.samples.resize(before + static_cast<size_t>(std::max<sf_count_t>(got, 0)) * static_cast<size_t>(info.channels));
    if (got <= 0) break;
  }
  out.frames = static_cast<int64_t>(out.samples.size()) / out.channels;
  return out;
}

}  // namespace bascule::media
