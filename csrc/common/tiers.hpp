// The instruction sets ("tiers") for which this library has kernels, and which one is used: one list and one
// environment variable for the native modules. A module need not have kernels of its own for every tier.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cardrec {

// The tiers that this processor runs, the slowest first; each has what those before it have.
std::vector<std::string> processor_tiers();

// The tier to use: `name`, or where that is empty the one that the environment variable CARDREC_SIMD names, or else the
// fastest. Throws std::invalid_argument, naming what there is, where this processor does not have it.
std::string wanted_tier(const std::string& name);

// Those of a module's tables (which begin with `tier`, a name, and go from slow to fast) that this processor runs.
template <typename Kernels, std::size_t size>
std::vector<const Kernels*> available(const Kernels* const (&tables)[size]) {
    std::vector<const Kernels*> found;
    for (const std::string& tier : processor_tiers()) {
        for (const Kernels* table : tables) {
            if (tier == table->tier) found.push_back(table);
        }
    }
    return found;
}

// A module's table for a tier (see wanted_tier): its own, or else the best of those below.
template <typename Kernels, std::size_t size>
const Kernels& best_table(const Kernels* const (&tables)[size], const std::string& name) {
    const std::string wanted = wanted_tier(name);
    const Kernels* best = tables[0];
    for (const std::string& tier : processor_tiers()) {
        for (const Kernels* table : tables) {
            if (tier == table->tier) best = table;
        }
        if (tier == wanted) break;
    }
    return *best;
}

// best_table, but the table of the empty name is chosen once, not for every call.
template <const auto& tables>
const auto& find_table(const std::string& name) {
    if (!name.empty()) return best_table(tables, name);
    static const auto& chosen = best_table(tables, name);
    return chosen;
}

}  // namespace cardrec
