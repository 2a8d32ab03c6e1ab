// A second look at an outline: what to cut out around it, and what the corner network says of that.
#pragma once

#include <cstddef>

#include "quad.hpp"

namespace cardrec {

constexpr std::size_t kCornerChannels = 13;

// The quad with its margin: what the crop shows.
Quad surroundings(const Quad& quad);

// The outline in a crop with these corners, of what the network says: from the corner that is likeliest to be the
// card's own top left, of those that begin a short side; which sides are the short ones is seen in its shape, unless
// the card lies very aslant. `cardrec/corners.py` says what the numbers mean.
Quad corrected(const Quad& around, const float* said);

// How likely it is a card.
double score(const float* said);

}  // namespace cardrec
