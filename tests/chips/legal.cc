// tests/chips/legal.cc — what the mapper makes of whole models, search and all, is a program that the chip takes. Needs BASCULE_SHARED (default ../shared).
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "bench/chip_accuracy/mapped.h"
#include "device/chip/values.h"
#include "graph/builder.h"

namespace bascule::bench {
namespace {

TEST(LegalPrograms, of_the_shared_models_on_neuron_cores) {
  const char* given = std::getenv("BASCULE_SHARED");
  const std::string models = (given ? std::string(given) : std::string(BASCULE_SOURCE_DIR) + "/../shared") + "/models/skeletons/";
  if (!std::filesystem::exists(models)) GTEST_SKIP() << "no models in " << models;
  const struct {
    const char *model, *shapes;
  } cases[] = {
      {"minilm", "input_ids=1x1;attention_mask=1x1"}, {"minilm", "input_ids=3x40;attention_mask=3x40"}, {"distilbert", "input_ids=2x100;attention_mask=2x100"},
      {"bert_base", "input_ids=8x128;attention_mask=8x128"}, {"gpt2", "input_ids=1x1"}, {"gpt2", "input_ids=2x33"}, {"llama_110m", "input_ids=1x200"},
      {"bilstm", "features=2x100x128"}, {"convnext_tiny", "image=1x3x224x224"}, {"efficientnet_b0", "image=2x3x224x224"}, {"mobilenet_v3_large", "image=1x3x224x224"}, {"mobilenet_v3_large", "image=32x3x224x224"},
      {"resnet50", "image=2x3x224x224"}, {"vit_b_16", "image=3x3x224x224"}, {"whisper_tiny_encoder", "mel=1x80x3000"},
  };
  for (const auto& c : cases) {
    const Graph graph = bound_model(models + c.model + ".onnx", c.shapes);
    for (const char* name : {"inferentia2", "trainium2", "trainium3"}) {
      SCOPED_TRACE(std::string(c.model) + " " + c.shapes + " on " + name);
      const device::chip::Chip& chip = device::chip::find_chip(name);
      for (const std::string& problem : device::chip::check(chip, mapped(chip, graph, {.cores = 1}))) ADD_FAILURE() << problem;
    }
  }
}

TEST(LegalPrograms, of_products_of_many_shapes) {
  std::mt19937 random(7);
  const auto pick = [&](std::initializer_list<int64_t> from) { return *(from.begin() + random() % from.size()); };
  for (int i = 0; i < 120; ++i) {
    const int64_t batch = pick({1, 1, 2, 3}), m = pick({1, 5, 64, 100, 128, 129, 197, 300, 700, 2000, 5000}), k = pick({1, 3, 64, 100, 128, 200, 768, 1000, 3072, 9000}),
                  n = pick({1, 7, 32, 96, 128, 250, 640, 768, 1000, 3072, 30000}), last = pick({10, 64, 128, 768});
    Builder b("products");
    const auto absent = [&](std::vector<int64_t> dims) {
      return b.op("absent", {}, {{"dtype", DType::f32}, {"dims", to_dims(dims)}, {"reason", std::string("only mapped")}});
    };
    Value x = b.input(Type::tensor(DType::f32, to_dims({batch, m, k})), "x");
    if (random() % 2) x = b.op("layer_norm", {x, absent({k}), absent({k})}, {{"axis", int64_t{2}}, {"epsilon", 1e-5}});
    Value y = random() % 5 ? b.dot_general(x, absent({k, n}), {}, {}, {2}, {0})
                           : b.dot_general(x, b.input(Type::tensor(DType::f32, to_dims({batch, k, n})), "f"), {0}, {0}, {2}, {1});
    if (random() % 2) y = b.add(y, absent({n}));
    if (random() % 3 == 0) y = b.maximum(y, 0.0);
    if (random() % 2) y = b.dot_general(y, absent({n, last}), {}, {}, {2}, {0});
    const device::chip::Chip& chip = device::chip::find_chip(std::array{"trainium1", "trainium2", "trainium3"}[random() % 3]);
    SCOPED_TRACE(std::to_string(i) + ": " + std::to_string(batch) + "x" + std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n) + " on " + chip.name);
    for (const std::string& problem : device::chip::check(chip, device::chip::map(chip, device::chip::prepare(b.finish({y})), {.cores = 1}))) ADD_FAILURE() << problem;
  }
}

}  // namespace
}  // namespace bascule::bench
