#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

namespace cardrec {

extern const Kernels scalar_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx512vnni_kernels;
#elif defined(__aarch64__)
extern const Kernels neon_kernels;
extern const Kernels neon_dotprod_kernels;
#endif

namespace {

const Kernels* const kTiers[] = {
    &scalar_kernels,
#if defined(__x86_64__)
    &avx2_kernels,
    &avx512vnni_kernels,
#elif defined(__aarch64__)
    &neon_kernels,
    &neon_dotprod_kernels,
#endif
};

const Kernels& fastest_or_forced() {
    const char* forced = std::getenv("CARDREC_SIMD");
    if (forced == nullptr || *forced == '\0') return *available_tiers().back();
    try {
        return find_tier(forced);
    } catch (const std::invalid_argument& error) {
        throw std::invalid_argument(std::string("CARDREC_SIMD: ") + error.what());
    }
}

}  // namespace

std::vector<const Kernels*> available_tiers() {
    std::vector<const Kernels*> tiers;
    for (const Kernels* tier : kTiers) {
        if (tier->runs_here()) tiers.push_back(tier);
    }
    return tiers;
}

const Kernels& find_tier(const std::string& name) {
    if (name.empty()) {
        static const Kernels& chosen = fastest_or_forced();
        return chosen;
    }
    std::string names;
    for (const Kernels* tier : available_tiers()) {
        if (name == tier->tier) return *tier;
        names += (names.empty() ? "" : ", ") + std::string(tier->tier);
    }
    throw std::invalid_argument("SIMD tier '" + name + "' is not there; this processor has: " + names);
}

}  // namespace cardrec
