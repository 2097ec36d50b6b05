// device/chip/emitter.cc — see emitter.h. All waits point to instructions emitted before, so no program can wait in a circle.
#include "device/chip/emitter.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace bascule::device::chip {
namespace {

constexpr size_t kMostUses = 128;  // of a buffer, before uses of one queue are merged (more waits than needed, never fewer)

void add_wait(std::vector<Wait>& waits, int32_t queue, int32_t count) {
  for (Wait& w : waits)
    if (w.queue == queue) {
      w.count = std::max(w.count, count);
      return;
    }
  waits.push_back({queue, count});
}

bool same(const std::vector<Wait>& a, const std::vector<Wait>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Wait& x, const Wait& y) { return x.queue == y.queue && x.count == y.count; });
}

}  // namespace

Emitter::Emitter(const Chip& chip, std::string model, int64_t cores) : chip_(chip) {
  program_.chip = chip.name;
  program_.model = std::move(model);
  program_.cores = cores;
}
Emitter::~Emitter() = default;

int32_t Emitter::queue(Queue::Kind kind, int32_t index, int32_t core, std::string_view name) {
  const auto [at, made] = queues_.try_emplace({kind, index, core}, static_cast<int32_t>(program_.queues.size()));
  if (!made) return at->second;
  program_.queues.push_back({kind, kind == Queue::engine ? index : -1, core, std::string(name)});
  issued_.push_back(0);
  seen_.emplace_back();
  return at->second;
}

int32_t Emitter::matrix(int32_t core) { return queue(Queue::matrix, -1, core, chip_.matrix.name); }

int32_t Emitter::engine(std::string_view name, int32_t core) {
  for (size_t i = 0; i < chip_.engines.size(); ++i)
    if (chip_.engines[i].name == name) return queue(Queue::engine, static_cast<int32_t>(i), core, name);
  fail_internal("program for " + chip_.name, "an engine of the chip", std::string(name));
}

int32_t Emitter::dma(int32_t channel, int32_t core) {
  const auto at = queues_.find({Queue::dma, channel, core});
  return at != queues_.end() ? at->second : queue(Queue::dma, channel, core, "dma" + std::to_string(channel));
}

int32_t Emitter::collective(int32_t core) { return queue(Queue::collective, -1, core, "collective"); }
int32_t Emitter::host() { return queue(Queue::host, -1, 0, "host"); }

Emitter::Pool& Emitter::pool(Role role, int32_t core) {
  const auto [at, made] = pools_.try_emplace({role, core});
  if (const int64_t bytes = made ? role == Role::main ? main_capacity(chip_, program_) : capacity(role) : 0; bytes > 0) {
    at->second.used = bytes;
    give_back(at->second, 0, bytes, {});
  }
  return at->second;
}

int64_t Emitter::capacity(Role memory) const {
  for (const Memory& m : chip_.memories)
    if (m.role == memory) return m.bytes / std::max<int64_t>(m.partitions, 1);
  return 0;
}

int64_t Emitter::largest_free(Role memory, int32_t core) const {
  const auto at = pools_.find({memory, core});
  if (at == pools_.end()) return capacity(memory);
  int64_t largest = 0;
  for (const auto& [begin, end] : at->second.runs) largest = std::max(largest, end - std::max(begin, at->second.weights));
  return largest;
}

void Emitter::rewind(Role memory, int32_t core) {
  if (const auto at = pools_.find({memory, core}); at != pools_.end()) at->second.next = 0;
}

// Takes the first run of free places that holds `bytes`, at or after `next` (then from the start).
int32_t Emitter::add(Pool& p, Buffer b, int64_t bytes, int64_t bank_bytes, bool from_next) {
  bytes = std::max<int64_t>(bytes, 1);
  const auto fit = [&](int64_t begin) {  // where in a run that begins here the buffer may start
    if (bank_bytes <= 0) return begin;
    const int64_t in_bank = begin % bank_bytes;
    return bytes <= bank_bytes ? (in_bank + bytes <= bank_bytes ? begin : begin - in_bank + bank_bytes)
                               : (begin + bank_bytes - 1) / bank_bytes * bank_bytes;
  };
  const bool local_weight = b.use == Buffer::weight && b.memory != Role::main, main_weight = b.use == Buffer::weight && b.memory == Role::main;
  const int64_t lowest = local_weight ? 0 : p.weights, highest = local_weight && p.weights > 0 ? p.weights : INT64_MAX;
  for (const bool onwards : {true, false}) {
    if (onwards && !from_next) continue;
    auto run = p.runs.begin();
    if (onwards) {
      run = p.runs.upper_bound(p.next);
      if (run != p.runs.begin() && std::prev(run)->second > p.next) --run;
    }
    for (; run != p.runs.end(); ++run) {
      int64_t start = fit(std::max({run->first, lowest, onwards ? p.next : 0}));
      if (start + bytes > highest) break;
      if (start + bytes <= run->second && main_weight) start = untouched(p, start, run->second, bytes);
      if (start + bytes > run->second) continue;
      Tracked t;
      t.begin = start;
      t.end = start + bytes;
      take(p, t);
      if (!local_weight) p.next = t.end;
      p.peak = std::max(p.peak, p.used);
      b.address = start;
      program_.buffers.push_back(std::move(b));
      tracked_.push_back(std::move(t));
      return static_cast<int32_t>(program_.buffers.size()) - 1;
    }
  }
  return -1;
}

// Weights are there before the first instruction: where, of a run's end from `start` on, nothing ever lay. `end` if nowhere.
int64_t Emitter::untouched(const Pool& p, int64_t start, int64_t end, int64_t bytes) {
  for (auto place = std::prev(p.free.upper_bound(start)); start + bytes <= end; ++place) {
    if (!place->second.last.empty()) start = place->second.end;
    else if (place->second.end >= start + bytes) return start;
  }
  return end;
}

// The place of `t`, within a run: who used it last comes before it.
void Emitter::take(Pool& p, Tracked& t) {
  const auto first = std::prev(p.free.upper_bound(t.begin));
  auto last = first;
  for (;; ++last) {
    for (const Wait& w : last->second.last) add_wait(t.before, w.queue, w.count);
    if (last->second.end >= t.end) break;
  }
  const int64_t begin = first->first, end = last->second.end;
  std::vector<Wait> before = std::move(first->second.last), after = first == last ? before : std::move(last->second.last);
  p.free.erase(first, std::next(last));
  if (begin < t.begin) p.free[begin] = {t.begin, std::move(before)};
  if (t.end < end) p.free[t.end] = {end, std::move(after)};
  const auto run = std::prev(p.runs.upper_bound(t.begin));
  const int64_t run_end = run->second;
  if (run->first < t.begin) run->second = t.begin;
  else p.runs.erase(run);
  if (t.end < run_end) p.runs[t.end] = run_end;
  p.used += t.end - t.begin;
}

// Neighbours with the same last users are one place.
void Emitter::give_back(Pool& p, int64_t begin, int64_t end, std::vector<Wait> last) {
  p.used -= end - begin;
  int64_t run_begin = begin, run_end = end;
  auto run = p.runs.lower_bound(begin);
  if (run != p.runs.end() && run->first == end) {
    run_end = run->second;
    run = p.runs.erase(run);
  }
  if (run != p.runs.begin() && std::prev(run)->second == begin) run_begin = std::prev(run)->first;
  p.runs[run_begin] = run_end;
  auto next = p.free.lower_bound(begin);
  if (next != p.free.end() && next->first == end && same(next->second.last, last)) {
    end = next->second.end;
    next = p.free.erase(next);
  }
  if (next != p.free.begin())
    if (auto& [at, before] = *std::prev(next); before.end == begin && same(before.last, last)) {
      before.end = end;
      return;
    }
  p.free.emplace_hint(next, begin, Free{end, std::move(last)});
}

int32_t Emitter::main(std::string name, Buffer::Use use, DType dtype, int64_t elements, Value value) {
  Buffer b{std::move(name), Role::main, dtype, use, 1, elements, 0, -1, value};
  const int64_t bytes = std::max<int64_t>(storage_bytes(dtype, elements), 1);
  Pool& p = pool(Role::main, -1);
  const std::string what = b.name;
  const int32_t id = add(p, std::move(b), (bytes + 63) / 64 * 64, 0, false);
  const int64_t main_bytes = main_capacity(chip_, program_);
  if (id < 0)
    fail_capacity("chip:" + chip_.name + ": '" + what + "'", std::to_string(bytes) + " bytes of " + chip_.main().name,
                  std::to_string(main_bytes - p.used) + " of " + std::to_string(main_bytes) + " left",
                  "Spread the model over more chips, or take a smaller batch");
  return id;
}

int32_t Emitter::local(Role memory, std::string name, DType dtype, int64_t rows, int64_t row_elements, int32_t core, int32_t spread) {
  const Memory* m = memory == Role::accumulator ? chip_.accumulator() : chip_.scratchpad();
  if (!m) return -1;
  Buffer b{std::move(name), memory, dtype, Buffer::scratch, rows, row_elements, 0, core, kNoValue};
  b.spread = spread;
  // A linear memory holds the rows one after the other; in a partitioned one every partition gives row_bytes.
  const int64_t all = m->partitions > 1 ? b.row_bytes() : storage_bytes(dtype, rows * row_elements);
  const int64_t bytes = std::max<int64_t>((all + spread - 1) / spread, 1);
  const int64_t bank = m->banks > 1 ? capacity(memory) / m->banks : 0;
  return add(pool(memory, core), std::move(b), (bytes + 7) / 8 * 8, bank, true);
}

void Emitter::keep_for_weights(Role memory, int64_t partition_bytes, int32_t core) { pool(memory, core).weights = partition_bytes; }

int32_t Emitter::local_weight(Role memory, std::string name, DType dtype, int64_t rows, int64_t row_elements, int32_t core) {
  Buffer b{std::move(name), memory, dtype, Buffer::weight, rows, row_elements, 0, core, kNoValue};
  const int64_t bytes = (std::max<int64_t>(b.row_bytes(), 1) + 7) / 8 * 8;
  return add(pool(memory, core), std::move(b), bytes, 0, false);
}

void Emitter::release(int32_t id) {
  const Buffer& b = buffer(id);
  Tracked& t = tracked_[static_cast<size_t>(id)];
  if (t.end > t.begin) {
    std::vector<Wait> last = std::move(t.before);
    for (const auto* uses : {&t.writes, &t.reads})
      for (const Use& u : *uses) add_wait(last, u.queue, u.count);
    give_back(pool(b.memory, b.memory == Role::main ? -1 : b.core), t.begin, t.end, std::move(last));
  }
  t = {};
}

Access Emitter::whole(int32_t id) const {
  const Buffer& b = buffer(id);
  if (b.memory == Role::main) return strided(id, 0, {b.elements()}, {1});
  return strided(id, 0, {b.rows, b.row_elements}, {b.row_elements, 1});
}

Access Emitter::box(int32_t id, int64_t row0, int64_t rows, int64_t column0, int64_t columns) const {
  const int64_t pitch = buffer(id).row_elements;
  return strided(id, row0 * pitch + column0, {rows, columns}, {pitch, 1});
}

Access Emitter::strided(int32_t id, int64_t offset, const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides) {
  if (sizes.size() > Access::kMostDims || sizes.size() != strides.size())
    fail_internal("access of buffer " + std::to_string(id), "at most " + std::to_string(Access::kMostDims) + " dimensions",
                  std::to_string(sizes.size()));
  Access a;
  a.buffer = id;
  a.offset = offset;
  a.rank = static_cast<int32_t>(sizes.size());
  for (size_t k = 0; k < sizes.size(); ++k) {
    a.sizes[k] = static_cast<int32_t>(sizes[k]);
    a.strides[k] = strides[k];
  }
  return a;
}

Emitter::Use Emitter::box_of(const Access& a) const {
  Use u;
  u.low = u.high = a.offset;
  int64_t largest = 0, rest_low = 0, rest_high = 0, rows = 1;
  const Buffer& b = buffer(a.buffer);
  for (int k = 0; k < a.rank; ++k) {
    const auto i = static_cast<size_t>(k);
    const int64_t reach = (a.sizes[i] - 1) * a.strides[i];
    (reach < 0 ? u.low : u.high) += reach;
    if (a.sizes[i] > 1) largest = std::max(largest, std::abs(a.strides[i]));
  }
  if (b.memory != Role::main && b.rows > 1) largest = b.row_elements;
  if (largest <= 1) return u;
  for (int k = 0; k < a.rank; ++k) {
    const auto i = static_cast<size_t>(k);
    if (a.strides[i] == largest) rows += a.sizes[i] - 1;
    else (a.strides[i] < 0 ? rest_low : rest_high) += (a.sizes[i] - 1) * a.strides[i];
  }
  const int64_t column = a.offset % largest;
  if (column + rest_low < 0 || column + rest_high >= largest) return u;  // no box of this pitch
  u.pitch = largest;
  u.row_low = a.offset / largest;
  u.row_high = u.row_low + rows - 1;
  u.column_low = column + rest_low;
  u.column_high = column + rest_high;
  return u;
}

bool Emitter::overlap(const Use& a, const Use& b) {
  if (a.high < b.low || b.high < a.low) return false;
  if (a.pitch == 0 || a.pitch != b.pitch) return true;
  return a.row_low <= b.row_high && b.row_low <= a.row_high && a.column_low <= b.column_high && b.column_low <= a.column_high;
}

// Whether every element of b lies between the ends of a, as far as the boxes tell: a later write by `a` then stands for b.
bool Emitter::covers(const Use& a, const Use& b) {
  if (a.pitch == 0) return false;
  return a.pitch == b.pitch && a.row_low <= b.row_low && b.row_high <= a.row_high && a.column_low <= b.column_low && b.column_high <= a.column_high;
}

void Emitter::depend(int32_t of, const Use& mine, bool write, bool accumulate, int32_t queue) {
  const Tracked& t = tracked_[static_cast<size_t>(of)];
  for (const Use& u : t.writes) {
    if (u.queue == queue && (write || (accumulate && u.accumulate))) continue;  // in order on one engine
    if (overlap(mine, u)) add_wait(waits_, u.queue, u.count);
  }
  if (!write) return;
  for (const Use& u : t.reads)
    if (u.queue != queue && overlap(mine, u)) add_wait(waits_, u.queue, u.count);
  for (const Wait& w : t.before)
    if (w.queue != queue) add_wait(waits_, w.queue, w.count);
}

void Emitter::record(int32_t of, const Use& mine, bool write) {
  Tracked& t = tracked_[static_cast<size_t>(of)];
  auto& list = write ? t.writes : t.reads;
  if (write) {
    if (mine.pitch > 0) {
      std::erase_if(t.writes, [&](const Use& u) { return covers(mine, u); });
      std::erase_if(t.reads, [&](const Use& u) { return covers(mine, u); });
    }
  } else {
    for (Use& u : list)
      if (u.queue == mine.queue && u.pitch == mine.pitch && u.low == mine.low && u.high == mine.high && u.column_low == mine.column_low &&
          u.column_high == mine.column_high) {
        u.count = mine.count;
        return;
      }
  }
  list.push_back(mine);
  if (list.size() <= kMostUses) return;
  std::vector<Use> merged;  // one range for each queue
  for (const Use& u : list) {
    const auto at = std::find_if(merged.begin(), merged.end(), [&](const Use& m) { return m.queue == u.queue; });
    if (at == merged.end()) {
      merged.push_back(u);
      merged.back().pitch = 0;
    } else {
      at->low = std::min(at->low, u.low);
      at->high = std::max(at->high, u.high);
      at->count = std::max(at->count, u.count);
      at->accumulate = at->accumulate && u.accumulate;
    }
  }
  list = std::move(merged);
}

int32_t Emitter::begin_step(StepInfo info) {
  program_.steps.push_back(std::move(info));
  return static_cast<int32_t>(program_.steps.size()) - 1;
}

void Emitter::host_work(std::vector<int32_t> in, std::vector<int32_t> out) {
  const auto tidy = [&](std::vector<int32_t>& list) {
    std::vector<int32_t> once;
    for (const int32_t b : list)
      if (buffer(b).elements() > 0 && std::find(once.begin(), once.end(), b) == once.end()) once.push_back(b);
    list = std::move(once);
  };
  tidy(in);
  tidy(out);
  const int32_t queue = host();
  for (size_t k = 3; k < in.size(); ++k) {
    const int32_t copy = main("host", Buffer::scratch, buffer(in[k]).dtype, buffer(in[k]).elements());
    Instruction i;
    i.queue = queue;
    i.out = whole(copy);
    i.in[0] = whole(in[k]);
    emit(i);
    release(copy);
  }
  if (out.empty()) return;
  Instruction i;
  i.op = Opcode::host;
  i.queue = queue;
  for (size_t k = 0; k < std::min<size_t>(in.size(), 3); ++k) i.in[k] = whole(in[k]);
  i.out = whole(out[0]);
  if (out.size() > 1) i.out2 = whole(out[1]);
  emit(i);
  for (size_t k = 2; k < out.size(); ++k) {
    Instruction c;
    c.queue = queue;
    c.out = c.in[0] = whole(out[k]);
    emit(c);
  }
}

int32_t Emitter::emit(Instruction i) {
  const int32_t q = i.queue, count = ++issued_[static_cast<size_t>(q)];
  const bool joins = i.accumulate;
  const auto use = [&](const Access& a, bool accumulate) {
    Use u = a ? box_of(a) : Use{};
    u.queue = q;
    u.count = count;
    u.accumulate = accumulate;
    return u;
  };
  const std::array<Use, 3> read{use(i.in[0], false), use(i.in[1], false), use(i.in[2], false)};
  const Use out = use(i.out, joins || i.op == Opcode::matmul), out2 = use(i.out2, false);
  waits_.clear();
  for (size_t k = 0; k < 3; ++k)
    if (i.in[k]) depend(i.in[k].buffer, read[k], false, false, q);
  if (joins) depend(i.out.buffer, out, false, true, q);  // reads what it adds to
  depend(i.out.buffer, out, true, joins, q);
  if (i.out2) depend(i.out2.buffer, out2, true, false, q);
  auto& seen = seen_[static_cast<size_t>(q)];
  seen.resize(std::max(seen.size(), program_.queues.size()), 0);
  i.wait_first = static_cast<int32_t>(program_.waits.size());
  for (const Wait& w : waits_) {
    int32_t& known = seen[static_cast<size_t>(w.queue)];
    if (known >= w.count) continue;
    known = w.count;
    program_.waits.push_back(w);
  }
  i.wait_count = static_cast<int32_t>(program_.waits.size()) - i.wait_first;
  i.step = static_cast<int32_t>(program_.steps.size()) - 1;
  for (size_t k = 0; k < 3; ++k)
    if (i.in[k]) record(i.in[k].buffer, read[k], false);
  record(i.out.buffer, out, true);
  if (i.out2) record(i.out2.buffer, out2, true);
  program_.code.push_back(i);
  return static_cast<int32_t>(program_.code.size()) - 1;
}

void Emitter::note(std::string text) {
  auto& notes = program_.notes;
  if (std::find(notes.begin(), notes.end(), text) == notes.end()) notes.push_back(std::move(text));
}

void Emitter::reuse(Program&& old) {
  old.code.clear();
  if (program_.code.empty()) program_.code = std::move(old.code);
}

Program Emitter::finish() {
  for (const auto& [key, p] : pools_) {
    const Memory* m = key.first == Role::accumulator ? chip_.accumulator() : key.first == Role::scratchpad ? chip_.scratchpad() : nullptr;
    const int64_t bytes = p.peak * (m ? std::max<int64_t>(m->partitions, 1) : 1);
    int64_t& peak = key.first == Role::main          ? program_.main_bytes
                    : key.first == Role::accumulator ? program_.accumulator_bytes
                                                     : program_.scratchpad_bytes;
    peak = std::max(peak, bytes);
  }
  for (const Buffer& b : program_.buffers) {
    const int64_t bytes = storage_bytes(b.dtype, b.elements());
    if (b.use == Buffer::input) program_.input_bytes += bytes;
    if (b.use == Buffer::output) program_.output_bytes += bytes;
    if (b.use == Buffer::weight) program_.weight_bytes += bytes;
  }
  return std::move(program_);
}

}  // namespace bascule::device::chip
