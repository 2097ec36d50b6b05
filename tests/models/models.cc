// Whole models against recorded answers (../shared/models): the real ones always, the full-size ones from BASCULE_MODELS, the folder that
// shared/models/fill.py wrote. Tolerances are those of shared/models/README.md.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <thread>

#include "base/file.h"
#include "runtime/arrays.h"
#include "runtime/session.h"

namespace bascule {
namespace {

std::string shared() {
  const char* given = std::getenv("BASCULE_SHARED");
  return given ? given : std::string(BASCULE_SOURCE_DIR) + "/../shared";
}
std::string full_size(const std::string& model) {
  const char* folder = std::getenv("BASCULE_MODELS");
  return folder ? std::string(folder) + "/" + model + ".onnx" : "";
}

using Arrays = std::map<std::string, HostValue>;
struct Recorded {
  Arrays in, out, other;
};
Recorded recorded(const std::string& model) {
  Recorded r;
  for (auto& a : runtime::read_npz(shared() + "/models/expected/" + model + ".npz")) {
    const std::string name = a.name.substr(a.name.find(':') + 1);
    (a.name.starts_with("in:") ? r.in : a.name.starts_with("out:") ? r.out : r.other).emplace(name, std::move(a.tensor));
  }
  return r;
}

double worst(const Tensor& got, const Tensor& want) {
  if (got.dims() != want.dims()) return INFINITY;
  double difference = 0, largest = 0;
  for (int64_t i = 0; i < want.elements(); ++i) {
    difference = std::max(difference, std::abs(got.number(i) - want.number(i)));
    largest = std::max(largest, std::abs(want.number(i)));
  }
  return difference / std::max(largest, 1e-30);
}

void reproduce(const std::string& path, const std::string& model, const std::string& device, double tolerance) {
  if (!is_regular_file(path)) GTEST_SKIP() << "'" << path << "' is not there (BASCULE_SHARED, BASCULE_MODELS name the folders)";
  const Recorded r = recorded(model);
  const auto session = runtime::Session::load(path, {.device = device});
  const Arrays got = session->run(r.in);
  for (const auto& [name, want] : r.out) EXPECT_LE(worst(got.at(name).tensor(), want.tensor()), tolerance) << model << " " << name;
}

TEST(Models, magika_on_both_devices) {
  for (const char* device : {"cpu", "reference"}) reproduce(shared() + "/models/real/magika_standard_v3_3.onnx", "magika_standard_v3_3", device, 1e-4);
}
TEST(Models, silero_vad_on_both_devices) {
  for (const char* device : {"cpu", "reference"}) reproduce(shared() + "/models/real/silero_vad.onnx", "silero_vad", device, 1e-4);
}
TEST(Models, silero_vad_half_on_both_devices) {
  for (const char* device : {"cpu", "reference"}) reproduce(shared() + "/models/real/silero_vad_half.onnx", "silero_vad_half", device, 1e-4);
}

class FullSize : public testing::TestWithParam<const char*> {};
TEST_P(FullSize, reproduces_the_recorded_answer) { reproduce(full_size(GetParam()), GetParam(), "cpu", std::string(GetParam()) == "minilm" ? 1e-4 : 2e-3); }
INSTANTIATE_TEST_SUITE_P(Models, FullSize,
                         testing::Values("resnet50", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "vit_b_16", "bert_base", "distilbert", "minilm", "gpt2", "llama_110m",
                                         "whisper_tiny_encoder", "bilstm"),
                         [](const auto& p) { return std::string(p.param); });

// 20 s of speech, 512 new samples a call after the last 64 of the call before, state carried.
TEST(Models, silero_vad_follows_twenty_seconds_of_speech) {
  const std::string path = shared() + "/models/real/silero_vad.onnx";
  if (!is_regular_file(path)) GTEST_SKIP() << "'" << path << "' is not there (BASCULE_SHARED names its folder)";
  const Recorded r = recorded("silero_vad");
  const auto session = runtime::Session::load(path);
  const Tensor &audio = r.other.at("audio").tensor(), &probabilities = r.other.at("probabilities").tensor();
  constexpr int64_t kNew = 512, kOld = 64;
  Arrays in{{"input", Tensor(DType::f32, {1, kOld + kNew})}, {"state", Tensor(DType::f32, {2, 1, 128})}, {"sr", Tensor::scalar_int(DType::i64, 16000)}};
  std::vector<float> before(kOld, 0.0f);
  for (int64_t k = 0; k < probabilities.elements(); ++k) {
    Tensor chunk(DType::f32, {1, kOld + kNew});
    auto x = chunk.as_mutable<float>();
    std::copy(before.begin(), before.end(), x.begin());
    for (int64_t i = 0; i < kNew; ++i) x[static_cast<size_t>(kOld + i)] = static_cast<float>(audio.number(k * kNew + i) / 32768.0);
    before.assign(x.end() - kOld, x.end());
    in["input"] = chunk;
    Arrays out = session->run(in);
    ASSERT_NEAR(out.at("output").tensor().number(0), probabilities.number(k), 1e-4) << "chunk " << k;
    in["state"] = out.at("stateN");
  }
  EXPECT_LE(worst(in.at("state").tensor(), r.other.at("state").tensor()), 1e-4);
}

TEST(Models, one_session_of_magika_serves_eight_threads) {
  const std::string path = shared() + "/models/real/magika_standard_v3_3.onnx";
  if (!is_regular_file(path)) GTEST_SKIP() << "'" << path << "' is not there (BASCULE_SHARED names its folder)";
  const Recorded r = recorded("magika_standard_v3_3");
  const auto session = runtime::Session::load(path);
  const Tensor want = session->run(r.in).begin()->second.tensor();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int k = 0; k < 3; ++k) EXPECT_TRUE(session->run(r.in).begin()->second.tensor().identical(want));
    });
  for (auto& t : threads) t.join();
}

// Rows of a batch are independent of each other, and one session takes every shape.
TEST(Models, bert_runs_two_batch_sizes_and_five_lengths_in_one_session) {
  const std::string path = full_size("bert_base");
  if (!is_regular_file(path)) GTEST_SKIP() << "BASCULE_MODELS does not name a folder with bert_base.onnx";
  const auto session = runtime::Session::load(path);
  for (const int64_t length : {1, 7, 16, 33, 64}) {
    Tensor two_ids(DType::i64, {2, length}), one_ids(DType::i64, {1, length});
    for (int64_t i = 0; i < 2 * length; ++i) two_ids.as_mutable<int64_t>()[static_cast<size_t>(i)] = 1000 + i * 37 % 20000;
    for (int64_t i = 0; i < length; ++i) one_ids.as_mutable<int64_t>()[static_cast<size_t>(i)] = two_ids.integer(i);
    const auto ones = [&](int64_t batch) {
      Tensor t(DType::i64, {batch, length});
      for (int64_t& v : t.as_mutable<int64_t>()) v = 1;
      return t;
    };
    const auto two = session->run({{"input_ids", two_ids}, {"attention_mask", ones(2)}}), one = session->run({{"input_ids", one_ids}, {"attention_mask", ones(1)}});
    const Tensor &a = two.begin()->second.tensor(), &b = one.begin()->second.tensor();
    double difference = 0, largest = 0;
    for (int64_t i = 0; i < b.elements(); ++i) {
      difference = std::max(difference, std::abs(a.number(i) - b.number(i)));
      largest = std::max(largest, std::abs(b.number(i)));
    }
    EXPECT_LE(difference, 1e-4 * largest) << length;
  }
}

TEST(Models, resnet50_runs_three_batch_sizes_in_one_session) {
  const std::string path = full_size("resnet50");
  if (!is_regular_file(path)) GTEST_SKIP() << "BASCULE_MODELS does not name a folder with resnet50.onnx";
  const Recorded r = recorded("resnet50");
  const Tensor &image = r.in.at("image").tensor(), &want = r.out.at("logits").tensor();
  const auto session = runtime::Session::load(path);
  for (const int64_t batch : {1, 2, 3}) {
    Tensor images(DType::f32, {batch, 3, 224, 224});
    for (int64_t k = 0; k < batch; ++k) std::copy_n(image.as<float>().begin(), 3 * 224 * 224, images.as_mutable<float>().begin() + k * 3 * 224 * 224);
    const Tensor got = session->run({{"image", images}}).at("logits").tensor();
    ASSERT_EQ(got.dims(), (std::vector<int64_t>{batch, 1000}));
    for (int64_t i = 0; i < got.elements(); ++i) ASSERT_NEAR(got.number(i), want.number(i % 1000), 2e-3 * 10);
  }
}

}  // namespace
}  // namespace bascule
