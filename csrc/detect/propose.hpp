// What the outline network says, as outlines.
#pragma once

#include <cstddef>
#include <vector>

#include "quad.hpp"

namespace cardrec {

constexpr std::size_t kCellChannels = 12;

struct Proposal {
    Quad quad;  // in the network's pixels
    float score;
};

// The outlines that the cells (channels, rows, columns) show with at least that score, the best first, at most so many,
// one for each card. `cardrec/outlines.py` says what the channels mean.
std::vector<Proposal> propose(const float* cells, std::size_t rows, std::size_t columns, double least,
                              std::size_t most);

}  // namespace cardrec
