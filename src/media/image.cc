// media/image.cc — one function per picture format. Each checks the size that the header claims before it allocates.
#include "media/image.h"

// Order matters: jpeglib.h needs FILE and size_t declared.
#include <cstdio>
// clang-format off
#include <jpeglib.h>
// clang-format on
#include <openjpeg.h>
#include <png.h>
#include <tiffio.h>
#include <webp/decode.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "base/budget.h"
#include "base/error.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace bascule::media {
namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 27;  // 400 MB of RGB
using Bytes = std::span<const std::byte>;

// Decoded samples as the file has them: 1 (gray), 3 (RGB) or 4 (RGB and transparency) per pixel.
struct Raw {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> samples;
  uint8_t* row(int64_t y) { return samples.data() + y * width * channels; }
};

[[noreturn]] void broken(const char* format, std::string_view reason) {
  fail_file(std::string(format) + " picture", "a whole, valid file", escaped(reason), "Save the picture again, or convert it to PNG");
}

void reserve(Raw& raw, int64_t height, int64_t width, int64_t channels, const char* format) {
  if (height <= 0 || width <= 0) broken(format, "no pixels");
  if (width > kMaxPixels / height)
    fail_capacity(std::string(format) + " picture", "at most " + std::to_string(kMaxPixels) + " pixels",
                  std::to_string(width) + " x " + std::to_string(height), "Scale the picture down");
  check_room(height * width * (channels + 4), "decoded picture");
  raw.height = height;
  raw.width = width;
  raw.channels = channels;
  raw.samples.resize(static_cast<size_t>(height * width * channels));
}

// --- JPEG ---------------------------------------------------------------------------------------------------------------------

struct JpegErrors {
  jpeg_error_mgr base;
  jmp_buf jump;
  char text[JMSG_LENGTH_MAX];
};
void jpeg_fatal(j_common_ptr c) {
  auto* errors = reinterpret_cast<JpegErrors*>(c->err);
  errors->base.format_message(c, errors->text);
  longjmp(errors->jump, 1);
}
void jpeg_quiet(j_common_ptr) {}
constexpr int kMaxScans = 200;  // a progressive file of a few kilobytes can ask for thousands of passes over a large picture
void jpeg_scan_limit(j_common_ptr c) {
  if (c->is_decompressor && reinterpret_cast<j_decompress_ptr>(c)->input_scan_number > kMaxScans) {
    auto* errors = reinterpret_cast<JpegErrors*>(c->err);
    std::snprintf(errors->text, sizeof errors->text, "more than %d scans", kMaxScans);
    longjmp(errors->jump, 1);
  }
}

// No object with a destructor lives in this frame: libjpeg's errors come back through longjmp.
bool read_jpeg(jpeg_decompress_struct& c, JpegErrors& errors, jpeg_progress_mgr& progress, Bytes file, Raw& raw) {
  c.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = jpeg_fatal;
  errors.base.output_message = jpeg_quiet;
  progress.progress_monitor = jpeg_scan_limit;
  if (setjmp(errors.jump)) return false;
  jpeg_create_decompress(&c);
  c.progress = &progress;
  jpeg_mem_src(&c, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&c, TRUE);
  const bool four = c.jpeg_color_space == JCS_CMYK || c.jpeg_color_space == JCS_YCCK;
  c.out_color_space = four ? JCS_CMYK : c.jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_calc_output_dimensions(&c);
  try {
    reserve(raw, c.output_height, c.output_width, c.out_color_components, "JPEG");
  } catch (...) {
    jpeg_destroy_decompress(&c);
    throw;
  }
  jpeg_start_decompress(&c);
  while (c.output_scanline < c.output_height) {
    JSAMPROW row = raw.row(c.output_scanline);
    jpeg_read_scanlines(&c, &row, 1);
  }
  jpeg_finish_decompress(&c);
  return true;
}

Raw decode_jpeg(Bytes file) {
  Raw raw;
  jpeg_decompress_struct c = {};
  JpegErrors errors = {};
  jpeg_progress_mgr progress = {};
  const bool done = read_jpeg(c, errors, progress, file, raw);
  const bool inverted = c.saw_Adobe_marker;
  const bool four = c.out_color_space == JCS_CMYK;
  jpeg_destroy_decompress(&c);
  if (!done) broken("JPEG", errors.text);
  if (four) {  // CMYK, stored inverted by Adobe: R = C K / 255 of the inverted values. The fourth sample becomes unused.
    for (size_t i = 0; i < raw.samples.size(); i += 4) {
      uint8_t* s = raw.samples.data() + i;
      if (!inverted)
        for (int k = 0; k < 4; ++k) s[k] = static_cast<uint8_t>(255 - s[k]);
      for (int k = 0; k < 3; ++k) s[k] = static_cast<uint8_t>((s[k] * s[3] + 127) / 255);
    }
  }
  return raw;
}

// --- PNG ----------------------------------------------------------------------------------------------------------------------

struct PngState {
  Bytes rest;
  char text[160] = {};
};
void png_fatal(png_structp png, png_const_charp text) {
  auto* state = static_cast<PngState*>(png_get_error_ptr(png));
  std::snprintf(state->text, sizeof state->text, "%s", text);
  png_longjmp(png, 1);
}
void png_quiet(png_structp, png_const_charp) {}
void png_take(png_structp png, png_bytep out, size_t size) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (size > state->rest.size()) png_error(png, "the file ends too early");
  std::memcpy(out, state->rest.data(), size);
  state->rest = state->rest.subspan(size);
}

// No object with a destructor lives in this frame: libpng's errors come back through longjmp.
bool read_png(png_structp png, png_infop png_info, Raw& raw) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_user_limits(png, 1 << 20, 1 << 20);
  png_set_chunk_malloc_max(png, 16 << 20);
  png_read_info(png, png_info);
  png_set_expand(png);
  png_set_strip_16(png);
  png_set_strip_alpha(png);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, png_info);
  reserve(raw, png_get_image_height(png, png_info), png_get_image_width(png, png_info), png_get_channels(png, png_info), "PNG");
  for (int pass = 0; pass < passes; ++pass)
    for (int64_t y = 0; y < raw.height; ++y) png_read_row(png, raw.row(y), nullptr);
  png_read_end(png, nullptr);
  return true;
}

Raw decode_png(Bytes file) {
  PngState state{file};
  Raw raw;
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, png_fatal, png_quiet);
  png_infop png_info = png ? png_create_info_struct(png) : nullptr;
  const auto destroy = [&](void*) { png_destroy_read_struct(&png, png_info ? &png_info : nullptr, nullptr); };
  const std::unique_ptr<void, decltype(destroy)> guard(&state, destroy);
  if (!png_info) fail_capacity("PNG picture", "memory for the decoder", "none left", "Use smaller inputs");
  png_set_read_fn(png, &state, png_take);
  if (!read_png(png, png_info, raw)) broken("PNG", state.text);
  return raw;
}

// --- BMP, PNM -----------------------------------------------------------------------------------------------------------------

Raw decode_stb(Bytes file, const char* format) {
  const auto* data = reinterpret_cast<const stbi_uc*>(file.data());
  if (file.size() > INT32_MAX) broken(format, "over 2 GB");
  const int size = static_cast<int>(file.size());
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(data, size, &width, &height, &channels)) broken(format, stbi_failure_reason() ? stbi_failure_reason() : "not readable");
  Raw raw;
  const int kept = channels <= 2 ? 1 : 3;
  reserve(raw, height, width, kept, format);
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(stbi_load_from_memory(data, size, &width, &height, &channels, kept), stbi_image_free);
  if (!pixels || width != raw.width || height != raw.height) broken(format, stbi_failure_reason() ? stbi_failure_reason() : "not readable");
  std::memcpy(raw.samples.data(), pixels.get(), raw.samples.size());
  return raw;
}

// --- WebP ---------------------------------------------------------------------------------------------------------------------

Raw decode_webp(Bytes file) {
  const auto* data = reinterpret_cast<const uint8_t*>(file.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data, file.size(), &features) != VP8_STATUS_OK) broken("WebP", "a header that does not read");
  if (features.has_animation) fail_unsupported("WebP picture", "one still picture", "an animation", "Save one of its frames");
  Raw raw;
  reserve(raw, features.height, features.width, 3, "WebP");
  if (!WebPDecodeRGBInto(data, file.size(), raw.samples.data(), raw.samples.size(), static_cast<int>(raw.width * 3)))
    broken("WebP", "pixels that do not read");
  return raw;
}

// --- TIFF ---------------------------------------------------------------------------------------------------------------------

struct TiffSource {
  Bytes bytes;
  uint64_t at = 0;
};
tmsize_t tiff_read(thandle_t user, void* out, tmsize_t size) {
  auto& s = *static_cast<TiffSource*>(user);
  const uint64_t have = s.at < s.bytes.size() ? s.bytes.size() - s.at : 0;
  const uint64_t n = std::min<uint64_t>(have, static_cast<uint64_t>(std::max<tmsize_t>(size, 0)));
  if (n > 0) std::memcpy(out, s.bytes.data() + s.at, n);
  s.at += n;
  return static_cast<tmsize_t>(n);
}
tmsize_t tiff_write(thandle_t, void*, tmsize_t) { return 0; }
toff_t tiff_seek(thandle_t user, toff_t offset, int whence) {
  auto& s = *static_cast<TiffSource*>(user);
  s.at = whence == SEEK_SET ? offset : whence == SEEK_CUR ? s.at + offset : s.bytes.size() + offset;
  return s.at;
}
int tiff_close(thandle_t) { return 0; }
toff_t tiff_size(thandle_t user) { return static_cast<TiffSource*>(user)->bytes.size(); }
int tiff_quiet(TIFF*, void*, const char*, const char*, va_list) { return 1; }

Raw decode_tiff(Bytes file) {
  TiffSource source{file};
  const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), 1 << 29);
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), tiff_quiet, nullptr);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), tiff_quiet, nullptr);
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(
      TIFFClientOpenExt("picture", "rm", &source, tiff_read, tiff_write, tiff_seek, tiff_close, tiff_size, nullptr, nullptr, options.get()),
      TIFFClose);
  if (!tiff) broken("TIFF", "a header that does not read");
  uint32_t width = 0, height = 0;
  TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height);
  uint16_t photometric = 0, bits = 1;
  TIFFGetField(tiff.get(), TIFFTAG_PHOTOMETRIC, &photometric);
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_BITSPERSAMPLE, &bits);
  char reason[1024] = {};
  if (!TIFFRGBAImageOK(tiff.get(), reason))
    fail_unsupported("TIFF picture", "8- or 16-bit gray, palette, RGB, CMYK or YCbCr samples", escaped(reason), "Convert it to PNG");
  const bool gray = photometric == PHOTOMETRIC_MINISBLACK || photometric == PHOTOMETRIC_MINISWHITE;
  Raw raw;
  reserve(raw, height, width, gray ? 1 : 3, "TIFF");
  std::vector<uint32_t> pixels(static_cast<size_t>(width) * height);
  if (!TIFFReadRGBAImageOriented(tiff.get(), width, height, pixels.data(), ORIENTATION_TOPLEFT, 1)) broken("TIFF", "pixels that do not read");
  uint8_t* out = raw.samples.data();
  for (const uint32_t p : pixels) {
    *out++ = static_cast<uint8_t>(TIFFGetR(p));
    if (gray) continue;
    *out++ = static_cast<uint8_t>(TIFFGetG(p));
    *out++ = static_cast<uint8_t>(TIFFGetB(p));
  }
  return raw;
}

// --- JPEG 2000 ----------------------------------------------------------------------------------------------------------------

struct Jp2Source {
  Bytes bytes;
  size_t at = 0;
};
OPJ_SIZE_T jp2_read(void* out, OPJ_SIZE_T size, void* user) {
  auto& s = *static_cast<Jp2Source*>(user);
  const size_t n = std::min<size_t>(size, s.bytes.size() - s.at);
  if (n == 0) return static_cast<OPJ_SIZE_T>(-1);
  std::memcpy(out, s.bytes.data() + s.at, n);
  s.at += n;
  return n;
}
OPJ_OFF_T jp2_skip(OPJ_OFF_T count, void* user) {
  auto& s = *static_cast<Jp2Source*>(user);
  if (count < 0) return -1;
  const size_t n = std::min<size_t>(static_cast<size_t>(count), s.bytes.size() - s.at);
  s.at += n;
  return n == static_cast<size_t>(count) ? count : -1;
}
OPJ_BOOL jp2_seek(OPJ_OFF_T offset, void* user) {
  auto& s = *static_cast<Jp2Source*>(user);
  if (offset < 0 || static_cast<size_t>(offset) > s.bytes.size()) return OPJ_FALSE;
  s.at = static_cast<size_t>(offset);
  return OPJ_TRUE;
}
void jp2_quiet(const char*, void*) {}

// A sample of `precision` bits, signed or not, scaled to 8 bits.
uint8_t jp2_sample(const opj_image_comp_t& c, int value) {
  if (c.sgnd) value += 1 << (c.prec - 1);
  const int64_t largest = (int64_t{1} << c.prec) - 1;
  const int64_t v = std::clamp<int64_t>(value, 0, largest);
  return static_cast<uint8_t>(c.prec == 8 ? v : c.prec > 8 ? v >> (c.prec - 8) : v * 255 / largest);
}

Raw decode_jp2(Bytes file, OPJ_CODEC_FORMAT format) {
  Jp2Source source{file};
  const std::unique_ptr<opj_codec_t, void (*)(opj_codec_t*)> codec(opj_create_decompress(format), opj_destroy_codec);
  const std::unique_ptr<opj_stream_t, void (*)(opj_stream_t*)> stream(opj_stream_default_create(OPJ_TRUE), opj_stream_destroy);
  if (!codec || !stream) fail_capacity("JPEG 2000 picture", "memory for the decoder", "none left", "Use smaller inputs");
  opj_stream_set_user_data(stream.get(), &source, nullptr);
  opj_stream_set_user_data_length(stream.get(), file.size());
  opj_stream_set_read_function(stream.get(), jp2_read);
  opj_stream_set_skip_function(stream.get(), jp2_skip);
  opj_stream_set_seek_function(stream.get(), jp2_seek);
  opj_set_error_handler(codec.get(), jp2_quiet, nullptr);
  opj_set_warning_handler(codec.get(), jp2_quiet, nullptr);
  opj_set_info_handler(codec.get(), jp2_quiet, nullptr);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  opj_image_t* read = nullptr;
  if (!opj_setup_decoder(codec.get(), &parameters) || !opj_read_header(stream.get(), codec.get(), &read)) {
    opj_image_destroy(read);
    broken("JPEG 2000", "a header that does not read");
  }
  const std::unique_ptr<opj_image_t, void (*)(opj_image_t*)> image(read, opj_image_destroy);
  const int64_t components = image->numcomps;
  if (components != 1 && components != 3 && components != 4)
    fail_unsupported("JPEG 2000 picture", "1, 3 or 4 components", std::to_string(components), "Convert it to PNG");
  Raw raw;
  reserve(raw, static_cast<int64_t>(image->y1) - image->y0, static_cast<int64_t>(image->x1) - image->x0, components, "JPEG 2000");
  check_room(raw.height * raw.width * components * 8, "decoded picture");  // its own copy is of 32-bit samples, with wavelet scratch
  if (!opj_decode(codec.get(), stream.get(), image.get()) || !opj_end_decompress(codec.get(), stream.get()))
    broken("JPEG 2000", "pixels that do not read");
  for (int64_t k = 0; k < components; ++k) {
    const opj_image_comp_t& c = image->comps[k];
    if (!c.data || c.dx < 1 || c.dy < 1 || c.prec < 1 || c.prec > 16 || c.w < 1 || c.h < 1) broken("JPEG 2000", "a component without samples");
    for (int64_t y = 0; y < raw.height; ++y)
      for (int64_t x = 0; x < raw.width; ++x) {
        const int64_t sy = std::min<int64_t>(y / c.dy, c.h - 1), sx = std::min<int64_t>(x / c.dx, c.w - 1);
        raw.samples[static_cast<size_t>((y * raw.width + x) * components + k)] = jp2_sample(c, c.data[sy * c.w + sx]);
      }
  }
  if (image->color_space == OPJ_CLRSPC_SYCC && components >= 3) {  // full-range YCbCr (BT.601)
    for (size_t i = 0; i + 2 < raw.samples.size(); i += static_cast<size_t>(components)) {
      uint8_t* s = raw.samples.data() + i;
      const double luma = s[0], cb = s[1] - 128.0, cr = s[2] - 128.0;
      const auto to8 = [](double v) { return static_cast<uint8_t>(std::clamp(v + 0.5, 0.0, 255.0)); };
      s[0] = to8(luma + 1.402 * cr);
      s[1] = to8(luma - 0.344136 * cb - 0.714136 * cr);
      s[2] = to8(luma + 1.772 * cb);
    }
  }
  return raw;
}

// ------------------------------------------------------------------------------------------------------------------------------

Raw decode_any(Bytes file) {
  const std::string_view head(reinterpret_cast<const char*>(file.data()), std::min<size_t>(file.size(), 16));
  const auto starts = [&](std::string_view magic) { return head.substr(0, magic.size()) == magic; };
  using namespace std::string_view_literals;
  if (starts("\xFF\xD8\xFF"sv)) return decode_jpeg(file);
  if (starts("\x89PNG\r\n\x1A\n"sv)) return decode_png(file);
  if (starts("RIFF"sv) && head.size() >= 12 && head.substr(8, 4) == "WEBP"sv) return decode_webp(file);
  if (starts("II\x2A\0"sv) || starts("MM\0\x2A"sv) || starts("II\x2B\0"sv) || starts("MM\0\x2B"sv)) return decode_tiff(file);
  if (starts("\0\0\0\x0CjP  \r\n\x87\n"sv)) return decode_jp2(file, OPJ_CODEC_JP2);
  if (starts("\xFF\x4F\xFF\x51"sv)) return decode_jp2(file, OPJ_CODEC_J2K);
  if (starts("BM"sv)) return decode_stb(file, "BMP");
  if (starts("P5"sv) || starts("P6"sv)) return decode_stb(file, "PNM");
  fail_file("picture", "JPEG, PNG, BMP, PNM (P5, P6), WebP, TIFF or JPEG 2000", "first bytes '" + escaped(head.substr(0, 8)) + "'",
            "Convert it to PNG");
}

uint8_t luma(uint8_t r, uint8_t g, uint8_t b) { return static_cast<uint8_t>((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16); }

}  // namespace

Image decode_image(Bytes file, Pixels format) {
  Raw raw = decode_any(file);
  Image out{raw.height, raw.width, format == Pixels::gray ? 1 : 3, {}};
  if (raw.channels == out.channels && format != Pixels::bgr) {
    out.pixels = std::move(raw.samples);
    return out;
  }
  out.pixels.resize(static_cast<size_t>(out.height * out.width * out.channels));
  const uint8_t* from = raw.samples.data();
  uint8_t* to = out.pixels.data();
  for (int64_t i = 0; i < out.height * out.width; ++i, from += raw.channels) {
    const bool gray = raw.channels == 1;
    const uint8_t r = from[0], g = gray ? r : from[1], b = gray ? r : from[2];
    if (format == Pixels::gray) {
      *to++ = gray ? r : luma(r, g, b);
    } else {
      *to++ = format == Pixels::rgb ? r : b;
      *to++ = g;
      *to++ = format == Pixels::rgb ? b : r;
    }
  }
  return out;
}

}  // namespace bascule::media
