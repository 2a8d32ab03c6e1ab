// The exact search: prune by prefixes, scan int8 codes, keep what the bound can't exclude, score that from the stored
// rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "matrix.hpp"
#include "query.hpp"

namespace cardrec {

// Writes the k best allowed rows of each query, best first, equal scores by the lower row. Rows and scores are
// (queries, k). Requires: k <= the number of allowed rows; queries of the matrix's dimension; `allowed` null or a
// bitmap of all rows. Reentrant: concurrent calls share only the matrix. `threads` split the rows; 0 chooses their
// number. Throws std::system_error where vectors can't be read from their file.
void search(const Matrix& matrix, const std::vector<Query>& queries, std::size_t k, const std::uint64_t* allowed,
            std::size_t threads, std::int64_t* rows, float* scores);

}  // namespace cardrec
