// How many multiply-adds this core does in a second, all in registers: what networks are held against. A library,
// which `benchmarks/roofline.py` loads, to run it in turn with them.
//
// Both functions take `rounds` steps on each of twelve chains, which hide the latency of the multipliers (4 to 5
// cycles, two a cycle), and return how many multiply-adds that were, in the widest registers that this processor has.
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>
#endif

namespace {

constexpr int kChains = 12;

// `sum` after a step is opaque to the compiler, so that no step is left out. `constraint`: of a vector register.
#define CHAINS(type, zero, constraint, lanes, step) \
    type sums[kChains];                             \
    for (type& sum : sums) sum = zero;              \
    for (std::int64_t i = 0; i < rounds; ++i) {     \
        for (type& sum : sums) {                    \
            sum = step;                             \
            __asm__ volatile("" : constraint(sum)); \
        }                                           \
    }                                               \
    return rounds * kChains * lanes

#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) std::int64_t f32_avx2(std::int64_t rounds) {
    const __m256 factor = _mm256_set1_ps(0.5f);
    CHAINS(__m256, _mm256_setzero_ps(), "+x", 8, _mm256_fmadd_ps(factor, factor, sum));
}

__attribute__((target("avx512f"))) std::int64_t f32_avx512(std::int64_t rounds) {
    const __m512 factor = _mm512_set1_ps(0.5f);
    CHAINS(__m512, _mm512_setzero_ps(), "+v", 16, _mm512_fmadd_ps(factor, factor, sum));
}

// Without an instruction for it, four products of bytes are added in three.
__attribute__((target("avx2"))) std::int64_t int8_avx2(std::int64_t rounds) {
    __m256i bytes = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
    CHAINS(__m256i, _mm256_setzero_si256(), "+x", 32, [&]() __attribute__((target("avx2"))) {
        __asm__ volatile("" : "+x"(bytes));
        return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, bytes), ones));
    }());
}

__attribute__((target("avx512f,avx512vnni"))) std::int64_t int8_avx512vnni(std::int64_t rounds) {
    const __m512i bytes = _mm512_set1_epi8(1);
    CHAINS(__m512i, _mm512_setzero_si512(), "+v", 64, _mm512_dpbusd_epi32(sum, bytes, bytes));
}

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() { return __builtin_cpu_supports("avx512f"); }
bool has_vnni() { return __builtin_cpu_supports("avx512vnni"); }

#elif defined(__aarch64__)

std::int64_t f32_neon(std::int64_t rounds) {
    const float32x4_t factor = vdupq_n_f32(0.5f);
    CHAINS(float32x4_t, vdupq_n_f32(0.0f), "+w", 4, vfmaq_f32(sum, factor, factor));
}

#if defined(__clang__)
__attribute__((target("dotprod")))
#else
__attribute__((target("arch=armv8.2-a+dotprod")))
#endif
std::int64_t int8_dotprod(std::int64_t rounds) {
    const int8x16_t bytes = vdupq_n_s8(1);
    CHAINS(int32x4_t, vdupq_n_s32(0), "+w", 16, vdotq_s32(sum, bytes, bytes));
}

// Without an instruction for it: products of halves of a register, added in pairs.
std::int64_t int8_neon(std::int64_t rounds) {
    int8x8_t bytes = vdup_n_s8(1);
    CHAINS(int32x4_t, vdupq_n_s32(0), "+w", 8, (vpadalq_s16(sum, vmull_s8(bytes, bytes))));
}

bool has_dotprod() { return (getauxval(AT_HWCAP) & (1 << 20)) != 0; }  // HWCAP_ASIMDDP of <asm/hwcap.h>

#endif

}  // namespace

// Multiply-adds of floats; of bytes, added up in 32 bits. 0 where this processor is not known here.
extern "C" std::int64_t f32_macs(std::int64_t rounds) {
#if defined(__x86_64__)
    return has_avx512() ? f32_avx512(rounds) : has_avx2() ? f32_avx2(rounds) : 0;
#elif defined(__aarch64__)
    return f32_neon(rounds);
#else
    return 0 * rounds;
#endif
}

extern "C" std::int64_t int8_macs(std::int64_t rounds) {
#if defined(__x86_64__)
    return has_vnni() ? int8_avx512vnni(rounds) : has_avx2() ? int8_avx2(rounds) : 0;
#elif defined(__aarch64__)
    return has_dotprod() ? int8_dotprod(rounds) : int8_neon(rounds);
#else
    return 0 * rounds;
#endif
}
