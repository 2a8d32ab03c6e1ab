// Where exactly the four sides of an outline lie: strips of the frame along them, and what the side network says.
#pragma once

#include <cstddef>
#include <cstdint>

#include "frame.hpp"
#include "quad.hpp"

namespace cardrec {

constexpr std::size_t kStripAlong = 16, kStripAcross = 32;  // pixels: along a side, and from outside to inside
constexpr std::size_t kStripBytes = kStripAlong * kStripAcross * 3;
constexpr std::size_t kSidePlaces = 8;                            // along a side, for which the network answers
constexpr std::size_t kSideNumbers = kSidePlaces * kStripAcross;  // of each side

// Writes four strips of RGB bytes, one for each side: (4, kStripAlong, kStripAcross, 3).
void write_strips(const Frame& frame, const Quad& quad, std::uint8_t* out);

// The outline whose sides are the likeliest straight lines through the strips, of what the network says of them: (4,
// kSidePlaces, kStripAcross).
Quad with_sides(const Quad& quad, const float* said);

}  // namespace cardrec
