#pragma once
// The searches for a group's scale (docs/spec/gguf-rounding.md 2), one group at a time.

#include <cstdint>
#include <optional>

#include "ggml_searches.h"

namespace arkit::gguf_k {

inline constexpr int kMostOfGroup = 32;
inline constexpr float kNothing = 1e-15F;  // groups whose largest magnitude is below count as zeros

// To nearest, ties to even, for |x| up to 4194303.
[[nodiscard]] int nearest(float x);

// The value of largest magnitude, sign kept; of equal ones the first.
float extreme(int n, const float* x);

// x = scale * l + low by weighted least squares, from sums of w, w x, w l, w l l and w x l; low is at most 0. Null = the
// codes l are all alike.
struct LineSums {
  float w, x, l, l2, xl;
};
struct Line {
  float scale, low;
};
std::optional<Line> fit_line(const LineSums& sum);

// A scale and codes from 0 to 2 * most - 1, zero at `most`. `weights`: null = x * x.
float search_symmetric(int n, int most, const float* x, const float* weights, uint8_t* codes);

// The same by coordinate descent on x * x.
float descend_symmetric(int n, int most, const float* x, uint8_t* codes);

struct Affine {
  float scale = 0, minimum = 0;  // weight = scale * code - minimum, minimum >= 0
};
// Codes from 0 to `most`.
Affine search_affine(int n, int most, const float* x, const float* weights, const Steps& steps, uint8_t* codes);

// Of numbers that are not negative: codes from 0 to `most`.
float search_positive(int n, int most, const float* x, const float* weights, uint8_t* codes);

}  // namespace arkit::gguf_k
