// Asking for rows ahead of time, in the kernels.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cardrec {

// Rows in order are fetched by the processor; one that stands apart is asked for while the row before it is summed.
// Always inline: GCC takes a function that only prefetches for one without effect, and leaves out its calls.
__attribute__((always_inline)) inline void prefetch_apart(const std::int8_t* row, const std::int8_t* next,
                                                          std::size_t dimension) {
    if (next == row + dimension) return;
    for (std::size_t i = 0; i < dimension; i += 64) __builtin_prefetch(next + i);
}

}  // namespace cardrec
