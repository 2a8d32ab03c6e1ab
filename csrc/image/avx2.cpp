// The AVX2 tier (Intel Haswell, AMD Zen and later). See kernels.hpp for the contract.
//
// A register holds two pixels, of which each has one half: the 8 bytes of its upper line and the 8 of its lower one,
// shuffled so that upper and lower byte are neighbours, for left and right pixel, for each channel. vpmaddubsw then
// blends lines: one * 255 <= 4080, far from the saturation of int16. vpmaddwd blends left and right into int32.
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels.hpp"

#define TARGET __attribute__((target("avx2")))

namespace cardrec {
extern const Kernels scalar_kernels;
extern const Kernels avx2_kernels;
namespace {

TARGET inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
TARGET inline void store(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }
TARGET inline __m128i load_half(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }

TARGET inline __m128i two_lines(const std::uint8_t* upper, const std::uint8_t* lower) {
    return _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(upper))),
                                         reinterpret_cast<const double*>(lower)));
}

TARGET void place(const Row& row, int first, int count, std::int64_t* x, std::int64_t* y) {
    const __m256d one_f64x4 = _mm256_set1_pd(1.0), half_f64x4 = _mm256_set1_pd(0.5);
    const __m256d pixel_f64x4 = _mm256_set1_pd(row.pixel), fixed_f64x4 = _mm256_set1_pd(kFixedPoint);
    const __m256d a_f64x4 = _mm256_set1_pd(row.a), d_f64x4 = _mm256_set1_pd(row.d), g_f64x4 = _mm256_set1_pd(row.g);
    const __m256d x_f64x4 = _mm256_set1_pd(row.x), y_f64x4 = _mm256_set1_pd(row.y), w_f64x4 = _mm256_set1_pd(row.w);
    __m256d at_f64x4 = _mm256_add_pd(_mm256_set1_pd(first), _mm256_setr_pd(0.0, 1.0, 2.0, 3.0));
    for (int i = 0; i < count; i += 4, at_f64x4 = _mm256_add_pd(at_f64x4, _mm256_set1_pd(4.0))) {
        const __m256d u_f64x4 = _mm256_mul_pd(_mm256_add_pd(at_f64x4, half_f64x4), pixel_f64x4);
        const __m256d inverse_f64x4 = _mm256_div_pd(one_f64x4, _mm256_add_pd(_mm256_mul_pd(g_f64x4, u_f64x4), w_f64x4));
        const __m256d to_x = _mm256_mul_pd(_mm256_add_pd(_mm256_mul_pd(a_f64x4, u_f64x4), x_f64x4), inverse_f64x4);
        const __m256d to_y = _mm256_mul_pd(_mm256_add_pd(_mm256_mul_pd(d_f64x4, u_f64x4), y_f64x4), inverse_f64x4);
        const __m256i fixed_i64x4 = _mm256_castpd_si256(fixed_f64x4);
        const __m256d shifted_x = _mm256_add_pd(_mm256_sub_pd(to_x, half_f64x4), fixed_f64x4);
        const __m256d shifted_y = _mm256_add_pd(_mm256_sub_pd(to_y, half_f64x4), fixed_f64x4);
        store(x + i, _mm256_sub_epi64(_mm256_castpd_si256(shifted_x), fixed_i64x4));
        store(y + i, _mm256_sub_epi64(_mm256_castpd_si256(shifted_y), fixed_i64x4));
    }
}

constexpr int kPlaced = 8;

// Eight pixels' samples: where their bytes are, and their weights.
struct Samples {
    alignas(32) std::int32_t offset[8];
    __m256i lines_u8x32;     // of each pixel: one - fy, fy, twice
    __m256i columns_i16x16;  // one - fx, fx
};

TARGET inline void place_samples(const Source& source, int bits, __m256i x_i32x8, __m256i y_i32x8, Samples& samples) {
    const __m128i cut = _mm_cvtsi32_si128(kFractionBits - bits);
    const __m256i one_i32x8 = _mm256_set1_epi32(1 << bits), mask_i32x8 = _mm256_set1_epi32((1 << bits) - 1);
    const __m256i line_i32x8 =
        _mm256_mullo_epi32(_mm256_srai_epi32(y_i32x8, kFractionBits), _mm256_set1_epi32(source.stride));
    const __m256i column_i32x8 =
        _mm256_mullo_epi32(_mm256_srai_epi32(x_i32x8, kFractionBits), _mm256_set1_epi32(source.step));
    store(samples.offset, _mm256_add_epi32(line_i32x8, column_i32x8));
    // Through memory: taken from the register one by one, as compilers do it unasked, offsets cost twice as much.
    __asm__("" : "+m"(samples.offset));
    const __m256i fx_i32x8 = _mm256_and_si256(_mm256_srl_epi32(x_i32x8, cut), mask_i32x8);
    const __m256i fy_i32x8 = _mm256_and_si256(_mm256_srl_epi32(y_i32x8, cut), mask_i32x8);
    const __m256i gx_i32x8 = _mm256_sub_epi32(one_i32x8, fx_i32x8), gy_i32x8 = _mm256_sub_epi32(one_i32x8, fy_i32x8);
    samples.columns_i16x16 = _mm256_or_si256(gx_i32x8, _mm256_slli_epi32(fx_i32x8, 16));
    const __m256i pair_i32x8 = _mm256_or_si256(gy_i32x8, _mm256_slli_epi32(fy_i32x8, 8));
    samples.lines_u8x32 = _mm256_or_si256(pair_i32x8, _mm256_slli_epi32(pair_i32x8, 16));
}

// sum + the samples of pixels `pair` and `pair` + 4: red, green, blue and red again of either.
template <int pair>
TARGET inline __m256i add_pair(__m256i sum_i32x8, const std::uint8_t* origin, const std::uint8_t* below,
                               __m256i order_u8x32, const Samples& samples) {
    const std::int32_t near = samples.offset[pair], far = samples.offset[pair + 4];
    const __m256i bytes_u8x32 = _mm256_inserti128_si256(_mm256_castsi128_si256(two_lines(origin + near, below + near)),
                                                        two_lines(origin + far, below + far), 1);
    const __m256i blended_i16x16 = _mm256_maddubs_epi16(_mm256_shuffle_epi8(bytes_u8x32, order_u8x32),
                                                        _mm256_shuffle_epi32(samples.lines_u8x32, pair * 0x55));
    return _mm256_add_epi32(
        sum_i32x8, _mm256_madd_epi16(blended_i16x16, _mm256_shuffle_epi32(samples.columns_i16x16, pair * 0x55)));
}

TARGET inline __m256i mean(__m256i sum_i32x8, __m256 reciprocal_f32x8) {
    const __m256 scaled_f32x8 = _mm256_mul_ps(_mm256_cvtepi32_ps(sum_i32x8), reciprocal_f32x8);
    return _mm256_cvttps_epi32(_mm256_add_ps(scaled_f32x8, _mm256_set1_ps(0.5f)));
}

// Eight pixels, each as red, green, blue and one byte more, in order: 24 bytes.
TARGET inline void store_pixels(__m256i pixels_u8x32, std::uint8_t* out) {
    const __m256i drop_u8x32 =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m256i rgb_u8x32 = _mm256_shuffle_epi8(pixels_u8x32, drop_u8x32);
    const __m128i last_u8x16 = _mm256_extracti128_si256(rgb_u8x32, 1);
    const int rest = _mm_extract_epi32(last_u8x16, 2);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(rgb_u8x32));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 12), last_u8x16);
    __builtin_memcpy(out + 20, &rest, 4);
}

TARGET inline void write(const __m256i* sums_i32x8, float reciprocal, std::uint8_t* out) {
    const __m256 reciprocal_f32x8 = _mm256_set1_ps(reciprocal);
    const __m256i low_i16x16 =
        _mm256_packs_epi32(mean(sums_i32x8[0], reciprocal_f32x8), mean(sums_i32x8[1], reciprocal_f32x8));
    const __m256i high_i16x16 =
        _mm256_packs_epi32(mean(sums_i32x8[2], reciprocal_f32x8), mean(sums_i32x8[3], reciprocal_f32x8));
    store_pixels(_mm256_packus_epi16(low_i16x16, high_i16x16), out);
}

// The low halves of eight integers.
TARGET inline __m256i low_halves(const std::int64_t* from) {
    const __m256 first_i32x8 = _mm256_castsi256_ps(load(from)), second_i32x8 = _mm256_castsi256_ps(load(from + 4));
    const __m256i mixed_i32x8 = _mm256_castps_si256(_mm256_shuffle_ps(first_i32x8, second_i32x8, 0x88));
    return _mm256_permute4x64_epi64(mixed_i32x8, 0xd8);
}

// The sums of eight pixels: 0 and 4, 1 and 5, 2 and 6, 3 and 7.
TARGET inline void add_samples(const std::uint8_t* origin, const std::uint8_t* below, __m256i order_u8x32,
                               const Samples& samples, __m256i* sums_i32x8) {
    sums_i32x8[0] = add_pair<0>(sums_i32x8[0], origin, below, order_u8x32, samples);
    sums_i32x8[1] = add_pair<1>(sums_i32x8[1], origin, below, order_u8x32, samples);
    sums_i32x8[2] = add_pair<2>(sums_i32x8[2], origin, below, order_u8x32, samples);
    sums_i32x8[3] = add_pair<3>(sums_i32x8[3], origin, below, order_u8x32, samples);
}

// Samples are placed some at a time before their bytes are loaded: a chain of placing, loading and blending each sample
// is so long that hardly three of them fit in the window of the processor (1.4 times the time, Zen 4).
TARGET void blend(const Source& source, const std::uint8_t* origin, const Pattern& pattern, const std::int64_t* x,
                  const std::int64_t* y, std::uint8_t* out) {
    const std::uint8_t* below = origin + source.stride;
    const __m256i order_u8x32 = _mm256_broadcastsi128_si256(load_half(source.order));
    const __m256i left_x_i32x8 = low_halves(x), right_x_i32x8 = low_halves(x + 8);
    const __m256i left_y_i32x8 = low_halves(y), right_y_i32x8 = low_halves(y + 8);
    __m256i left_i32x8[4] = {}, right_i32x8[4] = {};
    for (int first = 0; first < pattern.size; first += kPlaced) {
        const int count = pattern.size - first < kPlaced ? pattern.size - first : kPlaced;
        Samples left[kPlaced], right[kPlaced];
        for (int s = 0; s < count; ++s) {
            const __m256i to_x_i32x8 = _mm256_set1_epi32(pattern.x[first + s]);
            const __m256i to_y_i32x8 = _mm256_set1_epi32(pattern.y[first + s]);
            place_samples(source, pattern.bits, _mm256_add_epi32(left_x_i32x8, to_x_i32x8),
                          _mm256_add_epi32(left_y_i32x8, to_y_i32x8), left[s]);
            place_samples(source, pattern.bits, _mm256_add_epi32(right_x_i32x8, to_x_i32x8),
                          _mm256_add_epi32(right_y_i32x8, to_y_i32x8), right[s]);
        }
        for (int s = 0; s < count; ++s) {
            add_samples(origin, below, order_u8x32, left[s], left_i32x8);
            add_samples(origin, below, order_u8x32, right[s], right_i32x8);
        }
    }
    const float reciprocal = 1.0f / static_cast<float>(pattern.size << (2 * pattern.bits));
    write(left_i32x8, reciprocal, out);
    write(right_i32x8, reciprocal, out + 24);
}

// vpmulhuw is the product's upper half: with the byte in the upper half of its lane, what the contract cuts off.
TARGET void add_lines(const std::uint8_t* const* lines, const std::uint16_t* weights, std::size_t count,
                      std::size_t bytes, int begin, std::uint16_t* sums) {
    const __m256i zero = _mm256_setzero_si256(), begin_u16x16 = _mm256_set1_epi16(static_cast<short>(begin));
    __m256i weights_u16x16[kLinesTogether];
    for (std::size_t j = 0; j < count; ++j) weights_u16x16[j] = _mm256_set1_epi16(static_cast<short>(weights[j]));
    std::size_t i = 0;
    for (; i + 32 <= bytes; i += 32) {
        __m256i low_u16x16 = zero, high_u16x16 = zero;  // of either half: bytes 0 to 7, 8 to 15
        for (std::size_t j = 0; j < count; ++j) {
            const __m256i line_u8x32 = load(lines[j] + i);
            const __m256i low = _mm256_mulhi_epu16(_mm256_unpacklo_epi8(zero, line_u8x32), weights_u16x16[j]);
            const __m256i high = _mm256_mulhi_epu16(_mm256_unpackhi_epi8(zero, line_u8x32), weights_u16x16[j]);
            low_u16x16 = _mm256_add_epi16(low_u16x16, low);
            high_u16x16 = _mm256_add_epi16(high_u16x16, high);
        }
        const __m256i first = _mm256_permute2x128_si256(low_u16x16, high_u16x16, 0x20);
        const __m256i second = _mm256_permute2x128_si256(low_u16x16, high_u16x16, 0x31);
        store(sums + i, _mm256_add_epi16(begin < 0 ? load(sums + i) : begin_u16x16, first));
        store(sums + i + 16, _mm256_add_epi16(begin < 0 ? load(sums + i + 16) : begin_u16x16, second));
    }
    for (; i < bytes; ++i) {
        std::uint32_t sum = begin < 0 ? sums[i] : static_cast<std::uint32_t>(begin);
        for (std::size_t j = 0; j < count; ++j) sum += (std::uint32_t{lines[j][i]} << 8) * weights[j] >> 16;
        sums[i] = static_cast<std::uint16_t>(sum);
    }
}

// From 8 sums to those of two neighbouring pixels: red and red, green and green, blue and blue, red and red again.
TARGET inline __m128i pair_order(std::ptrdiff_t step, const std::uint8_t* lane) {
    alignas(16) std::uint8_t order[16];
    for (int c = 0; c < 8; ++c) {
        const auto at = static_cast<std::uint8_t>(2 * (lane[c / 2 < 3 ? c / 2 : 0] + (c % 2 == 0 ? 0 : step)));
        order[2 * c] = at;
        order[2 * c + 1] = static_cast<std::uint8_t>(at + 1);
    }
    return load_half(order);
}

TARGET inline __m256i pair_of_weights(const std::uint16_t* from) {
    int pair;
    __builtin_memcpy(&pair, from, sizeof pair);
    return _mm256_set1_epi32(pair);
}

// sum + the products of neighbours, mod 2^32, less 2^16; for weights up to 2^16 - 1.
TARGET inline __m256i add_products(__m256i sum_i32x8, __m256i pairs_u16x16, __m256i weights_u16x16) {
    const __m256i one_i16x16 = _mm256_set1_epi16(1), sign_i16x16 = _mm256_set1_epi16(INT16_MIN);
    const __m256i low_i16x16 = _mm256_xor_si256(_mm256_mullo_epi16(pairs_u16x16, weights_u16x16), sign_i16x16);
    const __m256i high_u16x16 = _mm256_mulhi_epu16(pairs_u16x16, weights_u16x16);
    const __m256i high_i32x8 = _mm256_slli_epi32(_mm256_madd_epi16(high_u16x16, one_i16x16), 16);
    return _mm256_add_epi32(_mm256_add_epi32(sum_i32x8, high_i32x8), _mm256_madd_epi16(low_i16x16, one_i16x16));
}

// Two outputs, one in either half. vpmaddwd takes signed numbers, which is all that is needed where weights are below
// 2^15 (`light`: in reductions to a half and less): of the sums 2^15 is taken away, and as the weights of an output
// sum to 2^16, that makes 2^31, which is given back with the rounding.
template <bool light, std::size_t known_taps>
TARGET inline __m256i two_outputs(const std::uint16_t* sums, std::ptrdiff_t step, __m256i order_u8x32,
                                  const Columns& columns, std::size_t left, std::size_t right) {
    const std::size_t taps = known_taps != 0 ? known_taps : columns.taps;
    const std::uint16_t *left_pixel = sums + columns.first[left] * step,
                        *right_pixel = sums + columns.first[right] * step;
    const std::uint16_t *left_weight = columns.weights + left * taps, *right_weight = columns.weights + right * taps;
    const __m256i sign_i16x16 = _mm256_set1_epi16(INT16_MIN);
    const std::uint32_t taken = light ? std::uint32_t{1} << 31 : static_cast<std::uint32_t>(taps / 2) << 16;
    __m256i sum_i32x8 = _mm256_set1_epi32(static_cast<std::int32_t>((std::uint32_t{1} << 23) + taken));
    for (std::size_t j = 0; j < taps; j += 2, left_pixel += 2 * step, right_pixel += 2 * step) {
        const __m256i pixels_u16x16 =
            _mm256_inserti128_si256(_mm256_castsi128_si256(load_half(left_pixel)), load_half(right_pixel), 1);
        const __m256i pairs_u16x16 = _mm256_shuffle_epi8(pixels_u16x16, order_u8x32);
        const __m256i weights_u16x16 =
            _mm256_blend_epi32(pair_of_weights(left_weight + j), pair_of_weights(right_weight + j), 0xf0);
        if (light) {
            const __m256i pairs_i16x16 = _mm256_xor_si256(pairs_u16x16, sign_i16x16);
            sum_i32x8 = _mm256_add_epi32(sum_i32x8, _mm256_madd_epi16(pairs_i16x16, weights_u16x16));
        } else {
            sum_i32x8 = add_products(sum_i32x8, pairs_u16x16, weights_u16x16);
        }
    }
    return _mm256_srli_epi32(sum_i32x8, 24);
}

// Writes as many outputs as there are eights of them; says how many.
template <bool light, std::size_t known_taps>
TARGET inline std::size_t by_eights(const std::uint16_t* sums, std::ptrdiff_t step, const std::uint8_t* lane,
                                    const Columns& columns, std::uint8_t* out) {
    const __m256i order_u8x32 = _mm256_broadcastsi128_si256(pair_order(step, lane));
    std::size_t u = 0;
    for (; u + 8 <= columns.outputs; u += 8, out += 24) {
        __m256i outputs_i32x8[4];
        for (std::size_t i = 0; i < 4; ++i) {
            outputs_i32x8[i] = two_outputs<light, known_taps>(sums, step, order_u8x32, columns, u + i, u + i + 4);
        }
        const __m256i low_i16x16 = _mm256_packs_epi32(outputs_i32x8[0], outputs_i32x8[1]);
        const __m256i high_i16x16 = _mm256_packs_epi32(outputs_i32x8[2], outputs_i32x8[3]);
        store_pixels(_mm256_packus_epi16(low_i16x16, high_i16x16), out);
    }
    return u;
}

// The last outputs, fewer than eight, are left to the scalar tier.
TARGET void columns(const std::uint16_t* sums, std::ptrdiff_t step, const std::uint8_t* lane, const Columns& columns,
                    std::uint8_t* out) {
    const bool light = columns.heaviest < 1 << 15;
    const auto write = !light ? by_eights<false, 0> : columns.taps == 4 ? by_eights<true, 4> : by_eights<true, 0>;
    const std::size_t done = write(sums, step, lane, columns, out);
    const Columns rest{columns.first + done, columns.weights + done * columns.taps, columns.outputs - done,
                       columns.taps, columns.heaviest};
    scalar_kernels.columns(sums, step, lane, rest, out + 3 * done);
}

// Every third byte of 28, as eight integers.
TARGET inline __m256i every_third(const std::uint8_t* from) {
    const __m256i thirds_u8x32 =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1));
    const __m256i bytes_u8x32 =
        _mm256_inserti128_si256(_mm256_castsi128_si256(load_half(from)), load_half(from + 12), 1);
    return _mm256_shuffle_epi8(bytes_u8x32, thirds_u8x32);
}

TARGET inline __m256i times(__m256i value_i32x8, int factor) {
    return _mm256_mullo_epi32(value_i32x8, _mm256_set1_epi32(factor));
}

// Shifted, clamped to a byte and moved to where it belongs in a pixel.
TARGET inline __m256i channel(__m256i sum_i32x8, int place) {
    const __m256i value_i32x8 = _mm256_max_epi32(_mm256_srai_epi32(sum_i32x8, 13), _mm256_setzero_si256());
    return _mm256_slli_epi32(_mm256_min_epi32(value_i32x8, _mm256_set1_epi32(255)), 8 * place);
}

// The last pixels are left to the scalar tier: loads would go beyond them.
TARGET void yuv(const std::uint8_t* u_bytes, const std::uint8_t* v_bytes, std::size_t count, std::uint8_t* rgb) {
    const __m256i black_i32x8 = _mm256_set1_epi32(16), middle_i32x8 = _mm256_set1_epi32(128);
    std::size_t i = 0;
    for (; i + 10 <= count; i += 8) {
        const __m256i luma_i32x8 =
            _mm256_sub_epi32(_mm256_max_epi32(every_third(rgb + 3 * i), black_i32x8), black_i32x8);
        const __m256i y_i32x8 = _mm256_add_epi32(times(luma_i32x8, 9539), _mm256_set1_epi32(4096));
        const __m256i u_i32x8 = _mm256_sub_epi32(every_third(u_bytes + 3 * i), middle_i32x8);
        const __m256i v_i32x8 = _mm256_sub_epi32(every_third(v_bytes + 3 * i), middle_i32x8);
        const __m256i green_i32x8 = _mm256_add_epi32(times(v_i32x8, 6660), times(u_i32x8, 3209));
        const __m256i red = channel(_mm256_add_epi32(y_i32x8, times(v_i32x8, 13075)), 0);
        const __m256i green = channel(_mm256_sub_epi32(y_i32x8, green_i32x8), 1);
        const __m256i blue = channel(_mm256_add_epi32(y_i32x8, times(u_i32x8, 16525)), 2);
        store_pixels(_mm256_or_si256(_mm256_or_si256(red, green), blue), rgb + 3 * i);
    }
    scalar_kernels.yuv(u_bytes + 3 * i, v_bytes + 3 * i, count - i, rgb + 3 * i);
}

}  // namespace

const Kernels avx2_kernels = {"avx2", place, blend, add_lines, columns, yuv};

}  // namespace cardrec

#endif
