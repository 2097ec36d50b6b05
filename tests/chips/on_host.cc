// Which operators a modelled chip leaves to the host: the list in on_host.txt, which only gets shorter.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "device/device.h"
#include "ops/cases.h"

namespace bascule::device::chip {
namespace {

const std::vector<std::string> kChips = {"trainium1", "tpu_v5e", "h100_sxm"};  // to the instruction, to the tile with a scratchpad, to the tile with a cache

// The chip's engines are of 32 bits and see tensors of real numbers; what is of another kind, or decided at run time, is no gap of the mapper.
bool is_for_chips(const Graph& g) {
  for (const Node& n : g.nodes)
    if (n.op->control || n.op->host || n.op->random) return false;
  for (const ValueInfo& v : g.values) {
    const Type& t = v.type;
    if (!t.is_tensor() || is_string(t.dtype) || is_complex(t.dtype) || t.dtype == DType::f64) return false;
  }
  return true;
}

bool on_host(const Device& d, const Graph& g) {
  for (const Node& n : g.nodes)
    if (n.op->name != "constant" && !d.supports(g, n)) return true;
  const Options options{.precision = d.info().precisions.front()};
  return !d.compile(g, options)->fallbacks().empty();
}

// "sort: empty integers", "scatter (trainium1): clamped"
std::set<std::string> found() {
  std::set<std::string> lines;
  for (const OpDef* def : OpRegistry::all()) {
    std::map<std::string, std::string> cases;  // by chips
    for (const Case& c : def->cases) {
      const ops::CaseGraph made = ops::make_case(*def, c, 7, false);
      if (!is_for_chips(made.graph)) continue;
      std::string chips;
      size_t count = 0;
      for (const std::string& chip : kChips)
        if (on_host(find_device("chip:" + chip), made.graph)) chips += " " + chip, ++count;
      if (count > 0) cases[count == kChips.size() ? "" : " (" + chips.substr(1) + ")"] += " " + std::string(c.name);
    }
    for (const auto& [chips, names] : cases) lines.insert(std::string(def->name) + chips + ":" + names);
  }
  return lines;
}

TEST(OnHost, is_what_the_list_says) {
  std::ifstream file(BASCULE_SOURCE_DIR "/tests/chips/on_host.txt");
  ASSERT_TRUE(file) << "tests/chips/on_host.txt";
  std::set<std::string> listed;
  for (std::string line; std::getline(file, line);)
    if (!line.empty() && line[0] != '#') listed.insert(line);
  const std::set<std::string> now = found();
  for (const std::string& line : now) EXPECT_TRUE(listed.contains(line)) << "on the host, and not in the list: " << line;
  for (const std::string& line : listed) EXPECT_TRUE(now.contains(line)) << "in the list, and not so any more: take it out, or shorten it: " << line;
}

}  // namespace
}  // namespace bascule::device::chip
