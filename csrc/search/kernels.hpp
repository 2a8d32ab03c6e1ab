// The table of inner loops that one instruction set ("tier") supplies. Everything else in this folder is written once.
//
// A tier is one file that defines one `const Kernels`; dispatch.cpp picks among them. Nothing is allocated or thrown
// in a kernel, arguments have been checked at the Python boundary, buffers belong to the caller. The contract, the same
// for every tier:
//
//   prefix_sums  sums[16 g + r] = sum_j group g [j / 4][r][j % 4] * query[j] for `count` groups of 16 rows, exactly.
//                Groups are packed, width * 16 bytes each; `width` is a multiple of 4. |sum| <= width * 128 * 127.
//   maxima       lanes[l] = the largest values[i] with i % 16 == l; lanes that no value falls into become INT32_MIN.
//   select       writes the places i with values[i] >= low, rising, and returns their number; writes up to 15 entries
//                of garbage behind them (see kSlack).
//   dots_i8      dots[i] = sum_j codes[rows[i] * dimension + j] * query[j], exactly. No int32 overflow: |sum| <=
//                d * 128 * 127 < 2^30 for d <= kMaxDimension = 2^16.
//   screen       writes the places i for which !(scales[i] * (slope * dots[i] + offset) < low), computed in float,
//                rising, and returns their number. Operations may be fused: each rounds at most once. NaN passes.
//   project      products[p] = basis[p] . vector for `count` rows of a packed float matrix, in float, in any order.
//   dot_f32      sum_i row[i] * query[i] in double, in the order below, so that every tier gives the same bits.
//   dot_f16      the same for IEEE half-precision rows, each converted exactly.
//
// The order: eight partial sums, element i goes to partial sum i % 8, in rising i; then p[j] += p[j + 4] (j < 4),
// p[j] += p[j + 2] (j < 2), p[0] + p[1]. A product of two floats has at most 48 significant bits and lies between
// 2^-298 and 2^256, so it is exact in double and a fused multiply-add gives the same bits as a separate one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cardrec {

constexpr std::size_t kMaxDimension = std::size_t{1} << 16;
constexpr std::size_t kLanes = 16;         // rows of a prefix group, and lanes of `maxima`
constexpr std::size_t kSlack = 16;         // entries that the outputs of select and screen must be longer than needed
constexpr std::size_t kQueryPadding = 64;  // both codes of a query are followed by zeros up to a multiple of this

// The quantised query in both widths; a tier reads the one that suits its multiplier. Values are in -127..127.
struct QueryCodes {
    const std::int8_t* codes_i8;
    const std::int16_t* codes_i16;
    std::int32_t sum;  // of all codes
};

// The eight partial sums of dot_f32 and dot_f16, added in their order.
inline double sum_in_order(const double* partial) {
    const double even = (partial[0] + partial[4]) + (partial[2] + partial[6]);
    const double odd = (partial[1] + partial[5]) + (partial[3] + partial[7]);
    return even + odd;
}

// The line that `screen` compares: scale * (slope * dot + offset) against low.
struct Screen {
    float slope;
    float offset;
    float low;
};

struct Kernels {
    const char* tier;  // see tiers.hpp
    void (*prefix_sums)(const std::int8_t* groups, std::size_t count, std::size_t width, const std::int8_t* query,
                        std::int32_t* sums);
    void (*maxima)(const std::int32_t* values, std::size_t count, std::int32_t* lanes);
    std::size_t (*select)(const std::int32_t* values, std::size_t count, std::int32_t low, std::uint32_t* places);
    void (*dots_i8)(const std::int8_t* codes, std::size_t dimension, const std::uint32_t* rows, std::size_t count,
                    QueryCodes query, std::int32_t* dots);
    std::size_t (*screen)(const std::int32_t* dots, const float* scales, std::size_t count, Screen screen,
                          std::uint32_t* places);
    void (*project)(const float* basis, std::size_t count, std::size_t dimension, const float* vector, float* products);
    double (*dot_f32)(const float* row, const float* query, std::size_t dimension);
    double (*dot_f16)(const std::uint16_t* row, const float* query, std::size_t dimension);
};

}  // namespace cardrec
