// tests/chips/docs.cc — docs/chips.md ends with every key that the reader takes. To write that part anew:
//   BASCULE_WRITE_DOCS=1 build/bascule_tests --gtest_filter=ChipDocs.*
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "device/chip/chip.h"

namespace bascule::device::chip {
namespace {

const std::string kPage = std::string(BASCULE_SOURCE_DIR) + "/docs/chips.md";
const std::string kHeading = "## Every key\n";

std::string keys_part() {
  std::string out = kHeading + "\nGenerated from the reader's own table (tests/chips/docs.cc says how); do not edit.\n";
  std::string section = "none";
  for (const KeyInfo& k : chip_keys()) {
    if (k.section != section) {
      section = k.section;
      out += "\n" + (section.empty() ? std::string("At the top") : "`[" + section + "]`") +
             "\n\n| key | value | absent | meaning |\n|---|---|---|---|\n";
    }
    out += "| `" + k.name + "` | " + k.type + (k.range.empty() ? "" : ", " + k.range) + " | " + k.fallback + " | " + k.meaning + " |\n";
  }
  std::string classes;
  for (int c = 0; c < kWorkClasses; ++c) classes += (c ? ", `" : "`") + std::string(name(static_cast<WorkClass>(c))) + "`";
  return out + "\nClasses of work: " + classes + ".\n";
}

std::string read(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ChipDocs, the_page_lists_every_key) {
  std::string page = read(kPage);
  const size_t at = page.find(kHeading);
  if (std::getenv("BASCULE_WRITE_DOCS")) {
    std::ofstream(kPage) << page.substr(0, at) + keys_part();
    return;
  }
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(page.substr(at), keys_part()) << "docs/chips.md is behind the reader: BASCULE_WRITE_DOCS=1 build/bascule_tests --gtest_filter=ChipDocs.*";
}

// The pieces of TOML on the page that are about teach, put together, are a chip.
TEST(ChipDocs, the_worked_example_loads) {
  const std::string page = read(kPage);
  const size_t end = page.find("## A relative");
  std::string toml;
  for (size_t at = page.find("```toml\n"); at < end; at = page.find("```toml\n", at + 1)) {
    const size_t from = at + 8;
    toml += page.substr(from, page.find("```", from) - from) + "\n";
  }
  toml += "\"core.vector\" = \"x\"\n\"dma\" = \"x\"\n";  // the page shows only a part of [sources]
  try {
    const Chip c = parse_chip(toml, "docs/chips.md");
    EXPECT_EQ(c.name, "teach");
    const Chip file = read_chip(std::string(BASCULE_SOURCE_DIR) + "/chips/teach.toml");
    EXPECT_EQ(c.peak_flop_per_s(DType::f32), file.peak_flop_per_s(DType::f32));
    for (const Figure& f : c.figures)  // the page says what the file says
      EXPECT_TRUE(std::any_of(file.figures.begin(), file.figures.end(), [&](const Figure& g) { return g.path == f.path && g.number == f.number; }))
          << f.path;
  } catch (const Error& e) {
    FAIL() << e.what();
  }
}

}  // namespace
}  // namespace bascule::device::chip
