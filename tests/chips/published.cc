// tests/chips/published.cc — modelled times beside published ones, within the bounds that docs/modelling.md states. Needs BASCULE_SHARED (default
// ../shared); `chip_accuracy` of bench/ prints the tables.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "bench/chip_accuracy/mapped.h"
#include "bench/chip_accuracy/rows.h"

namespace bascule::bench {
namespace {

struct Published : testing::Test {
  void SetUp() override {
    const char* shared = std::getenv("BASCULE_SHARED");
    options.shared = shared ? shared : std::string(BASCULE_SOURCE_DIR) + "/../shared";
    if (!std::filesystem::exists(options.shared + "/facts")) GTEST_SKIP() << "no published rows in " << options.shared;
  }
  Options options;
};

TEST_F(Published, encoders_on_tpus_are_within_20_percent_of_the_compilers_cycles) {
  const Accuracy a = tpu(options);
  EXPECT_EQ(a.all_errors().size(), 12u);
  EXPECT_LE(quantile(a.all_errors(), 1), 0.20) << a.text;
}

TEST_F(Published, products_on_gpus_have_a_median_error_of_10_percent) {
  const Accuracy a = gpu(options);
  EXPECT_EQ(a.errors.size(), 3u);
  EXPECT_TRUE(a.good) << a.text;
}

// inf2/latency_data_encoder.csv: 0.999 ms at the median; with the constants of the chip's file.
TEST_F(Published, bert_base_on_inferentia2_takes_a_millisecond) {
  const auto& chip = device::chip::find_chip("inferentia2");
  const Graph graph = bound_model(options.shared + "/models/skeletons/bert_base.onnx", "input_ids=1x128;attention_mask=1x128");
  EXPECT_NEAR(device::chip::simulate(chip, mapped(chip, graph, {.cores = 1})).latency_ns() * 1e-6, 0.999, 0.1 * 0.999);
}

TEST_F(Published, encoders_and_vision_on_neuron_cores_are_within_10_percent_at_the_median_and_25_at_p90) {
  const Accuracy a = neuron(options);
  EXPECT_TRUE(a.failed.empty()) << a.failed.front();
  EXPECT_EQ(a.all_errors().size(), 30u);
  EXPECT_LE(quantile(a.all_errors(), 0.5), 0.10) << a.text;
  EXPECT_LE(quantile(a.all_errors(), 0.9), 0.25) << a.text;
}

}  // namespace
}  // namespace bascule::bench
