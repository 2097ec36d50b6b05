// device/chip/values.cc — runs a Program on numbers. Instructions follow each other as in Program::code; check() has proved that the queues' waits
// allow no shorter order, so that order decides nothing but the bits of running sums, which it fixes.
#include "device/chip/values.h"

#include <algorithm>
#include <cmath>

#include "base/budget.h"
#include "base/error.h"
#include "device/chip/values_kernels.h"
#include "device/chip/values_memory.h"
#include "device/chip/values_ranks.h"
#include "device/chip/values_run.h"
#include "graph/evaluate.h"
#include "loops/interpret.h"

namespace bascule::device::chip {
namespace {

using loops::Op;

bool compares(Op op) { return (op >= Op::equal && op <= Op::greater_equal) || op == Op::is_finite; }

class Execution {
 public:
  Execution(const Chip& chip, const Program& program, const Graph& graph, Memories& memories)
      : chip_(chip), program_(program), graph_(graph), memories_(memories) {
    for (const auto& [op, error] : chip.arithmetic.relative_error)
      for (int k = 0; k <= static_cast<int>(Op::select); ++k)
        if (op == loops::name(static_cast<Op>(k))) table_error_[static_cast<size_t>(k)] = error;
  }

  // Runs on to the next instruction that ranks do together; nullptr: to the end.
  const Instruction* advance() {
    for (; next_ < program_.code.size(); ++next_) {
      check_budget();
      at_ = static_cast<int64_t>(next_);
      const Instruction& i = program_.code[next_];
      if (i.op == Opcode::collective) return &program_.code[next_++];
      step(i);
    }
    return nullptr;
  }

  // ---- a collective that advance() has come to, once for all ranks: folds in the order of the ranks, in the chip's type of sums
  static void exchange(const Instruction& i, std::vector<Execution>& ranks) {
    Execution& first = ranks.front();
    if (first.integers(i.out) && first.integers(i.in[0])) first.join<int64_t>(i, ranks);
    else first.join<float>(i, ranks);
  }

 private:
  void step(const Instruction& i) {
    switch (i.op) {
      case Opcode::copy: copy(i.out, i.in[0]); return;
      case Opcode::gather: gather(i); return;
      case Opcode::scatter: scatter(i); return;
      case Opcode::matmul: matmul(i); return;
      case Opcode::transpose: transpose(i); return;
      case Opcode::map: map(i); return;
      case Opcode::activate: activate(i); return;
      case Opcode::reduce: reduce(i); return;
      case Opcode::stats: stats(i); return;
      case Opcode::scan: scan(i); return;
      case Opcode::fill: fill(i); return;
      case Opcode::iota: iota(i); return;
      case Opcode::host: host(i); return;
      case Opcode::collective: return;  // advance() stops there
    }
  }

  DType type(const Access& a) const { return program_.buffers[static_cast<size_t>(a.buffer)].dtype; }
  bool integers(const Access& a) const { return !is_float(type(a)); }
  static float* room(std::vector<float>& v, int64_t n) {
    if (static_cast<int64_t>(v.size()) < n) v.resize(static_cast<size_t>(n));
    return v.data();
  }
  float* load(const Access& a, std::vector<float>& into) {
    float* x = room(into, a.elements());
    memories_.load(memories_.span(a), at_, x);
    return x;
  }
  std::vector<int64_t> load_ints(const Access& a, const Access* as = nullptr) {
    const Span s = memories_.span(a, as);
    std::vector<int64_t> x(static_cast<size_t>(s.elements));
    memories_.load_ints(s, at_, x.data());
    return x;
  }
  void store(const Access& a, const float* x, int output = 0) { memories_.store(memories_.span(a), at_, output, x); }

  // An operand as the result's elements see it: a whole array, one of its rows or columns repeated, or the number.
  float* operand(const Access& a, const Access& like, float number, std::vector<float>& into) {
    const int64_t n = like.elements();
    float* x = room(into, n);
    if (!a) std::fill(x, x + n, number);
    else memories_.load(a.elements() == n ? memories_.span(a) : memories_.span(a, &like), at_, x);
    return x;
  }
  std::vector<int64_t> int_operand(const Access& a, const Access& like, float number) {
    if (!a) return std::vector<int64_t>(static_cast<size_t>(like.elements()), static_cast<int64_t>(number));
    return a.elements() == like.elements() ? load_ints(a) : load_ints(a, &like);
  }

  void copy(const Access& out, const Access& in) {
    if (type(out) == type(in)) {
      memories_.move(memories_.span(out), memories_.span(in), at_);
    } else if (integers(out) && integers(in)) {
      memories_.store_ints(memories_.span(out), at_, 0, load_ints(in).data());
    } else {
      store(out, load(in, a_));
    }
  }

  void gather(const Instruction& i) {
    const std::vector<int64_t> index = load_ints(i.in[1]);
    Access from = i.in[0], to = i.out;
    const int64_t rows = from.rows();
    to.sizes[0] = from.sizes[0] = 1;
    for (size_t k = 0; k < index.size(); ++k) {
      from.offset = i.in[0].offset + std::clamp<int64_t>(index[k], 0, rows - 1) * i.in[0].strides[0];
      to.offset = i.out.offset + static_cast<int64_t>(k) * i.out.strides[0];
      copy(to, from);
    }
  }

  void scatter(const Instruction& i) {
    const std::vector<int64_t> index = load_ints(i.in[1]);
    Access from = i.in[0], to = i.out;
    const int64_t rows = to.rows();
    to.sizes[0] = from.sizes[0] = 1;
    for (size_t k = 0; k < index.size(); ++k) {
      if (index[k] < 0 || index[k] >= rows) continue;
      from.offset = i.in[0].offset + static_cast<int64_t>(k) * i.in[0].strides[0];
      to.offset = i.out.offset + index[k] * i.out.strides[0];
      if (i.fn == Op::load) copy(to, from);
      else add_row(i.fn, to, from);
    }
  }
  void add_row(Op fn, const Access& to, const Access& from) {
    const int64_t n = to.elements();
    if (integers(to)) {
      std::vector<int64_t> sum = load_ints(to);
      const std::vector<int64_t> more = load_ints(from);
      for (size_t k = 0; k < sum.size(); ++k) sum[k] = loops::apply(fn, type(to), type(to), {0, sum[k]}, {0, more[k]}, {}).integer;
      memories_.store_ints(memories_.span(to), at_, 0, sum.data());
      return;
    }
    float* sum = load(to, out_);
    const float* more = load(from, a_);
    for (int64_t k = 0; k < n; ++k) sum[k] = fold(fn, sum[k], more[k]);
    store(to, sum);
  }

  // Product of sizes from dimension `first` to before `end`.
  static int64_t extent(const Access& a, int first, int end) {
    int64_t n = 1;
    for (int k = first; k < end; ++k) n *= a.sizes[static_cast<size_t>(k)];
    return n;
  }

  // Sums run down the array from zero, then are added to what the accumulator holds.
  void matmul(const Instruction& i) {
    const Access &x = i.in[0], &y = i.in[1];
    const int inner = i.batch + i.folded;
    const int64_t B = extent(x, 0, i.batch), K = extent(x, i.batch, inner), M = extent(x, inner, x.rank), N = extent(y, inner, y.rank);
    if (integers(i.out)) {
      integer_product(i, B, M, K, N);
      return;
    }
    const float *a = load(x, a_), *b = load(y, b_);
    float* out = room(out_, B * M * N);
    for (int64_t k = 0; k < B; ++k) product_f32(a + k * K * M, b + k * K * N, M, K, N, out + k * M * N);
    if (i.accumulate) {
      const float* before = load(i.out, c_);
      for (int64_t k = 0; k < B * M * N; ++k) out[k] = before[k] + out[k];
    }
    store(i.out, out);
  }
  void integer_product(const Instruction& i, int64_t B, int64_t M, int64_t K, int64_t N) {
    const std::vector<int64_t> a = load_ints(i.in[0]), b = load_ints(i.in[1]);
    std::vector<int64_t> out = i.accumulate ? load_ints(i.out) : std::vector<int64_t>(static_cast<size_t>(B * M * N));
    for (int64_t r = 0; r < B * K; ++r)  // rows of both operands
      for (int64_t m = 0; m < M; ++m)
        for (int64_t n = 0; n < N; ++n) out[static_cast<size_t>((r / K * M + m) * N + n)] += a[static_cast<size_t>(r * M + m)] * b[static_cast<size_t>(r * N + n)];
    memories_.store_ints(memories_.span(i.out), at_, 0, out.data());
  }

  void transpose(const Instruction& i) {
    const int64_t rows = i.in[0].rows(), columns = i.in[0].free();
    const auto turned = [&](const auto* in, auto* out) {
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) out[c * rows + r] = in[r * columns + c];
    };
    if (integers(i.out)) {
      const std::vector<int64_t> in = load_ints(i.in[0]);
      std::vector<int64_t> out(in.size());
      turned(in.data(), out.data());
      memories_.store_ints(memories_.span(i.out), at_, 0, out.data());
      return;
    }
    const float* in = load(i.in[0], a_);
    float* out = room(out_, rows * columns);
    turned(in, out);
    store(i.out, out);
  }

  // As the engine answers: in the vector type, with the error of its tables.
  void finish(Op op, int64_t n, float* x) const {
    coarsen_f32(table_error_[static_cast<size_t>(op)], n, x);
    round_f32(chip_.arithmetic.vector, n, x);
  }
  [[noreturn]] void unknown(Op op, const char* of) const {
    fail_device(where(program_, at_), std::string("an operator of ") + of, loops::name(op), "This is a bug of the mapper");
  }

  void map(const Instruction& i) {
    const int arity = i.fn == Op::load ? 1 : loops::arity(i.fn);
    bool ints = i.fn != Op::convert && i.fn != Op::load;
    for (int k = i.fn == Op::select ? 1 : 0; k < arity; ++k) ints = ints && (!i.in[k] || integers(i.in[k]));
    if (!compares(i.fn)) ints = ints && integers(i.out);
    const int64_t n = i.out.elements();
    if (ints) {
      integer_map(i, arity, n);
      return;
    }
    const float* a = operand(i.in[0], i.out, i.immediate, a_);
    const float* b = arity > 1 ? operand(i.in[1], i.out, i.immediate, b_) : nullptr;
    const float* c = arity > 2 ? operand(i.in[2], i.out, i.immediate, c_) : nullptr;
    float* out = room(out_, n);
    if (!apply_f32(i.fn, n, a, b, c, out)) unknown(i.fn, "floats");
    finish(i.fn, n, out);
    store(i.out, out);
  }
  void integer_map(const Instruction& i, int arity, int64_t n) {
    const int first = i.fn == Op::select ? 1 : 0;
    DType operand_type = DType::i32;
    for (int k = arity - 1; k >= first; --k)
      if (i.in[k]) operand_type = type(i.in[k]);
    const std::vector<int64_t> none(static_cast<size_t>(n));
    const std::vector<int64_t> a = arity > 0 ? int_operand(i.in[0], i.out, i.immediate) : none;
    const std::vector<int64_t> b = arity > 1 ? int_operand(i.in[1], i.out, i.immediate) : none;
    const std::vector<int64_t> c = arity > 2 ? int_operand(i.in[2], i.out, i.immediate) : none;
    const DType result = compares(i.fn) ? DType::i1 : type(i.out);
    std::vector<int64_t> out(static_cast<size_t>(n));
    for (size_t k = 0; k < out.size(); ++k) out[k] = loops::apply(i.fn, result, operand_type, {0, a[k]}, {0, b[k]}, {0, c[k]}).integer;
    if (!integers(i.out)) {  // a mask as numbers
      float* x = room(out_, n);
      for (size_t k = 0; k < out.size(); ++k) x[k] = static_cast<float>(out[k]);
      store(i.out, x);
      return;
    }
    memories_.store_ints(memories_.span(i.out), at_, 0, out.data());
  }

  // The sum of out2 is of results before they are rounded to out's type.
  void activate(const Instruction& i) {
    const Access& like = i.in[0];
    const int64_t n = like.elements();
    float* a = load(i.in[0], a_);
    if (i.in[2]) {
      const float* scale = operand(i.in[2], like, 1, c_);
      for (int64_t k = 0; k < n; ++k) a[k] *= scale[k];
    } else if (i.scale != 1) {
      for (int64_t k = 0; k < n; ++k) a[k] *= i.scale;
    }
    const bool binary = loops::arity(i.fn) == 2;
    if (i.in[1] || (i.immediate != 0 && !binary)) {
      const float* bias = operand(i.in[1], like, i.immediate, b_);
      for (int64_t k = 0; k < n; ++k) a[k] += bias[k];
    }
    const float* second = binary ? operand({}, like, i.immediate, b_) : nullptr;
    float* out = room(out_, n);
    if (loops::arity(i.fn) > 2 || !apply_f32(i.fn, n, a, second, nullptr, out)) unknown(i.fn, "one float, or one and a number");
    finish(i.fn, n, out);
    if (i.out) store(i.out, out);
    if (!i.out2) return;
    const int64_t rows = like.rows(), columns = like.free();
    float* sums = room(c_, rows);
    for (int64_t r = 0; r < rows; ++r) {
      float sum = 0;
      for (int64_t k = 0; k < columns; ++k) sum += out[r * columns + k];
      sums[r] = sum;
    }
    store(i.out2, sums, 1);
  }

  float fold(Op op, float a, float b) const {
    switch (op) {
      case Op::add: return a + b;
      case Op::multiply: return a * b;
      case Op::maximum: return a != a ? a : b != b ? b : a > b ? a : b;
      case Op::minimum: return a != a ? a : b != b ? b : a < b ? a : b;
      case Op::bit_and: return a != 0 && b != 0 ? 1.0f : 0.0f;
      case Op::bit_or: return a != 0 || b != 0 ? 1.0f : 0.0f;
      default: unknown(op, "a fold");
    }
  }

  void reduce(const Instruction& i) {
    int64_t rows = 1;
    for (int k = 0; k < i.kept; ++k) rows *= i.in[0].sizes[static_cast<size_t>(k)];
    const int64_t n = i.in[0].elements(), columns = rows > 0 ? n / rows : 0;
    if (integers(i.out) && integers(i.in[0])) {
      const std::vector<int64_t> in = load_ints(i.in[0]);
      std::vector<int64_t> out = i.accumulate ? load_ints(i.out) : std::vector<int64_t>(static_cast<size_t>(rows));
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t k = 0; k < columns; ++k) {
          int64_t& x = out[static_cast<size_t>(r)];
          const int64_t y = in[static_cast<size_t>(r * columns + k)];
          x = k == 0 && !i.accumulate ? y : loops::apply(i.fn, type(i.out), type(i.out), {0, x}, {0, y}, {}).integer;
        }
      memories_.store_ints(memories_.span(i.out), at_, 0, out.data());
      return;
    }
    const float* in = load(i.in[0], a_);
    float* out = i.accumulate ? load(i.out, out_) : room(out_, rows);
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = in + r * columns;
      float x = columns > 0 ? row[0] : 0;
      if (i.fn == Op::add)
        for (int64_t k = 1; k < columns; ++k) x += row[k];
      else
        for (int64_t k = 1; k < columns; ++k) x = fold(i.fn, x, row[k]);
      out[r] = i.accumulate ? fold(i.fn, out[r], x) : x;
    }
    round_f32(chip_.arithmetic.vector, rows, out);
    store(i.out, out);
  }

  void stats(const Instruction& i) {
    const int64_t rows = i.in[0].rows(), columns = i.in[0].free();
    const float* in = load(i.in[0], a_);
    float* out = room(out_, 2 * rows);
    const auto count = static_cast<float>(columns);
    for (int64_t r = 0; r < rows; ++r) {
      float sum = 0, squares = 0;
      for (int64_t k = 0; k < columns; ++k) sum += in[r * columns + k];
      const float mean = sum / count;
      for (int64_t k = 0; k < columns; ++k) squares += (in[r * columns + k] - mean) * (in[r * columns + k] - mean);
      out[2 * r] = mean;
      out[2 * r + 1] = squares / count;
    }
    store(i.out, out);
  }

  // Of a running fold: the engine of a NeuronCore folds integers in f32.
  int64_t exact(int64_t x) const {
    constexpr int64_t kMost = int64_t{1} << 24;
    if (chip_.level == Level::instruction && (x > kMost || x < -kMost))
      fail_device(where(program_, at_), "running folds of integers within 2^24, which f32 holds exactly", std::to_string(x), "Run this model on another device, or fold floats");
    return x;
  }

  void scan(const Instruction& i) {
    const int64_t n = i.in[0].elements();
    const int64_t columns = i.in[0].rank > 0 ? i.in[0].sizes[static_cast<size_t>(i.in[0].rank - 1)] : 1;
    if (integers(i.out) && integers(i.in[0])) {
      std::vector<int64_t> x = load_ints(i.in[0]);
      for (int64_t k = 0; k < n; ++k)
        if (k % columns != 0) x[static_cast<size_t>(k)] = exact(loops::apply(i.fn, type(i.out), type(i.out), {0, x[static_cast<size_t>(k - 1)]}, {0, x[static_cast<size_t>(k)]}, {}).integer);
      memories_.store_ints(memories_.span(i.out), at_, 0, x.data());
      return;
    }
    float* x = load(i.in[0], a_);
    for (int64_t k = 0; k < n; ++k)
      if (k % columns != 0) x[k] = fold(i.fn, x[k - 1], x[k]);
    round_f32(chip_.arithmetic.vector, n, x);
    store(i.out, x);
  }

  void fill(const Instruction& i) {
    const int64_t n = i.out.elements();
    float* x = room(out_, n);
    std::fill(x, x + n, i.immediate);
    store(i.out, x);
  }

  void iota(const Instruction& i) {
    int64_t inner = 1;
    for (int k = i.kept + 1; k < i.out.rank; ++k) inner *= i.out.sizes[static_cast<size_t>(k)];
    const int64_t n = i.out.elements(), size = i.out.sizes[static_cast<size_t>(i.kept)];
    std::vector<int64_t> x(static_cast<size_t>(n));
    for (int64_t k = 0; k < n; ++k) x[static_cast<size_t>(k)] = k / inner % size;
    if (integers(i.out)) {
      for (int64_t& v : x) v += static_cast<int64_t>(i.immediate);
      memories_.store_ints(memories_.span(i.out), at_, 0, x.data());
      return;
    }
    float* y = room(out_, n);
    for (int64_t k = 0; k < n; ++k) y[k] = i.immediate + static_cast<float>(x[static_cast<size_t>(k)]);
    store(i.out, y);
  }

  // The step's nodes by their references, on values that main-memory buffers hold.
  void host(const Instruction& i) {
    const std::string at = where(program_, at_);
    if (i.step < 0 || program_.steps[static_cast<size_t>(i.step)].nodes.empty()) fail_device(at, "nodes to run on the host", "none", "This is a bug of the mapper");
    std::map<Value, HostValue> made;
    const auto value = [&](auto& self, Value v) -> HostValue {
      if (!v) return HostValue::none();
      if (const auto found = made.find(v); found != made.end()) return found->second;
      if (const Tensor* t = graph_.constant(v)) return *t;
      const int32_t b = memories_.buffer_of(v);
      const auto dims = constants(graph_.type(v).dims);
      if (const Node* view = graph_.producer(v); b < 0 && view && view->captures == 0 && view->outputs.size() == 1) {
        // A reshape, transpose ... that other steps read in place: it belongs to none.
        HostValues args;
        for (const Value x : view->inputs) args.push_back(self(self, x));
        EvalContext context;
        return made[v] = evaluate(*view, args, {}, context)[0];
      }
      if (b < 0 || !dims) fail_device(at, "a main-memory buffer for each value that the host reads", "none for '" + escaped(graph_.at(v).name) + "'", "This is a bug of the mapper");
      return memories_.read(b, graph_.type(v).dtype, *dims, at);
    };
    for (const int32_t n : program_.steps[static_cast<size_t>(i.step)].nodes) {
      const Node& node = graph_.nodes[static_cast<size_t>(n)];
      HostValues args;
      for (const Value v : node.inputs) args.push_back(value(value, v));
      EvalContext context;
      HostValues results = evaluate(node, args, {}, context);
      for (size_t k = 0; k < results.size(); ++k) {
        const int32_t b = memories_.buffer_of(node.outputs[k]);
        if (b >= 0 && results[k].is_tensor()) memories_.write(b, results[k].tensor(), at);
        made[node.outputs[k]] = std::move(results[k]);
      }
    }
  }

  template <class T>
  void join(const Instruction& i, std::vector<Execution>& ranks) {
    const auto n = static_cast<size_t>(i.in[0].elements()), count = ranks.size();
    const bool gather = i.fn == Op::load;
    const size_t part = gather && i.in[0].rank > 0 ? static_cast<size_t>(i.in[0].sizes[static_cast<size_t>(i.in[0].rank - 1)]) : n;
    std::vector<T> given(n), all(gather ? n * count : n);
    for (size_t r = 0; r < count; ++r) {
      Execution& e = ranks[r];
      if constexpr (std::is_same_v<T, float>) e.memories_.load(e.memories_.span(i.in[0]), e.at_, given.data());
      else e.memories_.load_ints(e.memories_.span(i.in[0]), e.at_, given.data());
      if (gather)
        for (size_t o = 0; o < n / std::max<size_t>(part, 1); ++o) std::copy_n(given.data() + o * part, part, all.data() + (o * count + r) * part);
      else if (r == 0) all = given;
      else
        for (size_t k = 0; k < n; ++k) all[k] = folded(i, all[k], given[k]);
    }
    for (Execution& e : ranks)
      if constexpr (std::is_same_v<T, float>) e.memories_.store(e.memories_.span(i.out), e.at_, 0, all.data());
      else e.memories_.store_ints(e.memories_.span(i.out), e.at_, 0, all.data());
  }
  float folded(const Instruction& i, float a, float b) const {
    float x = fold(i.fn, a, b);
    round_f32(chip_.arithmetic.accumulate, 1, &x);
    return x;
  }
  int64_t folded(const Instruction& i, int64_t a, int64_t b) const { return loops::apply(i.fn, type(i.out), type(i.out), {0, a}, {0, b}, {}).integer; }

  const Chip& chip_;
  const Program& program_;
  const Graph& graph_;
  Memories& memories_;
  int64_t at_ = 0;
  size_t next_ = 0;
  std::vector<float> a_, b_, c_, out_;
  std::array<double, static_cast<size_t>(Op::select) + 1> table_error_{};
};

}  // namespace

Runner::Runner(const Chip& chip, const Program& program, const Graph& graph)
    : chip_(chip), program_(program), graphs_{std::shared_ptr<const Graph>(std::shared_ptr<const Graph>(), &graph)}, memories_(1) {
  if (program.ranks > 1) fail_internal("values of " + program.model, "the graph of each rank", "one graph for " + std::to_string(program.ranks));
}

Runner::Runner(const Chip& chip, const Mapped& mapped, std::shared_ptr<const Graph> whole)
    : chip_(chip), program_(mapped.program), plan_(mapped.plan), whole_(std::move(whole)), memories_(static_cast<size_t>(mapped.program.ranks)) {
  if (program_.ranks == 1) graphs_.push_back(whole_);
  for (int64_t r = 0; r < program_.ranks && program_.ranks > 1; ++r) graphs_.push_back(std::make_shared<const Graph>(passes::shard(*whole_, plan_, r)));
}
Runner::~Runner() = default;

std::vector<Tensor> Runner::run(std::span<const Tensor> inputs) {
  const size_t count = graphs_.size();
  const auto dim = [](const std::vector<int>& dims, size_t k) { return k < dims.size() ? dims[k] : -1; };
  std::vector<Execution> ranks;
  ranks.reserve(count);
  for (size_t r = 0; r < count; ++r) {
    if (!memories_[r]) memories_[r] = std::make_unique<Memories>(chip_, program_, *graphs_[r]);
    std::vector<Tensor> mine;
    for (size_t k = 0; k < inputs.size(); ++k) mine.push_back(part_of(inputs[k], dim(plan_.inputs, k), static_cast<int64_t>(r), static_cast<int64_t>(count)));
    memories_[r]->start(*graphs_[r], mine);
    ranks.emplace_back(chip_, program_, *graphs_[r], *memories_[r]);
  }
  for (const Instruction* together = nullptr;;) {
    for (Execution& e : ranks) together = e.advance();
    if (!together) break;
    Execution::exchange(*together, ranks);
  }
  std::vector<Tensor> out;
  for (size_t k = 0; k < graphs_[0]->outputs.size(); ++k) {
    std::vector<Tensor> parts;
    for (size_t r = 0; r < (dim(plan_.outputs, k) >= 0 ? count : 1); ++r) {
      const Graph& g = *graphs_[r];
      const Value v = g.outputs[k];
      if (const Tensor* t = g.constant(v)) {
        parts.push_back(*t);
        continue;
      }
      const auto dims = constants(g.type(v).dims);
      if (!dims) fail_internal("program of " + program_.model, "sizes that are bound", g.type(v).text());
      parts.push_back(memories_[r]->output(g, v, *dims));
    }
    const int d = dim(plan_.outputs, k);
    out.push_back(d < 0 ? parts[0] : joined(parts, d, whole_->type(whole_->outputs[k]).dims[static_cast<size_t>(d)].constant()));
  }
  return out;
}

std::vector<Tensor> execute(const Chip& chip, const Mapped& mapped, const std::shared_ptr<const Graph>& whole, const std::vector<Tensor>& inputs) {
  require_valid(chip, mapped.program);
  return Runner(chip, mapped, whole).run(inputs);
}

std::vector<Tensor> execute(const Chip& chip, const Program& program, const Graph& graph, const std::vector<Tensor>& inputs) {
  require_valid(chip, program);
  return Runner(chip, program, graph).run(inputs);
}

void require_valid(const Chip& chip, const Program& program) {
  constexpr size_t kMostShown = 5;
  std::vector<Problem> problems;
  for (const std::string& line : check(chip, program)) {
    const size_t expected = line.find(": expected "), found = line.rfind(", found ");
    problems.push_back({line.substr(0, expected), line.substr(expected + 11, found - expected - 11), line.substr(found + 8), "The chip would refuse this: a bug of the mapper, please report it"});
    if (problems.size() == kMostShown) break;
  }
  if (!problems.empty()) throw Error(ErrorKind::device, std::move(problems));
}

}  // namespace bascule::device::chip
