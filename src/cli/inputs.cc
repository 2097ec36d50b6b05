// cli/inputs.cc — files to the values that the ports ask for.
#include "cli/inputs.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <random>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "import/onnx/tensor_pb.h"
#include "media/image.h"
#include "media/sound.h"
#include "runtime/arrays.h"

namespace bascule::cli {
namespace {
using runtime::Array;
using runtime::Port;

std::string shown(const std::string& name) { return "'" + escaped(name) + "'"; }

std::string port_list(const std::vector<Port>& ports) {
  std::string out;
  for (const Port& p : ports) out += (out.empty() ? "" : ", ") + shown(p.name) + " " + p.type.text();
  return out.empty() ? "none" : out;
}

std::optional<size_t> port_index(const std::vector<Port>& ports, const std::string& name) {
  for (size_t i = 0; i < ports.size(); ++i)
    if (ports[i].name == name) return i;
  return std::nullopt;
}

HostValue::Kind host_kind(const Type& t) {
  switch (t.kind) {
    case Type::Kind::sequence: return HostValue::Kind::sequence;
    case Type::Kind::optional: return HostValue::Kind::optional;
    case Type::Kind::map: return HostValue::Kind::map;
    default: return HostValue::Kind::tensor;
  }
}

// The value of a port from arrays named NAME, or NAME[0], NAME[1] ... (parts of a sequence or optional), NAME.keys and NAME.values (a map).
std::optional<HostValue> from_arrays(const std::map<std::string, const Array*>& arrays, const std::string& name, const Type& type,
                                     const std::string& where, std::set<std::string>& used) {
  const auto find = [&](const std::string& n) -> const Array* {
    const auto it = arrays.find(n);
    if (it == arrays.end()) return nullptr;
    used.insert(n);
    return it->second;
  };
  if (type.kind == Type::Kind::tensor) {
    const Array* a = find(name);
    return a ? std::optional<HostValue>(runtime::typed(*a, type.dtype, where + ", array " + shown(name))) : std::nullopt;
  }
  if (type.kind == Type::Kind::map) {
    const Array* keys = find(name + ".keys");
    if (!keys || type.elements.empty()) return std::nullopt;
    auto values = from_arrays(arrays, name + ".values", type.elements[0], where, used);
    if (!values) return std::nullopt;
    return HostValue::map(runtime::typed(*keys, type.dtype, where + ", array " + shown(name + ".keys")), *values);
  }
  if (type.elements.empty()) return std::nullopt;
  HostValues items;
  while (auto item = from_arrays(arrays, name + "[" + std::to_string(items.size()) + "]", type.elements[0], where, used))
    items.push_back(std::move(*item));
  if (type.kind == Type::Kind::sequence) return items.empty() ? std::nullopt : std::optional(HostValue::sequence(std::move(items)));
  if (items.size() == 1) return HostValue::optional(std::move(items[0]));
  auto plain = from_arrays(arrays, name, type.elements[0], where, used);
  return plain ? std::optional(HostValue::optional(std::move(*plain))) : std::nullopt;
}

// Arrays of an .npz by name. With prefixes "in:" and "out:" only those with `prefix` count; without any, all do.
std::map<std::string, const Array*> by_name(const std::vector<Array>& arrays, const std::string& prefix) {
  const bool prefixed =
      std::any_of(arrays.begin(), arrays.end(), [](const Array& a) { return a.name.starts_with("in:") || a.name.starts_with("out:"); });
  std::map<std::string, const Array*> out;
  for (const Array& a : arrays) {
    if (!prefixed) out[a.name] = &a;
    else if (a.name.starts_with(prefix)) out[a.name.substr(prefix.size())] = &a;
  }
  return out;
}

// --- Pictures, sounds, text ----------------------------------------------------------------------------------------------------------

std::span<const std::byte> bytes_of(const std::string& s) { return std::as_bytes(std::span(s)); }

// y: the picture at another size, each output pixel the mean of the input weighted by a triangle as wide as the scale (bilinear; when
// shrinking it covers all input pixels). One axis at a time.
std::vector<double> resampled(const std::vector<double>& x, int64_t outer, int64_t from, int64_t to, int64_t inner) {
  if (from == to) return x;
  std::vector<double> y(static_cast<size_t>(outer * to * inner));
  const double ratio = static_cast<double>(from) / static_cast<double>(to), reach = std::max(1.0, ratio);
  for (int64_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * ratio - 0.5;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(std::ceil(center - reach))),
                  last = std::min(from - 1, static_cast<int64_t>(std::floor(center + reach)));
    double sum = 0;
    for (int64_t k = first; k <= last; ++k) sum += std::max(0.0, 1 - std::abs(static_cast<double>(k) - center) / reach);
    for (int64_t k = first; k <= last; ++k) {
      const double weight = std::max(0.0, 1 - std::abs(static_cast<double>(k) - center) / reach) / sum;
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t n = 0; n < inner; ++n)
          y[static_cast<size_t>((o * to + i) * inner + n)] += weight * x[static_cast<size_t>((o * from + k) * inner + n)];
    }
  }
  return y;
}

Tensor picture(const std::string& path, const Port& port, const InputOptions& o) {
  const std::string where = "picture " + shown(path) + " for input " + shown(port.name);
  const media::Pixels format = o.pixels == "rgb" ? media::Pixels::rgb : o.pixels == "bgr" ? media::Pixels::bgr : media::Pixels::gray;
  const media::Image image = media::decode_image(bytes_of(read_file(path, int64_t{1} << 30)), format);
  const bool first = o.layout == "nchw" || o.layout == "chw", batch = o.layout.size() == 4;
  const Type& t = port.type;
  if (!t.ranked || t.rank() != o.layout.size()) fail_usage(where, t.text(), "layout " + o.layout, "Choose --layout nchw, nhwc, chw or hwc");
  const size_t c_axis = (batch ? 1 : 0) + (first ? 0 : 2), h_axis = (batch ? 1 : 0) + (first ? 1 : 0), w_axis = h_axis + 1;
  int64_t h = image.height, w = image.width;
  const int64_t want_h = t.dims[h_axis].constant().value_or(h), want_w = t.dims[w_axis].constant().value_or(w);
  if (t.dims[c_axis].constant().value_or(image.channels) != image.channels)
    fail_usage(where, t.text(), std::to_string(image.channels) + " channels", "Choose --pixels rgb, bgr or gray, and --layout");
  if ((want_h != h || want_w != w) && !o.resize)
    fail_usage(where, std::to_string(want_h) + " x " + std::to_string(want_w) + " pixels", std::to_string(h) + " x " + std::to_string(w),
               "Give --resize, or scale the picture");
  std::vector<double> x(image.pixels.begin(), image.pixels.end());
  const int64_t c = image.channels;
  x = resampled(x, h, w, want_w, c);
  x = resampled(x, 1, h, want_h, want_w * c);
  h = want_h;
  w = want_w;
  for (const auto* list : {&o.mean, &o.std})
    if (!list->empty() && list->size() != 1 && list->size() != static_cast<size_t>(c))
      fail_usage(where, "1 or " + std::to_string(c) + " values in --mean and --std", std::to_string(list->size()), "Separate them by commas");
  const auto of = [&](const std::vector<double>& list, int64_t k, double fallback) {
    return list.empty() ? fallback : list[list.size() == 1 ? 0 : static_cast<size_t>(k)];
  };
  std::vector<int64_t> dims = first ? std::vector<int64_t>{c, h, w} : std::vector<int64_t>{h, w, c};
  if (batch) dims.insert(dims.begin(), 1);
  Tensor out(t.dtype, dims);
  std::byte* to = out.mutable_data();
  const bool raw = !is_float(t.dtype);
  for (int64_t y = 0; y < h; ++y)
    for (int64_t u = 0; u < w; ++u)
      for (int64_t k = 0; k < c; ++k) {
        const double v = x[static_cast<size_t>((y * w + u) * c + k)];
        const int64_t at = first ? (k * h + y) * w + u : (y * w + u) * c + k;
        if (raw) store_int(t.dtype, to, at, std::llround(v));
        else store_double(t.dtype, to, at, (v * o.scale - of(o.mean, k, 0)) / of(o.std, k, 1));
      }
  return out;
}

// [frames] with leading extents of 1 up to the port's rank; several channels are averaged.
Tensor sound(const std::string& path, const Port& port, const InputOptions& o) {
  const std::string where = "sound " + shown(path) + " for input " + shown(port.name);
  const media::Sound s = media::decode_sound(bytes_of(read_file(path, int64_t{1} << 31)));
  if (o.rate_hz && s.rate_hz != o.rate_hz)
    fail_usage(where, std::to_string(o.rate_hz) + " Hz", std::to_string(s.rate_hz) + " Hz", "Resample the file; Bascule does not guess a filter");
  if (!is_float(port.type.dtype) && port.type.dtype != DType::i16)
    fail_usage(where, port.type.text(), "samples (float, or i16)", "Name another input");
  std::vector<int64_t> dims(std::max<size_t>(1, port.type.rank()), 1);
  dims.back() = s.frames;
  Tensor out(port.type.dtype, dims);
  std::byte* to = out.mutable_data();
  for (int64_t i = 0; i < s.frames; ++i) {
    double sum = 0;
    for (int64_t k = 0; k < s.channels; ++k) sum += static_cast<double>(s.samples[static_cast<size_t>(i * s.channels + k)]);
    const double mean = sum / static_cast<double>(s.channels);
    if (is_float(port.type.dtype)) store_double(port.type.dtype, to, i, mean);
    else store_int(port.type.dtype, to, i, std::clamp<int64_t>(std::llround(mean * 32768), -32768, 32767));
  }
  return out;
}

// A string input takes the whole text; a numeric one the values of its bytes along the last axis.
Tensor text(const std::string& path, const Port& port) {
  const std::string content = read_file(path, int64_t{1} << 30);
  std::vector<int64_t> dims(port.type.rank(), 1);
  if (is_string(port.type.dtype)) return Tensor::from_strings(dims, {content});
  if (dims.empty()) dims.push_back(1);
  dims.back() = static_cast<int64_t>(content.size());
  Tensor out(port.type.dtype, dims);
  std::byte* to = out.mutable_data();
  for (size_t i = 0; i < content.size(); ++i) store_int(port.type.dtype, to, static_cast<int64_t>(i), static_cast<unsigned char>(content[i]));
  return out;
}

const std::set<std::string> kPictures{".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".jp2", ".j2k", ".ppm", ".pgm", ".pnm"};
const std::set<std::string> kSounds{".wav", ".flac", ".ogg", ".aif", ".aiff"};

HostValue from_file(const std::string& path, const Port& port, const InputOptions& o) {
  const std::string e = extension_of(path);
  if (e == ".pb") return onnx::read_value_pb(path, host_kind(port.type));
  if (e == ".npy") {
    const DType t = port.type.kind == Type::Kind::optional && !port.type.elements.empty() ? port.type.elements[0].dtype : port.type.dtype;
    Tensor value = runtime::typed(runtime::read_npy(path), t, shown(path) + " for input " + shown(port.name));
    return port.type.kind == Type::Kind::optional ? HostValue::optional(std::move(value)) : HostValue(std::move(value));
  }
  if (!port.type.is_tensor())
    fail_usage("input " + shown(port.name), "an .npz or .pb for " + port.type.text(), shown(path),
               "Give its parts as NAME[0], NAME[1] ... in an .npz");
  if (kPictures.contains(e)) return picture(path, port, o);
  if (kSounds.contains(e)) return sound(path, port, o);
  if (e == ".txt") return text(path, port);
  fail_usage("input file " + shown(path), ".npz, .npy, .pb, a picture, a sound, .txt, or a folder test_data_set_K", "another kind", "Convert it");
}

// NAME=16000: one element of the port's type, where no file has that name.
std::optional<HostValue> literal(const std::string& text, const Port& port) {
  if (!port.type.is_tensor() || !port.type.ranked || is_string(port.type.dtype) || is_regular_file(text)) return std::nullopt;
  double x = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), x);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  Tensor t(port.type.dtype, std::vector<int64_t>(port.type.rank(), 1));
  store_double(port.type.dtype, t.mutable_data(), 0, x);
  return t;
}

// --- Generated values ----------------------------------------------------------------------------------------------------------------

// A string of bits from a seed and a name, so that adding an input leaves the others' values alone.
uint64_t seed_of(uint64_t seed, const std::string& name) {
  uint64_t h = 1469598103934665603u ^ seed;  // FNV-1a
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

Tensor generated(DType t, const std::vector<int64_t>& dims, uint64_t seed) {
  Tensor out(t, dims);
  if (is_string(t)) {
    for (std::string& s : out.mutable_strings()) s = "a";
    return out;
  }
  std::mt19937_64 random(seed);
  std::byte* p = out.mutable_data();
  for (int64_t i = 0; i < out.elements(); ++i) {
    const auto next = [&] { return static_cast<double>(random() >> 11) * 0x1p-52 - 1; };  // [-1, 1)
    if (is_complex(t)) {
      const double re = next();
      store_complex(t, p, i, {re, next()});
    } else if (is_float(t)) {
      store_double(t, p, i, next());
    } else {
      store_int(t, p, i, 1);
    }
  }
  return out;
}

std::vector<int64_t> parse_dims(std::string_view s, const std::string& where) {
  std::vector<int64_t> dims;
  while (!s.empty()) {
    int64_t v = 0;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
    const auto used = static_cast<size_t>(end - s.data());
    if (error != std::errc() || v < 0 || (used < s.size() && s[used] != 'x') || used + 1 == s.size())
      fail_usage("--shape", "NAME=1x128, with sizes of 0 or more", where, "Separate several by commas");
    dims.push_back(v);
    s.remove_prefix(std::min(s.size(), used + 1));
  }
  return dims;
}

}  // namespace

void add_inputs(CLI::App& verb, InputOptions& o) {
  verb.add_option("--input", o.files,
                  "Inputs: x.npz, or [NAME=]FILE with .npy, .pb, a picture, a sound, .txt (its bytes), NAME=16000, or a folder test_data_set_K")
      ->type_name("FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  verb.add_option("--shape", o.shapes, "Shapes of inputs that are made, or sizes of symbols: image=1x3x224x224,seq=128")
      ->type_name("NAME=1x128")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  verb.add_option("--seed", o.seed, "Seed of inputs that are made")->type_name("N");
  verb.add_option("--layout", o.layout, "Pictures: order of axes (default nchw)")->check(CLI::IsMember({"nchw", "nhwc", "chw", "hwc"}));
  verb.add_option("--pixels", o.pixels, "Pictures: rgb (default), bgr or gray")->check(CLI::IsMember({"rgb", "bgr", "gray"}));
  verb.add_option("--mean", o.mean, "Pictures: (pixel * scale - mean) / std")->delimiter(',')->type_name("R,G,B");
  verb.add_option("--std", o.std, "Pictures: see --mean")->delimiter(',')->type_name("R,G,B");
  verb.add_option("--scale", o.scale, "Pictures: see --mean (default 1/255)");
  verb.add_flag("--resize", o.resize, "Pictures: scale to the input's size (bilinear)");
  verb.add_option("--rate", o.rate_hz, "Sounds: refuse a file of another sample rate")->type_name("HZ");
}

Shapes parse_shapes(const std::vector<std::string>& texts, const std::vector<Port>& ports) {
  std::set<std::string> symbols;
  for (const Port& p : ports)
    for (const Dim& d : p.type.dims) d.add_symbols(symbols);
  Shapes out;
  for (const std::string& given : texts)
    for (size_t at = 0; at <= given.size();) {
      const size_t end = std::min(given.find(',', at), given.size());
      const std::string item = given.substr(at, end - at);
      at = end + 1;
      const size_t equals = item.rfind('=');
      if (equals == std::string::npos) fail_usage("--shape", "NAME=1x128", shown(item), "Separate several by commas");
      const std::string name = item.substr(0, equals);
      const std::vector<int64_t> dims = parse_dims(std::string_view(item).substr(equals + 1), shown(item));
      if (port_index(ports, name)) out.inputs[name] = dims;
      else if (symbols.contains(name) && dims.size() == 1) out.symbols[name] = dims[0];
      else fail_usage("--shape", "one of the inputs " + port_list(ports), shown(name), "See bascule inspect");
    }
  return out;
}

std::vector<std::optional<HostValue>> read_inputs(const std::vector<Port>& ports, const InputOptions& o, const std::vector<std::string>& files) {
  std::vector<std::optional<HostValue>> values(ports.size());
  std::vector<std::pair<std::optional<size_t>, std::string>> singles;  // port if named, and the file
  for (const std::string& given : files) {
    // NAME=FILE when what stands before '=' is an input's name; a plain path may hold '=' as well.
    std::optional<size_t> port;
    std::string path = given;
    if (const size_t equals = given.find('='); equals != std::string::npos && !is_regular_file(given)) {
      port = port_index(ports, given.substr(0, equals));
      if (!port) fail_usage("--input", "one of the inputs " + port_list(ports), shown(given.substr(0, equals)), "See bascule inspect");
      path = given.substr(equals + 1);
    }
    if (is_directory(path)) {
      size_t found = 0;
      for (size_t i = 0; i < ports.size(); ++i)
        if (const std::string file = path + "/input_" + std::to_string(i) + ".pb"; is_regular_file(file)) {
          values[i] = onnx::read_value_pb(file, host_kind(ports[i].type));
          ++found;
        }
      if (!found) fail_usage("input folder " + shown(path), "input_0.pb, input_1.pb ...", "none", "Name a folder test_data_set_K");
    } else if (extension_of(path) == ".npz") {
      const std::vector<Array> arrays = runtime::read_npz(path);
      const auto named = by_name(arrays, "in:");
      std::set<std::string> used;
      for (size_t i = 0; i < ports.size(); ++i)
        if (auto v = from_arrays(named, ports[i].name, ports[i].type, shown(path), used)) values[i] = std::move(v);
      for (const auto& [name, array] : named)
        if (!used.contains(name)) note(shown(path) + ": array " + shown(name) + " is no input of the model; ignored");
    } else {
      singles.emplace_back(port, path);
    }
  }
  for (const auto& [named, path] : singles) {
    std::optional<size_t> port = named;
    if (!port) {
      size_t open = 0;
      for (size_t i = 0; i < ports.size(); ++i)
        if (!values[i] && !ports[i].optional) {
          port = i;
          ++open;
        }
      if (open != 1) fail_usage("input file " + shown(path), "the name of its input (--input NAME=FILE), one of " + port_list(ports), "none", "");
    }
    auto number = named ? literal(path, ports[*port]) : std::nullopt;
    values[*port] = number ? std::move(*number) : from_file(path, ports[*port], o);
  }
  return values;
}

HostValues make_inputs(const std::vector<Port>& ports, const InputOptions& o, const std::vector<std::string>& files) {
  std::vector<std::optional<HostValue>> values = read_inputs(ports, o, files);

  // Symbols: from --shape, then from the values given; what is left is 1.
  const Shapes shapes = parse_shapes(o.shapes, ports);
  Bindings symbols = shapes.symbols;
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string where = "input " + shown(ports[i].name);
    if (values[i] && values[i]->is_tensor() && ports[i].type.is_tensor()) bind_symbols(ports[i].type, Type::of(*values[i]), symbols, where);
    else if (const auto it = shapes.inputs.find(ports[i].name); !values[i] && it != shapes.inputs.end())
      bind_symbols(ports[i].type, Type::tensor(ports[i].type.dtype, to_dims(it->second)), symbols, where);
  }
  std::set<std::string> free;
  HostValues out;
  for (size_t i = 0; i < ports.size(); ++i) {
    const Port& p = ports[i];
    if (values[i]) {
      out.push_back(std::move(*values[i]));
      continue;
    }
    const auto given = shapes.inputs.find(p.name);
    if (p.optional && given == shapes.inputs.end()) {
      out.push_back(HostValue::none());
    } else if (p.type.kind == Type::Kind::sequence) {
      out.push_back(HostValue::sequence({}));
    } else if (!p.type.is_tensor()) {
      if (p.type.kind != Type::Kind::optional) fail_usage("input " + shown(p.name), "a value for " + p.type.text(), "none", "Give it with --input");
      out.push_back(HostValue::none());
    } else if (given != shapes.inputs.end()) {
      out.push_back(generated(p.type.dtype, given->second, seed_of(o.seed, p.name)));
    } else {
      if (!p.type.ranked)
        fail_usage("input " + shown(p.name), "its shape, since the model does not tell its rank", "none", "Give --shape " + escaped(p.name) + "=...");
      std::vector<int64_t> dims;
      for (const Dim& d : p.type.dims) {
        std::set<std::string> of_dim;
        d.add_symbols(of_dim);
        for (const std::string& s : of_dim)
          if (symbols.emplace(s, 1).second) free.insert(s);
        dims.push_back(d.evaluate(symbols).value_or(1));
      }
      out.push_back(generated(p.type.dtype, dims, seed_of(o.seed, p.name)));
    }
  }
  if (!free.empty()) {
    std::string names;
    for (const std::string& s : free) names += (names.empty() ? "" : ", ") + escaped(s) + " = 1";
    note("sizes that nothing binds: " + names + " (bind them with --shape)");
  }
  return out;
}

std::map<size_t, HostValue> read_expected(const std::string& path, const std::vector<Port>& ports) {
  std::map<size_t, HostValue> out;
  if (is_directory(path)) {
    for (size_t i = 0; i < ports.size(); ++i)
      if (const std::string file = path + "/output_" + std::to_string(i) + ".pb"; is_regular_file(file))
        out[i] = onnx::read_value_pb(file, host_kind(ports[i].type));
  } else if (extension_of(path) == ".npz") {
    const std::vector<Array> arrays = runtime::read_npz(path);
    const auto named = by_name(arrays, "out:");
    std::set<std::string> used;
    for (size_t i = 0; i < ports.size(); ++i)
      if (auto v = from_arrays(named, ports[i].name, ports[i].type, shown(path), used)) out[i] = std::move(*v);
    for (const auto& [name, array] : named)
      if (!used.contains(name)) note(shown(path) + ": array " + shown(name) + " is no output of the model; ignored");
  } else if (ports.size() == 1) {
    out[0] = from_file(path, ports[0], InputOptions{});
  }
  if (out.empty())
    fail_usage("--expected " + shown(path), "a value for one of the outputs " + port_list(ports), "none",
               "Name the arrays as the outputs, or \"out:NAME\"");
  return out;
}

}  // namespace bascule::cli
