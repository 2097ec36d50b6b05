// device/chip/timing.cc — event-driven timing. Instructions start in the order of their requests; each start and end is a maximum of sums over what
// came before, and what decided it is kept: the critical path is read back from there.
#include "device/chip/timing.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>

#include "base/error.h"
#include "device/chip/cost.h"

namespace bascule::device::chip {
namespace {

// What released an instruction, or decided its end.
enum class Via : uint8_t {
  start,    // time zero
  end,      // the end of another's occupation
  visible,  // a result that became visible
  barrier,  // all of the step before
  own,      // its own interval
  dma,      // the DMA engines' shared bandwidth
  main,     // main memory's shared bandwidth
};

struct Record {
  double released = 0, start = 0, end = 0, visible = 0;
  double dma_grant = 0, main_grant = 0;          // when the shared resource had served it
  int32_t by = -1;                               // who released it
  int32_t dma_before = -1, main_before = -1;     // who held the resource when it came; -1: it was free
  Via via = Via::start, end_by = Via::own;
  bool cache_bound = false;
};

struct Item {  // an instruction as the event loop sees it
  double interval = 0, latency = 0, start = 0, lead = 0, dma = 0, main = 0;
  uint64_t ports = 0;  // servers of its core: port * banks + bank
  int32_t queue = 0, wait_first = 0, wait_count = 0, core = 0;
};

struct Server {  // serves one at a time, in order of grants
  double free = 0;
  int32_t last = -1;
  double busy = 0;
};

// A pair of engines that never use a memory's port at once.
struct Port {
  int32_t a = 0, b = 0;  // into Chip::engines; -1: the matrix engine
  Role memory = Role::scratchpad;
  bool bank = false;  // only on the same bank
};

class Simulation {
 public:
  Simulation(const Chip& chip, const Program& program, const TimingOptions& options);
  Timing run();

 private:
  size_t at(int32_t i) const { return static_cast<size_t>(i); }
  const Instruction& code(int32_t i) const { return program_.code[at(i)]; }
  void order_queues();
  void find_ports();
  void find_groups();
  void serve_in_order_of_requests();
  void replay(const std::vector<int32_t>& order);
  bool request(int32_t queue);  // enters the queue's next instruction, if all it waits for has been served
  void serve(int32_t i);
  uint64_t banks_of(const Instruction& i) const;
  void price();
  double warmed(int32_t i, double start, double interval);
  uint64_t ports_of(const Instruction& i) const;
  void walk_back();
  void account();
  const std::string& resource(int32_t i) const;
  std::string describe(int32_t i) const;

  const Chip& chip_;
  const Program& program_;
  const TimingOptions& options_;
  CostModel cost_;
  bool gated_ = false;  // steps do not overlap
  bool apart_ = false;  // transfers and compute of a core do not overlap
  Timing result_;
  std::vector<Item> items_;
  std::vector<Record> records_;
  // Instructions of each queue in order: queue q has order_[first_[q]] .. order_[first_[q + 1] - 1].
  std::vector<int32_t> first_, order_, done_;
  std::vector<double> ends_;         // [queue] end of its last
  std::vector<double> visible_;      // [place in order_] when it and all before it are visible
  std::vector<int32_t> visible_by_;  // who of them is last
  std::vector<std::vector<std::pair<int32_t, int32_t>>> waiting_;  // [queue] (count, who waits)
  std::vector<int32_t> gate_waiting_;
  std::vector<int32_t> group_, group_left_;  // runs of instructions of one step
  int32_t open_group_ = 0;
  double gate_ = 0;  // when the open group may begin
  int32_t gate_by_ = -1, last_visible_ = -1;
  double last_visible_ns_ = 0;
  std::vector<Port> ports_;
  std::vector<Server> port_servers_;  // [core][port][bank]
  std::vector<std::vector<int32_t>> queue_ports_;
  size_t port_banks_ = 1;
  std::vector<Server> dma_, main_;          // of cores; of stacks
  std::vector<std::array<Server, 2>> kind_;  // [core] compute, transfers: ends of the last
  struct Warmth {
    double end = -1, cold_left_ns = 0, idle_ns = 0;
  };
  std::vector<Warmth> warmth_;  // of cores
  struct Request {
    double key;
    int32_t instruction;
    bool operator>(const Request& o) const { return key != o.key ? key > o.key : instruction > o.instruction; }
  };
  std::priority_queue<Request, std::vector<Request>, std::greater<>> requests_;
};

Simulation::Simulation(const Chip& chip, const Program& program, const TimingOptions& options)
    : chip_(chip), program_(program), options_(options), cost_(chip, program, options.schedule_factor) {
  gated_ = chip.machine == Machine::cached || !chip.software.overlap;
  apart_ = !chip.software.overlap;
  records_.resize(program.code.size());
  size_t cores = 1;
  for (const Queue& q : program.queues) cores = std::max(cores, static_cast<size_t>(q.core) + 1);
  dma_.resize(cores);
  main_.resize(cores);
  kind_.resize(cores);
  warmth_.resize(cores);
  order_queues();
  find_ports();
  if (gated_) find_groups();
  if (chip.matrix.idle_limit < 1 && chip.matrix.ramp_ns > 0) result_.cold.resize(program.code.size());
  price();
}

void Simulation::price() {
  items_.reserve(program_.code.size());
  const double ns_per_byte = cost_.main_bytes_per_s() > 0 ? 1e9 / cost_.main_bytes_per_s() : 0;
  for (const Instruction& i : program_.code) {
    const Cost c = cost_(i);
    records_[items_.size()].cache_bound = c.cache_bound;
    result_.main_bytes += c.main_bytes * static_cast<double>(program_.ranks);
    items_.push_back({c.interval_ns, c.latency_ns, c.start_ns, c.lead_ns, c.dma_ns, c.main_bytes * ns_per_byte, queue_ports_[at(i.queue)].empty() ? 0 : ports_of(i), i.queue,
                      i.wait_first, i.wait_count, program_.queues[at(i.queue)].core});
  }
}

void Simulation::order_queues() {
  const size_t queues = program_.queues.size();
  first_.assign(queues + 1, 0);
  done_.assign(queues, 0);
  ends_.assign(queues, 0);
  waiting_.resize(queues);
  for (const Instruction& i : program_.code) ++first_[at(i.queue) + 1];
  for (size_t q = 0; q < queues; ++q) first_[q + 1] += first_[q];
  order_.resize(program_.code.size());
  visible_.resize(program_.code.size());
  visible_by_.resize(program_.code.size());
  std::vector<int32_t> next(first_.begin(), first_.end() - 1);
  for (size_t i = 0; i < program_.code.size(); ++i) order_[at(next[at(program_.code[i].queue)]++)] = static_cast<int32_t>(i);
}

void Simulation::find_ports() {
  const auto index = [&](const std::string& engine) -> std::optional<int32_t> {
    if (engine == chip_.matrix.name) return -1;
    for (size_t e = 0; e < chip_.engines.size(); ++e)
      if (chip_.engines[e].name == engine) return static_cast<int32_t>(e);
    return std::nullopt;
  };
  for (const auto& [a, b, memory] : chip_.exclusive) {
    const auto first = index(a), second = index(b);
    if (!first || !second) continue;
    ports_.push_back({*first, *second, memory.starts_with("accumulator") ? Role::accumulator : Role::scratchpad, memory == "accumulator_bank"});
  }
  port_banks_ = static_cast<size_t>(cost_.banks());
  if (ports_.size() * port_banks_ > 64) port_banks_ = 1;  // more than an Item's bits: banks as one
  port_servers_.resize(dma_.size() * ports_.size() * port_banks_);
  queue_ports_.resize(program_.queues.size());
  for (size_t q = 0; q < program_.queues.size(); ++q) {
    const Queue& queue = program_.queues[q];
    if (queue.kind != Queue::matrix && queue.kind != Queue::engine) continue;
    const int32_t engine = queue.kind == Queue::matrix ? -1 : queue.engine_index;
    for (size_t p = 0; p < ports_.size(); ++p)
      if (ports_[p].a == engine || ports_[p].b == engine) queue_ports_[q].push_back(static_cast<int32_t>(p));
  }
}

void Simulation::find_groups() {
  group_.resize(program_.code.size());
  for (size_t i = 0; i < group_.size(); ++i) {
    if (group_left_.empty() || program_.code[i].step != program_.code[i - 1].step) group_left_.push_back(0);
    group_[i] = static_cast<int32_t>(group_left_.size()) - 1;
    ++group_left_.back();
  }
}

// The accumulator's banks that an instruction uses, as bits.
uint64_t Simulation::banks_of(const Instruction& i) const {
  uint64_t mask = 0;
  for (const Access* a : {&i.out, &i.in[0], &i.in[1], &i.in[2], &i.out2}) {
    if (!*a || cost_.memory(*a) != Role::accumulator) continue;
    const Buffer& b = program_.buffers[at(a->buffer)];
    int64_t low = b.row_elements > 0 ? a->offset % b.row_elements : 0, high = low;
    for (int k = 1; k < a->rank; ++k) {
      const int64_t reach = (a->sizes[static_cast<size_t>(k)] - 1) * a->strides[static_cast<size_t>(k)];
      (reach < 0 ? low : high) += reach;
    }
    const int64_t element = std::max<int64_t>(storage_bytes(b.dtype, 1), 1);
    const int64_t from = (b.address + low * element) / std::max<int64_t>(cost_.bank_bytes(), 1);
    const int64_t to = (b.address + high * element) / std::max<int64_t>(cost_.bank_bytes(), 1);
    for (int64_t bank = std::max<int64_t>(from, 0); bank <= to && bank < cost_.banks() && bank < 64; ++bank) mask |= uint64_t{1} << bank;
  }
  return mask;
}

uint64_t Simulation::ports_of(const Instruction& i) const {
  bool scratchpad = false, accumulator = false;
  for (const Access* a : {&i.out, &i.in[0], &i.in[1], &i.in[2], &i.out2}) {
    if (!*a) continue;
    scratchpad |= cost_.memory(*a) == Role::scratchpad;
    accumulator |= cost_.memory(*a) == Role::accumulator;
  }
  uint64_t out = 0;
  for (const int32_t p : queue_ports_[at(i.queue)]) {
    const Port& port = ports_[at(p)];
    if (!(port.memory == Role::accumulator ? accumulator : scratchpad)) continue;
    out |= (port.bank && port_banks_ > 1 ? banks_of(i) : 1) << (at(p) * port_banks_);
  }
  return out;
}

// Time of a product that takes interval_ns at the full rate. After idling, or when less than half of the last ramp_ns was work, the engine works at
// idle_limit for ramp_ns. Idle time is kept as a level that work lowers: at half of ramp_ns the limit comes back.
double Simulation::warmed(int32_t i, double start, double interval) {
  if (result_.cold.empty() || interval <= 0) return interval;
  const MatrixEngine& m = chip_.matrix;
  float& cold = result_.cold[at(i)];
  if (options_.grants) {
    cold = options_.cold && at(i) < options_.cold->size() ? (*options_.cold)[at(i)] : 0;
    return interval * (1 + static_cast<double>(cold) * (1 / m.idle_limit - 1));
  }
  Warmth& w = warmth_[static_cast<size_t>(items_[at(i)].core)];
  w.idle_ns = w.end < 0 ? m.ramp_ns : w.idle_ns + start - w.end;
  if (w.idle_ns >= m.ramp_ns / 2) {
    w.cold_left_ns = m.ramp_ns;
    w.idle_ns = 0;
  }
  cold = static_cast<float>(std::min(1.0, w.cold_left_ns * m.idle_limit / interval));
  const double time = interval * (1 + static_cast<double>(cold) * (1 / m.idle_limit - 1));
  w.cold_left_ns = std::max(0.0, w.cold_left_ns - static_cast<double>(cold) * interval / m.idle_limit);
  if (w.cold_left_ns < 1e-6 * m.ramp_ns) w.cold_left_ns = 0;
  w.idle_ns = std::max(0.0, w.idle_ns - time);
  w.end = start + time;
  return time;
}

void Simulation::serve(int32_t i) {
  const Item& item = items_[at(i)];
  const size_t q = at(item.queue), core = at(item.core);
  const Queue::Kind kind = program_.queues[q].kind;
  const int32_t place = first_[q] + done_[q];
  Record& r = records_[at(i)];
  r.start = item.start;
  const auto later = [&](double time, double start_ns, int32_t by, Via via) {
    if (time + start_ns <= r.start) return;
    r.start = time + start_ns;
    r.released = time;
    r.by = by;
    r.via = via;
  };
  if (gated_) later(gate_, item.start, gate_by_, Via::barrier);
  for (int32_t w = 0; w < item.wait_count; ++w) {
    const Wait& wait = program_.waits[at(item.wait_first + w)];
    if (wait.count <= 0) continue;
    const size_t awaited = at(first_[at(wait.queue)] + wait.count - 1);
    later(visible_[awaited], item.start, visible_by_[awaited], Via::visible);
  }
  if (done_[q] > 0) later(ends_[q], 0, order_[at(place - 1)], Via::end);
  const bool transfers = kind == Queue::dma, computes = kind == Queue::matrix || kind == Queue::engine;
  if (apart_ && (transfers || computes)) {
    const Server& other = kind_[core][transfers ? 0 : 1];
    if (other.last >= 0) later(other.free, 0, other.last, Via::end);
  }
  Server* ports = port_servers_.data() + core * ports_.size() * port_banks_;
  for (uint64_t left = item.ports; left; left &= left - 1) {
    const Server& p = ports[std::countr_zero(left)];
    if (p.last >= 0) later(p.free, 0, p.last, Via::end);
  }

  r.end = r.start + (kind == Queue::matrix ? warmed(i, r.start, item.interval) : item.interval);
  const auto shared = [&](Server& s, double ns, double& grant, int32_t& before, Via via) {
    const double from = r.start + item.lead;
    if (s.last >= 0 && s.free > from) before = s.last;
    grant = std::max(s.free, from) + ns;
    s = {grant, i, s.busy + ns};
    if (grant <= r.end) return;
    r.end = grant;
    r.end_by = via;
  };
  if (item.dma > 0) shared(dma_[core], item.dma, r.dma_grant, r.dma_before, Via::dma);
  if (item.main > 0) {
    const size_t stack = cost_.cores_of_stack() > 0 ? core / static_cast<size_t>(cost_.cores_of_stack()) : 0;
    shared(main_[stack], item.main, r.main_grant, r.main_before, Via::main);
  }
  r.visible = r.end + item.latency;
  for (uint64_t left = item.ports; left; left &= left - 1) ports[std::countr_zero(left)] = {r.end, i, 0};
  if (apart_ && (transfers || computes)) {
    Server& mine = kind_[core][transfers ? 1 : 0];
    if (mine.last < 0 || r.end > mine.free) mine = {r.end, i, 0};
  }
  const bool latest = done_[q] == 0 || r.visible > visible_[at(place - 1)];
  visible_[at(place)] = latest ? r.visible : visible_[at(place - 1)];
  visible_by_[at(place)] = latest ? i : visible_by_[at(place - 1)];
  ends_[q] = r.end;
  ++done_[q];
  if (last_visible_ < 0 || r.visible > last_visible_ns_) {
    last_visible_ = i;
    last_visible_ns_ = r.visible;
  }
  result_.grants.push_back(i);
  result_.queues[q].busy_ns += r.end - r.start;
  if (gated_ && --group_left_[at(open_group_)] == 0 && at(open_group_) + 1 < group_left_.size()) {
    ++open_group_;
    gate_by_ = last_visible_;
    gate_ = last_visible_ns_;
  }
}

bool Simulation::request(int32_t queue) {
  const size_t q = at(queue);
  const int32_t place = first_[q] + done_[q];
  if (place >= first_[q + 1]) return false;
  const int32_t i = order_[at(place)];
  const Item& item = items_[at(i)];
  if (gated_ && group_[at(i)] > open_group_) {
    gate_waiting_.push_back(queue);
    return false;
  }
  double key = gated_ ? gate_ : 0;
  for (int32_t w = 0; w < item.wait_count; ++w) {
    const Wait& wait = program_.waits[at(item.wait_first + w)];
    if (wait.count <= 0) continue;
    if (done_[at(wait.queue)] < wait.count) {
      waiting_[at(wait.queue)].emplace_back(wait.count, queue);
      return false;
    }
    key = std::max(key, visible_[at(first_[at(wait.queue)] + wait.count - 1)]);
  }
  key += item.start;
  if (done_[q] > 0) key = std::max(key, ends_[q]);
  requests_.push({key, i});
  return true;
}

void Simulation::serve_in_order_of_requests() {
  for (size_t q = 0; q < program_.queues.size(); ++q) request(static_cast<int32_t>(q));
  std::vector<int32_t> wake;
  while (!requests_.empty()) {
    const int32_t i = requests_.top().instruction, queue = items_[at(i)].queue, group = open_group_;
    requests_.pop();
    serve(i);
    request(queue);
    auto& list = waiting_[at(queue)];
    if (!list.empty()) {
      wake.clear();
      std::erase_if(list, [&](const std::pair<int32_t, int32_t>& w) {
        if (w.first > done_[at(queue)]) return false;
        wake.push_back(w.second);
        return true;
      });
      for (const int32_t q : wake) request(q);
    }
    if (open_group_ != group) {
      wake.swap(gate_waiting_);
      gate_waiting_.clear();
      for (const int32_t q : wake) request(q);
      wake.clear();
    }
  }
  for (size_t q = 0; q < program_.queues.size(); ++q)
    if (first_[q] + done_[q] < first_[q + 1]) {
      const int32_t i = order_[at(first_[q] + done_[q])];
      fail_device("chip:" + chip_.name + ": " + describe(i), "waits that end", "waits for instructions that never finish",
                  "The program is at fault: compile the model again");
    }
}

void Simulation::replay(const std::vector<int32_t>& order) {
  for (const int32_t i : order) {
    bool good = i >= 0 && at(i) < program_.code.size();
    if (good) {
      const Instruction& instruction = code(i);
      const size_t q = at(instruction.queue);
      good = first_[q] + done_[q] < first_[q + 1] && order_[at(first_[q] + done_[q])] == i && (!gated_ || group_[at(i)] == open_group_);
      for (int32_t w = 0; good && w < instruction.wait_count; ++w) {
        const Wait& wait = program_.waits[at(instruction.wait_first + w)];
        good = done_[at(wait.queue)] >= wait.count;
      }
    }
    if (!good) fail_internal("timing of chip:" + chip_.name, "an order of service of this program", "instruction " + std::to_string(i) + " before its turn");
    serve(i);
  }
  if (order.size() != program_.code.size())
    fail_internal("timing of chip:" + chip_.name, std::to_string(program_.code.size()) + " instructions in the order of service", std::to_string(order.size()));
}

std::string Simulation::describe(int32_t i) const {
  const Instruction& instruction = code(i);
  std::string out = "instruction " + std::to_string(i) + " '" + name(instruction.op) + "' on " + program_.queues[at(instruction.queue)].name;
  if (instruction.step >= 0) {
    const StepInfo& s = program_.steps[at(instruction.step)];
    out += " of step '" + s.name + "'";
    if (const std::string source = text(s.origin); !source.empty()) out += ", " + source;
  }
  return out;
}

const std::string& Simulation::resource(int32_t i) const {
  static const std::string kDma = "dma", kLink = "link", kHost = "host";
  const Queue& q = program_.queues[at(code(i).queue)];
  if (records_[at(i)].cache_bound && chip_.cache()) return chip_.cache()->name;
  switch (q.kind) {
    case Queue::matrix: return chip_.matrix.name;
    case Queue::engine: return chip_.engines[at(q.engine_index)].name;
    case Queue::dma: return kDma;
    case Queue::collective: return kLink;
    case Queue::host: return kHost;
  }
  return kHost;
}

// From the last result back to time zero: each stretch of time belongs to the instruction that held things up, and to the resource that it used.
void Simulation::walk_back() {
  static const std::string kLatency = "latency", kLaunch = "launch", kDma = "dma";
  result_.step_ns.assign(program_.steps.size(), 0);
  if (last_visible_ < 0) return;
  std::vector<std::pair<const std::string*, double>> limits;
  int32_t i = last_visible_, step = 0;
  Via via = Via::visible;
  double time = records_[at(i)].visible;
  const auto until = [&](double earlier, const std::string& what) {
    const double ns = time - earlier;
    time = earlier;
    if (ns <= 0) return;
    if (code(i).step >= 0) step = code(i).step;
    if (at(step) < result_.step_ns.size()) result_.step_ns[at(step)] += ns;
    for (auto& [name, sum] : limits)
      if (*name == what) {
        sum += ns;
        return;
      }
    limits.emplace_back(&what, ns);
  };
  result_.critical_path.push_back(i);
  while (true) {
    const Record& r = records_[at(i)];
    if (via == Via::visible) {
      until(r.end, kLatency);
      via = Via::end;
    }
    if (via == Via::end) via = r.end_by;
    const bool dma = via == Via::dma, main = via == Via::main;
    if (const int32_t before = dma ? r.dma_before : main ? r.main_before : -1; before >= 0) {
      const Record& b = records_[at(before)];
      until(dma ? b.dma_grant : b.main_grant, dma ? kDma : chip_.main().name);
      i = before;
    } else {
      until(r.start + items_[at(i)].lead, dma ? kDma : main ? chip_.main().name : resource(i));
      until(r.start, kLaunch);
      until(r.released, kLatency);
      via = r.via == Via::barrier ? Via::visible : r.via;
      if (r.by < 0) break;
      i = r.by;
    }
    if (i != result_.critical_path.back()) result_.critical_path.push_back(i);
  }
  std::reverse(result_.critical_path.begin(), result_.critical_path.end());
  std::sort(limits.begin(), limits.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [name, ns] : limits) result_.limits.emplace_back(*name, ns);
  if (!limits.empty()) result_.limiter = *limits.front().first;
}

void Simulation::account() {
  for (const Server& stack : main_) result_.main_busy_ns = std::max(result_.main_busy_ns, stack.busy);
  const Software& s = chip_.software;
  result_.request_ns = s.request_ns;
  if (s.copy_bytes_per_s > 0) {
    result_.copy_ns = static_cast<double>(program_.input_bytes + program_.output_bytes) / s.copy_bytes_per_s * 1e9;
    result_.weight_load_ns = static_cast<double>(program_.weight_bytes * program_.ranks_of_chip()) / s.copy_bytes_per_s * 1e9;
  }
  const Power& p = chip_.power;
  const double share = static_cast<double>(program_.cores) / static_cast<double>(std::max<int64_t>(chip_.cores, 1));
  const auto ranks = static_cast<double>(program_.ranks);
  const double core_s = result_.total_ns * 1e-9 * std::min(share, 1.0) * static_cast<double>(program_.chips);
  if (p.joules_per_flop && p.joules_per_byte) {
    double flops = 0;
    for (const StepInfo& step : program_.steps)
      if (step.host.empty()) flops += step.work.flops() * ranks;
    result_.joules = flops * *p.joules_per_flop + result_.main_bytes * *p.joules_per_byte + core_s * p.idle_w.value_or(0);
    result_.energy_basis = p.idle_w ? "dynamic, from work and bytes, and idle power" : "dynamic, from work and bytes";
  } else if (p.tdp_w) {
    result_.joules = core_s * *p.tdp_w;
    result_.energy_basis = "share of TDP: the cores in use, for the time on the chip";
  } else {
    result_.energy_basis = "no source gives a power figure for " + chip_.name;
  }
}

Timing Simulation::run() {
  result_.queues.resize(program_.queues.size());
  result_.grants.reserve(program_.code.size());
  if (options_.grants) replay(*options_.grants);
  else serve_in_order_of_requests();
  result_.start_ns.resize(records_.size());
  result_.end_ns.resize(records_.size());
  for (size_t i = 0; i < records_.size(); ++i) {
    result_.start_ns[i] = records_[i].start;
    result_.end_ns[i] = records_[i].end;
  }
  for (size_t q = 0; q < program_.queues.size(); ++q) result_.queues[q].instructions = done_[q];
  if (last_visible_ >= 0) result_.total_ns = records_[at(last_visible_)].visible;
  walk_back();
  account();
  return std::move(result_);
}

}  // namespace

Timing simulate(const Chip& chip, const Program& program, const TimingOptions& options) { return Simulation(chip, program, options).run(); }

}  // namespace bascule::device::chip
