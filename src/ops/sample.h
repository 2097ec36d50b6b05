// ops/sample.h — values of an image at fractional coordinates, as gathers: grid_sample and deform_conv.
#pragma once
#include "graph/builder.h"

namespace bascule::ops {

enum class Neighbours { nearest, linear, cubic };      // 1, 2, 4 neighbours on each axis; nearest rounds half to even, cubic has a = -0.75
enum class Outside { zeros, border, reflection };      // what stands beyond the edges

struct Sampling {
  Neighbours taps;
  Outside outside;
  bool align_corners;  // reflection turns at the middle of the edge elements (true) or at their outer edges
};

// y[n, c, p...] = x[n, c, at_0[n, p...], at_1[n, p...], ...].  x: N x C x spatial; one coordinate value of a float type for each spatial axis.
// Sums are taken in the coordinates' type or x's, whichever is wider; the result has x's element type.
Value sample_image(Builder& b, Value x, const Values& at, const Sampling& s);

}  // namespace bascule::ops
