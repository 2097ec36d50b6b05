// examples/hello.cc — loads a model, feeds it ones of the right shape, prints its outputs. Usage: hello MODEL
#include <bascule/bascule.hpp>
#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: hello MODEL\n"), 2;
  try {
    const bascule::Model model = bascule::Model::load(argv[1]);
    std::vector<bascule::Array> inputs;
    for (const bascule::Port& p : model.inputs()) {
      std::printf("input  '%s' %s\n", p.name.c_str(), p.type.c_str());
      std::vector<int64_t> dims = p.dims;
      for (int64_t& d : dims)
        if (d < 0) d = 1;  // a size that only a run fixes
      bascule::Array a(p.element, dims);
      if (p.element == bascule::Element::f32) {
        auto* x = static_cast<float*>(a.mutable_data());
        for (int64_t i = 0; i < a.size(); ++i) x[i] = 1;
      }
      inputs.push_back(a);
    }
    const std::vector<bascule::Array> outputs = model.run(inputs);
    for (size_t k = 0; k < outputs.size(); ++k) {
      std::printf("output '%s' %s:", model.outputs()[k].name.c_str(), bascule::name_of(outputs[k].element()));
      if (outputs[k].element() == bascule::Element::f32)
        for (int64_t i = 0; i < outputs[k].size() && i < 8; ++i) std::printf(" %g", static_cast<double>(outputs[k].as<float>()[i]));
      std::printf("\n");
    }
  } catch (const bascule::Failure& f) {
    std::fprintf(stderr, "%s\n", f.what());
    return static_cast<int>(f.kind());
  }
}
