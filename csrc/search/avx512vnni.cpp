// The AVX-512 VNNI tier (Intel Ice Lake, AMD Zen 4 and later). See kernels.hpp for the contract.
//
// vpdpbusd multiplies unsigned by signed bytes. Rows become unsigned by flipping their top bit, x ^ 0x80 = x + 128, and
// the surplus 128 * sum(query) is taken off at the start. No int32 lane overflows: d * 255 * 127 <= 2^16 * 32385 <
// 2^31.
#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels.hpp"
#include "prefetch.hpp"

// GCC 12's own header reads the deliberately undefined register behind _mm512_undefined_*().
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace cardrec {
extern const Kernels avx512vnni_kernels;
namespace {

// `blocks` (1 to 4) groups at a time: each is a chain of its own, which hides the latency of the multiplier.
template <int blocks>
TARGET void prefix_groups(const std::int8_t* groups, std::size_t width, const std::int8_t* query, std::int32_t start,
                          std::int32_t* sums) {
    const __m512i flip_u8x64 = _mm512_set1_epi8(-128);
    __m512i sum_i32x16[blocks];
    for (__m512i& sum : sum_i32x16) sum = _mm512_set1_epi32(start);
    for (std::size_t j = 0; j < width; j += 4) {
        std::int32_t quad;
        __builtin_memcpy(&quad, query + j, 4);
        const __m512i query_i8x64 = _mm512_set1_epi32(quad);
        for (int b = 0; b < blocks; ++b) {
            const __m512i rows_i8x64 = _mm512_loadu_si512(groups + (b * width + j) * kLanes);
            sum_i32x16[b] = _mm512_dpbusd_epi32(sum_i32x16[b], _mm512_xor_si512(rows_i8x64, flip_u8x64), query_i8x64);
        }
    }
    for (int b = 0; b < blocks; ++b) _mm512_storeu_si512(sums + b * kLanes, sum_i32x16[b]);
}

TARGET void prefix_sums(const std::int8_t* groups, std::size_t count, std::size_t width, const std::int8_t* query,
                        std::int32_t* sums) {
    std::int32_t start = 0;
    for (std::size_t j = 0; j < width; ++j) start -= 128 * query[j];
    std::size_t g = 0;
    for (; g + 4 <= count; g += 4) {
        prefix_groups<4>(groups + g * width * kLanes, width, query, start, sums + g * kLanes);
    }
    for (; g < count; ++g) prefix_groups<1>(groups + g * width * kLanes, width, query, start, sums + g * kLanes);
}

TARGET inline __mmask16 first_lanes(std::size_t count) {
    return count >= 16 ? __mmask16{0xffff} : static_cast<__mmask16>((1u << count) - 1);
}

TARGET void maxima(const std::int32_t* values, std::size_t count, std::int32_t* lanes) {
    const __m512i lowest_i32x16 = _mm512_set1_epi32(std::numeric_limits<std::int32_t>::min());
    __m512i even_i32x16 = lowest_i32x16, odd_i32x16 = lowest_i32x16;
    std::size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        even_i32x16 = _mm512_max_epi32(even_i32x16, _mm512_loadu_si512(values + i));
        odd_i32x16 = _mm512_max_epi32(odd_i32x16, _mm512_loadu_si512(values + i + 16));
    }
    for (; i < count; i += 16) {
        const __mmask16 valid = first_lanes(count - i);
        const __m512i values_i32x16 = _mm512_mask_loadu_epi32(lowest_i32x16, valid, values + i);
        even_i32x16 = _mm512_max_epi32(even_i32x16, values_i32x16);
    }
    _mm512_storeu_si512(lanes, _mm512_max_epi32(even_i32x16, odd_i32x16));
}

// Appends first + l for each lane l in the mask. Compressing into a register and storing all of it is far cheaper than
// vpcompressd to memory on Zen 4; the garbage behind the end is overwritten by the next call or is the caller's slack.
TARGET inline std::size_t append_places(__mmask16 lanes, std::size_t first, std::uint32_t* places) {
    const __m512i step_u32x16 = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i place_u32x16 = _mm512_add_epi32(step_u32x16, _mm512_set1_epi32(static_cast<int>(first)));
    _mm512_storeu_si512(places, _mm512_maskz_compress_epi32(lanes, place_u32x16));
    return static_cast<std::size_t>(__builtin_popcount(lanes));
}

TARGET std::size_t select(const std::int32_t* values, std::size_t count, std::int32_t low, std::uint32_t* places) {
    const __m512i low_i32x16 = _mm512_set1_epi32(low);
    std::size_t found = 0, i = 0;
    for (; i + 64 <= count; i += 64) {
        __mmask16 hit[4];
        for (int part = 0; part < 4; ++part) {
            hit[part] = _mm512_cmpge_epi32_mask(_mm512_loadu_si512(values + i + 16 * part), low_i32x16);
        }
        if ((hit[0] | hit[1] | hit[2] | hit[3]) == 0) continue;  // mostly
        for (int part = 0; part < 4; ++part) found += append_places(hit[part], i + 16 * part, places + found);
    }
    for (; i < count; i += 16) {
        const __mmask16 valid = first_lanes(count - i);
        const __m512i values_i32x16 = _mm512_maskz_loadu_epi32(valid, values + i);
        found += append_places(_mm512_mask_cmpge_epi32_mask(valid, values_i32x16, low_i32x16), i, places + found);
    }
    return found;
}

// The sums of the lanes of four registers.
TARGET inline __m128i lane_sums(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i ab_i32x16 = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd_i32x16 = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i sum_i32x16 =
        _mm512_add_epi32(_mm512_unpacklo_epi64(ab_i32x16, cd_i32x16), _mm512_unpackhi_epi64(ab_i32x16, cd_i32x16));
    const __m256i sum_i32x8 =
        _mm256_add_epi32(_mm512_castsi512_si256(sum_i32x16), _mm512_extracti64x4_epi64(sum_i32x16, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(sum_i32x8), _mm256_extracti128_si256(sum_i32x8, 1));
}

TARGET inline __m512i add_products(__m512i sum_i32x16, __m512i row_i8x64, __m512i query_i8x64) {
    return _mm512_dpbusd_epi32(sum_i32x16, _mm512_xor_si512(row_i8x64, _mm512_set1_epi8(-128)), query_i8x64);
}

// Writes what is left after taking off the surplus of four rows' sums, or of the first `count` of them.
TARGET inline void store_dots(const __m512i* sum_i32x16, QueryCodes query, std::size_t count, std::int32_t* dots) {
    const __m128i sums_i32x4 = lane_sums(sum_i32x16[0], sum_i32x16[1], sum_i32x16[2], sum_i32x16[3]);
    const __m128i dots_i32x4 = _mm_sub_epi32(sums_i32x4, _mm_set1_epi32(128 * query.sum));
    _mm_mask_storeu_epi32(dots, first_lanes(count) & 0xf, dots_i32x4);
}

// Rows of as many chunks of 64 codes as there are c, the last perhaps in part; the query stays in registers.
//
// Memory is read row after row: four rows at a time would need fewer instructions, but as four streams from DRAM they
// took twice the time of one (Zen 4, 400,000 rows of 768).
template <std::size_t... c>
TARGET void dots_of_chunks(const std::int8_t* codes, std::size_t dimension, const std::uint32_t* rows,
                           std::size_t count, QueryCodes query, std::int32_t* dots, std::index_sequence<c...>) {
    constexpr std::size_t kLast = sizeof...(c) - 1;
    const __mmask64 valid = ~__mmask64{0} >> (63 - (dimension - 1) % 64);
    const __m512i query_i8x64[] = {_mm512_loadu_si512(query.codes_i8 + 64 * c)...};  // 0 behind the end
    for (std::size_t i = 0; i < count; i += 4) {
        __m512i sum_i32x16[4];
#pragma GCC unroll 4
        for (std::size_t r = 0; r < 4; ++r) {  // short of four, the last row stands in
            const std::int8_t* row = codes + rows[i + r < count ? i + r : count - 1] * dimension;
            const std::int8_t* next = codes + rows[i + r + 1 < count ? i + r + 1 : count - 1] * dimension;
            prefetch_apart(row, next, dimension);
            asm volatile("" ::: "memory");  // or the compiler mixes the loads of the four
            __m512i part_i32x16[4] = {};
            ((part_i32x16[c % 4] = add_products(
                  part_i32x16[c % 4],
                  c < kLast ? _mm512_loadu_si512(row + 64 * c) : _mm512_maskz_loadu_epi8(valid, row + 64 * c),
                  query_i8x64[c])),
             ...);
            sum_i32x16[r] = _mm512_add_epi32(_mm512_add_epi32(part_i32x16[0], part_i32x16[1]),
                                             _mm512_add_epi32(part_i32x16[2], part_i32x16[3]));
        }
        store_dots(sum_i32x16, query, count - i, dots + i);
    }
}

// Rows of any length.
TARGET void dots_of_long_rows(const std::int8_t* codes, std::size_t dimension, const std::uint32_t* rows,
                              std::size_t count, QueryCodes query, std::int32_t* dots) {
    for (std::size_t i = 0; i < count; i += 4) {
        __m512i sum_i32x16[4] = {};
        for (std::size_t r = 0; r < 4 && i + r < count; ++r) {
            const std::int8_t* row = codes + rows[i + r] * dimension;
            __m512i even_i32x16 = _mm512_setzero_si512(), odd_i32x16 = even_i32x16;
            for (std::size_t j = 0; j < dimension; j += 128) {
                const std::size_t left = dimension - j;
                const __mmask64 even = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
                const __mmask64 odd = left >= 128 ? ~__mmask64{0} : left > 64 ? (__mmask64{1} << (left - 64)) - 1 : 0;
                const __m512i even_i8x64 = _mm512_maskz_loadu_epi8(even, row + j);
                const __m512i odd_i8x64 = _mm512_maskz_loadu_epi8(odd, row + j + 64);
                even_i32x16 = add_products(even_i32x16, even_i8x64, _mm512_loadu_si512(query.codes_i8 + j));
                if (odd) odd_i32x16 = add_products(odd_i32x16, odd_i8x64, _mm512_loadu_si512(query.codes_i8 + j + 64));
            }
            sum_i32x16[r] = _mm512_add_epi32(even_i32x16, odd_i32x16);
        }
        store_dots(sum_i32x16, query, count - i, dots + i);
    }
}

template <std::size_t most, std::size_t chunks = 1>
void dots_of(std::size_t wanted, const std::int8_t* codes, std::size_t dimension, const std::uint32_t* rows,
             std::size_t count, QueryCodes query, std::int32_t* dots) {
    if constexpr (chunks > most) {
        dots_of_long_rows(codes, dimension, rows, count, query, dots);
    } else if (wanted == chunks) {
        dots_of_chunks(codes, dimension, rows, count, query, dots, std::make_index_sequence<chunks>());
    } else {
        dots_of<most, chunks + 1>(wanted, codes, dimension, rows, count, query, dots);
    }
}

void dots_i8(const std::int8_t* codes, std::size_t dimension, const std::uint32_t* rows, std::size_t count,
             QueryCodes query, std::int32_t* dots) {
    constexpr std::size_t kInRegisters = 16;  // of 32: chunks of the query
    dots_of<kInRegisters>((dimension + 63) / 64, codes, dimension, rows, count, query, dots);
}

TARGET std::size_t screen(const std::int32_t* dots, const float* scales, std::size_t count, Screen screen,
                          std::uint32_t* places) {
    const __m512 slope_f32x16 = _mm512_set1_ps(screen.slope), offset_f32x16 = _mm512_set1_ps(screen.offset);
    const __m512 low_f32x16 = _mm512_set1_ps(screen.low);
    std::size_t found = 0;
    for (std::size_t i = 0; i < count; i += 16) {
        const __mmask16 valid = first_lanes(count - i);
        const __m512 dots_f32x16 = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(valid, dots + i));
        const __m512 value_f32x16 = _mm512_mul_ps(_mm512_maskz_loadu_ps(valid, scales + i),
                                                  _mm512_fmadd_ps(slope_f32x16, dots_f32x16, offset_f32x16));
        const __mmask16 hit = _mm512_mask_cmp_ps_mask(valid, value_f32x16, low_f32x16, _CMP_NLT_UQ);
        if (hit) found += append_places(hit, i, places + found);
    }
    return found;
}

TARGET void project(const float* basis, std::size_t count, std::size_t dimension, const float* vector,
                    float* products) {
    for (std::size_t p = 0; p < count; p += 4) {
        const std::size_t last = std::min<std::size_t>(3, count - 1 - p);
        const float* row[4];
        for (std::size_t r = 0; r < 4; ++r) row[r] = basis + (p + std::min(r, last)) * dimension;
        __m512 sum_f32x16[4] = {};
        for (std::size_t i = 0; i < dimension; i += 16) {
            const __mmask16 valid = first_lanes(dimension - i);
            const __m512 vector_f32x16 = _mm512_maskz_loadu_ps(valid, vector + i);
            for (int r = 0; r < 4; ++r) {
                sum_f32x16[r] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(valid, row[r] + i), vector_f32x16, sum_f32x16[r]);
            }
        }
        for (std::size_t r = 0; r <= last; ++r) products[p + r] = _mm512_reduce_add_ps(sum_f32x16[r]);
    }
}

TARGET inline double sum_in_order(__m512d partial_f64x8) {
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(partial_f64x8), _mm512_extractf64x4_pd(partial_f64x8, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

TARGET inline __mmask8 first_eight(std::size_t count) {
    return count >= 8 ? __mmask8{0xff} : static_cast<__mmask8>((1u << count) - 1);
}

// Lanes behind the end add 0 * 0 = +0, which changes no partial sum: none is ever -0, since all start from +0.
TARGET double dot_f32(const float* row, const float* query, std::size_t dimension) {
    __m512d partial_f64x8 = _mm512_setzero_pd();
    for (std::size_t i = 0; i < dimension; i += 8) {
        const __mmask8 valid = first_eight(dimension - i);
        const __m512d row_f64x8 = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(valid, row + i));
        const __m512d query_f64x8 = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(valid, query + i));
        partial_f64x8 = _mm512_fmadd_pd(row_f64x8, query_f64x8, partial_f64x8);
    }
    return sum_in_order(partial_f64x8);
}

TARGET double dot_f16(const std::uint16_t* row, const float* query, std::size_t dimension) {
    __m512d partial_f64x8 = _mm512_setzero_pd();
    for (std::size_t i = 0; i < dimension; i += 8) {
        const __mmask8 valid = first_eight(dimension - i);
        const __m256 row_f32x8 =
            _mm512_castps512_ps256(_mm512_cvtph_ps(_mm256_castsi128_si256(_mm_maskz_loadu_epi16(valid, row + i))));
        const __m512d query_f64x8 = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(valid, query + i));
        partial_f64x8 = _mm512_fmadd_pd(_mm512_cvtps_pd(row_f32x8), query_f64x8, partial_f64x8);
    }
    return sum_in_order(partial_f64x8);
}

}  // namespace

const Kernels avx512vnni_kernels = {"avx512vnni", prefix_sums, maxima,  select, dots_i8,
                                    screen,       project,     dot_f32, dot_f16};

}  // namespace cardrec

#endif
