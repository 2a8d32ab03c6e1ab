// What the two NEON tiers share: all but the int8 products.
#pragma once

#include "kernels.hpp"
#include "prefetch.hpp"

namespace cardrec::neon {

void maxima(const std::int32_t* values, std::size_t count, std::int32_t* lanes);
std::size_t select(const std::int32_t* values, std::size_t count, std::int32_t low, std::uint32_t* places);
std::size_t screen(const std::int32_t* dots, const float* scales, std::size_t count, Screen screen,
                   std::uint32_t* places);
void project(const float* basis, std::size_t count, std::size_t dimension, const float* vector, float* products);
double dot_f32(const float* row, const float* query, std::size_t dimension);
double dot_f16(const std::uint16_t* row, const float* query, std::size_t dimension);

}  // namespace cardrec::neon
