// passes/raise.h — patterns of the raise pass that have a file of their own: each gives the composite in place of the node that ends one, built on
// the new graph, or kNoValue.
#pragma once
#include "passes/rewrite.h"

namespace bascule::passes {

// d * rsqrt(mean(d^2) + epsilon) [* scale]: layer_norm where d = x - mean(x), rms_norm otherwise. Also d / sqrt(...), also with the factors turned round.
Value plain_norm(Rewriter& r, const Node& n);
// x f + (bias - mean(x) f), f = rsqrt(variance(x) + epsilon) [* scale]: layer_norm as TensorFlow writes it, signs and bias in any order.
Value spread_norm(Rewriter& r, const Node& n);
// reshape of a norm of x reshaped, or of the batch norm of x's rows as features: the norm on x as it was.
Value norm_of_rows(Rewriter& r, const Node& n);
// Scale and bias after a norm without them.
Value affine_norm(Rewriter& r, const Node& n);

}  // namespace bascule::passes
