// Which tiers there are, and which one is used.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"

namespace cardrec {

// The tiers that this processor runs, the slowest first.
std::vector<const Kernels*> available_tiers();

// The tier of that name; of the empty name, the one that the environment variable CARDREC_SIMD forces, or else the
// fastest. Throws std::invalid_argument, naming what there is, where there is no such tier here.
const Kernels& find_tier(const std::string& name);

}  // namespace cardrec
