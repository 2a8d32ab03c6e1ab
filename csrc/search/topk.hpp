// The exact two-stage search: scan the int8 codes, keep what the bound can't exclude, score that from the stored rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "matrix.hpp"

namespace cardrec {

// Writes the k best allowed rows of each query, best first, equal scores by the lower row. Rows and scores are (count,
// k). Requires: k <= the number of allowed rows; queries finite and of the matrix's dimension; `allowed` null or a
// bitmap of all rows. Reentrant: concurrent calls share only the matrix. `threads` > 1 splits the scan by rows.
void search(const Matrix& matrix, const float* queries, std::size_t count, std::size_t k, const std::uint64_t* allowed,
            std::size_t threads, std::int64_t* rows, float* scores);

}  // namespace cardrec
