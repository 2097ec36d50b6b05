// kernels/block.cc — see block.h. The innermost axis runs in blocks; the others are a counter. Reductions fold blocks: within one when the
// innermost axis is reduced, lane by lane when it is parallel.
#include "kernels/block.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/deadline.h"
#include "base/threads.h"
#include "kernels/gemm.h"

namespace bascule::kernels {

using loops::Instruction;
using loops::KernelSpec;
using loops::Op;
using loops::Role;

std::optional<Cell> cell_of(DType t) {
  switch (t) {
    case DType::f32: return Cell::f32;
    case DType::f64: return Cell::f64;
    case DType::i32: return Cell::i32;
    case DType::i64: return Cell::i64;
    case DType::u32: return Cell::u32;
    case DType::i8: return Cell::i8;
    case DType::u8: return Cell::u8;
    case DType::i16: return Cell::i16;
    case DType::u16: return Cell::u16;
    case DType::i1: return Cell::i1;
    case DType::bf16: return Cell::bf16;
    case DType::f16: return Cell::f16;
    default: return std::nullopt;
  }
}

Hold hold_of(Cell c) {
  switch (c) {
    case Cell::f32: case Cell::bf16: case Cell::f16: return Hold::f32;
    case Cell::f64: return Hold::f64;
    case Cell::i64: case Cell::u32: return Hold::i64;
    default: return Hold::i32;
  }
}

namespace {

constexpr int64_t kBlock = 512;

// One step on registers; a register is a block of one hold.
struct Step {
  enum Kind { load, splat, iota, compute, accumulator } kind = compute;
  BlockOp op = nullptr;
  LoadOp read = nullptr;
  Hold hold = Hold::f32;     // of the result
  int32_t to = 0, a = 0, b = 0, c = 0;
  int32_t index = 0;         // operand, axis or reduction
  double number = 0;
  int64_t integer = 0;
};

struct Fold {
  FoldOp across = nullptr;   // within a block
  BlockOp lanes = nullptr;   // block with block
  Hold hold = Hold::f32;
  int32_t value = 0;
  double initial_number = 0;
  int64_t initial_integer = 0;
};

void splat(Hold h, void* to, double number, int64_t integer, int64_t n) {
  switch (h) {
    case Hold::f32: std::fill_n(static_cast<float*>(to), n, static_cast<float>(number)); break;
    case Hold::f64: std::fill_n(static_cast<double*>(to), n, number); break;
    case Hold::i32: std::fill_n(static_cast<int32_t*>(to), n, static_cast<int32_t>(integer)); break;
    case Hold::i64: std::fill_n(static_cast<int64_t*>(to), n, integer); break;
  }
}

}  // namespace

struct BlockProgram::Code {
  KernelSpec spec;
  std::vector<Step> body, epilogue;
  std::vector<Fold> folds;
  struct Write {
    int32_t operand, value;
    StoreOp store;
  };
  std::vector<Write> writes;
  std::vector<Hold> holds;       // of each register
  std::vector<size_t> outer, reduced;  // axes but the innermost, by role
  int32_t inner = -1;            // the innermost axis, -1 when there are none
  bool folds_inner = false;
  std::vector<int64_t> element_bytes;  // per operand
  int64_t points = 1;            // of the outer parallel axes
};

BlockProgram::BlockProgram(std::unique_ptr<Code> code) : code_(std::move(code)) {}
BlockProgram::~BlockProgram() = default;
const KernelSpec& BlockProgram::spec() const { return code_->spec; }

namespace {

class Compiler {
 public:
  Compiler(BlockProgram::Code& code, std::string& why) : code_(code), why_(why) {}

  bool run() {
    const Table& t = table();
    const KernelSpec& s = code_.spec;
    for (const loops::Operand& o : s.operands) {
      if (!cell_of(o.dtype)) return no("elements of type " + std::string(info(o.dtype).name));
      code_.element_bytes.push_back(info(o.dtype).storage_bits / 8);
    }
    if (!instructions(s.body, code_.body)) return false;
    for (const loops::Reduction& r : s.reductions) {
      const auto cell = cell_of(r.dtype);
      if (!cell) return no("sums of type " + std::string(info(r.dtype).name));
      Fold f;
      f.hold = hold_of(*cell);
      f.across = t.fold(r.fold, f.hold);
      f.lanes = t.op(r.fold, f.hold);
      if (!f.across || !f.lanes) return no(std::string("a fold by ") + loops::name(r.fold));
      f.value = registers_[static_cast<size_t>(r.value)];
      f.initial_number = r.initial_number;
      f.initial_integer = r.initial_integer;
      code_.folds.push_back(f);
    }
    if (!instructions(s.epilogue, code_.epilogue)) return false;
    for (const loops::Store& w : s.stores) code_.writes.push_back({w.operand, registers_[static_cast<size_t>(w.value)], t.store(*cell_of(s.operands[static_cast<size_t>(w.operand)].dtype))});
    return true;
  }

 private:
  bool no(std::string reason) {
    why_ = std::move(reason);
    return false;
  }
  int32_t fresh(Hold h) {
    code_.holds.push_back(h);
    return static_cast<int32_t>(code_.holds.size()) - 1;
  }
  // A compute step into a new register.
  int32_t emit(std::vector<Step>& list, BlockOp op, Hold h, int32_t a, int32_t b = 0, int32_t c = 0) {
    Step s;
    s.op = op;
    s.hold = h;
    s.a = a;
    s.b = b;
    s.c = c;
    s.to = fresh(h);
    list.push_back(s);
    return s.to;
  }
  int32_t constant(std::vector<Step>& list, Hold h, double number, int64_t integer) {
    Step s;
    s.kind = Step::splat;
    s.hold = h;
    s.number = number;
    s.integer = integer;
    s.to = fresh(h);
    list.push_back(s);
    return s.to;
  }

  bool instructions(const std::vector<Instruction>& from, std::vector<Step>& list) {
    const Table& t = table();
    for (const Instruction& i : from) {
      const auto cell = cell_of(i.dtype);
      if (!cell) return no("elements of type " + std::string(info(i.dtype).name));
      const Hold h = hold_of(*cell);
      const auto reg = [&](int32_t v) { return v < 0 ? 0 : registers_[static_cast<size_t>(v)]; };
      const auto type = [&](int32_t v) { return types_[static_cast<size_t>(v)]; };
      int32_t to = 0;
      bool narrow = false;  // the result may not fit the cell
      switch (i.op) {
        case Op::load: {
          Step s;
          s.kind = Step::load;
          s.read = t.load(*cell);
          s.hold = h;
          s.index = i.index;
          s.to = to = fresh(h);
          list.push_back(s);
          break;
        }
        case Op::constant: to = constant(list, h, i.number, i.integer); break;
        case Op::iota:
        case Op::accumulator: {
          Step s;
          s.kind = i.op == Op::iota ? Step::iota : Step::accumulator;
          s.hold = h;
          s.index = i.index;
          s.to = to = fresh(h);
          list.push_back(s);
          narrow = true;
          break;
        }
        case Op::convert: {
          const DType source = type(i.a);
          const Hold before = hold_of(*cell_of(source));
          to = reg(i.a);
          if (is_bool(i.dtype) && is_float(source)) {
            to = emit(list, t.op(Op::not_equal, before), Hold::i32, to, constant(list, before, 0, 0));
            break;
          }
          if (before != h) to = emit(list, t.convert(before, h), h, to);
          if (is_float(source) && !is_float(i.dtype)) {  // saturates at the type's own limits
            if (!t.wrap(*cell)) break;
            to = emit(list, t.op(Op::maximum, h), h, to, constant(list, h, 0, int_min(i.dtype)));
            to = emit(list, t.op(Op::minimum, h), h, to, constant(list, h, 0, int_max(i.dtype)));
          } else {
            narrow = true;
          }
          break;
        }
        case Op::select: {
          const BlockOp op = t.op(i.op, h);
          to = emit(list, op, h, reg(i.a), reg(i.b), reg(i.c));
          break;
        }
        default: {
          const DType operand = type(i.a);
          const bool predicate = (i.op >= Op::equal && i.op <= Op::greater_equal) || i.op == Op::is_finite;
          if (is_bool(operand) && !predicate) {  // logic: add is or, multiply is and
            const Op logic = i.op == Op::add || i.op == Op::maximum ? Op::bit_or : i.op == Op::multiply || i.op == Op::minimum ? Op::bit_and : i.op;
            if (logic == Op::bit_not) {
              to = emit(list, t.op(Op::equal, Hold::i32), Hold::i32, reg(i.a), constant(list, Hold::i32, 0, 0));
              break;
            }
            if (logic != Op::bit_or && logic != Op::bit_and && logic != Op::bit_xor) return no(std::string(loops::name(i.op)) + " of i1");
            to = emit(list, t.op(logic, Hold::i32), Hold::i32, reg(i.a), reg(i.b));
            break;
          }
          const BlockOp op = t.op(i.op, hold_of(*cell_of(operand)));
          if (!op) return no(std::string(loops::name(i.op)) + " of " + std::string(info(operand).name));
          to = emit(list, op, h, reg(i.a), reg(i.b), reg(i.c));
          narrow = !predicate;
        }
      }
      if (narrow)
        if (const BlockOp w = t.wrap(*cell)) to = emit(list, w, h, to);
      registers_.push_back(to);
      types_.push_back(i.dtype);
    }
    return true;
  }

  BlockProgram::Code& code_;
  std::string& why_;
  std::vector<int32_t> registers_;  // of each value of the spec
  std::vector<DType> types_;
};

}  // namespace

std::shared_ptr<const BlockProgram> BlockProgram::compile(const KernelSpec& spec, std::string* why) {
  std::string reason;
  auto code = std::make_unique<Code>();
  code->spec = loops::collapsed(spec);
  // The innermost axis: the last parallel one when an output runs along it with stride 1, so that sums over outer axes go lane by lane.
  const auto& axes = code->spec.axes;
  code->inner = static_cast<int32_t>(axes.size()) - 1;
  if (code->inner >= 0 && axes.back().role == Role::parallel && !code->spec.reductions.empty() && axes.back().extent < 8) {
    // Too few lanes: a reduced axis, if there is one, makes longer blocks.
    for (size_t a = axes.size(); a-- > 0;)
      if (axes[a].role == Role::reduction) {
        code->inner = static_cast<int32_t>(a);
        break;
      }
  }
  if (code->inner >= 0 && axes.back().role == Role::reduction && axes.back().extent < 32) {
    // A few elements for each result: the results make longer blocks, though their loads then take steps.
    for (size_t a = axes.size(); a-- > 0;)
      if (axes[a].role == Role::parallel && axes[a].extent >= 8) {
        code->inner = static_cast<int32_t>(a);
        break;
      }
  }
  for (size_t a = 0; a < axes.size(); ++a) {
    if (static_cast<int32_t>(a) == code->inner) continue;
    if (axes[a].role == Role::parallel) {
      code->outer.push_back(a);
      code->points *= axes[a].extent;
    } else {
      code->reduced.push_back(a);
    }
  }
  code->folds_inner = code->inner >= 0 && axes[static_cast<size_t>(code->inner)].role == Role::reduction;
  if (!Compiler(*code, reason).run()) {
    if (why) *why = reason;
    return nullptr;
  }
  return std::shared_ptr<const BlockProgram>(new BlockProgram(std::move(code)));
}

namespace {

// The state of one task.
class Machine {
 public:
  Machine(const BlockProgram::Code& c, std::span<std::byte* const> pointers) : c_(c), pointers_(pointers), index_(c.spec.axes.size(), 0) {
    const int64_t registers = static_cast<int64_t>(c.holds.size() + c.folds.size());
    int64_t bytes = 0;
    for (const Hold h : c.holds) bytes += kBlock * hold_bytes(h);
    for (const Fold& f : c.folds) bytes += kBlock * hold_bytes(f.hold);
    auto* at = static_cast<std::byte*>(scratch(bytes + registers));
    for (const Hold h : c.holds) {
      storage_.push_back(at);
      at += kBlock * hold_bytes(h);
    }
    for (const Fold& f : c.folds) {
      lanes_.push_back(at);
      at += kBlock * hold_bytes(f.hold);
    }
    now_.assign(storage_.begin(), storage_.end());
    totals_.resize(c.folds.size());
    for (size_t k = 0; k < c.body.size(); ++k) constants(c.body[k]);
    for (size_t k = 0; k < c.epilogue.size(); ++k) constants(c.epilogue[k]);
  }

  // One point of the outer axes, elements [from, to) of a parallel innermost axis.
  void point(int64_t outer, int64_t from, int64_t to) {
    for (size_t k = c_.outer.size(); k-- > 0;) {
      const int64_t extent = c_.spec.axes[c_.outer[k]].extent;
      index_[c_.outer[k]] = outer % extent;
      outer /= extent;
    }
    if (c_.folds_inner || c_.inner < 0) {
      reduce_whole();
      return;
    }
    for (int64_t i = from; i < to; i += kBlock) {
      const int64_t n = std::min(kBlock, to - i);
      index_[static_cast<size_t>(c_.inner)] = i;
      if (c_.folds.empty()) {
        steps(c_.body, n);
      } else {
        for (size_t f = 0; f < c_.folds.size(); ++f) splat(c_.folds[f].hold, lanes_[f], c_.folds[f].initial_number, c_.folds[f].initial_integer, n);
        over_reduced([&] {
          steps(c_.body, n);
          for (size_t f = 0; f < c_.folds.size(); ++f) c_.folds[f].lanes(lanes_[f], lanes_[f], now_[static_cast<size_t>(c_.folds[f].value)], nullptr, n);
        });
        index_[static_cast<size_t>(c_.inner)] = i;
      }
      steps(c_.epilogue, n);
      write(n);
    }
  }

 private:
  struct Total {
    double number;
    int64_t integer;
  };

  void constants(const Step& s) {
    if (s.kind == Step::splat) splat(s.hold, storage_[static_cast<size_t>(s.to)], s.number, s.integer, kBlock);
  }

  // No parallel innermost axis: one result for each outer point.
  void reduce_whole() {
    if (c_.folds.empty()) {
      steps(c_.body, 1);
    } else {
      for (size_t f = 0; f < c_.folds.size(); ++f) totals_[f] = {c_.folds[f].initial_number, c_.folds[f].initial_integer};
      const int64_t extent = c_.inner < 0 ? 1 : c_.spec.axes[static_cast<size_t>(c_.inner)].extent;
      over_reduced([&] {
        for (int64_t i = 0; i < extent; i += kBlock) {
          const int64_t n = std::min(kBlock, extent - i);
          if (c_.inner >= 0) index_[static_cast<size_t>(c_.inner)] = i;
          steps(c_.body, n);
          for (size_t f = 0; f < c_.folds.size(); ++f) {
            const bool real = c_.folds[f].hold == Hold::f32 || c_.folds[f].hold == Hold::f64;
            void* into = real ? static_cast<void*>(&totals_[f].number) : static_cast<void*>(&totals_[f].integer);
            c_.folds[f].across(now_[static_cast<size_t>(c_.folds[f].value)], n, into);
          }
        }
      });
      for (size_t f = 0; f < c_.folds.size(); ++f) splat(c_.folds[f].hold, lanes_[f], totals_[f].number, totals_[f].integer, 1);
    }
    if (c_.inner >= 0) index_[static_cast<size_t>(c_.inner)] = 0;
    steps(c_.epilogue, 1);
    write(1);
  }

  template <class F>
  void over_reduced(const F& f) {
    for (const size_t a : c_.reduced) {
      if (c_.spec.axes[a].extent == 0) return;
      index_[a] = 0;
    }
    for (;;) {
      f();
      size_t k = c_.reduced.size();
      while (k > 0 && ++index_[c_.reduced[k - 1]] == c_.spec.axes[c_.reduced[k - 1]].extent) index_[c_.reduced[--k]] = 0;
      if (k == 0) return;
    }
  }

  std::byte* address(int32_t operand) const {
    const loops::Operand& o = c_.spec.operands[static_cast<size_t>(operand)];
    int64_t at = o.offset;
    for (size_t a = 0; a < index_.size(); ++a) at += index_[a] * o.strides[a];
    return pointers_[static_cast<size_t>(operand)] + at * c_.element_bytes[static_cast<size_t>(operand)];
  }
  int64_t inner_stride(int32_t operand) const { return c_.inner < 0 ? 0 : c_.spec.operands[static_cast<size_t>(operand)].strides[static_cast<size_t>(c_.inner)]; }

  void steps(const std::vector<Step>& list, int64_t n) {
    for (const Step& s : list) {
      const auto to = static_cast<size_t>(s.to);
      switch (s.kind) {
        case Step::compute: s.op(storage_[to], now_[static_cast<size_t>(s.a)], now_[static_cast<size_t>(s.b)], now_[static_cast<size_t>(s.c)], n); break;
        case Step::load: {
          std::byte* p = address(s.index);
          const int64_t stride = inner_stride(s.index);
          const DType t = c_.spec.operands[static_cast<size_t>(s.index)].dtype;
          const bool as_is = t == DType::f32 || t == DType::f64 || t == DType::i32 || t == DType::i64;
          if (stride == 1 && as_is) {
            now_[to] = p;  // read where it lies
          } else {
            s.read(storage_[to], p, stride, n);
            now_[to] = storage_[to];
          }
          break;
        }
        case Step::iota: {
          const int64_t start = index_[static_cast<size_t>(s.index)], step = s.index == c_.inner ? 1 : 0;
          for (int64_t i = 0; i < n; ++i) {
            const int64_t x = start + i * step;
            if (s.hold == Hold::f32) reinterpret_cast<float*>(storage_[to])[i] = static_cast<float>(x);
            else if (s.hold == Hold::f64) reinterpret_cast<double*>(storage_[to])[i] = static_cast<double>(x);
            else if (s.hold == Hold::i32) reinterpret_cast<int32_t*>(storage_[to])[i] = static_cast<int32_t>(x);
            else reinterpret_cast<int64_t*>(storage_[to])[i] = x;
          }
          break;
        }
        case Step::accumulator: now_[to] = lanes_[static_cast<size_t>(s.index)]; break;
        case Step::splat: break;
      }
    }
  }
  void write(int64_t n) {
    for (const auto& w : c_.writes) w.store(address(w.operand), c_.folds_inner ? 1 : inner_stride(w.operand), now_[static_cast<size_t>(w.value)], n);
  }

  const BlockProgram::Code& c_;
  std::span<std::byte* const> pointers_;
  std::vector<int64_t> index_;
  std::vector<std::byte*> storage_, now_, lanes_;
  std::vector<Total> totals_;
};

}  // namespace

void BlockProgram::run(std::span<std::byte* const> pointers) const {
  const Code& c = *code_;
  if (c.points == 0) return;
  const bool split_inner = c.inner >= 0 && !c.folds_inner;
  const int64_t inner = split_inner ? c.spec.axes[static_cast<size_t>(c.inner)].extent : 1;
  if (inner == 0) return;
  int64_t per_point = 1;
  for (const size_t a : c.reduced) per_point *= std::max<int64_t>(1, c.spec.axes[a].extent);
  if (c.folds_inner) per_point *= std::max<int64_t>(1, c.spec.axes[static_cast<size_t>(c.inner)].extent);
  constexpr int64_t kGrain = 16384;  // elements of a task: about 10 us of a few operators
  const int64_t cost = per_point * inner;
  if (cost >= 2 * kGrain && inner >= 2 * kBlock) {
    const int64_t step = std::max<int64_t>(kBlock, kGrain / std::max<int64_t>(1, per_point) / kBlock * kBlock), parts = (inner + step - 1) / step;
    parallel_for(c.points * parts, [&](int64_t t) {
      check_deadline();
      Machine m(c, pointers);
      const int64_t from = t % parts * step;
      m.point(t / parts, from, std::min(inner, from + step));
    });
    return;
  }
  const int64_t group = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, cost));
  parallel_for((c.points + group - 1) / group, [&](int64_t t) {
    check_deadline();
    Machine m(c, pointers);
    for (int64_t p = t * group; p < std::min(c.points, (t + 1) * group); ++p) m.point(p, 0, inner);
  });
}

}  // namespace bascule::kernels
