// bindings/cpp/bascule.cc — the C++ interface over the runtime's sessions.
#include "bascule/bascule.hpp"

#include <cstring>

#include "base/error.h"
#include "runtime/session.h"

namespace bascule {
namespace {

static_assert(static_cast<int>(Element::string) == static_cast<int>(DType::string) && static_cast<int>(Element::f32) == static_cast<int>(DType::f32));
DType dtype_of(Element e) { return static_cast<DType>(e); }

// Runs f; errors of the inside leave as Failure.
template <class F>
auto translated(F f) {
  try {
    return f();
  } catch (const Error& e) {
    throw Failure(static_cast<FailureKind>(e.exit_code()), std::string(e.kind_name()) + ": " + e.what());
  } catch (const std::bad_alloc&) {
    throw Failure(FailureKind::capacity, "CapacityError: the system has no memory left");
  }
}

Port port_of(const runtime::Port& p) {
  Port out;
  out.name = p.name;
  out.type = p.type.text();
  out.element = static_cast<Element>(p.type.dtype);
  out.ranked = p.type.ranked;
  out.is_array = p.type.is_tensor();
  out.optional = p.optional;
  for (const Dim& d : p.type.dims) out.dims.push_back(d.constant().value_or(-1));
  return out;
}

}  // namespace

const char* name_of(Element e) { return info(dtype_of(e)).name.data(); }
const char* version() { return BASCULE_VERSION; }

struct Array::State {
  Tensor tensor;
};

Array::Array() : state_(std::make_shared<State>()) {}
Array::Array(Element e, std::vector<int64_t> dims)
    : state_(translated([&] { return std::make_shared<State>(State{Tensor(dtype_of(e), std::move(dims))}); })) {}
Array Array::strings(std::vector<int64_t> dims, std::vector<std::string> values) {
  return translated([&] { return Array(std::make_shared<State>(State{Tensor::from_strings(std::move(dims), std::move(values))})); });
}
Array Array::view(Element e, std::vector<int64_t> dims, const void* data, std::shared_ptr<const void> owner) {
  return translated([&] {
    return Array(std::make_shared<State>(State{Tensor::view(dtype_of(e), std::move(dims), static_cast<const std::byte*>(data), std::move(owner))}));
  });
}
Array Array::copy(Element e, std::vector<int64_t> dims, const void* data, size_t bytes) {
  return translated([&] {
    Tensor t(dtype_of(e), std::move(dims));
    if (e == Element::string || t.bytes() != static_cast<int64_t>(bytes))
      fail_usage("array " + t.type_text(), std::to_string(t.bytes()) + " bytes", std::to_string(bytes), "Give as many values as the dims hold");
    if (bytes > 0) std::memcpy(t.mutable_data(), data, bytes);
    return Array(std::make_shared<State>(State{std::move(t)}));
  });
}
Element Array::element() const { return static_cast<Element>(state_->tensor.dtype()); }
const std::vector<int64_t>& Array::dims() const { return state_->tensor.dims(); }
int64_t Array::size() const { return state_->tensor.elements(); }
int64_t Array::bytes() const { return state_->tensor.bytes(); }
const void* Array::data() const { return state_->tensor.data(); }
void* Array::mutable_data() {
  return translated([&] {
    if (state_.use_count() > 1) state_ = std::make_shared<State>(*state_);
    return static_cast<void*>(state_->tensor.mutable_data());
  });
}
const std::vector<std::string>& Array::text() const {
  return *translated([&] { return &state_->tensor.strings(); });
}
const void* Array::checked(Element e) const {
  if (element() != e)
    throw Failure(FailureKind::usage, std::string("UsageError: array ") + state_->tensor.type_text() + ": expected elements of type " + name_of(e) +
                                          ", found " + name_of(element()) + ".");
  return data();
}

struct Model::State {
  std::shared_ptr<runtime::Session> session;
  std::vector<Port> inputs, outputs;
};

Model Model::load(const std::string& path, const LoadOptions& o) {
  return translated([&] {
    auto state = std::make_shared<State>();
    state->session = runtime::Session::load(path, {.device = o.device,
                                                   .threads = o.threads,
                                                   .precision = o.precision,
                                                   .memory_limit_bytes = o.memory_limit_bytes,
                                                   .time_limit_s = o.time_limit_s});
    for (const runtime::Port& p : state->session->inputs()) state->inputs.push_back(port_of(p));
    for (const runtime::Port& p : state->session->outputs()) state->outputs.push_back(port_of(p));
    Model m;
    m.state_ = std::move(state);
    return m;
  });
}
const std::vector<Port>& Model::inputs() const { return state_->inputs; }
const std::vector<Port>& Model::outputs() const { return state_->outputs; }

std::vector<Array> Model::run(const std::vector<Array>& inputs) const {
  return translated([&] {
    HostValues values;
    for (const Array& a : inputs) values.emplace_back(a.state_->tensor);
    std::vector<Array> out;
    for (HostValue& v : state_->session->run(values)) {
      if (!v.is_tensor())
        fail_unsupported("output '" + escaped(state_->outputs[out.size()].name) + "'", "an array", state_->outputs[out.size()].type,
                         "Use the command line for sequences and maps");
      out.push_back(Array(std::make_shared<Array::State>(Array::State{std::move(v.tensor())})));
    }
    return out;
  });
}

std::map<std::string, Array> Model::run(const std::map<std::string, Array>& inputs) const {
  return translated([&] {
    std::map<std::string, HostValue> values;
    for (const auto& [name, a] : inputs) values.emplace(name, a.state_->tensor);
    std::map<std::string, Array> out;
    for (auto& [name, v] : state_->session->run(values)) {
      if (!v.is_tensor())
        fail_unsupported("output '" + escaped(name) + "'", "an array", "another kind of value", "Use the command line for sequences and maps");
      out.emplace(name, Array(std::make_shared<Array::State>(Array::State{std::move(v.tensor())})));
    }
    return out;
  });
}

}  // namespace bascule
