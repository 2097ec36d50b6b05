// ops/recurrent.h — what lstm, gru and rnn share: activations, directions, sequence lengths, the loop over time.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ops/rules.h"

namespace bascule::ops {

struct Activation {
  std::string name;  // lower case
  double alpha = 0, beta = 0;
  double operator()(double x) const;
  Value operator()(Builder& b, Value x) const;
};

// One step for one row of the batch, in double. G gates of H elements lie one after the other.
struct CellStep {
  std::span<const double> x;           // W x_t, G*H
  std::span<const double> wb, rb;      // biases, G*H each
  std::span<const double> r;           // R[G*H, H]
  std::span<const double> peephole;    // 3*H, zeros if absent
  std::span<const double> h, c;        // state before
  std::span<double> next_h, next_c;    // state after
  std::span<const Activation> f;       // of this direction
  double clip;                         // infinity if none
  const Attrs& attrs;

  double clipped(double v) const { return v < -clip ? -clip : v > clip ? clip : v; }
  double product(size_t row, std::span<const double> state) const;  // R[row, :] . state
};

// The same with operators, for all rows at once.
struct CellGraph {
  Builder& b;
  Value x;              // [B, G*H]: W x_t
  Value wb, rb;         // [G*H], kNoValue if absent
  Value r;              // [G*H, H]
  Value peephole;       // [3*H], kNoValue if absent
  Value h, c;           // [B, H]
  std::span<const Activation> f;
  double clip;          // 0: none
  const Attrs& attrs;
  Value summed = {};    // W x_t + R h + biases of the plain gates, made at once; kNoValue: each gate by itself

  Value part(Value v, int64_t k) const;  // elements k*H .. (k+1)*H of the last axis
  Value product(Value state, int64_t k) const;  // state R_k^T, [B, H]
  Value gate(int64_t k) const;                   // of a plain gate: W_k x_t + R_k h + its biases
  Value biased(Value v, Value bias, int64_t k) const;
  Value clipped(Value v) const;
};

struct Recurrent {
  int64_t gates;
  size_t activations;                // per direction
  bool cell_state;                   // lstm: c beside h
  int64_t plain_gates;               // the first so many sum W x + R h + biases and nothing else
  std::vector<std::string> default_activations;
  void (*step)(const CellStep&);
  Values (*build)(const CellGraph&);  // h, and c if cell_state
};

// Operands: x[T,B,I], w[D,G*H,I], r[D,G*H,H], b[D,2*G*H]?, lengths[B]?, h0[D,B,H]?, then for cell_state c0[D,B,H]?, p[D,3*H]?.
// Results: y[T,D,B,H], h[D,B,H], and c[D,B,H].
std::vector<InputDef> recurrent_inputs(bool cell_state);
std::vector<AttrDef> recurrent_attrs(std::vector<AttrDef> more);
std::vector<Type> recurrent_type(const OpView& op, const Recurrent& cell);
HostValues recurrent_reference(const Call& call, const Recurrent& cell);
Values recurrent_decompose(Builder& b, const OpView& op, std::span<const Value> in, const Recurrent& cell);
// The same without a loop: one time step after the other, for devices that schedule each. nullopt: not one of these operators, or more than `most` steps.
std::optional<Values> recurrent_unrolled(Builder& b, const OpView& op, std::span<const Value> in, int64_t most);
bool register_recurrent(std::string_view op, const Recurrent& (*cell)());
Work recurrent_work(const OpView& op, std::span<const Type> results, const Recurrent& cell);
std::vector<Case> recurrent_cases(int64_t gates, bool cell_state, std::vector<Case> more);

}  // namespace bascule::ops
