// The scale's arithmetic: what a million inferences cost, which line stands first, what has no price.
#include "inspect/compare.h"

#include <gtest/gtest.h>

namespace bascule {
namespace {
using device::chip::Chip;
using device::chip::Price;
using inspect::Modelled;
using inspect::Offer;

// One core of two answers a request of 4 inferences in 2 ms.
struct Weighed {
  Chip chip;
  Modelled m;
  explicit Weighed(int64_t memory_bytes = 100) {
    chip.name = "scales";
    chip.cores = 2;
    chip.memories.push_back({.name = "hbm", .bytes = 1000, .bytes_per_s = 1e9});
    chip.instances = {{"one", 1}, {"eight", 8}, {"unpriced", 1}};
    device::chip::Program program;
    program.cores = 1;
    program.main_bytes = memory_bytes;
    device::chip::Timing timing;
    timing.total_ns = 2e6;
    timing.request_ns = 1e6;
    timing.joules = 8;
    m.chip = &chip;
    m.program = std::make_shared<const device::chip::Program>(program);
    m.timing = std::make_shared<const device::chip::Timing>(timing);
    m.batch = 4;
    m.streams = 2;
    m.service_ns = 2e6;
  }
};

const std::vector<Price> kPrices = {{"one", "on demand", 3.6, "USD", "far", "2026", "list"},
                                    {"one", "on demand", 1.8, "USD", "near", "2026", "list"},
                                    {"one", "reserved", 0.9, "USD", "near", "2026", "list"},
                                    {"eight", "on demand", 7.2, "EUR", "near", "2026", "list"}};

TEST(Compare, a_million_inferences_cost_the_hours_they_take) {
  EXPECT_DOUBLE_EQ(inspect::per_million(3.6, 1000), 1.0);  // 1,000 s at a thousandth of a dollar
}

TEST(Compare, each_instance_and_kind_of_price_is_a_line_of_the_cheapest_region) {
  const Weighed w;
  const auto list = inspect::offers(w.m, kPrices);
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0].instance, "one");
  EXPECT_EQ(list[0].region, "near");
  EXPECT_DOUBLE_EQ(*list[0].throughput_per_s, 4000);  // two cores, four inferences each 2 ms
  EXPECT_DOUBLE_EQ(*list[0].usd_per_million, 1.8 / 3600 / 4000 * 1e6);
  EXPECT_DOUBLE_EQ(*list[0].joules_per_inference, 2);
  EXPECT_DOUBLE_EQ(*list[0].latency_ms, 3);
  EXPECT_EQ(list[1].price_kind, "reserved");
  EXPECT_EQ(list[2].instance, "eight");
  EXPECT_DOUBLE_EQ(*list[2].throughput_per_s, 32000) << "all chips serve";
  EXPECT_FALSE(list[2].usd_per_million) << "a price in another currency is no number of dollars";
  EXPECT_EQ(list[2].cost_reason, "the price is in EUR");
  EXPECT_FALSE(list[3].usd_per_million);
  EXPECT_EQ(list[3].cost_reason, "no published price of unpriced");
}

TEST(Compare, prices_of_a_chip_need_no_instance) {
  const Weighed w;
  const auto list = inspect::offers(w.m, {{"scales", "on demand", 3.6, "USD", "near", "2026", "list", true}});
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].instance, "");
  EXPECT_DOUBLE_EQ(*list[0].usd_per_million, 0.25);
}

TEST(Compare, unknown_cost_stands_last_and_what_cannot_run_after_it) {
  std::vector<Offer> list(4);
  list[0].chip = "refused";
  list[0].reason = "no";
  list[1].chip = "unpriced";
  list[1].latency_ms = 1;
  list[2].chip = "dear";
  list[2].usd_per_million = 2;
  list[3].chip = "cheap";
  list[3].usd_per_million = 1;
  inspect::sort_by_cost(list);
  std::string order;
  for (const Offer& o : list) order += o.chip + " ";
  EXPECT_EQ(order, "cheap dear unpriced refused ");
}

TEST(Compare, the_batch_is_the_leading_symbol_that_inputs_share) {
  const auto port = [](const char* name, Dims dims) { return runtime::Port{name, Type::tensor(DType::f32, std::move(dims)), false}; };
  EXPECT_EQ(inspect::batch_symbol({port("a", {Dim::symbol("n0"), 3}), port("b", {Dim::symbol("n0")})}), "n0");
  EXPECT_EQ(inspect::batch_symbol({port("a", {Dim::symbol("batch"), 3}), port("b", {Dim::symbol("seq")})}), "batch");
  EXPECT_EQ(inspect::batch_symbol({port("a", {Dim::symbol("x"), 3}), port("b", {Dim::symbol("y")})}), "");
  EXPECT_EQ(inspect::batch_symbol({port("a", {1, 3})}), "");
}

}  // namespace
}  // namespace bascule
