// The NEON tier: every arm64. See kernels.hpp for the contract.
//
// One pixel at a time: its two lines' 8 bytes are shuffled into left and right samples of red, green, blue, and red
// again, then UMULL and UMLAL blend lines (4080 at most in uint16) and left with right (in uint32).
#if defined(__aarch64__)

#include <arm_neon.h>

#include "kernels.hpp"

namespace cardrec {
extern const Kernels scalar_kernels;
extern const Kernels neon_kernels;
namespace {

void place(const Row& row, int first, int count, std::int64_t* x, std::int64_t* y) {
    const float64x2_t half_f64x2 = vdupq_n_f64(0.5), fixed_f64x2 = vdupq_n_f64(kFixedPoint);
    const double begin[2] = {static_cast<double>(first), static_cast<double>(first) + 1.0};
    float64x2_t at_f64x2 = vld1q_f64(begin);
    for (int i = 0; i < count; i += 2, at_f64x2 = vaddq_f64(at_f64x2, vdupq_n_f64(2.0))) {
        const float64x2_t u_f64x2 = vmulq_f64(vaddq_f64(at_f64x2, half_f64x2), vdupq_n_f64(row.pixel));
        const float64x2_t w_f64x2 = vaddq_f64(vmulq_f64(vdupq_n_f64(row.g), u_f64x2), vdupq_n_f64(row.w));
        const float64x2_t inverse_f64x2 = vdivq_f64(vdupq_n_f64(1.0), w_f64x2);
        const float64x2_t over_x = vaddq_f64(vmulq_f64(vdupq_n_f64(row.a), u_f64x2), vdupq_n_f64(row.x));
        const float64x2_t over_y = vaddq_f64(vmulq_f64(vdupq_n_f64(row.d), u_f64x2), vdupq_n_f64(row.y));
        const float64x2_t shifted_x = vaddq_f64(vsubq_f64(vmulq_f64(over_x, inverse_f64x2), half_f64x2), fixed_f64x2);
        const float64x2_t shifted_y = vaddq_f64(vsubq_f64(vmulq_f64(over_y, inverse_f64x2), half_f64x2), fixed_f64x2);
        const int64x2_t zero_i64x2 = vreinterpretq_s64_f64(fixed_f64x2);
        vst1q_s64(x + i, vsubq_s64(vreinterpretq_s64_f64(shifted_x), zero_i64x2));
        vst1q_s64(y + i, vsubq_s64(vreinterpretq_s64_f64(shifted_y), zero_i64x2));
    }
}

// Four pixels' samples: where their bytes are, and the second line's and the right pixel's weights.
struct Samples {
    std::int32_t offset[4];
    std::uint32_t fx[4], fy[4];
};

inline void place_samples(const Source& source, const Pattern& pattern, int s, const std::int64_t* x,
                          const std::int64_t* y, Samples& samples) {
    const int32x4_t low_x_i32x4 = vcombine_s32(vmovn_s64(vld1q_s64(x)), vmovn_s64(vld1q_s64(x + 2)));
    const int32x4_t low_y_i32x4 = vcombine_s32(vmovn_s64(vld1q_s64(y)), vmovn_s64(vld1q_s64(y + 2)));
    const int32x4_t x_i32x4 = vaddq_s32(low_x_i32x4, vdupq_n_s32(pattern.x[s]));
    const int32x4_t y_i32x4 = vaddq_s32(low_y_i32x4, vdupq_n_s32(pattern.y[s]));
    const int32x4_t line_i32x4 = vmulq_n_s32(vshrq_n_s32(y_i32x4, kFractionBits), source.stride);
    vst1q_s32(samples.offset, vmlaq_n_s32(line_i32x4, vshrq_n_s32(x_i32x4, kFractionBits), source.step));
    const int32x4_t cut_i32x4 = vdupq_n_s32(pattern.bits - kFractionBits);
    const uint32x4_t mask_u32x4 = vdupq_n_u32((1u << pattern.bits) - 1);
    vst1q_u32(samples.fx, vandq_u32(vshlq_u32(vreinterpretq_u32_s32(x_i32x4), cut_i32x4), mask_u32x4));
    vst1q_u32(samples.fy, vandq_u32(vshlq_u32(vreinterpretq_u32_s32(y_i32x4), cut_i32x4), mask_u32x4));
}

// From the contract's order to this tier's: left and right samples of the upper line, then of the lower one.
inline uint8x16_t line_order(const Source& source) {
    std::uint8_t order[16];
    for (int c = 0; c < 4; ++c) {
        order[c] = source.order[4 * c];
        order[4 + c] = source.order[4 * c + 2];
        order[8 + c] = source.order[4 * c + 1];
        order[12 + c] = source.order[4 * c + 3];
    }
    return vld1q_u8(order);
}

inline uint32x4_t add_sample(uint32x4_t sum_u32x4, const std::uint8_t* upper, const std::uint8_t* lower,
                             uint8x16_t order_u8x16, std::uint32_t one, std::uint32_t fx, std::uint32_t fy) {
    const uint8x16_t bytes_u8x16 = vqtbl1q_u8(vcombine_u8(vld1_u8(upper), vld1_u8(lower)), order_u8x16);
    const uint16x8_t upper_u16x8 = vmull_u8(vget_low_u8(bytes_u8x16), vdup_n_u8(static_cast<std::uint8_t>(one - fy)));
    const uint16x8_t both_u16x8 =
        vmlal_u8(upper_u16x8, vget_high_u8(bytes_u8x16), vdup_n_u8(static_cast<std::uint8_t>(fy)));
    sum_u32x4 = vmlal_n_u16(sum_u32x4, vget_low_u16(both_u16x8), static_cast<std::uint16_t>(one - fx));
    return vmlal_n_u16(sum_u32x4, vget_high_u16(both_u16x8), static_cast<std::uint16_t>(fx));
}

// Not a division: the contract's product with the rounded reciprocal, and a sum, not fused.
inline void write(uint32x4_t sum_u32x4, float reciprocal, std::uint8_t* out) {
    const float32x4_t scaled_f32x4 = vmulq_f32(vcvtq_f32_u32(sum_u32x4), vdupq_n_f32(reciprocal));
    const uint32x4_t mean_u32x4 = vcvtq_u32_f32(vaddq_f32(scaled_f32x4, vdupq_n_f32(0.5f)));
    out[0] = static_cast<std::uint8_t>(vgetq_lane_u32(mean_u32x4, 0));
    out[1] = static_cast<std::uint8_t>(vgetq_lane_u32(mean_u32x4, 1));
    out[2] = static_cast<std::uint8_t>(vgetq_lane_u32(mean_u32x4, 2));
}

void blend(const Source& source, const std::uint8_t* origin, const Pattern& pattern, const std::int64_t* x,
           const std::int64_t* y, std::uint8_t* out) {
    const std::uint8_t* below = origin + source.stride;
    const uint8x16_t order_u8x16 = line_order(source);
    const std::uint32_t one = 1u << pattern.bits;
    const float reciprocal = 1.0f / static_cast<float>(pattern.size << (2 * pattern.bits));
    for (int u = 0; u < kTile; u += 4) {
        uint32x4_t sums_u32x4[4];
        for (uint32x4_t& sum : sums_u32x4) sum = vdupq_n_u32(0);
        for (int s = 0; s < pattern.size; ++s) {
            Samples at;
            place_samples(source, pattern, s, x + u, y + u, at);
            for (int i = 0; i < 4; ++i) {
                const std::int32_t offset = at.offset[i];
                sums_u32x4[i] =
                    add_sample(sums_u32x4[i], origin + offset, below + offset, order_u8x16, one, at.fx[i], at.fy[i]);
            }
        }
        for (int i = 0; i < 4; ++i, out += 3) write(sums_u32x4[i], reciprocal, out);
    }
}

// (byte << 8) * weight >> 16 is byte * weight >> 8, which fits in 16 bits.
inline uint16x8_t weighted(uint8x8_t line_u8x8, std::uint16_t weight) {
    const uint16x8_t bytes_u16x8 = vmovl_u8(line_u8x8);
    const uint16x4_t low_u16x4 = vshrn_n_u32(vmull_n_u16(vget_low_u16(bytes_u16x8), weight), 8);
    return vshrn_high_n_u32(low_u16x4, vmull_n_u16(vget_high_u16(bytes_u16x8), weight), 8);
}

void add_lines(const std::uint8_t* const* lines, const std::uint16_t* weights, std::size_t count, std::size_t bytes,
               int begin, std::uint16_t* sums) {
    const uint16x8_t begin_u16x8 = vdupq_n_u16(static_cast<std::uint16_t>(begin));
    std::size_t i = 0;
    for (; i + 16 <= bytes; i += 16) {
        uint16x8_t low_u16x8 = begin < 0 ? vld1q_u16(sums + i) : begin_u16x8;
        uint16x8_t high_u16x8 = begin < 0 ? vld1q_u16(sums + i + 8) : begin_u16x8;
        for (std::size_t j = 0; j < count; ++j) {
            const uint8x16_t line_u8x16 = vld1q_u8(lines[j] + i);
            low_u16x8 = vaddq_u16(low_u16x8, weighted(vget_low_u8(line_u8x16), weights[j]));
            high_u16x8 = vaddq_u16(high_u16x8, weighted(vget_high_u8(line_u8x16), weights[j]));
        }
        vst1q_u16(sums + i, low_u16x8);
        vst1q_u16(sums + i + 8, high_u16x8);
    }
    for (; i < bytes; ++i) {
        std::uint32_t sum = begin < 0 ? sums[i] : static_cast<std::uint32_t>(begin);
        for (std::size_t j = 0; j < count; ++j) sum += std::uint32_t{lines[j][i]} * weights[j] >> 8;
        sums[i] = static_cast<std::uint16_t>(sum);
    }
}

// From 8 sums to red, green, blue and red again of one pixel, then of the next.
inline uint8x16_t sum_order(std::ptrdiff_t step, const std::uint8_t* lane) {
    std::uint8_t order[16];
    for (int c = 0; c < 8; ++c) {
        const auto at = static_cast<std::uint8_t>(2 * (lane[c % 4 % 3] + (c < 4 ? 0 : step)));
        order[2 * c] = at;
        order[2 * c + 1] = static_cast<std::uint8_t>(at + 1);
    }
    return vld1q_u8(order);
}

void columns(const std::uint16_t* sums, std::ptrdiff_t step, const std::uint8_t* lane, const Columns& columns,
             std::uint8_t* out) {
    const uint8x16_t order_u8x16 = sum_order(step, lane);
    for (std::size_t u = 0; u < columns.outputs; ++u, out += 3) {
        const std::uint16_t* pixel = sums + columns.first[u] * step;
        uint32x4_t sum_u32x4 = vdupq_n_u32(1u << 23);
        const std::uint16_t* weights = columns.weights + u * columns.taps;
        for (std::size_t j = 0; j < columns.taps; j += 2, pixel += 2 * step) {
            const uint8x16_t bytes_u8x16 = vqtbl1q_u8(vreinterpretq_u8_u16(vld1q_u16(pixel)), order_u8x16);
            const uint16x8_t pixels_u16x8 = vreinterpretq_u16_u8(bytes_u8x16);
            sum_u32x4 = vmlal_n_u16(sum_u32x4, vget_low_u16(pixels_u16x8), weights[j]);
            sum_u32x4 = vmlal_n_u16(sum_u32x4, vget_high_u16(pixels_u16x8), weights[j + 1]);
        }
        const uint32x4_t bytes_u32x4 = vshrq_n_u32(sum_u32x4, 24);
        out[0] = static_cast<std::uint8_t>(vgetq_lane_u32(bytes_u32x4, 0));
        out[1] = static_cast<std::uint8_t>(vgetq_lane_u32(bytes_u32x4, 1));
        out[2] = static_cast<std::uint8_t>(vgetq_lane_u32(bytes_u32x4, 2));
    }
}

struct Wide {
    int32x4_t low, high;
};

// sum + factor * eight values.
inline Wide add_times(Wide sum_i32x8, int16x8_t value_i16x8, std::int16_t factor) {
    return {vmlal_n_s16(sum_i32x8.low, vget_low_s16(value_i16x8), factor),
            vmlal_n_s16(sum_i32x8.high, vget_high_s16(value_i16x8), factor)};
}

inline uint8x8_t to_bytes(Wide sum_i32x8) {
    return vqmovun_s16(
        vcombine_s16(vmovn_s32(vshrq_n_s32(sum_i32x8.low, 13)), vmovn_s32(vshrq_n_s32(sum_i32x8.high, 13))));
}

// The last pixels are left to the scalar tier: loads would go beyond them.
void yuv(const std::uint8_t* u_bytes, const std::uint8_t* v_bytes, std::size_t count, std::uint8_t* rgb) {
    const uint8x8_t middle_u8x8 = vdup_n_u8(128);
    const Wide rounding_i32x8{vdupq_n_s32(4096), vdupq_n_s32(4096)};
    std::size_t i = 0;
    for (; i + 9 <= count; i += 8) {
        uint8x8x3_t pixels_u8x8 = vld3_u8(rgb + 3 * i);
        const uint8x8_t luma_u8x8 = vqsub_u8(pixels_u8x8.val[0], vdup_n_u8(16));
        const Wide y_i32x8 = add_times(rounding_i32x8, vreinterpretq_s16_u16(vmovl_u8(luma_u8x8)), 9539);
        const int16x8_t u_i16x8 = vreinterpretq_s16_u16(vsubl_u8(vld3_u8(u_bytes + 3 * i).val[0], middle_u8x8));
        const int16x8_t v_i16x8 = vreinterpretq_s16_u16(vsubl_u8(vld3_u8(v_bytes + 3 * i).val[0], middle_u8x8));
        pixels_u8x8.val[0] = to_bytes(add_times(y_i32x8, v_i16x8, 13075));
        pixels_u8x8.val[1] = to_bytes(add_times(add_times(y_i32x8, v_i16x8, -6660), u_i16x8, -3209));
        pixels_u8x8.val[2] = to_bytes(add_times(y_i32x8, u_i16x8, 16525));
        vst3_u8(rgb + 3 * i, pixels_u8x8);
    }
    scalar_kernels.yuv(u_bytes + 3 * i, v_bytes + 3 * i, count - i, rgb + 3 * i);
}

}  // namespace

const Kernels neon_kernels = {"neon", place, blend, add_lines, columns, yuv};

}  // namespace cardrec

#endif
