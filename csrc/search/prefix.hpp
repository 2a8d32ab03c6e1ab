// Pruning: an upper bound of every row's score from its first P coordinates in a rotated space and the length of the
// rest.
//
// B is a matrix of P rows (floats), nearly orthonormal: |B B^T - I| <= delta (spectral norm). For a stored row x write
// x_P = B x and x_R = x - B^T x_P; for the query q, q_P and q_R likewise. `norm` n >= |x_P| for all rows of the
// segment.
//
//   1. q.x = q.(B^T x_P + x_R) = q_P.x_P + q.x_R, exactly. With q = B^T q_P + q_R, q.x_R = q_R.x_R + q_P.(B x_R), and
//      B x_R = x_P - B B^T x_P, so |q_P.(B x_R)| <= delta |q_P| n. Hence q.x <= q_P.x_P + |q_R||x_R| + delta |q_P| n.
//   2. |q_R|^2 = |q|^2 - 2 |q_P|^2 + q_P.(B B^T q_P) <= |q|^2 - (1 - delta) |q_P|^2.
//   3. Codes of a row: x_P = s c + e with |e| <= epsilon for all rows, s one number for the segment, and four further
//      codes that add up to r with s r >= |x_R|.
//   4. Codes of the query: the computed projection is g with |g - q_P| <= zeta |q|: float sums of d products in any
//      order, so zeta = sqrt(P) (1 + delta) d 2^-24 / (1 - d 2^-24). g = t p + f, |f| = phi, and four further codes,
//      all equal to R with t R >= |q_R| + 2^-35. All codes are in -127..127.
//   5. q_P.x_P <= g.x_P + zeta |q| n <= t p.(s c + e) + phi n + zeta |q| n <= t s (p.c) + t |p| epsilon + (phi + zeta
//   |q|) n.
//   6. |q_R||x_R| <= t s R r, which is the product of the further codes.
//   So q.x <= t s I + C, where I is the integer dot product of the P + 4 codes (exact: kernels.hpp) and
//   C = t |p| epsilon + (phi + zeta |q| + delta |q_P|) n.
//
// The score y of kernels.hpp differs from q.x by less than 2^-35 |x| (query.hpp, step 3, with d <= 2^16), and |x| <= 2
// n + |x_R|: 2^-34 n is added to C, and 2^-35 |x_R| is what R has over |q_R|. What is computed in double for a query is
// rounded in the last of its 53 bits some P times; kRoundUp on C, and on |q|^2 before |q_P|^2 is taken off, outweigh
// that many times over, and so does 2^-35 the products that float flushes to zero. A row with I < (tau - C) / (t s)
// scores less than tau; the quotient's own roundings are less than one, by which the limit is lowered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels.hpp"

namespace cardrec {

constexpr std::size_t kRestCodes = 4;

// The rotation, shared by all segments. `vectors` is null where there is none.
struct Basis {
    const float* vectors;  // (rows, dimension)
    std::size_t rows;
    double delta;
};

// The prefix codes of one segment's rows: ceil(rows / 16) groups of 16 rows, each (rows of the basis + 4) / 4 times 16
// times 4 codes; `groups` is null where the segment has none. What stands in for rows behind the last is never looked
// at.
struct Prefix {
    const std::int8_t* groups;
    double scale;  // s
    double error;  // epsilon
    double norm;   // n
};

class PrefixQuery {
  public:
    // vector: the query, `dimension` floats of length 1 to within 2^-20.
    PrefixQuery(const Kernels& kernels, const Basis& basis, const float* vector, std::size_t dimension);

    const std::int8_t* codes() const { return codes_.data(); }
    std::size_t width() const { return codes_.size(); }

    // The least I that a row of the segment must reach to score `threshold`; never INT32_MIN.
    std::int32_t least(const Prefix& prefix, double threshold) const;

  private:
    std::vector<std::int8_t> codes_;
    double scale_;         // t
    double error_factor_;  // t |p|
    double norm_factor_;   // phi + zeta |q| + delta |q_P|, and 2^-34
};

}  // namespace cardrec
