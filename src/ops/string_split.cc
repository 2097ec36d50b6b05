// ops/string_split.cc — texts cut at a delimiter (or at white space), padded to one length.
#include <algorithm>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/text.h"

namespace bascule::ops {
namespace {

using Pieces = std::vector<std::string_view>;

Pieces at_delimiter(std::string_view s, std::string_view delimiter, int64_t most) {
  Pieces out;
  while (most < 0 || static_cast<int64_t>(out.size()) < most) {
    const size_t at = s.find(delimiter);
    if (at == std::string_view::npos) break;
    out.push_back(s.substr(0, at));
    s.remove_prefix(at + delimiter.size());
  }
  out.push_back(s);
  return out;
}

// Runs of white space separate; leading ones are dropped, trailing ones too unless `most` cuts ended before them.
Pieces at_space(std::string_view s, int64_t most, const std::string& where) {
  Pieces out;
  size_t begin = 0, at = 0;
  const auto all = characters(s, where);
  for (size_t i = 0; i < all.size(); ++i) {
    const size_t next = at + all[i].size();
    if (is_white_space(all[i])) {
      if (begin < at) out.push_back(s.substr(begin, at - begin));
      begin = next;
    } else if (begin == at && most >= 0 && static_cast<int64_t>(out.size()) == most) {
      out.push_back(s.substr(begin));
      return out;
    }
    at = next;
  }
  if (begin < s.size()) out.push_back(s.substr(begin));
  return out;
}

}  // namespace

const OpDef string_split{
    .name = "string_split",
    .dialect = "bascule",
    .doc = "y[..., k] = piece k of x between delimiters ('': runs of white space), at most maxsplit cuts (-1: all), padded with ''; z = the number of pieces",
    .inputs = {{"x", DTypes::strings}},
    .attrs = {{"delimiter", AttrKind::text}, {"maxsplit", AttrKind::integer}},
    .host = true,
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          Type y = op.in(0), z = op.in(0);
          z.dtype = DType::i64;
          if (y.ranked) y.dims.push_back(fresh_dim("pieces"));
          return std::vector<Type>{y, z};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const std::string& delimiter = call.op.attrs.text("delimiter");
          const int64_t most = call.op.attrs.integer("maxsplit");
          std::vector<Pieces> all;
          size_t longest = 0;
          Tensor z(DType::i64, x.dims());
          for (const std::string& s : x.strings()) {
            check_budget();
            all.push_back(delimiter.empty() ? at_space(s, most, call.op.where) : at_delimiter(s, delimiter, most));
            longest = std::max(longest, all.back().size());
            store_int(DType::i64, z.mutable_data(), static_cast<int64_t>(all.size()) - 1, static_cast<int64_t>(all.back().size()));
          }
          std::vector<int64_t> dims = x.dims();
          dims.push_back(static_cast<int64_t>(longest));
          Tensor y(DType::string, dims);
          auto& out = y.mutable_strings();
          for (size_t i = 0; i < all.size(); ++i)
            for (size_t k = 0; k < all[i].size(); ++k) out[i * longest + k] = all[i][k];
          return HostValues{HostValue(std::move(y)), HostValue(std::move(z))};
        },
    .work = no_arithmetic(),
    .cases = {{.name = "space", .build = [](Builder& b) { return b.ops("string_split", {b.input(Type::tensor(DType::string, {2}))}, {{"delimiter", std::string()}, {"maxsplit", int64_t{-1}}}); },
               .inputs = [] { return HostValues{Tensor::from_strings({2}, {" a  b ", "c"})}; }},
              {.name = "delimiter", .build = [](Builder& b) { return b.ops("string_split", {b.input(Type::tensor(DType::string, {2}))}, {{"delimiter", std::string("-")}, {"maxsplit", int64_t{1}}}); },
               .inputs = [] { return HostValues{Tensor::from_strings({2}, {"a--b", ""})}; }}},
};
BASCULE_OP(string_split);

}  // namespace bascule::ops
