// The NEON dotprod tier: arm64 with SDOT, such as the Cortex-A76 of a Raspberry Pi 5. See kernels.hpp for the contract.
// SDOT adds four products of signed bytes to an int32 lane, without a step in between that could overflow.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "neon.hpp"

#if defined(__clang__)
#define TARGET __attribute__((target("dotprod")))
#else
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

namespace cardrec {
extern const Kernels neon_dotprod_kernels;
namespace {

TARGET void prefix_sums(const std::int8_t* groups, std::size_t count, std::size_t width, const std::int8_t* query,
                        std::int32_t* sums) {
    for (std::size_t g = 0; g < count; ++g, groups += width * kLanes, sums += kLanes) {
        int32x4_t sum_i32x4[4];
        for (int32x4_t& sum : sum_i32x4) sum = vdupq_n_s32(0);
        for (std::size_t j = 0; j < width; j += 4) {
            std::int32_t quad;
            __builtin_memcpy(&quad, query + j, 4);
            const int8x16_t query_i8x16 = vreinterpretq_s8_s32(vdupq_n_s32(quad));
            for (std::size_t part = 0; part < 4; ++part) {
                sum_i32x4[part] = vdotq_s32(sum_i32x4[part], vld1q_s8(groups + j * kLanes + 16 * part), query_i8x16);
            }
        }
        for (std::size_t part = 0; part < 4; ++part) vst1q_s32(sums + 4 * part, sum_i32x4[part]);
    }
}

// Row after row: several at a time are several streams, which DRAM serves worse than one.
TARGET void dots_i8(const std::int8_t* codes, std::size_t dimension, const std::uint32_t* rows, std::size_t count,
                    QueryCodes query, std::int32_t* dots) {
    for (std::size_t r = 0; r < count; ++r) {
        const std::int8_t* row = codes + rows[r] * dimension;
        if (r + 1 < count) prefetch_apart(row, codes + rows[r + 1] * dimension, dimension);
        int32x4_t sum_i32x4[4];
        for (int32x4_t& sum : sum_i32x4) sum = vdupq_n_s32(0);
        std::size_t i = 0;
        for (; i + 64 <= dimension; i += 64) {
            for (std::size_t part = 0; part < 4; ++part) {
                const std::size_t at = i + 16 * part;
                sum_i32x4[part] = vdotq_s32(sum_i32x4[part], vld1q_s8(row + at), vld1q_s8(query.codes_i8 + at));
            }
        }
        std::int32_t sum =
            vaddvq_s32(vaddq_s32(vaddq_s32(sum_i32x4[0], sum_i32x4[1]), vaddq_s32(sum_i32x4[2], sum_i32x4[3])));
        for (; i < dimension; ++i) sum += row[i] * query.codes_i8[i];
        dots[r] = sum;
    }
}

}  // namespace

const Kernels neon_dotprod_kernels = {"neon_dotprod", prefix_sums,   neon::maxima,  neon::select, dots_i8,
                                      neon::screen,   neon::project, neon::dot_f32, neon::dot_f16};

}  // namespace cardrec

#endif
