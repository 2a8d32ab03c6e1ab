// The allowed rows: bit r % 64 of word r / 64 says whether row r may be returned.
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

// Calls visit(first, last) for each maximal run in begin..end of rows whose bit, xored with `flip`, is set.
template <typename Visit>
void for_each_run(const std::uint64_t* words, std::size_t begin, std::size_t end, std::uint64_t flip, Visit visit) {
    for (std::size_t row = next_bit(words, begin, end, flip); row < end; row = next_bit(words, row, end, flip)) {
        const std::size_t stop = next_bit(words, row, end, ~flip);
        visit(row, stop);
        row = stop;
    }
}

// Rows of begin..end that are allowed; without a bitmap all are.
inline std::size_t count_allowed(const std::uint64_t* words, std::size_t begin, std::size_t end) {
    if (words == nullptr) return end - begin;
    std::size_t count = 0;
    for (std::size_t row = begin; row < end;) {
        const std::size_t stop = std::min(end, (row / 64 + 1) * 64);
        std::uint64_t bits = words[row / 64] >> (row % 64);
        if (stop - row < 64) bits &= (std::uint64_t{1} << (stop - row)) - 1;
        count += static_cast<std::size_t>(__builtin_popcountll(bits));
        row = stop;
    }
    return count;
}

}  // namespace cardrec
