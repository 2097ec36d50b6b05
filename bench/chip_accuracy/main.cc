// bench/chip_accuracy/main.cc — modelled times beside published ones: chip_accuracy neuron|tpu|gpu [--shared DIR] [--markdown] [--fit] [TEXT...]
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "bench/chip_accuracy/rows.h"

int main(int argc, char** argv) {
  using namespace bascule::bench;
  Options o;
  o.progress = true;
  const char* shared = std::getenv("BASCULE_SHARED");
  o.shared = shared ? shared : "../shared";
  std::string what;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "--markdown") o.markdown = true;
    else if (a == "--fit") o.fit = true;
    else if (a == "--shared" && i + 1 < argc) o.shared = argv[++i];
    else if (what.empty()) what = a;
    else o.only.push_back(a);
  }
  try {
    if (what == "neuron" || what == "tpu" || what == "gpu") {
      const Accuracy a = what == "neuron" ? neuron(o) : what == "tpu" ? tpu(o) : gpu(o);
      std::printf("%s", a.text.c_str());
      for (const std::string& f : a.failed) std::printf("failed: %s\n", f.c_str());
      return a.good ? 0 : 1;
    }
  } catch (const bascule::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return e.exit_code();
  }
  std::fprintf(stderr, "usage: chip_accuracy neuron|tpu|gpu [--shared DIR] [--markdown] [--fit] [TEXT...]\n");
  return 2;
}
