// device/device.cc — the registry, and buffers in host memory.
#include "device/device.h"

#include <cstdlib>
#include <cstring>
#include <map>

#include "base/error.h"
#include "device/registry.h"

namespace bascule::device {
namespace {

struct Entry {
  Factory factory;
  std::unique_ptr<Device> made;
};
std::map<std::string, Entry, std::less<>>& table() {
  static std::map<std::string, Entry, std::less<>> t;
  return t;
}

std::map<std::string, Family, std::less<>>& families() {
  static std::map<std::string, Family, std::less<>> t;
  return t;
}

// "chip:trainium2" of the family "chip"; nullptr if no family has that prefix.
const Device* find_member(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Device>> made;
  const size_t colon = name.find(':');
  if (colon == std::string::npos) return nullptr;
  const auto family = families().find(name.substr(0, colon));
  if (family == families().end()) return nullptr;
  std::unique_ptr<Device>& d = made[name];
  if (!d) d = family->second.make(name.substr(colon + 1));
  return d.get();
}

class HostBuffer : public Buffer {
 public:
  explicit HostBuffer(int64_t bytes) : charge_(bytes, "device buffer"), bytes_(bytes) {
    data_ = static_cast<std::byte*>(std::aligned_alloc(64, (static_cast<size_t>(bytes) + 127) / 64 * 64));
    if (!data_) fail_capacity("device buffer", std::to_string(bytes) + " bytes from the system", "none left", "Use smaller inputs");
  }
  ~HostBuffer() override { std::free(data_); }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
  int64_t bytes() const override { return bytes_; }
  std::byte* host() override { return data_; }

 private:
  MemoryCharge charge_;
  int64_t bytes_;
  std::byte* data_;
};

class WrappedBuffer : public Buffer {
 public:
  WrappedBuffer(std::span<const std::byte> host, std::shared_ptr<const void> owner) : host_(host), owner_(std::move(owner)) {}
  int64_t bytes() const override { return static_cast<int64_t>(host_.size()); }
  std::byte* host() override { return const_cast<std::byte*>(host_.data()); }

 private:
  std::span<const std::byte> host_;
  std::shared_ptr<const void> owner_;
};

}  // namespace

void Context::add_fallback(Fallback f) {
  const std::lock_guard lock(mutex_);
  fallbacks_.push_back(std::move(f));
}
std::vector<Fallback> Context::take_fallbacks() {
  const std::lock_guard lock(mutex_);
  return std::exchange(fallbacks_, {});
}

bool register_device(std::string_view name, Factory factory) { return table().emplace(std::string(name), Entry{factory, nullptr}).second; }

const Device& find_device(const std::string& name) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const auto at = table().find(name);
  if (at == table().end()) {
    if (const Device* member = find_member(name)) return *member;
    std::string names;
    for (const std::string& n : device_names()) names += (names.empty() ? "" : ", ") + n;
    for (const auto& [prefix, family] : families()) names += ", " + prefix + ":NAME with one of " + std::to_string(family.members().size()) + " names";
    fail_usage("device '" + escaped(name) + "'", "one of " + names, "none of that name", "Give --device one of these");
  }
  if (!at->second.made) at->second.made = at->second.factory();
  return *at->second.made;
}

std::vector<std::string> device_names() {
  std::vector<std::string> out;
  for (const auto& [name, e] : table()) out.push_back(name);
  return out;
}

bool register_family(std::string_view prefix, Family family) { return families().emplace(std::string(prefix), family).second; }

std::vector<std::string> family_names() {
  std::vector<std::string> out;
  for (const auto& [prefix, family] : families())
    for (const std::string& member : family.members()) out.push_back(prefix + ":" + member);
  return out;
}

BufferRef host_allocate(int64_t bytes) { return std::make_shared<HostBuffer>(bytes); }
BufferRef host_wrap(std::span<const std::byte> host, std::shared_ptr<const void> owner) { return std::make_shared<WrappedBuffer>(host, std::move(owner)); }
Event host_copy(const BufferRef& to, int64_t to_offset, const BufferRef& from, int64_t from_offset, int64_t bytes) {
  const auto inside = [&](const BufferRef& b, int64_t offset) { return b && bytes >= 0 && offset >= 0 && offset <= b->bytes() && bytes <= b->bytes() - offset; };
  if (!inside(to, to_offset) || !inside(from, from_offset))
    fail_usage("copy of " + std::to_string(bytes) + " bytes", "both parts inside their buffers", "offsets " + std::to_string(to_offset) + " and " + std::to_string(from_offset), "Check offsets and sizes");
  if (bytes > 0) std::memmove(to->host() + to_offset, from->host() + from_offset, static_cast<size_t>(bytes));
  return {};
}

Array to_device(const Device& d, const Tensor& t) {
  const auto owner = std::make_shared<const Tensor>(t);
  return {t.dtype(), t.dims(), d.wrap({t.data(), static_cast<size_t>(t.bytes())}, owner), 0};
}

Tensor to_host(const Device& d, const Array& a) {
  if (std::byte* p = a.buffer->host()) return Tensor::view(a.dtype, a.dims, p + a.offset_bytes, a.buffer);
  Tensor t(a.dtype, a.dims);
  const BufferRef host = host_wrap({t.mutable_data(), static_cast<size_t>(t.bytes())}, nullptr);
  d.copy(host, 0, a.buffer, a.offset_bytes, t.bytes()).wait();
  return t;
}

}  // namespace bascule::device
