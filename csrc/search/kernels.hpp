// The table of inner loops that one instruction set ("tier") supplies. Everything else in this folder is written once.
//
// A tier is one file that defines one `const Kernels`; dispatch.cpp picks among them. Contract, the same for every
// tier:
//
//   dots_i8   dots[r] = sum_i rows[r][i] * query[i], exactly. No int32 overflow: |sum| <= d * 128 * 127 < 2^30.99 for
//             d <= kMaxDimension = 2^16. `rows` holds `count` rows of `dimension` bytes, packed, of any alignment.
//   dot_f32   sum_i row[i] * query[i] in double, in the order below, so that every tier gives the same bits.
//   dot_f16   the same for IEEE half-precision rows, each converted exactly.
//
// The order: eight partial sums, element i goes to partial sum i % 8, in rising i; then p[j] += p[j + 4] (j < 4),
// p[j] += p[j + 2] (j < 2), p[0] + p[1]. A product of two floats has at most 48 significant bits and lies between
// 2^-298 and 2^256, so it is exact in double and a fused multiply-add gives the same bits as a separate one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cardrec {

constexpr std::size_t kMaxDimension = std::size_t{1} << 16;

// The quantised query in both widths; a tier reads the one that suits its multiplier. Values are in -127..127.
struct QueryCodes {
    const std::int8_t* codes_i8;
    const std::int16_t* codes_i16;
};

struct Kernels {
    const char* tier;
    void (*dots_i8)(const std::int8_t* rows, std::size_t count, std::size_t dimension, QueryCodes query,
                    std::int32_t* dots);
    double (*dot_f32)(const float* row, const float* query, std::size_t dimension);
    double (*dot_f16)(const std::uint16_t* row, const float* query, std::size_t dimension);
};

extern const Kernels portable_kernels;

// The fastest tier that this processor runs; resolved once, at the first call.
const Kernels& kernels();

}  // namespace cardrec
