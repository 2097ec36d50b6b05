// base/nearest.h — the known word that a misspelt one was probably meant to be.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace bascule {

// The candidate with the fewest insertions, deletions and replacements of characters; "" if all would need more than half of `word` changed.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace bascule
