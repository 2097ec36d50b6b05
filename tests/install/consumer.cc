// tests/install/consumer.cc — uses both interfaces without a model: an array there and back, and the text of a failure.
#include <bascule/bascule.h>

#include <bascule/bascule.hpp>
#include <cstdio>
#include <cstring>

int main() {
  const bascule::Array a = bascule::Array::of<float>({2, 2}, std::vector<float>{1, 2, 3, 4});
  if (a.as<float>()[3] != 4 || a.dims() != std::vector<int64_t>{2, 2}) return 1;
  try {
    bascule::Model::load("no such file");
    return 2;
  } catch (const bascule::Failure& f) {
    if (f.kind() != bascule::FailureKind::usage) return 3;
  }
  bascule_model* model = nullptr;
  bascule_status* status = bascule_load("no such file", nullptr, &model);
  if (bascule_status_kind(status) != BASCULE_USAGE || !std::strstr(bascule_status_text(status), "no such file")) return 4;
  bascule_status_free(status);
  std::printf("%s\n", bascule_version());
}
