// device/chip/chip.h — a chip as its file describes it (chips/NAME.toml): plain numbers, each with a source. Knows no graph and no schedule.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace bascule::device::chip {

// How deep the file's facts go; the mapper and the simulator follow it.
enum class Level {
  instruction,  // engines with published costs per instruction (NeuronCore): partitions, banks, ports
  tile,         // matrix, vector and copy rates per tile, fixed costs per operator
  roofline,     // peak rates and bandwidth only: one tile an operator
};
enum class Machine {
  scratchpad,  // software-managed local memory, in-order engines, DMA (NeuronCore, TPU, Maia, Gaudi)
  cached,      // many cores under a cache, kernels in waves of tiles (GPUs)
};

// Classes of work an engine is priced for. A file gives cycles_per_element for `copy`, `copy_psum`, `arith2_16bit`...: a class name, then at most one
// suffix of where (psum: some operand in the accumulator) or of width (8bit, 16bit: all operands this narrow and in the scratchpad).
#define BASCULE_WORK_CLASSES(X)                                                  \
  X(matmul)         /* matrix products */                                        \
  X(transpose)      /* rows to columns */                                        \
  X(copy)           /* moves and casts */                                        \
  X(arith)          /* one tensor operand, scalars: x * a + b, clamp, compare */ \
  X(arith2)         /* two tensor operands */                                    \
  X(divide)         /* division, reciprocal, square root */                      \
  X(transcendental) /* exp, tanh, erf, log ... */                                \
  X(reduce)         /* folds along the free dimensions */                        \
  X(stats)          /* mean and variance in one pass */                          \
  X(scan)           /* running fold */                                           \
  X(select)         /* three operands */                                         \
  X(fill)           /* memset, iota */                                           \
  X(gather)         /* by an index tensor */                                     \
  X(search)         /* top-k, max-index */
enum class WorkClass : uint8_t {
#define X(name) name,
  BASCULE_WORK_CLASSES(X)
#undef X
};
#define X(name) +1
inline constexpr int kWorkClasses = 0 BASCULE_WORK_CLASSES(X);
#undef X
const char* name(WorkClass c);

enum class Width : uint8_t { wide, bits16, bits8 };  // wide: over 16 bits, or mixed
struct ClassRate {
  double cycles_per_element = 0;  // per lane; 0: this engine does not do this class
  double extra_cycles = 0;        // beside the elements
};

struct Engine {
  std::string name;  // "tensor", "vector", "scalar", "gpsimd"
  double clock_hz = 0;
  int64_t lanes = 1;               // elements side by side
  double min_interval_cycles = 0;  // an instruction occupies the engine at least this long
  double startup_cycles = 0;       // added to every instruction's occupation
  double latency_ns = 0;           // from the end of occupation until a dependent may start
  bool reads_accumulator = true, writes_accumulator = true;
  // [class][0: scratchpad, wide; 1: some operand in the accumulator; 2: 16 bits; 3: 8 bits]; a missing variant takes [0]
  std::array<std::array<std::optional<ClassRate>, 4>, kWorkClasses> rates;
  std::optional<ClassRate> rate(WorkClass c, bool accumulator, Width w) const;  // nullopt: does not do it
};

// out[M, N] += stationary[K, M]^T moving[K, N]. A systolic array of rows (K) x cols (M); `units` of them work on different tiles.
struct MatrixEngine : Engine {
  int64_t rows = 0, cols = 0, units = 1;
  double moving_rows_per_cycle = 1;            // rows of the moving operand taken in a cycle
  int64_t max_moving = 0;                      // N of one instruction; 0: no limit
  double load_cycles_per_column = 0;           // of the stationary tile; overlaps the product before it
  double fill_cycles = 0;                      // added to a chain of products
  double drain_passes = 0;                     // tile level: time in which the sums of an output tile leave the array, as passes of its rows
  double achieved = 1;                         // sustained share of the peak (clock and power limits): measured or fitted
  std::map<DType, double> passes;              // input type -> time relative to 1 pass per moving row; a type that is absent is unsupported
  int64_t tile_m = 0, tile_n = 0, tile_k = 0;  // cached machines: granularity of the output tile and of K; 0: rows, cols
  double idle_limit = 1;                       // power ramp: rate factor during the first `ramp_ns` of work after idling
  double ramp_ns = 0;
  double peak_flop_per_s(DType t) const;  // of one core, 0 if unsupported
};

enum class Role { main, scratchpad, accumulator, cache };
struct Memory {
  std::string name;  // "hbm", "sbuf", "psum", "l2"
  Role role = Role::main;
  int64_t bytes = 0;                // of the chip for `main` and `cache`, of one core otherwise
  double bytes_per_s = 0;           // main, cache: of the chip
  double read_bytes_per_cycle = 0;  // scratchpad, accumulator: at the core's clock; 0: never limits
  double latency_ns = 0;
  double achieved = 1;          // sustained share of bytes_per_s
  int64_t partitions = 1;       // rows of which each is 1/partitions of the capacity; 1: linear
  int64_t banks = 1;            // of each partition
  int64_t shared_by_cores = 0;  // main: cores on one stack (0: all of the chip)
};

struct Dma {
  int64_t engines = 1;        // of one core
  int64_t queues = 1;         // of each engine
  double bytes_per_s = 0;     // sustained, of one engine; 0: as fast as the memory
  double start_ns = 0;        // trigger to first byte
  double finish_ns = 0;       // last byte to the dependent's start
  double floor_ns = 0;        // least data phase of a transfer
  int64_t row_bytes = 0;      // a contiguous piece costs as if at least this long
  double transpose_rate = 1;  // rate factor of a transposing transfer; 0: cannot
};

struct Link {                         // between chips
  double bytes_per_s = 0;             // one way, of one chip over all its links
  double latency_ns = 0;              // of one step
  std::string topology;               // "ring", "torus2d", "torus3d", "all_to_all"
  int64_t chips = 1;                  // in one domain
  double collective_bytes_per_s = 0;  // achieved by the vendor's collectives; 0: bytes_per_s
  double collective_step_ns = 0;      // fixed cost of one collective; 0: from latency and topology
};

struct Arithmetic {
  DType default_type = DType::bf16;  // matrix inputs in the vendor compiler's default
  DType accumulate = DType::f32;
  DType vector = DType::f32;                     // inside vector engines
  bool store_default_type = true;                // activations between operators are stored in default_type; else f32
  std::map<std::string, double> relative_error;  // of activation tables, by scalar operator ("exponential"), beyond f32's rounding
};

struct Power {
  std::optional<double> tdp_w;  // of the chip
  std::optional<double> idle_w;
  std::optional<double> joules_per_flop, joules_per_byte;  // dynamic, where the file gives them
};

// Software of the vendor: fitted on published results, never folded into a hardware figure.
struct Software {
  double request_ns = 0;             // host and runtime per request, hidden when requests overlap
  double copy_bytes_per_s = 0;       // inputs and outputs between host and chip; 0: not counted
  double schedule_factor = 1;        // time of compute instructions beside the ideal
  double operator_ns = 0;            // fixed cost of one fused operator (kernel launch)
  double wave_ns = 0;                // cached machines: per wave of tiles
  bool overlap = true;               // false: loads, compute and stores of an operator follow each other, and activations cross main memory
  double resident_weight_bytes = 0;  // weights up to this stay on chip between requests
  std::optional<double> compile_s;   // of a new shape, on a chip that needs static shapes
  bool static_shapes = true;
};

struct Instance {
  std::string name;  // "inf2.xlarge"
  int64_t chips = 1;
  double network_bytes_per_s = 0;  // one way, to other instances; 0: not given
};

// Where a number is from: "assumed...", "fitted...", or a publication.
struct Source {
  std::string path;  // "core.tensor.fill_cycles": longest matching prefix wins
  std::string text;
  bool assumed() const { return text.starts_with("assumed"); }
  bool fitted() const { return text.starts_with("fitted"); }
};
// A number of the file, as it stands there.
struct Figure {
  std::string path;
  std::string value;
  std::string source;  // "" only in [chip]
  double number = 0;
  bool assumed() const { return source.starts_with("assumed"); }
  bool fitted() const { return source.starts_with("fitted"); }
};

struct Chip {
  std::string name, vendor, description;
  int year = 0;
  Level level = Level::tile;
  Machine machine = Machine::scratchpad;
  int64_t cores = 1;          // of the chip
  int64_t default_cores = 1;  // one request runs on this many cores in the vendor's default
  MatrixEngine matrix;
  std::vector<Engine> engines;                        // vector, scalar, general: those present
  std::vector<std::array<std::string, 3>> exclusive;  // engine, engine, "scratchpad", "accumulator" or "accumulator_bank": never at once on that memory's port (or bank)
  std::vector<Memory> memories;
  Dma dma;
  std::optional<Link> link;
  Arithmetic arithmetic;
  Power power;
  Software software;
  std::vector<Instance> instances;
  std::map<DType, double> published_peak_flop_per_s;  // of the chip as its vendor prints it; never used for time
  std::vector<Source> sources;
  std::vector<Figure> figures;  // every number, in file order
  std::string file;

  const Memory& main() const;
  const Memory* scratchpad() const;  // nullptr: none
  const Memory* accumulator() const;
  const Memory* cache() const;
  const Engine* engine(std::string_view engine_name) const;
  double peak_flop_per_s(DType t) const { return matrix.peak_flop_per_s(t) * static_cast<double>(cores); }
};

// Reads chips/NAME.toml. InvalidFileError with every problem of the file: unknown key (with the nearest known one), a value of a wrong type or out
// of range, a missing one, a number without source, an include that leads back to itself. `include = "other.toml"` at the top takes over that
// file's settings but its instances; it is looked for beside the file, then among the installed chips.
Chip read_chip(const std::string& path);
Chip parse_chip(std::string_view toml, const std::string& file);

// Every key a chip file may have, in the order of docs/chips.md: the reader's own table.
struct KeyInfo {
  std::string section, name, type, range, fallback, meaning;  // fallback: what an absent one means, or "required"
};
std::vector<KeyInfo> chip_keys();

// Chips that are installed, sorted: files of $BASCULE_CHIPS (a list of folders), then of the folder beside the program, then of the source tree.
std::vector<std::string> chip_names();
// UsageError, with the nearest name, if there is none. Read once.
const Chip& find_chip(const std::string& chip_name);

// A price list: prices/*.toml, each with date, region and source.
struct Price {
  std::string instance, kind;  // kind: "on demand", "reserved", "capacity block"
  double per_hour = 0;
  std::string currency, region, date, source;
  bool per_chip = false;  // the instance name is then the chip's
};
std::vector<Price> parse_prices(std::string_view toml, const std::string& file);
const std::vector<Price>& prices();  // of all installed lists: $BASCULE_PRICES, then as for chips

}  // namespace bascule::device::chip
