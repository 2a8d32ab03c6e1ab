// What the two NEON tiers share: all but the int8 products.
#pragma once

#include "kernels.hpp"

namespace cardrec::neon {

// Rows in order are fetched by the processor; one that stands apart is asked for while the row before it is summed.
// Always inline: GCC takes a function that only prefetches for one without effect, and leaves out its calls.
__attribute__((always_inline)) inline void prefetch_apart(const std::int8_t* row, const std::int8_t* next,
                                                          std::size_t dimension) {
    if (next == row + dimension) return;
    for (std::size_t i = 0; i < dimension; i += 64) __builtin_prefetch(next + i);
}

void maxima(const std::int32_t* values, std::size_t count, std::int32_t* lanes);
std::size_t select(const std::int32_t* values, std::size_t count, std::int32_t low, std::uint32_t* places);
std::size_t screen(const std::int32_t* dots, const float* scales, std::size_t count, Screen screen,
                   std::uint32_t* places);
void project(const float* basis, std::size_t count, std::size_t dimension, const float* vector, float* products);
double dot_f32(const float* row, const float* query, std::size_t dimension);
double dot_f16(const std::uint16_t* row, const float* query, std::size_t dimension);

}  // namespace cardrec::neon
