#include "tiers.hpp"

#include <cstdlib>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)  // <asm/hwcap.h>
#endif
#endif

namespace cardrec {
namespace {

struct Tier {
    const char* name;
    bool (*runs_here)();
};

bool always() { return true; }

#if defined(__x86_64__)

bool has_f16c() {  // Clang before 19 has no __builtin_cpu_supports("f16c")
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c(); }

bool has_avx512vnni() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

constexpr Tier kTiers[] = {{"scalar", always}, {"avx2", has_avx2}, {"avx512vnni", has_avx512vnni}};

#elif defined(__aarch64__)

bool has_dotprod() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }

constexpr Tier kTiers[] = {{"scalar", always}, {"neon", always}, {"neon_dotprod", has_dotprod}};

#else

constexpr Tier kTiers[] = {{"scalar", always}};

#endif

}  // namespace

std::vector<std::string> processor_tiers() {
    std::vector<std::string> names;
    for (const Tier& tier : kTiers) {
        if (tier.runs_here()) names.emplace_back(tier.name);
    }
    return names;
}

std::string wanted_tier(const std::string& name) {
    const char* forced = name.empty() ? std::getenv("CARDREC_SIMD") : nullptr;
    const std::string wanted = forced != nullptr ? forced : name;
    const std::vector<std::string> tiers = processor_tiers();
    if (wanted.empty()) return tiers.back();
    std::string names;
    for (const std::string& tier : tiers) {
        if (tier == wanted) return tier;
        names += (names.empty() ? "" : ", ") + tier;
    }
    const std::string origin = forced != nullptr ? "CARDREC_SIMD: " : "";
    throw std::invalid_argument(origin + "SIMD tier '" + wanted + "' is not there; this processor has: " + names);
}

}  // namespace cardrec
