// cli/inputs.h — a model's inputs: from arrays, protobuf messages, pictures, sounds and text files, or made from the model's types.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "graph/dim.h"
#include "runtime/session.h"

namespace bascule::cli {

struct InputOptions {
  std::vector<std::string> files;   // [NAME=]FILE, NAME=NUMBER or a folder test_data_set_K
  std::vector<std::string> shapes;  // NAME=1x128, or SYMBOL=4
  uint64_t seed = 1;
  // Pictures: value = (pixel * scale - mean[c]) / std[c] for a float input; an 8-bit input takes the pixels.
  std::string layout = "nchw", pixels = "rgb";
  std::vector<double> mean, std;
  double scale = 1.0 / 255;
  bool resize = false;
  int64_t rate_hz = 0;  // sounds: the rate that the file must have; 0: any
};
void add_inputs(CLI::App& verb, InputOptions& options);

// Dims that --shape gives: of inputs by name, and of symbols.
struct Shapes {
  std::map<std::string, std::vector<int64_t>> inputs;
  Bindings symbols;
};
Shapes parse_shapes(const std::vector<std::string>& texts, const std::vector<runtime::Port>& ports);

// What `files` give, by port: [NAME=]FILE, NAME=NUMBER for an input of one element, an .npz, a folder.
std::vector<std::optional<HostValue>> read_inputs(const std::vector<runtime::Port>& ports, const InputOptions& options, const std::vector<std::string>& files);

// One value for each port, in order: from `files` where they name it, generated otherwise (floats uniform in [-1, 1) from the seed,
// integers 1, bools true, strings "a"; sequences empty, optionals absent). A symbolic dimension that neither a file nor --shape binds is 1,
// and a note says so. An input with a default in the model is left to it.
HostValues make_inputs(const std::vector<runtime::Port>& ports, const InputOptions& options, const std::vector<std::string>& files);

// Expected outputs by port: arrays of an .npz ("out:NAME", or NAME), one .npy or .pb, or a folder's output_K.pb. Ports without one are absent.
std::map<size_t, HostValue> read_expected(const std::string& path, const std::vector<runtime::Port>& ports);

}  // namespace bascule::cli
