// bindings/c/bascule.cc — the C interface over the C++ one. No exception leaves a function.
#include "bascule/bascule.h"

#include <new>
#include <optional>
#include <string_view>

#include "bascule/bascule.hpp"

struct bascule_status {
  int kind;
  std::string text;
};
struct bascule_model {
  bascule::Model model;
};
struct bascule_array {
  bascule::Array array;
};

namespace {

template <class F>
bascule_status* guarded(F f) noexcept {
  try {
    f();
    return nullptr;
  } catch (const bascule::Failure& e) {
    return new (std::nothrow) bascule_status{static_cast<int>(e.kind()), e.what()};
  } catch (const std::exception& e) {
    return new (std::nothrow) bascule_status{BASCULE_INTERNAL, std::string("InternalError: ") + e.what()};
  }
}

std::optional<bascule::Element> element_named(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(bascule::Element::string); ++i)
    if (name == bascule::name_of(static_cast<bascule::Element>(i))) return static_cast<bascule::Element>(i);
  return std::nullopt;
}

void require(bool ok, const char* text) {
  if (!ok) throw bascule::Failure(bascule::FailureKind::usage, std::string("UsageError: ") + text);
}

const bascule::Port* port_at(const std::vector<bascule::Port>& ports, size_t i) { return i < ports.size() ? &ports[i] : nullptr; }

}  // namespace

extern "C" {

int bascule_status_kind(const bascule_status* s) { return s ? s->kind : 0; }
const char* bascule_status_text(const bascule_status* s) { return s ? s->text.c_str() : ""; }
void bascule_status_free(bascule_status* s) { delete s; }

bascule_status* bascule_load(const char* path, const bascule_load_options* o, bascule_model** model) {
  return guarded([&] {
    require(path && model, "bascule_load: path and model must not be NULL");
    bascule::LoadOptions options;
    if (o) {
      if (o->device) options.device = o->device;
      if (o->precision) options.precision = o->precision;
      options.threads = o->threads;
      options.memory_limit_bytes = o->memory_limit_bytes;
      options.time_limit_s = o->time_limit_s;
    }
    *model = new bascule_model{bascule::Model::load(path, options)};
  });
}
void bascule_model_free(bascule_model* m) { delete m; }

size_t bascule_input_count(const bascule_model* m) { return m->model.inputs().size(); }
size_t bascule_output_count(const bascule_model* m) { return m->model.outputs().size(); }
const char* bascule_input_name(const bascule_model* m, size_t i) {
  return port_at(m->model.inputs(), i) ? m->model.inputs()[i].name.c_str() : nullptr;
}
const char* bascule_output_name(const bascule_model* m, size_t i) {
  return port_at(m->model.outputs(), i) ? m->model.outputs()[i].name.c_str() : nullptr;
}
const char* bascule_input_type(const bascule_model* m, size_t i) {
  return port_at(m->model.inputs(), i) ? m->model.inputs()[i].type.c_str() : nullptr;
}
const char* bascule_output_type(const bascule_model* m, size_t i) {
  return port_at(m->model.outputs(), i) ? m->model.outputs()[i].type.c_str() : nullptr;
}

bascule_status* bascule_array_new(const char* type, const int64_t* dims, size_t rank, const void* data, size_t bytes, bascule_array** array) {
  return guarded([&] {
    require(type && array && (dims || rank == 0) && (data || bytes == 0), "bascule_array_new: a pointer is NULL");
    const auto element = element_named(type);
    require(element && *element != bascule::Element::string, "bascule_array_new: the type must be a numeric element type such as f32 or i64");
    *array = new bascule_array{bascule::Array::copy(*element, std::vector<int64_t>(dims, dims + rank), data, bytes)};
  });
}
void bascule_array_free(bascule_array* a) { delete a; }
const char* bascule_array_type(const bascule_array* a) { return bascule::name_of(a->array.element()); }
size_t bascule_array_rank(const bascule_array* a) { return a->array.dims().size(); }
const int64_t* bascule_array_dims(const bascule_array* a) { return a->array.dims().data(); }
const void* bascule_array_data(const bascule_array* a) { return a->array.data(); }
size_t bascule_array_bytes(const bascule_array* a) { return static_cast<size_t>(a->array.bytes()); }

bascule_status* bascule_run(const bascule_model* m, const bascule_array* const* inputs, size_t input_count, bascule_array** outputs) {
  return guarded([&] {
    require(m && (inputs || input_count == 0) && outputs, "bascule_run: a pointer is NULL");
    std::vector<bascule::Array> values;
    for (size_t i = 0; i < input_count; ++i) {
      require(inputs[i], "bascule_run: an input is NULL");
      values.push_back(inputs[i]->array);
    }
    std::vector<std::unique_ptr<bascule_array>> made;
    for (bascule::Array& a : m->model.run(values)) made.push_back(std::make_unique<bascule_array>(bascule_array{std::move(a)}));
    for (size_t i = 0; i < made.size(); ++i) outputs[i] = made[i].release();
  });
}

const char* bascule_version(void) { return bascule::version(); }

}  // extern "C"
