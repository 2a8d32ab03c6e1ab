// Symmetric int8 quantisation of stored rows, with a proved bound of its error.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cardrec {

struct Quantised {
    float scale;  // x' = scale * codes
    float error;  // >= |x - x'|_2, for real arithmetic
    float norm;   // >= |x|_2
};

// The bounds are computed in double and then multiplied by this, which outweighs every rounding on the way (see below).
constexpr double kRoundUp = 1.0 + 0x1p-30;

// Writes `dimension` codes in -127..127. `vector` must be finite and dimension <= kMaxDimension.
//
// Why `error` is an upper bound. Write s for scale, c for a code, x for a component. s and x are floats (24 bits), |c|
// <= 127.
//   1. s * c has at most 31 significant bits: exact in double.
//   2. x - s * c is exact in double. If c = 0 it is x. Otherwise |x| >= s / 2 (1 - 2^-52), so x and s are both
//      multiples of one power of two g > 2^-27 s (of 2^-149 where they are subnormal), and the difference is at most
//      256 s in size: it is a multiple of g below 2^35 g, which fits in 53 bits.
//   3. The squares are rounded once each, their sum of d <= 2^16 terms at most d - 1 times, all terms are >= 0 and none
//      underflows (2^-298): the relative error is below (d + 1) 2^-53 < 2^-36. The root adds 2^-53. kRoundUp is 1 +
//      2^-30.
// `norm` is bounded by point 3 alone. Both are then rounded up to a float.
Quantised quantise(const float* vector, std::size_t dimension, std::int8_t* codes);

// The smallest float >= value.
float round_up(double value);

// The first of `count` values that is NaN or infinite; `count` if there is none.
std::size_t first_not_finite(const float* values, std::size_t count);

}  // namespace cardrec
