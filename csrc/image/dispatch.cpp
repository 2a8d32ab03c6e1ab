#include "dispatch.hpp"

#include "tiers.hpp"

namespace cardrec {

extern const Kernels scalar_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
#elif defined(__aarch64__)
extern const Kernels neon_kernels;
#endif

namespace {

const Kernels* const kTables[] = {
    &scalar_kernels,
#if defined(__x86_64__)
    &avx2_kernels,
#elif defined(__aarch64__)
    &neon_kernels,
#endif
};

}  // namespace

std::vector<const Kernels*> available_tiers() { return available(kTables); }

const Kernels& find_tier(const std::string& name) { return find_table<kTables>(name); }

}  // namespace cardrec
