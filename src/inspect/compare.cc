// inspect/compare.cc — price arithmetic and order.
#include "inspect/compare.h"

#include <algorithm>
#include <tuple>

namespace bascule::inspect {
namespace {
using device::chip::Instance;
using device::chip::Price;

// The cheapest region of each kind of price, "on demand" first.
std::vector<const Price*> prices_of(const std::string& name, bool per_chip, const std::vector<Price>& prices) {
  std::vector<const Price*> out;
  for (const Price& p : prices) {
    if (p.instance != name || p.per_chip != per_chip) continue;
    const auto at = std::find_if(out.begin(), out.end(), [&](const Price* q) { return q->kind == p.kind && q->currency == p.currency; });
    if (at == out.end()) out.push_back(&p);
    else if (p.per_hour < (*at)->per_hour) *at = &p;
  }
  std::stable_sort(out.begin(), out.end(), [](const Price* a, const Price* b) { return (a->kind == "on demand") > (b->kind == "on demand"); });
  return out;
}

Offer base_offer(const Modelled& m) {
  const auto& p = *m.program;
  Offer o;
  o.chip = m.chip->name;
  o.level = level_name(m.chip->level);
  o.precision = info(p.precision).name;
  o.chips = p.chips;
  o.cores_used = p.cores * p.chips;
  o.batch = m.batch;
  o.latency_ms = m.timing->latency_ns() * 1e-6;
  o.fits = m.fits;
  o.memory_bytes = m.memory_bytes;
  o.capacity_bytes = m.capacity_bytes;
  o.limiter = m.timing->limiter;
  o.utilisation = m.utilisation;
  if (m.timing->joules) o.joules_per_inference = *m.timing->joules / static_cast<double>(m.batch);
  o.energy_basis = m.timing->energy_basis;
  o.notes = m.notes;
  if (!m.fits) o.reason = "does not fit the chip's main memory";
  return o;
}

void set_price(Offer& o, const Price& p) {
  o.price_kind = p.kind;
  o.currency = p.currency;
  o.region = p.region;
  o.price_date = p.date;
  o.price_source = p.source;
  o.price_per_hour = p.per_chip ? p.per_hour * static_cast<double>(o.chips) : p.per_hour;
  if (!o.throughput_per_s) return;
  if (p.currency == "USD") o.usd_per_million = per_million(*o.price_per_hour, *o.throughput_per_s);
  else o.cost_reason = "the price is in " + p.currency;
}

}  // namespace

double per_million(double per_hour, double throughput_per_s) { return per_hour / 3600 / throughput_per_s * 1e6; }

std::vector<Offer> offers(const Modelled& m, const std::vector<Price>& prices) {
  std::vector<Offer> out;
  const Offer base = base_offer(m);
  // The model on all chips of an instance, each group of `program->chips` serving its own requests.
  const auto on = [&](const std::string& instance, int64_t chips) {
    Offer o = base;
    o.instance = instance;
    o.chips = chips;
    const int64_t groups = chips / std::max<int64_t>(1, m.program->chips);
    if (m.fits && groups > 0) o.throughput_per_s = m.throughput_per_s() * static_cast<double>(groups);
    return o;
  };
  const auto per_chip = prices_of(m.chip->name, true, prices);
  for (const Instance& i : m.chip->instances) {
    if (i.chips < m.program->chips) continue;  // the model spans more chips than it has
    const auto known = prices_of(i.name, false, prices);
    for (const Price* p : known) {
      out.push_back(on(i.name, i.chips));
      set_price(out.back(), *p);
    }
    if (known.empty() && per_chip.empty()) {
      out.push_back(on(i.name, i.chips));
      out.back().cost_reason = "no published price of " + i.name;
    }
  }
  for (const Price* p : per_chip) {
    out.push_back(on("", m.program->chips));
    set_price(out.back(), *p);
  }
  if (out.empty()) {
    out.push_back(on("", m.program->chips));
    out.back().cost_reason = "no published price of the chip";
  }
  return out;
}

Offer refused(const std::string& chip, const Placement& placement, int64_t batch, const std::string& reason, bool too_big) {
  Offer o;
  o.chip = chip;
  o.chips = placement.chips;
  o.cores_used = placement.cores;
  o.batch = batch;
  if (placement.precision) o.precision = info(*placement.precision).name;
  if (too_big) o.fits = false;
  o.reason = reason;
  o.cost_reason = reason;
  o.energy_basis = reason;
  return o;
}

void sort_by_cost(std::vector<Offer>& list) {
  const auto rank = [](const Offer& o) {
    const int group = o.usd_per_million ? 0 : o.latency_ms && o.reason.empty() ? 1 : 2;
    return std::tuple(group, o.usd_per_million.value_or(0), o.latency_ms.value_or(0), o.chip, o.instance);
  };
  std::stable_sort(list.begin(), list.end(), [&](const Offer& a, const Offer& b) { return rank(a) < rank(b); });
}

}  // namespace bascule::inspect
