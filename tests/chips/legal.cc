// tests/chips/legal.cc — what the mapper makes of whole models, search and all, is a program that the chip takes. Needs BASCULE_SHARED (default ../shared).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "bench/chip_accuracy/mapped.h"
#include "device/chip/values.h"

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
      {"bilstm", "features=2x100x128"}, {"convnext_tiny", "image=1x3x224x224"}, {"efficientnet_b0", "image=2x3x224x224"}, {"mobilenet_v3_large", "image=1x3x224x224"},
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

}  // namespace
}  // namespace bascule::bench
