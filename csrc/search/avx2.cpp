// The AVX2 tier (with FMA and F16C: Intel Haswell, AMD Zen and later). See kernels.hpp for the contract.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds neighbours into int16. Row times query is |row| times the
// query with the row's sign, and a pair is at most 2 * 128 * 127 = 32512 < 2^15, so nothing saturates, for rows of -128
// either.
#if defined(__x86_64__)

#include <immintrin.h>

#include <limits>

#include "kernels.hpp"
#include "prefetch.hpp"

#define TARGET __attribute__((target("avx2,fma,f16c")))

namespace cardrec {
extern const Kernels avx2_kernels;
namespace {

TARGET inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
TARGET inline void store(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }

// sum + the products of 32 bytes, four neighbours to each int32.
TARGET inline __m256i add_products(__m256i sum_i32x8, __m256i row_i8x32, __m256i query_i8x32) {
    const __m256i pairs_i16x16 =
        _mm256_maddubs_epi16(_mm256_abs_epi8(row_i8x32), _mm256_sign_epi8(query_i8x32, row_i8x32));
    return _mm256_add_epi32(sum_i32x8, _mm256_madd_epi16(pairs_i16x16, _mm256_set1_epi16(1)));
}

TARGET void prefix_sums(const std::int8_t* groups, std::size_t count, std::size_t width, const std::int8_t* query,
                        std::int32_t* sums) {
    for (std::size_t g = 0; g < count; ++g, groups += width * kLanes, sums += kLanes) {
        __m256i low_i32x8 = _mm256_setzero_si256(), high_i32x8 = _mm256_setzero_si256();  // rows 0-7 and 8-15
        for (std::size_t j = 0; j < width; j += 4) {
            std::int32_t quad;
            __builtin_memcpy(&quad, query + j, 4);
            const __m256i query_i8x32 = _mm256_set1_epi32(quad);
            low_i32x8 = add_products(low_i32x8, load(groups + j * kLanes), query_i8x32);
            high_i32x8 = add_products(high_i32x8, load(groups + j * kLanes + 32), query_i8x32);
        }
        store(sums, low_i32x8);
        store(sums + 8, high_i32x8);
    }
}

TARGET void maxima(const std::int32_t* values, std::size_t count, std::int32_t* lanes) {
    __m256i low_i32x8 = _mm256_set1_epi32(std::numeric_limits<std::int32_t>::min()), high_i32x8 = low_i32x8;
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        low_i32x8 = _mm256_max_epi32(low_i32x8, load(values + i));
        high_i32x8 = _mm256_max_epi32(high_i32x8, load(values + i + 8));
    }
    store(lanes, low_i32x8);
    store(lanes + 8, high_i32x8);
    for (; i < count; ++i) {
        if (values[i] > lanes[i % kLanes]) lanes[i % kLanes] = values[i];
    }
}

TARGET inline std::size_t append_places(unsigned lanes, std::size_t first, std::uint32_t* places) {
    std::size_t found = 0;
    for (; lanes != 0; lanes &= lanes - 1) {
        places[found++] = static_cast<std::uint32_t>(first + static_cast<unsigned>(__builtin_ctz(lanes)));
    }
    return found;
}

TARGET inline unsigned sign_bits(__m256i value) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(value)));
}

TARGET std::size_t select(const std::int32_t* values, std::size_t count, std::int32_t low, std::uint32_t* places) {
    const __m256i low_i32x8 = _mm256_set1_epi32(low);
    std::size_t found = 0, i = 0;
    for (; i + 16 <= count; i += 16) {
        const __m256i below_i32x8 = _mm256_cmpgt_epi32(low_i32x8, load(values + i));
        const __m256i next_below_i32x8 = _mm256_cmpgt_epi32(low_i32x8, load(values + i + 8));
        const unsigned hit = ~(sign_bits(below_i32x8) | sign_bits(next_below_i32x8) << 8) & 0xffffu;
        if (hit) found += append_places(hit, i, places + found);
    }
    for (; i < count; ++i) {
        if (values[i] >= low) places[found++] = static_cast<std::uint32_t>(i);
    }
    return found;
}

TARGET inline std::int32_t lane_sum(__m256i value_i32x8) {
    __m128i sum_i32x4 = _mm_add_epi32(_mm256_castsi256_si128(value_i32x8), _mm256_extracti128_si256(value_i32x8, 1));
    sum_i32x4 = _mm_add_epi32(sum_i32x4, _mm_shuffle_epi32(sum_i32x4, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum_i32x4, _mm_shuffle_epi32(sum_i32x4, _MM_SHUFFLE(2, 3, 0, 1))));
}

// Row after row: several at a time are several streams, which take twice the time of one from DRAM (Zen 4).
TARGET void dots_i8(const std::int8_t* codes, std::size_t dimension, const std::uint32_t* rows, std::size_t count,
                    QueryCodes query, std::int32_t* dots) {
    for (std::size_t r = 0; r < count; ++r) {
        const std::int8_t* row = codes + rows[r] * dimension;
        if (r + 1 < count) prefetch_apart(row, codes + rows[r + 1] * dimension, dimension);
        __m256i even_i32x8 = _mm256_setzero_si256(), odd_i32x8 = _mm256_setzero_si256();
        std::size_t i = 0;
        for (; i + 64 <= dimension; i += 64) {
            even_i32x8 = add_products(even_i32x8, load(row + i), load(query.codes_i8 + i));
            odd_i32x8 = add_products(odd_i32x8, load(row + i + 32), load(query.codes_i8 + i + 32));
        }
        std::int32_t sum = lane_sum(_mm256_add_epi32(even_i32x8, odd_i32x8));
        for (; i < dimension; ++i) sum += row[i] * query.codes_i8[i];
        dots[r] = sum;
    }
}

TARGET std::size_t screen(const std::int32_t* dots, const float* scales, std::size_t count, Screen screen,
                          std::uint32_t* places) {
    const __m256 slope_f32x8 = _mm256_set1_ps(screen.slope), offset_f32x8 = _mm256_set1_ps(screen.offset);
    const __m256 low_f32x8 = _mm256_set1_ps(screen.low);
    std::size_t found = 0, i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m256 line_f32x8 = _mm256_fmadd_ps(slope_f32x8, _mm256_cvtepi32_ps(load(dots + i)), offset_f32x8);
        const __m256 value_f32x8 = _mm256_mul_ps(_mm256_loadu_ps(scales + i), line_f32x8);
        const int hit = _mm256_movemask_ps(_mm256_cmp_ps(value_f32x8, low_f32x8, _CMP_NLT_UQ));
        if (hit) found += append_places(static_cast<unsigned>(hit), i, places + found);
    }
    for (; i < count; ++i) {
        const float value = scales[i] * (screen.slope * static_cast<float>(dots[i]) + screen.offset);
        if (!(value < screen.low)) places[found++] = static_cast<std::uint32_t>(i);
    }
    return found;
}

TARGET inline float lane_sum(__m256 value_f32x8) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(value_f32x8), _mm256_extractf128_ps(value_f32x8, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

TARGET void project(const float* basis, std::size_t count, std::size_t dimension, const float* vector,
                    float* products) {
    for (std::size_t p = 0; p < count; p += 4) {
        const std::size_t last = count - p < 4 ? count - p - 1 : 3;
        const float* row[4];
        for (std::size_t r = 0; r < 4; ++r) row[r] = basis + (p + (r < last ? r : last)) * dimension;
        __m256 sum_f32x8[4] = {};
        std::size_t i = 0;
        for (; i + 8 <= dimension; i += 8) {
            const __m256 vector_f32x8 = _mm256_loadu_ps(vector + i);
            for (int r = 0; r < 4; ++r) {
                sum_f32x8[r] = _mm256_fmadd_ps(_mm256_loadu_ps(row[r] + i), vector_f32x8, sum_f32x8[r]);
            }
        }
        for (std::size_t r = 0; r <= last; ++r) {
            float rest = 0.0f;
            for (std::size_t j = i; j < dimension; ++j) rest += row[r][j] * vector[j];
            products[p + r] = lane_sum(sum_f32x8[r]) + rest;
        }
    }
}

TARGET inline __m128 four_floats(const float* row) { return _mm_loadu_ps(row); }
TARGET inline __m128 four_floats(const std::uint16_t* row) {
    return _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(row)));
}
TARGET inline double one_double(const float* row) { return static_cast<double>(*row); }
TARGET inline double one_double(const std::uint16_t* row) { return static_cast<double>(_cvtsh_ss(*row)); }

template <typename Element>
TARGET double dot(const Element* row, const float* query, std::size_t dimension) {
    __m256d low_f64x4 = _mm256_setzero_pd(), high_f64x4 = _mm256_setzero_pd();
    std::size_t i = 0;
    for (; i + 8 <= dimension; i += 8) {
        low_f64x4 =
            _mm256_fmadd_pd(_mm256_cvtps_pd(four_floats(row + i)), _mm256_cvtps_pd(_mm_loadu_ps(query + i)), low_f64x4);
        high_f64x4 = _mm256_fmadd_pd(_mm256_cvtps_pd(four_floats(row + i + 4)),
                                     _mm256_cvtps_pd(_mm_loadu_ps(query + i + 4)), high_f64x4);
    }
    double partial[8];
    _mm256_storeu_pd(partial, low_f64x4);
    _mm256_storeu_pd(partial + 4, high_f64x4);
    for (std::size_t j = 0; i + j < dimension; ++j) partial[j] += one_double(row + i + j) * query[i + j];
    return sum_in_order(partial);
}

}  // namespace

const Kernels avx2_kernels = {"avx2",     prefix_sums,       maxima, select, dots_i8, screen, project,
                              dot<float>, dot<std::uint16_t>};

}  // namespace cardrec

#endif
