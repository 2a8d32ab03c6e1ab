// A query, scaled to length 1 and quantised, and the interval that an int8 dot product with it implies.
//
// Proof of the bound, rounding included. Let u = 2^-53 and d <= 2^16 the dimension. x is a stored row (floats), x' = s
// c its quantised form, e >= |x - x'|, and n >= |x|, |x'|. q is the query (floats), q' = t p its quantised form, E >=
// |q - q'| and A >= |q'|. s is a float, t a double, c and p are vectors of integers; norms are Euclidean.
//
//   1. q.x - q'.x' = q'.(x - x') + (q - q').x, hence |q.x - q'.x'| <= A e + E n (Cauchy-Schwarz).
//   2. q'.x' = (s t)(c.p). c.p is an exact int32; s t is rounded once, its product with c.p once. So the computed a
//      satisfies |a - q'.x'| <= 3 u A n.
//   3. The score y that kernels.hpp defines sums d exact products with fewer than d roundings of each, in whatever
//      order: |y - q.x| <= g sum|q_i x_i| <= g |q| n, with g = d u / (1 - d u) < 2 d u and |q| <= A + E.
//   4. Together |y - a| <= A e + [E + 2 d u (A + E) + 3 u A] n.
//   5. upper = a + radius and lower = a - radius are rounded once more, by at most u (|a| + radius) with
//      |a| <= (1 + 3 u) A n; the radius itself takes two products and a sum.
// So with B = E + 2 (d + 4) u (A + E), and both A and B multiplied by kRoundUp = 1 + 2^-30 (which outweighs the
// roundings of their own computation and of the radius), radius = A e + B n gives lower <= y <= upper for the computed
// numbers.
//
// E itself: q_i - t p_i is computed in double, t p_i rounded by at most u |t p_i|, the difference once more, so the
// computed vector is off by at most 3 u (A + E) in norm, which the term in d above covers many times; its norm is
// rounded as in quantise.hpp.
//
// What follows: if tau is the k-th largest `lower` of any set of rows, at least k rows score >= tau, and a row with
// upper < tau scores < tau: it is not among the best k, not even through a tie.
//
// The screen. Most rows are excluded by a cheaper, slightly larger bound in float, with one number for each row, its
// scale s. Where s > 0, e <= h s for h the largest e / s of the segment; where s = 0, e <= z, the largest such e. Thus
// upper <= s (t (c.p) + A h) + A z + B n. The computed s (t (c.p) + A h) is off by at most six roundings of 2^-24 of
// terms that are at most A n and A h s, and by what float flushes to zero, for which 2^-99 is ample. So a row is
// excluded only where the computed value lies below tau - A z - B n - 2^-21 A (n + e_max) - 2^-99, rounded down. (Where
// h s > e_max the roundings may be larger, by 2^-21 A (h s - e_max); but then A h s is larger than need be, by A (h s -
// e_max).)
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels.hpp"

namespace cardrec {

struct Interval {
    double lower;
    double upper;
};

// What holds for all rows of a segment.
struct SegmentBounds {
    double norm;        // n
    double error;       // e_max
    double ratio;       // h
    double zero_error;  // z
};

class Query {
  public:
    // values: `dimension` finite floats, not all zero. `integral` says that they are integers in -127..127, as an
    // accelerator gives them: then they are the codes themselves.
    Query(const Kernels& kernels, const float* values, std::size_t dimension, bool integral);

    const float* vector() const { return vector_.data(); }
    QueryCodes codes() const { return {codes_i8_.data(), codes_i16_.data(), sum_}; }

    // The interval of a row's score, from its dot product with the codes and its own scale and error. Also where a
    // damaged file has a negative error, `lower` is not above `upper`: else fewer than k rows might be left, or none.
    Interval interval(std::int32_t dot, float scale, float error, double norm) const {
        const double estimate = static_cast<double>(dot) * (static_cast<double>(scale) * scale_);
        const double radius = std::fabs(error_factor_ * static_cast<double>(error) + norm_factor_ * norm);
        return {estimate - radius, estimate + radius};
    }

    // Excludes rows of a segment that score less than `threshold`.
    Screen screen(const SegmentBounds& bounds, double threshold) const;

  private:
    void quantise();
    void bound();

    std::vector<float> vector_;
    std::vector<std::int8_t> codes_i8_;
    std::vector<std::int16_t> codes_i16_;
    std::int32_t sum_ = 0;
    double scale_ = 0.0;
    double error_factor_ = 0.0;  // A
    double norm_factor_ = 0.0;   // B
};

// The largest float <= value.
float round_down(double value);

}  // namespace cardrec
