// cli/values.cc — see the header.
#include "cli/values.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "cli/output.h"
#include "graph/type.h"
#include "runtime/arrays.h"

namespace bascule::cli {
namespace {
using nlohmann::ordered_json;

std::string element_text(const Tensor& t, int64_t i) {
  if (is_string(t.dtype())) return "'" + escaped(t.strings()[static_cast<size_t>(i)]) + "'";
  if (is_complex(t.dtype()))
    return shortest(t.complex(i).real()) + (std::signbit(t.complex(i).imag()) ? "" : "+") + shortest(t.complex(i).imag()) + "i";
  if (is_bool(t.dtype())) return t.integer(i) ? "true" : "false";
  if (t.dtype() == DType::u64) return std::to_string(static_cast<uint64_t>(t.integer(i)));
  return is_float(t.dtype()) ? shortest(t.number(i)) : std::to_string(t.integer(i));
}

ordered_json number_json(double x) {
  return std::isfinite(x) ? ordered_json(x) : ordered_json(std::isnan(x) ? "NaN" : x > 0 ? "Infinity" : "-Infinity");
}

ordered_json element_json(const Tensor& t, int64_t i) {
  if (is_string(t.dtype())) return t.strings()[static_cast<size_t>(i)];
  if (is_complex(t.dtype())) return {number_json(t.complex(i).real()), number_json(t.complex(i).imag())};
  if (is_bool(t.dtype())) return t.integer(i) != 0;
  if (t.dtype() == DType::u64) return static_cast<uint64_t>(t.integer(i));
  return is_float(t.dtype()) ? number_json(t.number(i)) : ordered_json(t.integer(i));
}

}  // namespace

std::string type_text(const HostValue& v) { return Type::of(v).text(); }

std::string summary_text(const HostValue& v) {
  if (v.kind() == HostValue::Kind::map) return std::to_string(v.keys().elements()) + " keys";
  if (!v.is_tensor()) return std::to_string(v.items().size()) + " parts";
  const Tensor& t = v.tensor();
  std::string text;
  constexpr int64_t kShown = 6;
  for (int64_t i = 0; i < std::min(t.elements(), kShown); ++i) text += (i ? " " : "") + element_text(t, i);
  if (t.elements() <= kShown) return text;
  text += " ...";
  if (is_string(t.dtype()) || is_complex(t.dtype()) || is_bool(t.dtype())) return text;
  double low = INFINITY, high = -INFINITY, sum = 0;
  int64_t nan = 0;
  for (int64_t i = 0; i < t.elements(); ++i) {
    const double x = t.number(i);
    if (std::isnan(x)) {
      ++nan;
      continue;
    }
    low = std::min(low, x);
    high = std::max(high, x);
    sum += x;
  }
  text += "  (min " + shortest(low) + ", max " + shortest(high) + ", mean " +
          shortest(sum / static_cast<double>(std::max<int64_t>(1, t.elements() - nan)));
  return text + (nan ? ", NaN " + std::to_string(nan) : "") + ")";
}

ordered_json value_json(const HostValue& v, int64_t most) {
  ordered_json j;
  j["type"] = type_text(v);
  if (v.kind() == HostValue::Kind::map) {
    j["keys"] = value_json(HostValue(v.keys()), most);
    j["values"] = value_json(v.items()[0], most);
  } else if (!v.is_tensor()) {
    j["parts"] = ordered_json::array();
    for (const HostValue& item : v.items()) j["parts"].push_back(value_json(item, most));
  } else {
    const Tensor& t = v.tensor();
    const int64_t shown = std::min(t.elements(), most);
    j["dims"] = t.dims();
    j["data"] = ordered_json::array();
    for (int64_t i = 0; i < shown; ++i) j["data"].push_back(element_json(t, i));
    if (shown < t.elements()) j["shown"] = shown;
  }
  return j;
}

std::string json_text(const ordered_json& j) { return j.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n"; }

void write_outputs(const std::string& path, const std::vector<runtime::Port>& ports, const HostValues& values) {
  const std::string extension = extension_of(path);
  if (extension == ".npy") {
    if (values.size() != 1 || !values[0].is_tensor())
      fail_usage("--output '" + escaped(path) + "'", "one tensor for an .npy", std::to_string(values.size()) + " outputs", "Name an .npz");
    runtime::write_npy(path, values[0].tensor());
    return;
  }
  if (extension != ".npz") fail_usage("--output '" + escaped(path) + "'", "a name that ends in .npz or .npy", "another", "");
  std::vector<runtime::NamedValue> named;
  for (size_t i = 0; i < values.size(); ++i) named.push_back({ports[i].name.empty() ? "output_" + std::to_string(i) : ports[i].name, values[i]});
  runtime::write_npz(path, named);
}

}  // namespace bascule::cli
