// media/image.h — an encoded picture (JPEG, PNG, BMP, PNM, WebP, TIFF, JPEG 2000) to 8-bit pixels, by the codec libraries. No graph.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bascule::media {

enum class Pixels { rgb, bgr, gray };

// pixels[(y * width + x) * channels + c];  channels is 3, or 1 for gray
struct Image {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  std::vector<uint8_t> pixels;
};

// The format is recognised by its first bytes. Transparency is dropped, 16-bit samples keep their high byte, an animation is refused,
// gray is 0.299 R + 0.587 G + 0.114 B rounded (a gray file keeps its values). InvalidFileError on bytes that are no picture,
// UnsupportedError on a known format's variant that is not read, CapacityError over 2^27 pixels or the thread's budget.
Image decode_image(std::span<const std::byte> file, Pixels format);

}  // namespace bascule::media
