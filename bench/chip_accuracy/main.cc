// bench/chip_accuracy/main.cc — modelled times beside published ones: chip_accuracy neuron|tpu|gpu [--shared DIR] [--markdown] [--fit] [CHIP...]
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "bench/chip_accuracy/rows.h"

int main(int argc, char** argv) {
  using namespace bascule::bench;
  Options o;
  const char* shared = std::getenv("BASCULE_SHARED");
  o.shared = shared ? shared : "../shared";
  std::string what;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "--markdown") o.markdown = true;
    else if (a == "--fit") o.fit = true;
    else if (a == "--shared" && i + 1 < argc) o.shared = argv[++i];
    else if (what.empty()) what = a;
    else o.chips.push_back(a);
  }
  try {
    if (what == "neuron") return neuron(o) ? 0 : 1;
    if (what == "tpu") return tpu(o) ? 0 : 1;
    if (what == "gpu") return gpu(o) ? 0 : 1;
  } catch (const bascule::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return e.exit_code();
  }
  std::fprintf(stderr, "usage: chip_accuracy neuron|tpu|gpu [--shared DIR] [--markdown] [--fit] [CHIP...]\n");
  return 2;
}
