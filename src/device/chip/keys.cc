// device/chip/keys.cc — the table of keys, see keys.h.
#include "device/chip/keys.h"

#include <fmt/format.h>

namespace bascule::device::chip {
namespace {

constexpr Range kAnyText{};
constexpr Range kHz{0, 1e12, true};
constexpr Range kBytes{0, 1e15, true};
constexpr Range kBytesPerS{0, 1e18, true};
constexpr Range kBytesPerSOrNone{0, 1e18, false};
constexpr Range kNs{0, 1e12, false};
constexpr Range kCycles{0, 1e9, false};
constexpr Range kShare{0, 1, true};
constexpr Range kCount{1, 65536};
constexpr Range kCountOrNone{0, 1 << 20};
constexpr Range kFlopPerS{0, 1e20, true};
constexpr Range kWatts{0, 1e6, true};
constexpr Range kJoules{0, 1, true};

bool set_dtype(DType& out, std::string_view text) {
  const auto t = dtype_from_name(text);
  if (!t || !is_float(*t)) return false;
  out = *t;
  return true;
}

const Choice<Chip> kLevel{"instruction, tile, roofline",
                          [](Chip& c, std::string_view s) {
                            c.level = s == "instruction" ? Level::instruction : s == "tile" ? Level::tile : Level::roofline;
                            return s == "instruction" || s == "tile" || s == "roofline";
                          },
                          "tile"};
const Choice<Chip> kMachine{"scratchpad, cached",
                            [](Chip& c, std::string_view s) {
                              c.machine = s == "cached" ? Machine::cached : Machine::scratchpad;
                              return s == "cached" || s == "scratchpad";
                            },
                            "scratchpad"};
const Choice<Memory> kRole{"main, scratchpad, accumulator, cache", set_role,
                           "by the name: hbm, dram, ddr: main; sbuf, vmem, smem, sram, lds: scratchpad; psum: accumulator; l2, cache: cache"};
const Choice<Link> kTopology{"ring, torus2d, torus3d, all_to_all",
                             [](Link& l, std::string_view s) {
                               l.topology = s;
                               return s == "ring" || s == "torus2d" || s == "torus3d" || s == "all_to_all";
                             },
                             "ring"};
const Choice<Arithmetic> kDefaultType{"a float type: bf16, f16, f32 ...",
                                      [](Arithmetic& a, std::string_view s) { return set_dtype(a.default_type, s); }, "bf16"};
const Choice<Arithmetic> kAccumulate{"a float type", [](Arithmetic& a, std::string_view s) { return set_dtype(a.accumulate, s); }, "f32"};
const Choice<Arithmetic> kVector{"a float type", [](Arithmetic& a, std::string_view s) { return set_dtype(a.vector, s); }, "f32"};

const Field<Chip> kChip[] = {
    {"name", &Chip::name, kAnyText, true, "used as --device chip:NAME; the file's name without .toml"},
    {"vendor", &Chip::vendor, kAnyText, false, "who makes it"},
    {"description", &Chip::description, kAnyText, false, "one line"},
    {"year", &Chip::year, {1990, 2100}, false, "of general availability"},
    {"level", kLevel, kAnyText, false, "how deep the facts go: costs per instruction; rates per tile; peak rates only"},
    {"machine", kMachine, kAnyText, false, "software-managed local memory, or many cores under a cache"},
    {"cores", &Chip::cores, kCount, true, "of the chip"},
    {"default_cores", &Chip::default_cores, kCount, false, "that one request runs on in the vendor's default"},
    {"published_peak_flop_per_s", &Chip::published_peak_flop_per_s, kFlopPerS, false,
     "a table by type: dense peak of the chip as its vendor prints it. Shown beside the peak of the engines, never used for time"},
};

const Field<MatrixEngine> kEngine[] = {
    {"clock_hz", &MatrixEngine::clock_hz, kHz, true, "of the engine"},
    {"lanes", &MatrixEngine::lanes, {1, 1 << 20}, false, "elements side by side"},
    {"min_interval_cycles", &MatrixEngine::min_interval_cycles, kCycles, false, "an instruction occupies the engine at least this long"},
    {"startup_cycles", &MatrixEngine::startup_cycles, kCycles, false, "added to every instruction's occupation"},
    {"latency_ns", &MatrixEngine::latency_ns, kNs, false, "from the end of occupation until a dependent may start"},
    {"reads_accumulator", &MatrixEngine::reads_accumulator, kAnyText, false, "has a read port on the accumulator memory"},
    {"writes_accumulator", &MatrixEngine::writes_accumulator, kAnyText, false, "has a write port on the accumulator memory"},
    {"rows", &MatrixEngine::rows, kCount, true, "of the systolic array: K of one product. The engine that has it is the matrix engine", true},
    {"cols", &MatrixEngine::cols, kCount, true, "of the systolic array: M of one product", true},
    {"units", &MatrixEngine::units, {1, 1 << 20}, false, "arrays that work on different tiles", true},
    {"moving_rows_per_cycle",
     &MatrixEngine::moving_rows_per_cycle,
     {0, 1024, true},
     false,
     "rows of the moving operand that one array takes in a cycle",
     true},
    {"max_moving", &MatrixEngine::max_moving, kCountOrNone, false, "N of one instruction; 0: no limit", true},
    {"load_cycles_per_column", &MatrixEngine::load_cycles_per_column, kCycles, false, "of the stationary tile; overlaps the product before it", true},
    {"fill_cycles", &MatrixEngine::fill_cycles, kCycles, false, "added to a chain of products", true},
    {"drain_passes", &MatrixEngine::drain_passes, kCycles, false, "time in which the sums of an output tile leave the array, as passes of its rows (tile level)", true},
    {"achieved", &MatrixEngine::achieved, kShare, false, "sustained share of the peak (clock and power limits)", true},
    {"passes", &MatrixEngine::passes, kPassesRange, false,
     "a table by type: time of a product with such inputs, 1 = one moving row a step. A type that is absent, or 0, is unsupported; no table: bf16 = "
     "1",
     true},
    {"tile_m", &MatrixEngine::tile_m, kCountOrNone, false, "cached machines: granularity of the output tile; 0: cols", true},
    {"tile_n", &MatrixEngine::tile_n, kCountOrNone, false, "cached machines: granularity of the output tile; 0: cols", true},
    {"tile_k", &MatrixEngine::tile_k, kCountOrNone, false, "cached machines: granularity of K; 0: rows", true},
    {"idle_limit", &MatrixEngine::idle_limit, kShare, false, "power ramp: rate factor during the first ramp_ns of work after idling", true},
    {"ramp_ns", &MatrixEngine::ramp_ns, kNs, false, "length of the power ramp", true},
};

const Field<Memory> kMemory[] = {
    {"role", kRole, kAnyText, false, "what the memory is for; one memory of each role at most"},
    {"bytes", &Memory::bytes, kBytes, true, "of the chip for main and cache, of one core otherwise"},
    {"bytes_per_s", &Memory::bytes_per_s, kBytesPerS, false, "main, cache: of the chip (required)"},
    {"read_bytes_per_cycle", &Memory::read_bytes_per_cycle, kCycles, false, "scratchpad, accumulator: of one core, at its clock; 0: never limits"},
    {"latency_ns", &Memory::latency_ns, kNs, false, "of a first access"},
    {"achieved", &Memory::achieved, kShare, false, "sustained share of bytes_per_s"},
    {"partitions", &Memory::partitions, kCount, false, "rows, of which each is an equal part of the capacity; 1: linear"},
    {"banks", &Memory::banks, kCount, false, "of each partition"},
    {"shared_by_cores", &Memory::shared_by_cores, {0, 65536}, false, "main: cores on one stack; 0: all of the chip"},
};

const Field<Dma> kDma[] = {
    {"engines", &Dma::engines, kCount, false, "of one core"},
    {"queues", &Dma::queues, kCount, false, "of each engine"},
    {"bytes_per_s", &Dma::bytes_per_s, kBytesPerSOrNone, false, "sustained, of one engine; 0: as fast as the memory"},
    {"start_ns", &Dma::start_ns, kNs, false, "trigger to first byte"},
    {"finish_ns", &Dma::finish_ns, kNs, false, "last byte to the dependent's start"},
    {"floor_ns", &Dma::floor_ns, kNs, false, "least data phase of a transfer"},
    {"row_bytes", &Dma::row_bytes, {0, 1 << 20}, false, "a contiguous piece costs as if at least this long"},
    {"transpose_rate", &Dma::transpose_rate, {0, 1}, false, "rate factor of a transposing transfer; 0: cannot"},
};

const Field<Link> kLink[] = {
    {"bytes_per_s", &Link::bytes_per_s, kBytesPerS, true, "one way, of one chip over all its links"},
    {"latency_ns", &Link::latency_ns, kNs, false, "of one step"},
    {"topology", kTopology, kAnyText, false, "how the chips of a domain are joined"},
    {"chips", &Link::chips, {1, 1 << 20}, false, "in one domain"},
    {"collective_bytes_per_s", &Link::collective_bytes_per_s, kBytesPerSOrNone, false, "achieved by the vendor's collectives; 0: bytes_per_s"},
    {"collective_step_ns", &Link::collective_step_ns, kNs, false, "fixed cost of one collective; 0: from latency and topology"},
};

const Field<Arithmetic> kArithmetic[] = {
    {"default_type", kDefaultType, kAnyText, false, "of matrix inputs in the vendor compiler's default"},
    {"accumulate", kAccumulate, kAnyText, false, "of sums of products"},
    {"vector", kVector, kAnyText, false, "inside vector engines"},
    {"store_default_type", &Arithmetic::store_default_type, kAnyText, false, "activations between operators are stored in default_type; else f32"},
};

const Field<Power> kPower[] = {
    {"tdp_w", &Power::tdp_w, kWatts, false, "of the chip"},
    {"idle_w", &Power::idle_w, kWatts, false, "of the chip"},
    {"joules_per_flop", &Power::joules_per_flop, kJoules, false, "dynamic"},
    {"joules_per_byte", &Power::joules_per_byte, kJoules, false, "dynamic, of main memory"},
};

const Field<Software> kSoftware[] = {
    {"request_ns", &Software::request_ns, kNs, false, "host and runtime per request, hidden when requests overlap"},
    {"copy_bytes_per_s", &Software::copy_bytes_per_s, kBytesPerSOrNone, false, "inputs and outputs between host and chip; 0: not counted"},
    {"schedule_factor", &Software::schedule_factor, {0.1, 100}, false, "time of compute instructions beside the ideal"},
    {"operator_ns", &Software::operator_ns, kNs, false, "fixed cost of one fused operator (kernel launch)"},
    {"wave_ns", &Software::wave_ns, kNs, false, "cached machines: per wave of tiles"},
    {"overlap", &Software::overlap, kAnyText, false,
     "false: loads, compute and stores of an operator follow each other, and activations cross main memory"},
    {"resident_weight_bytes", &Software::resident_weight_bytes, {0, 1e15}, false, "weights up to this stay on chip between requests"},
    {"compile_s", &Software::compile_s, {0, 1e6}, false, "of a new shape, where shapes are static"},
    {"static_shapes", &Software::static_shapes, kAnyText, false, "every shape is compiled for"},
};

const Field<Instance> kInstance[] = {
    {"chips", &Instance::chips, {1, 1 << 20}, false, "in it"},
    {"network_bytes_per_s", &Instance::network_bytes_per_s, kBytesPerSOrNone, false, "one way, to other instances; 0: not given"},
};

template <class T>
std::string type_text(const Field<T>& f) {
  return std::visit(
      [](const auto& m) -> std::string {
        using M = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<M, Choice<T>>) return m.choices;
        else if constexpr (std::is_same_v<M, int64_t T::*> || std::is_same_v<M, int T::*>) return "integer";
        else if constexpr (std::is_same_v<M, bool T::*>) return "true or false";
        else if constexpr (std::is_same_v<M, std::string T::*>) return "text";
        else return "number";
      },
      f.member);
}

template <class T>
std::string fallback_text(const Field<T>& f) {
  if (f.required) return "required";
  static const T absent{};
  return std::visit(
      [](const auto& m) -> std::string {
        using M = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<M, Choice<T>>) return m.fallback;
        else if constexpr (std::is_same_v<M, bool T::*>) return absent.*m ? "true" : "false";
        else if constexpr (std::is_same_v<M, std::string T::*> || std::is_same_v<M, std::map<DType, double> T::*>) return "none";
        else if constexpr (std::is_same_v<M, std::optional<double> T::*>) return "unknown";
        else return fmt::format("{}", absent.*m);
      },
      f.member);
}

template <class T>
void describe(std::vector<KeyInfo>& out, const char* section, std::span<const Field<T>> fields) {
  for (const Field<T>& f : fields) {
    const std::string type = type_text(f);
    const bool number = type == "integer" || type == "number";
    out.push_back({section, std::string(f.name) + (std::holds_alternative<std::map<DType, double> T::*>(f.member) ? ".TYPE" : ""), type,
                   number ? f.range.text() : "", fallback_text(f), f.meaning});
  }
}

}  // namespace

std::string Range::text() const {
  const auto number = [](double x) { return x < 1e7 ? fmt::format("{:.10g}", x) : fmt::format("{:g}", x); };
  return (open ? "above " + number(least) + ", to " : number(least) + " to ") + number(most);
}

std::span<const Field<Chip>> chip_fields() { return kChip; }
std::span<const Field<MatrixEngine>> engine_fields() { return kEngine; }
std::span<const Field<Memory>> memory_fields() { return kMemory; }
std::span<const Field<Dma>> dma_fields() { return kDma; }
std::span<const Field<Link>> link_fields() { return kLink; }
std::span<const Field<Arithmetic>> arithmetic_fields() { return kArithmetic; }
std::span<const Field<Power>> power_fields() { return kPower; }
std::span<const Field<Software>> software_fields() { return kSoftware; }
std::span<const Field<Instance>> instance_fields() { return kInstance; }

std::optional<Role> role_of_name(std::string_view memory_name) {
  for (const char* n : {"hbm", "dram", "ddr"})
    if (memory_name == n) return Role::main;
  for (const char* n : {"sbuf", "vmem", "smem", "sram", "lds"})
    if (memory_name == n) return Role::scratchpad;
  if (memory_name == "psum") return Role::accumulator;
  if (memory_name == "l2" || memory_name == "cache") return Role::cache;
  return std::nullopt;
}

bool set_role(Memory& memory, std::string_view text) {
  if (text == "main") memory.role = Role::main;
  else if (text == "scratchpad") memory.role = Role::scratchpad;
  else if (text == "accumulator") memory.role = Role::accumulator;
  else if (text == "cache") memory.role = Role::cache;
  else return false;
  return true;
}

std::vector<KeyInfo> chip_keys() {
  std::vector<KeyInfo> out;
  out.push_back(
      {"", "include", "text", "", "none", "another chip file whose settings this one takes over and changes; its instances and name are not"});
  describe<Chip>(out, "chip", kChip);
  out.push_back({"chip", "exclusive", "list of [engine, engine, \"scratchpad\", \"accumulator\" or \"accumulator_bank\"]", "", "none",
                 "pairs of engines that never use that memory's port at once"});
  describe<MatrixEngine>(out, "core.NAME", kEngine);
  out.push_back({"core.NAME", "cycles_per_element.CLASS", "number", kCyclesRange.text(), "does not do it",
                 "per lane, of one class of work: a class name, then at most one of _psum (some operand in the accumulator), _16bit, _8bit (all "
                 "operands this narrow, "
                 "in the scratchpad)"});
  out.push_back({"core.NAME", "extra_cycles.CLASS", "number", kCyclesRange.text(), "0", "of an instruction of that class, beside its elements"});
  describe<Memory>(out, "memory.NAME", kMemory);
  describe<Dma>(out, "dma", kDma);
  describe<Link>(out, "link", kLink);
  describe<Arithmetic>(out, "arithmetic", kArithmetic);
  out.push_back({"arithmetic", "relative_error.OPERATOR", "number", kRelativeErrorRange.text(), "f32's rounding",
                 "of an activation table, by scalar operator: exponential, tanh ..."});
  describe<Power>(out, "power", kPower);
  describe<Software>(out, "software", kSoftware);
  describe<Instance>(out, "instance.\"NAME\"", kInstance);
  out.push_back({"sources", "\"PATH\"", "text", "", "required for numbers outside [chip]",
                 "where the numbers under PATH are from; the longest matching path wins. \"assumed: reason\" or \"fitted: where\" if no publication "
                 "gives them"});
  return out;
}

}  // namespace bascule::device::chip
