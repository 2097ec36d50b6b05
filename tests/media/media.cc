// tests/media/media.cc — small pictures and sounds written byte by byte decode to the values they hold; broken ones are typed errors.
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "media/image.h"
#include "media/sound.h"

namespace bascule::media {
namespace {
using namespace std::string_literals;

std::span<const std::byte> bytes(const std::string& s) { return std::as_bytes(std::span(s)); }

const std::string kPicture = "P6\n2 1\n255\n"s + "\xFF\x00\x00\x00\x80\x40"s;  // red, then (0,128,64)

TEST(Image, pixel_order_follows_the_format) {
  EXPECT_EQ(decode_image(bytes(kPicture), Pixels::rgb).pixels, (std::vector<uint8_t>{255, 0, 0, 0, 128, 64}));
  EXPECT_EQ(decode_image(bytes(kPicture), Pixels::bgr).pixels, (std::vector<uint8_t>{0, 0, 255, 64, 128, 0}));
  const Image gray = decode_image(bytes(kPicture), Pixels::gray);
  EXPECT_EQ(gray.channels, 1);
  EXPECT_EQ(gray.pixels, (std::vector<uint8_t>{76, 82}));  // 0.299 R + 0.587 G + 0.114 B
}

TEST(Image, broken_pictures_are_typed_errors) {
  for (const std::string& bad :
       {""s, "RIFF\x04"s, "\x89PNG\r\n\x1A\n"s, "\xFF\xD8\xFF\xE0"s, "II\x2A\0\x08\0\0\0"s, "\0\0\0\x0CjP  \r\n\x87\n"s, "BM12"s, "hello"s})
    EXPECT_THROW(decode_image(bytes(bad), Pixels::rgb), Error) << escaped(bad);
  EXPECT_THROW(decode_image(bytes("P6\n60000 60000\n255\n"), Pixels::rgb), Error);
}

TEST(Sound, wav_samples_are_scaled_to_one) {
  const std::string wav = "RIFF\x2A\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3E\0\0\0\x7D\0\0\x02\0\x10\0data\x06\0\0\0"s +
                          "\0\0\0\x40\0\x80"s;  // 16 kHz mono: 0, 1/2, -1
  const Sound sound = decode_sound(bytes(wav));
  EXPECT_EQ(sound.rate_hz, 16000);
  EXPECT_EQ(sound.channels, 1);
  EXPECT_EQ(sound.samples, (std::vector<float>{0.0f, 0.5f, -1.0f}));
  EXPECT_THROW(decode_sound(bytes("RIFF")), Error);
}

}  // namespace
}  // namespace bascule::media
