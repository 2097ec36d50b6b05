// examples/magika.cc — tells the types of files with Google's Magika model: reads each file's first and last block, runs the model, prints a table.
// Usage: magika MODEL CONFIG [--expect LABEL:SCORE] FILE...   CONFIG is the model's config.min.json. --expect checks the first file's answer.
#include <algorithm>
#include <bascule/bascule.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {

struct Config {
  size_t begin = 0, end = 0, block = 0;
  int32_t padding = 0;
  std::vector<std::string> labels;
};

Config read_config(const std::string& path) {
  std::ifstream file(path);
  const auto j = nlohmann::json::parse(file);
  return {j.at("beg_size"), j.at("end_size"), j.at("block_size"), j.at("padding_token"), j.at("target_labels_space")};
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The model's input: `begin` bytes after the leading white space of the first block, then the `end` bytes before the trailing white space
// of the last one. What is missing is padding, at the inner ends.
std::vector<int32_t> features(const std::string& path, const Config& c) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  file.seekg(0, std::ios::end);
  const auto size = static_cast<size_t>(std::max<std::streamoff>(0, file.tellg()));
  std::string first(std::min(size, c.block), '\0'), last = first;
  file.seekg(0);
  file.read(first.data(), static_cast<std::streamsize>(first.size()));
  file.seekg(static_cast<std::streamoff>(size - last.size()));
  file.read(last.data(), static_cast<std::streamsize>(last.size()));
  first.erase(first.begin(), std::find_if_not(first.begin(), first.end(), is_space));
  last.erase(std::find_if_not(last.rbegin(), last.rend(), is_space).base(), last.end());

  std::vector<int32_t> x(c.begin + c.end, c.padding);
  const size_t head = std::min(first.size(), c.begin), tail = std::min(last.size(), c.end);
  const auto value = [](char byte) { return static_cast<int32_t>(static_cast<unsigned char>(byte)); };
  std::transform(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(head), x.begin(), value);
  std::transform(last.end() - static_cast<std::ptrdiff_t>(tail), last.end(), x.end() - static_cast<std::ptrdiff_t>(tail), value);
  return x;
}

// A file's name without what could steer a terminal.
std::string printable(const std::string& name) {
  std::string out;
  for (const char c : name) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  return out;
}

int run(int argc, char** argv) {
  std::vector<std::string> files(argv + 3, argv + argc);
  std::string label;
  double score = -1;
  if (files.size() > 2 && files[0] == "--expect") {
    const size_t colon = files[1].find(':');
    label = files[1].substr(0, colon);
    if (colon != std::string::npos) score = std::atof(files[1].c_str() + colon + 1);
    files.erase(files.begin(), files.begin() + 2);
  }
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const bascule::Model model = bascule::Model::load(argv[1]);
  const Config config = read_config(argv[2]);
  model.run({bascule::Array::of<int32_t>({1, static_cast<int64_t>(config.begin + config.end)}, features(files[0], config))});  // compiles
  std::printf("model ready in %.0f ms\n\n%-44s %-16s %10s %9s\n", std::chrono::duration<double, std::milli>(Clock::now() - start).count(), "file", "type", "confidence", "ms");
  bool as_expected = true;
  for (size_t k = 0; k < files.size(); ++k) {
    const std::vector<int32_t> x = features(files[k], config);
    const auto begin = Clock::now();
    const auto y = model.run({bascule::Array::of<int32_t>({1, static_cast<int64_t>(x.size())}, x)});
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    const float* p = y[0].as<float>();
    const int64_t best = std::max_element(p, p + y[0].size()) - p;
    const std::string& found = config.labels.at(static_cast<size_t>(best));
    const double confidence = static_cast<double>(p[best]);
    std::string name = printable(files[k]);
    if (name.size() > 44) name = "..." + name.substr(name.size() - 41);
    std::printf("%-44s %-16s %8.2f %% %9.2f\n", name.c_str(), found.c_str(), 100 * confidence, ms);
    if (k == 0 && !label.empty()) as_expected = found == label && (score < 0 || std::abs(confidence - score) <= 1e-4);
  }
  if (label.empty()) return 0;
  std::printf("\nknown answer of the first file: %s, %.4f: %s\n", label.c_str(), score, as_expected ? "the same" : "NOT the same");
  return as_expected ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "usage: magika MODEL CONFIG [--expect LABEL:SCORE] FILE...\n"), 2;
  try {
    return run(argc, argv);
  } catch (const bascule::Failure& f) {
    std::fprintf(stderr, "magika: %s\n", f.what());
    return static_cast<int>(f.kind());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "magika: %s\n", e.what());
    return 2;
  }
}
