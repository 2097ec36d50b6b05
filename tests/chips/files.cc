// tests/chips/files.cc — every file of chips/ and prices/: it loads, each number has a source, its peaks are those that were published.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/error.h"
#include "device/chip/chip.h"

namespace bascule::device::chip {
namespace {

const std::string kChips = std::string(BASCULE_SOURCE_DIR) + "/chips";

std::vector<Chip> all_files() {
  std::vector<Chip> out;
  for (const auto& entry : std::filesystem::directory_iterator(kChips))
    if (entry.path().extension() == ".toml") out.push_back(read_chip(entry.path().string()));
  return out;
}

TEST(ChipFiles, the_list_is_complete) {
  std::set<std::string> names;
  for (const Chip& c : all_files()) names.insert(c.name);
  for (const char* wanted :
       {"inferentia1", "inferentia2", "trainium1", "trainium2", "trainium3",     "tpu_v4",   "tpu_v5e",      "tpu_v5p",
        "tpu_v6e",     "tpu_v7",      "maia100",   "maia200",   "a100_80g",      "h100_sxm", "h200_sxm",     "b200",
        "b300",        "l4",          "l40s",      "mi300x",    "mi325x",        "mi355x",   "gaudi2",       "gaudi3",
        "groq_lpu",    "wormhole",    "blackhole", "graviton4", "cerebras_wse3", "unit",     "furiosa_rngd", "qualcomm_ai100_ultra",
        "teach"})
    EXPECT_TRUE(names.contains(wanted)) << wanted;
}

TEST(ChipFiles, the_name_is_the_files_and_every_number_has_a_source) {
  for (const Chip& c : all_files()) {
    EXPECT_EQ(std::filesystem::path(c.file).stem().string(), c.name);
    EXPECT_FALSE(c.vendor.empty()) << c.name;
    EXPECT_GT(c.year, 0) << c.name;
    EXPECT_GT(c.figures.size(), 20u) << c.name;
    for (const Figure& f : c.figures) {
      EXPECT_NE(f.source, "") << c.name << ": " << f.path;
      EXPECT_FALSE(f.value.empty()) << c.name << ": " << f.path;
    }
  }
}

TEST(ChipFiles, an_assumption_says_why_and_a_fit_says_where) {
  for (const Chip& c : all_files())
    for (const Figure& f : c.figures) {
      EXPECT_FALSE(f.assumed() && f.source.size() <= std::string("assumed: ").size()) << c.name << ": " << f.path;
      EXPECT_FALSE(f.fitted() && f.source.find("docs/modelling.md") == std::string::npos) << c.name << ": " << f.path;
    }
}

// Chips whose vendor prints a chip's peak that is not its cores' figures added up; the files say so.
double tolerance(const Chip& c) {
  if (c.name == "trainium2" || c.name == "trainium3") return 0.15;
  return 0.04;
}

TEST(ChipFiles, the_engines_reach_the_published_peaks) {
  int compared = 0;
  for (const Chip& c : all_files())
    for (const auto& [type, peak] : c.published_peak_flop_per_s) {
      ++compared;
      EXPECT_LE(std::abs(c.peak_flop_per_s(type) / peak - 1), tolerance(c))
          << c.name << ' ' << info(type).name << ' ' << c.peak_flop_per_s(type) << " for " << peak;
    }
  EXPECT_GT(compared, 80);
}

TEST(ChipFiles, each_can_hold_and_move_something) {
  for (const Chip& c : all_files()) {
    EXPECT_GT(c.main().bytes, 0) << c.name;
    EXPECT_GT(c.main().bytes_per_s, 0) << c.name;
    EXPECT_GT(c.matrix.peak_flop_per_s(c.arithmetic.default_type), 0) << c.name;
    if (c.machine == Machine::scratchpad && c.level != Level::roofline) {
      ASSERT_NE(c.scratchpad(), nullptr) << c.name;
      EXPECT_GT(c.scratchpad()->bytes, 0) << c.name;
    }
    EXPECT_FALSE(c.machine == Machine::cached && c.cache() == nullptr) << c.name;
    // Elementwise work, reductions and functions run somewhere.
    for (const WorkClass w : {WorkClass::copy, WorkClass::arith, WorkClass::arith2, WorkClass::divide, WorkClass::transcendental, WorkClass::reduce,
                              WorkClass::select, WorkClass::fill, WorkClass::gather}) {
      bool done = false;
      for (const Engine& e : c.engines) done |= e.rate(w, false, Width::wide).has_value();
      EXPECT_TRUE(done) << c.name << ": no engine does " << name(w);
    }
  }
}

// The numbers that the architecture guides print, through the reader.
TEST(ChipFiles, neuroncore_figures_are_the_guides) {
  const Chip v2 = read_chip(kChips + "/trainium1.toml"), v3 = read_chip(kChips + "/trainium2.toml");
  EXPECT_NEAR(v2.matrix.peak_flop_per_s(DType::bf16), 91.75e12, 0.01e12);
  EXPECT_NEAR(v3.matrix.peak_flop_per_s(DType::f32), 19.66e12, 0.01e12);
  EXPECT_EQ(v3.scratchpad()->bytes, 128 * 224 * 1024);
  EXPECT_EQ(v2.accumulator()->bytes / v2.accumulator()->partitions / v2.accumulator()->banks, 2048);
  EXPECT_EQ(v2.main().shared_by_cores, 1);
  EXPECT_EQ(v3.main().shared_by_cores, 2);
  EXPECT_DOUBLE_EQ(static_cast<double>(v2.dma.engines) * v2.dma.bytes_per_s, 272e9);
  const Engine* vector = v2.engine("vector");
  ASSERT_NE(vector, nullptr);
  EXPECT_EQ(vector->rate(WorkClass::arith2, false, Width::wide)->cycles_per_element, 2);
  EXPECT_EQ(vector->rate(WorkClass::arith2, true, Width::bits16)->cycles_per_element, 1);
  EXPECT_EQ(vector->rate(WorkClass::arith2, false, Width::bits8)->cycles_per_element, 2);  // no variant of its own: the plain one
  EXPECT_FALSE(vector->rate(WorkClass::transcendental, false, Width::wide));
  ASSERT_EQ(v2.exclusive.size(), 2u);
  EXPECT_EQ(v2.exclusive[1], (std::array<std::string, 3>{"vector", "scalar", "accumulator"}));
  EXPECT_FALSE(v2.power.tdp_w);  // AWS publishes none
}

TEST(ChipFiles, an_included_file_keeps_its_sources_and_not_its_instances) {
  const Chip c = read_chip(kChips + "/trainium1.toml");
  EXPECT_EQ(c.instances.front().name, "trn1.2xlarge");
  EXPECT_EQ(c.instances.size(), 3u);
  for (const Figure& f : c.figures)
    if (f.path == "core.tensor.clock_hz") {
      EXPECT_EQ(f.source, "the same core (AWS Neuron documentation, nki/guides/architecture/trainium_inferentia2_arch.rst)");
      EXPECT_EQ(f.value, "2.8e9");
    }
  const Chip b = read_chip(kChips + "/b300.toml");  // includes b200, which includes h100
  for (const Figure& f : b.figures)
    EXPECT_TRUE(f.path != "memory.hbm.latency_ns" || f.source.starts_with("assumed: as B200 (assumed: as H100 (")) << f.source;
}

TEST(ChipFiles, installed_chips_are_found_by_name) {
  EXPECT_EQ(find_chip("teach").cores, 2);
  EXPECT_EQ(&find_chip("teach"), &find_chip("teach"));
  try {
    find_chip("trainum2");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(e.what()).find("Did you mean trainium2?"), std::string::npos) << e.what();
  }
}

TEST(Prices, every_price_is_of_an_instance_that_a_chip_file_has) {
  std::set<std::string> instances, names;
  for (const Chip& c : all_files()) {
    names.insert(c.name);
    for (const Instance& i : c.instances) instances.insert(i.name);
  }
  EXPECT_GT(prices().size(), 20u);
  for (const Price& p : prices()) {
    EXPECT_TRUE((p.per_chip ? names : instances).contains(p.instance)) << p.instance;
    EXPECT_GT(p.per_hour, 0) << p.instance;
    EXPECT_FALSE(p.source.empty() || p.date.empty() || p.region.empty()) << p.instance;
  }
}

TEST(Prices, a_list_says_what_is_wrong_with_it) {
  const auto why = [](const char* text) -> std::string {
    try {
      parse_prices(text, "p.toml");
    } catch (const Error& e) {
      EXPECT_EQ(e.exit_code(), 6);
      return e.what();
    }
    return "";
  };
  const std::string head = "currency = \"USD\"\nregion = \"r\"\ndate = 2026-09-01\nsource = \"s\"\n[[price]]\ninstance = \"i\"\n";
  const std::vector<Price> good = parse_prices(head + "kind = \"on demand\"\nper_hour = 2", "p.toml");
  ASSERT_EQ(good.size(), 1u);
  EXPECT_EQ(good[0].date, "2026-09-01");
  EXPECT_EQ(good[0].per_hour, 2);
  EXPECT_EQ(why((head + "kind = \"on demand\"\nper_hour = -1").c_str()).substr(0, 72),
            "p.toml:8: price.[0].per_hour: expected a number above 0, to 1e+07, found");
  EXPECT_NE(why((head + "kind = \"on demnd\"\nper_hour = 1").c_str()).find("expected a kind: on demand, reserved"), std::string::npos);
  EXPECT_NE(why((head + "kind = \"reserved\"\nper_huor = 1").c_str()).find("Did you mean per_hour?"), std::string::npos);
  EXPECT_NE(why("[[price]]\ninstance = \"i\"\nkind = \"reserved\"\nper_hour = 1").find("expected currency of the price, found none"),
            std::string::npos);
  EXPECT_NE(why("price = 3").find("expected tables [[price]]"), std::string::npos);
}

}  // namespace
}  // namespace bascule::device::chip
