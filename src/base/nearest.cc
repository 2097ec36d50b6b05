// base/nearest.cc — edit distance, see base/nearest.h.
#include "base/nearest.h"

#include <algorithm>

namespace bascule {
namespace {

constexpr size_t kLongest = 64;  // characters compared; names are shorter

size_t distance(std::string_view a, std::string_view b) {
  a = a.substr(0, kLongest), b = b.substr(0, kLongest);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t least = std::max<size_t>(1, std::min(word.size(), kLongest) / 2) + 1;
  for (const std::string& c : candidates)
    if (const size_t d = distance(word, c); d < least) least = d, best = c;
  return best;
}

}  // namespace bascule
