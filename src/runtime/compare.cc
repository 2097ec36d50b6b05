// runtime/compare.cc — one pass over both arrays finds the error measure and the worst element.
#include "runtime/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "base/error.h"

namespace bascule::runtime {
namespace {

// "[0,3]" of element i in row-major order.
std::string index_text(int64_t i, const std::vector<int64_t>& dims) {
  std::vector<int64_t> at(dims.size());
  for (size_t k = dims.size(); k-- > 0;) {
    at[k] = i % dims[k];
    i /= dims[k];
  }
  std::string text = "[";
  for (size_t k = 0; k < at.size(); ++k) text += (k ? "," : "") + std::to_string(at[k]);
  return text + "]";
}

std::string number_text(double x) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.9g", x);
  return buffer;
}

std::string element_text(const Tensor& t, int64_t i) {
  if (is_string(t.dtype())) return "'" + escaped(t.strings()[static_cast<size_t>(i)]) + "'";
  if (is_complex(t.dtype())) return number_text(t.complex(i).real()) + (t.complex(i).imag() < 0 ? "" : "+") + number_text(t.complex(i).imag()) + "i";
  if (t.dtype() == DType::u64) return std::to_string(static_cast<uint64_t>(t.integer(i)));
  if (!is_float(t.dtype())) return std::to_string(t.integer(i));
  return number_text(t.number(i));
}

Difference unlike(std::string message) { return {false, std::numeric_limits<double>::infinity(), std::move(message)}; }

Difference compare_strings(const Tensor& got, const Tensor& want) {
  int64_t wrong = 0, first = 0;
  for (int64_t i = want.elements(); i-- > 0;)
    if (got.strings()[static_cast<size_t>(i)] != want.strings()[static_cast<size_t>(i)]) {
      ++wrong;
      first = i;
    }
  if (wrong == 0) return {};
  return {false, static_cast<double>(wrong) / static_cast<double>(want.elements()),
          std::to_string(wrong) + " of " + std::to_string(want.elements()) + " strings differ, the first at " + index_text(first, want.dims()) +
              ": got " + element_text(got, first) + ", want " + element_text(want, first)};
}

// |got - want| of element i, and |want|. Exact for integers up to 2^53; beyond it, equal integers still give 0.
struct Gap {
  double distance = 0;
  double size = 0;
  bool finite = true;  // both; otherwise distance is 0 when they agree and infinity when not
};
Gap gap_at(const Tensor& got, const Tensor& want, int64_t i) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  if (is_complex(want.dtype())) {
    const auto g = got.complex(i), w = want.complex(i);
    const auto part = [](double a, double b) {
      return std::isfinite(a) && std::isfinite(b) ? std::abs(a - b) : (a == b || (std::isnan(a) && std::isnan(b))) ? 0.0 : kInf;
    };
    const bool finite = std::isfinite(w.real()) && std::isfinite(w.imag());
    return {std::hypot(part(g.real(), w.real()), part(g.imag(), w.imag())), finite ? std::abs(w) : 0.0, finite};
  }
  if (!is_float(want.dtype())) {
    const int64_t g = got.integer(i), w = want.integer(i);
    if (g == w) return {0, std::abs(want.number(i)), true};
    return {std::max(1.0, std::abs(got.number(i) - want.number(i))), std::abs(want.number(i)), true};
  }
  const double g = got.number(i), w = want.number(i);
  if (std::isfinite(g) && std::isfinite(w)) return {std::abs(g - w), std::abs(w), true};
  return {g == w || (std::isnan(g) && std::isnan(w)) ? 0.0 : kInf, 0, false};
}

}  // namespace

Difference compare(const Tensor& got, const Tensor& want, const Tolerance& tolerance) {
  if (got.dtype() != want.dtype() || got.dims() != want.dims()) return unlike("got " + got.type_text() + ", want " + want.type_text());
  if (tolerance.rule == Tolerance::Rule::shape) return {};
  if (is_string(want.dtype())) return compare_strings(got, want);

  const bool narrow = is_float(want.dtype()) && info(want.dtype()).bits <= 8;
  const bool inexact = is_float(want.dtype()) || is_complex(want.dtype());
  const bool exact = tolerance.rule == Tolerance::Rule::relative ? !inexact : tolerance.by_type && (!inexact || narrow);
  const double step = is_float(want.dtype()) ? float_info(want.dtype()).epsilon : 0;
  const double rtol = exact ? 0 : tolerance.by_type ? std::max(tolerance.rtol, step) : tolerance.rtol;
  double largest_gap = 0, largest_want = 0, worst_excess = -1;
  for (int64_t i = 0; i < want.elements(); ++i) {
    const Gap g = gap_at(got, want, i);
    largest_gap = std::max(largest_gap, g.distance);
    largest_want = std::max(largest_want, g.size);
  }
  const DType real = real_of(want.dtype());
  const bool wide = inexact && (real == DType::f32 || real == DType::f64);
  const double floor = tolerance.by_type && wide ? 2 * float_info(real).epsilon * largest_want : 0;
  const double atol = exact ? 0 : std::max(tolerance.atol, floor);
  int64_t worst = 0, wrong = 0;
  for (int64_t i = 0; i < want.elements(); ++i) {
    const Gap g = gap_at(got, want, i);
    // Elementwise the worst is the one farthest over its own bound, relative to that bound; otherwise the farthest.
    const double bound = tolerance.rule == Tolerance::Rule::allclose ? atol + rtol * g.size : 0;
    wrong += g.distance > bound;
    const double excess = g.distance == 0 ? 0 : bound > 0 ? g.distance / bound : g.distance * 1e300;
    if (excess > worst_excess) {
      worst_excess = excess;
      worst = i;
    }
  }
  Difference d;
  d.error = largest_want > 0 ? largest_gap / largest_want : largest_gap;
  d.same = tolerance.rule == Tolerance::Rule::allclose || exact ? wrong == 0 : d.error <= tolerance.limit;
  if (d.same) return d;
  d.message = "worst at " + index_text(worst, want.dims()) + ": got " + element_text(got, worst) + ", want " + element_text(want, worst) + " (" +
              std::to_string(wrong) + " of " + std::to_string(want.elements()) +
              (exact || tolerance.rule == Tolerance::Rule::relative ? " differ" : " out of tolerance") +
              ", max|got-want|/max|want| = " + number_text(d.error) + ")";
  return d;
}

Difference compare(const HostValue& got, const HostValue& want, const Tolerance& tolerance) {
  constexpr const char* kKinds[] = {"a tensor", "a sequence", "an optional", "a map", "a token"};
  const auto name = [&](const HostValue& v) { return std::string(kKinds[static_cast<size_t>(v.kind())]); };
  if (got.kind() != want.kind()) return unlike("got " + name(got) + ", want " + name(want));
  if (want.is_tensor()) return compare(got.tensor(), want.tensor(), tolerance);
  if (got.items().size() != want.items().size())
    return unlike("got " + name(got) + " of " + std::to_string(got.items().size()) + " parts, want " + std::to_string(want.items().size()));
  if (want.kind() == HostValue::Kind::map) {
    const Tensor &g = got.keys(), &w = want.keys();
    if (!g.identical(w)) {  // the same keys in another order are the same map
      const auto sorted = [](const Tensor& keys) {
        std::vector<std::string> text;
        for (int64_t i = 0; i < keys.elements(); ++i) text.push_back(element_text(keys, i));
        std::sort(text.begin(), text.end());
        return text;
      };
      if (g.dtype() != w.dtype() || sorted(g) != sorted(w)) return unlike("the keys of the maps differ");
      if (!got.items()[0].is_tensor() || !want.items()[0].is_tensor()) return unlike("the keys of the maps stand in another order");
      const Tensor &gv = got.items()[0].tensor(), &wv = want.items()[0].tensor();
      if (gv.dtype() != wv.dtype() || gv.elements() != wv.elements()) return unlike("got values " + gv.type_text() + ", want " + wv.type_text());
      for (int64_t i = 0; i < w.elements(); ++i)
        for (int64_t k = 0; k < g.elements(); ++k) {
          if (element_text(g, k) != element_text(w, i)) continue;
          const auto pick = [](const Tensor& t, int64_t at) {
            return is_string(t.dtype()) ? Tensor::from_strings({}, {t.strings()[static_cast<size_t>(at)]}) : Tensor::scalar(t.dtype(), t.number(at));
          };
          Difference d = compare(pick(gv, k), pick(wv, i), tolerance);
          if (!d.same) return d;
        }
      return {};
    }
  }
  Difference worst;
  for (size_t i = 0; i < want.items().size(); ++i) {
    Difference d = compare(got.items()[i], want.items()[i], tolerance);
    if (!d.same && worst.same) {
      worst.same = false;
      worst.message = "part " + std::to_string(i) + ": " + d.message;
    }
    worst.error = std::max(worst.error, d.error);
  }
  return worst;
}

double spread(const Tensor& t) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (int64_t i = 0; i < t.elements(); ++i) {
    const double x = t.number(i);
    if (!std::isfinite(x)) continue;
    low = std::min(low, x);
    high = std::max(high, x);
  }
  return high > low ? high - low : 0;
}

}  // namespace bascule::runtime
