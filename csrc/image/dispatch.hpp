// Which tiers have kernels here, and which one is used.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"

namespace cardrec {

// Those that this processor runs, the slowest first.
std::vector<const Kernels*> available_tiers();

// The kernels for a tier, its own or the best below it; of the empty name, for the one that the environment variable
// CARDREC_SIMD forces, or else the fastest. Throws std::invalid_argument where this processor lacks the tier.
const Kernels& find_tier(const std::string& name);

}  // namespace cardrec
