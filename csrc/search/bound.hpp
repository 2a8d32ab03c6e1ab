// From the int8 dot product of a row and the query to an interval that holds the row's score, rounding included.
//
// Let u = 2^-53, d <= 2^16 the dimension, x a stored row (floats), x' = s c its quantised form, e >= |x - x'|,
// n >= max(|x|, |x'|); q the query (floats), q' = t p its quantised form, E >= |q - q'|, A >= |q'|. Norms are
// Euclidean.
//
//   1. q.x - q'.x' = q'.(x - x') + (q - q').x, hence |q.x - q'.x'| <= A e + E n (Cauchy-Schwarz).
//   2. q'.x' = (s t)(c.p). c.p is an exact int32; s t has 48 bits, exact in double; the product is rounded once. So the
//   computed
//      a satisfies |a - q'.x'| <= u A n.
//   3. The score y that kernels.hpp defines sums d exact products with fewer than d roundings of each, in whatever
//   order:
//      |y - q.x| <= g sum|q_i x_i| <= g |q| n, with g = d u / (1 - d u) < 2 d u and |q| <= A + E.
//   4. Together |y - a| <= A e + [E + 2 d u (A + E) + u A] n.
//   5. upper = a + radius and lower = a - radius are rounded once more, by at most u (|a| + radius) with |a| <= (1 + u)
//   A n; the radius
//      itself takes two products and a sum.
// So with B = E + 2 (d + 4) u (A + E), and both A and B multiplied by kRoundUp = 1 + 2^-30 (which outweighs the
// roundings of their own computation and of the radius), radius = A e + B n gives lower <= y <= upper for the computed
// numbers.
//
// What follows: if tau is the k-th largest `lower` of any set of rows, at least k rows score >= tau, and a row with
// upper < tau scores < tau: it is not among the best k, not even through a tie. Comparisons are written so that NaN (a
// damaged file) keeps the row, which is then scored from its vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels.hpp"
#include "quantise.hpp"

namespace cardrec {

struct Interval {
    double lower;
    double upper;
};

class QuantisedQuery {
  public:
    QuantisedQuery(const float* query, std::size_t dimension)
        : vector_(query), codes_i8_(dimension), codes_i16_(dimension) {
        const Quantised quantised = quantise(query, dimension, codes_i8_.data());
        for (std::size_t i = 0; i < dimension; ++i) codes_i16_[i] = codes_i8_[i];
        const double norm = static_cast<double>(quantised.scale) * quantised.code_norm;
        const double rounding = 2.0 * (static_cast<double>(dimension) + 4.0) * 0x1p-53 * (norm + quantised.error);
        scale_ = quantised.scale;
        error_factor_ = norm * kRoundUp;
        norm_factor_ = (quantised.error + rounding) * kRoundUp;
    }

    const float* vector() const { return vector_; }
    QueryCodes codes() const { return {codes_i8_.data(), codes_i16_.data()}; }

    // The interval of a row's score, from its dot product with the codes and its own scale, error and norm.
    Interval interval(std::int32_t dot, float scale, float error, float norm) const {
        const double estimate = static_cast<double>(dot) * (static_cast<double>(scale) * scale_);
        const double radius = error_factor_ * static_cast<double>(error) + norm_factor_ * static_cast<double>(norm);
        return {estimate - radius, estimate + radius};
    }

  private:
    const float* vector_;
    std::vector<std::int8_t> codes_i8_;
    std::vector<std::int16_t> codes_i16_;
    double scale_;
    double error_factor_;  // A
    double norm_factor_;   // B
};

}  // namespace cardrec
