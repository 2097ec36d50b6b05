// ops/decode_image.cc — an encoded picture's bytes to pixels, by media/image.h.
#include <algorithm>

#include "media/image.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// A 1 x 1 picture in the portable pixmap format.
constexpr uint8_t kPixmap[] = {'P', '6', '\n', '1', ' ', '1', '\n', '2', '5', '5', '\n', 10, 20, 30};

media::Pixels pixels(const OpView& op) {
  const std::string& order = op.attrs.text("order");
  if (order == "rgb") return media::Pixels::rgb;
  if (order == "bgr") return media::Pixels::bgr;
  if (order == "gray") return media::Pixels::gray;
  op.fail("order rgb, bgr or gray", order);
}

}  // namespace

const OpDef decode_image{
    .name = "decode_image",
    .dialect = "bascule",
    .doc = "y[height, width, channel] = the pixels of the encoded picture x (JPEG, PNG, BMP, PNM, WebP, TIFF, JPEG 2000)",
    .inputs = {{"x", DType::u8}},
    .attrs = {{"order", AttrKind::text}},
    .host = true,
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          const int64_t channels = pixels(op) == media::Pixels::gray ? 1 : 3;
          if (op.in(0).ranked) op.require(op.in(0).rank() == 1, "x of rank 1", op.in(0).text());
          return std::vector<Type>{Type::tensor(DType::u8, {fresh_dim("height"), fresh_dim("width"), Dim(channels)})};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const media::Image image = media::decode_image({x.data(), static_cast<size_t>(x.elements())}, pixels(call.op));
          Tensor y(DType::u8, {image.height, image.width, image.channels});
          std::copy(image.pixels.begin(), image.pixels.end(), y.as_mutable<uint8_t>().begin());
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{.name = "pixmap", .build = [](Builder& b) { return Values{b.op("decode_image", {b.input(Type::tensor(DType::u8, {static_cast<int64_t>(sizeof kPixmap)}))}, {{"order", std::string("bgr")}})}; },
               .inputs = [] { return HostValues{Tensor::of<uint8_t>(DType::u8, {static_cast<int64_t>(sizeof kPixmap)}, kPixmap)}; }}},
};
BASCULE_OP(decode_image);

}  // namespace bascule::ops
