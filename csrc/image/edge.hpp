// The slow way to blend a tile, for what the kernels leave: samples at or beyond the frame's edges, unusual strides.
#pragma once

#include <cstdint>

#include "frame.hpp"
#include "pattern.hpp"

namespace cardrec {

// Writes `count` output pixels, whose centres are given: what Kernels::blend writes, pixel by pixel, with the nearest
// pixel for those beyond the frame.
void blend_anywhere(const Frame& frame, const Grid& grid, const Position* centres, int count, std::uint8_t* out);

}  // namespace cardrec
