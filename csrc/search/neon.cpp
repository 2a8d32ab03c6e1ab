// The NEON tier: every arm64 processor, such as the Cortex-A72 of a Raspberry Pi 4. See kernels.hpp for the contract.
//
// A product of two bytes is at most 128 * 127 < 2^15; smull gives int16, sadalp adds neighbours to int32 at once, since
// the sum of two products would already overflow.
#if defined(__aarch64__)

#include "neon.hpp"

#include <arm_neon.h>

#include <limits>

namespace cardrec {
extern const Kernels neon_kernels;

namespace neon {

void maxima(const std::int32_t* values, std::size_t count, std::int32_t* lanes) {
    int32x4_t most_i32x4[4];
    for (int32x4_t& most : most_i32x4) most = vdupq_n_s32(std::numeric_limits<std::int32_t>::min());
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        for (int part = 0; part < 4; ++part) {
            most_i32x4[part] = vmaxq_s32(most_i32x4[part], vld1q_s32(values + i + 4 * part));
        }
    }
    for (int part = 0; part < 4; ++part) vst1q_s32(lanes + 4 * part, most_i32x4[part]);
    for (; i < count; ++i) {
        if (values[i] > lanes[i % kLanes]) lanes[i % kLanes] = values[i];
    }
}

std::size_t select(const std::int32_t* values, std::size_t count, std::int32_t low, std::uint32_t* places) {
    const int32x4_t low_i32x4 = vdupq_n_s32(low);
    std::size_t found = 0, i = 0;
    const auto test = [&](std::size_t place) {
        if (values[place] >= low) places[found++] = static_cast<std::uint32_t>(place);
    };
    for (; i + 16 <= count; i += 16) {
        int32x4_t most_i32x4 = vmaxq_s32(vld1q_s32(values + i), vld1q_s32(values + i + 4));
        most_i32x4 = vmaxq_s32(most_i32x4, vmaxq_s32(vld1q_s32(values + i + 8), vld1q_s32(values + i + 12)));
        if (vmaxvq_u32(vcgeq_s32(most_i32x4, low_i32x4)) == 0) continue;  // mostly
        for (std::size_t place = i; place < i + 16; ++place) test(place);
    }
    for (; i < count; ++i) test(i);
    return found;
}

std::size_t screen(const std::int32_t* dots, const float* scales, std::size_t count, Screen screen,
                   std::uint32_t* places) {
    const float32x4_t slope_f32x4 = vdupq_n_f32(screen.slope), offset_f32x4 = vdupq_n_f32(screen.offset);
    const float32x4_t low_f32x4 = vdupq_n_f32(screen.low);
    std::size_t found = 0, i = 0;
    for (; i + 4 <= count; i += 4) {
        const float32x4_t line_f32x4 = vfmaq_f32(offset_f32x4, slope_f32x4, vcvtq_f32_s32(vld1q_s32(dots + i)));
        const float32x4_t value_f32x4 = vmulq_f32(vld1q_f32(scales + i), line_f32x4);
        const uint32x4_t below_u32x4 = vcltq_f32(value_f32x4, low_f32x4);
        if (vminvq_u32(below_u32x4) != 0) continue;  // all four are below
        std::uint32_t below[4];
        vst1q_u32(below, below_u32x4);
        for (std::size_t lane = 0; lane < 4; ++lane) {
            if (below[lane] == 0) places[found++] = static_cast<std::uint32_t>(i + lane);
        }
    }
    for (; i < count; ++i) {
        const float value = scales[i] * (screen.slope * static_cast<float>(dots[i]) + screen.offset);
        if (!(value < screen.low)) places[found++] = static_cast<std::uint32_t>(i);
    }
    return found;
}

void project(const float* basis, std::size_t count, std::size_t dimension, const float* vector, float* products) {
    for (std::size_t p = 0; p < count; p += 4) {
        const std::size_t last = count - p < 4 ? count - p - 1 : 3;
        const float* row[4];
        for (std::size_t r = 0; r < 4; ++r) row[r] = basis + (p + (r < last ? r : last)) * dimension;
        float32x4_t sum_f32x4[4];
        for (float32x4_t& sum : sum_f32x4) sum = vdupq_n_f32(0.0f);
        std::size_t i = 0;
        for (; i + 4 <= dimension; i += 4) {
            const float32x4_t vector_f32x4 = vld1q_f32(vector + i);
            for (int r = 0; r < 4; ++r) sum_f32x4[r] = vfmaq_f32(sum_f32x4[r], vld1q_f32(row[r] + i), vector_f32x4);
        }
        for (std::size_t r = 0; r <= last; ++r) {
            float rest = 0.0f;
            for (std::size_t j = i; j < dimension; ++j) rest += row[r][j] * vector[j];
            products[p + r] = vaddvq_f32(sum_f32x4[r]) + rest;
        }
    }
}

namespace {

float32x4_t four_floats(const float* row) { return vld1q_f32(row); }
float32x4_t four_floats(const std::uint16_t* row) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(row))); }
double one_double(const float* row) { return static_cast<double>(*row); }
double one_double(const std::uint16_t* row) {
    return static_cast<double>(vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(*row))), 0));
}

template <typename Element>
double dot(const Element* row, const float* query, std::size_t dimension) {
    float64x2_t partial_f64x2[4];
    for (float64x2_t& sum : partial_f64x2) sum = vdupq_n_f64(0.0);
    std::size_t i = 0;
    for (; i + 8 <= dimension; i += 8) {
        for (int half = 0; half < 2; ++half) {
            const float32x4_t row_f32x4 = four_floats(row + i + 4 * half),
                              query_f32x4 = vld1q_f32(query + i + 4 * half);
            float64x2_t* partial = partial_f64x2 + 2 * half;
            partial[0] =
                vfmaq_f64(partial[0], vcvt_f64_f32(vget_low_f32(row_f32x4)), vcvt_f64_f32(vget_low_f32(query_f32x4)));
            partial[1] = vfmaq_f64(partial[1], vcvt_high_f64_f32(row_f32x4), vcvt_high_f64_f32(query_f32x4));
        }
    }
    double partial[8];
    for (int pair = 0; pair < 4; ++pair) vst1q_f64(partial + 2 * pair, partial_f64x2[pair]);
    for (std::size_t j = 0; i + j < dimension; ++j) partial[j] += one_double(row + i + j) * query[i + j];
    return sum_in_order(partial);
}

}  // namespace

double dot_f32(const float* row, const float* query, std::size_t dimension) { return dot(row, query, dimension); }
double dot_f16(const std::uint16_t* row, const float* query, std::size_t dimension) {
    return dot(row, query, dimension);
}

}  // namespace neon

namespace {

// sum + the products of 16 bytes, neighbours of each half added: lane l gets bytes 2l, 2l + 1, 8 + 2l and 9 + 2l.
inline int32x4_t add_products(int32x4_t sum_i32x4, int8x16_t row_i8x16, int8x16_t query_i8x16) {
    sum_i32x4 = vpadalq_s16(sum_i32x4, vmull_s8(vget_low_s8(row_i8x16), vget_low_s8(query_i8x16)));
    return vpadalq_s16(sum_i32x4, vmull_high_s8(row_i8x16, query_i8x16));
}

void prefix_sums(const std::int8_t* groups, std::size_t count, std::size_t width, const std::int8_t* query,
                 std::int32_t* sums) {
    for (std::size_t g = 0; g < count; ++g, groups += width * kLanes, sums += kLanes) {
        int32x4_t two_rows_i32x4[8];  // each row as two lanes
        for (int32x4_t& sum : two_rows_i32x4) sum = vdupq_n_s32(0);
        for (std::size_t j = 0; j < width; j += 4) {
            std::int32_t quad;
            __builtin_memcpy(&quad, query + j, 4);
            const int8x8_t query_i8x8 = vreinterpret_s8_s32(vdup_n_s32(quad));
            for (std::size_t pair = 0; pair < 8; ++pair) {
                const int8x8_t rows_i8x8 = vld1_s8(groups + j * kLanes + 8 * pair);
                two_rows_i32x4[pair] = vpadalq_s16(two_rows_i32x4[pair], vmull_s8(rows_i8x8, query_i8x8));
            }
        }
        for (std::size_t part = 0; part < 4; ++part) {
            vst1q_s32(sums + 4 * part, vpaddq_s32(two_rows_i32x4[2 * part], two_rows_i32x4[2 * part + 1]));
        }
    }
}

void dots_i8(const std::int8_t* codes, std::size_t dimension, const std::uint32_t* rows, std::size_t count,
             QueryCodes query, std::int32_t* dots) {
    for (std::size_t r = 0; r < count; ++r) {
        const std::int8_t* row = codes + rows[r] * dimension;
        if (r + 1 < count) prefetch_apart(row, codes + rows[r + 1] * dimension, dimension);
        int32x4_t even_i32x4 = vdupq_n_s32(0), odd_i32x4 = vdupq_n_s32(0);
        std::size_t i = 0;
        for (; i + 32 <= dimension; i += 32) {
            even_i32x4 = add_products(even_i32x4, vld1q_s8(row + i), vld1q_s8(query.codes_i8 + i));
            odd_i32x4 = add_products(odd_i32x4, vld1q_s8(row + i + 16), vld1q_s8(query.codes_i8 + i + 16));
        }
        std::int32_t sum = vaddvq_s32(vaddq_s32(even_i32x4, odd_i32x4));
        for (; i < dimension; ++i) sum += row[i] * query.codes_i8[i];
        dots[r] = sum;
    }
}

}  // namespace

const Kernels neon_kernels = {"neon",       prefix_sums,   neon::maxima,  neon::select, dots_i8,
                              neon::screen, neon::project, neon::dot_f32, neon::dot_f16};

}  // namespace cardrec

#endif
