// The two scans of a part of a segment: all allowed rows, or those that their prefixes leave.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "matrix.hpp"
#include "prefix.hpp"
#include "query.hpp"
#include "shortlist.hpp"

namespace cardrec {

// Rows first..last of segment `segment`, counted within it; `first` is a multiple of kLanes.
struct Chunk {
    std::size_t segment;
    std::size_t first;
    std::size_t last;
};

// Some queries that share each pass over memory, and what they are looked up in.
struct Task {
    const Matrix& matrix;
    const Query* queries;
    std::size_t count;
    const std::vector<PrefixQuery>& prefixes;  // one for each query, or none
    const std::uint64_t* allowed;
    std::size_t k;
};

// Puts the rows of a chunk that may be among the best k onto each query's list.
void scan(const Task& task, Chunk chunk, std::vector<Shortlist>& found);

}  // namespace cardrec
