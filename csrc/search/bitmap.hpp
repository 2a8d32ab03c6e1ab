// Runs of allowed rows: bit r % 64 of word r / 64 says whether row r may be returned.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace cardrec {

// The first row >= `row` and < `end` whose bit, xored with `flip` (0 or all ones), is set; `end` if there is none.
inline std::size_t next_bit(const std::uint64_t* words, std::size_t row, std::size_t end, std::uint64_t flip) {
    if (row >= end) return end;
    std::size_t word = row / 64;
    std::uint64_t bits = (words[word] ^ flip) & (~std::uint64_t{0} << (row % 64));
    const std::size_t last = (end - 1) / 64;
    while (bits == 0) {
        if (++word > last) return end;
        bits = words[word] ^ flip;
    }
    return std::min(end, word * 64 + static_cast<std::size_t>(__builtin_ctzll(bits)));
}

// Calls visit(first, last) for each maximal run of allowed rows in begin..end; without a bitmap, once for all of them.
template <typename Visit>
void for_each_run(const std::uint64_t* words, std::size_t begin, std::size_t end, Visit visit) {
    if (words == nullptr) {
        if (begin < end) visit(begin, end);
        return;
    }
    for (std::size_t row = next_bit(words, begin, end, 0); row < end; row = next_bit(words, row, end, 0)) {
        const std::size_t stop = next_bit(words, row, end, ~std::uint64_t{0});
        visit(row, stop);
        row = stop;
    }
}

inline std::size_t count_allowed(const std::uint64_t* words, std::size_t rows) {
    if (words == nullptr) return rows;
    std::size_t count = 0;
    for_each_run(words, 0, rows, [&](std::size_t first, std::size_t last) { count += last - first; });
    return count;
}

}  // namespace cardrec
