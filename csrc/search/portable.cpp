// The portable tier: plain loops, which GCC and Clang turn into the vector instructions that every processor of the
// target has (SSE2 pmaddwd, NEON smlal). See kernels.hpp for the contract and the overflow bound.
#include "half.hpp"
#include "kernels.hpp"

namespace cardrec {
namespace {

std::int32_t dot_i8(const std::int8_t* __restrict row, const std::int16_t* __restrict query, std::size_t dimension) {
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < dimension; ++i) {
        const std::int16_t widened = row[i];  // int16 x int16 -> int32 is the pattern that becomes pmaddwd
        sum += widened * query[i];
    }
    return sum;
}

void dots_i8(const std::int8_t* rows, std::size_t count, std::size_t dimension, QueryCodes query, std::int32_t* dots) {
    for (std::size_t r = 0; r < count; ++r) dots[r] = dot_i8(rows + r * dimension, query.codes_i16, dimension);
}

inline double widen(float value) { return static_cast<double>(value); }
inline double widen(std::uint16_t half) { return static_cast<double>(float_from_half(half)); }

template <typename Element>
double dot(const Element* row, const float* query, std::size_t dimension) {
    double partial[8] = {};
    const std::size_t whole = dimension - dimension % 8;
    for (std::size_t i = 0; i < whole; i += 8) {
        for (std::size_t j = 0; j < 8; ++j) partial[j] += widen(row[i + j]) * widen(query[i + j]);
    }
    for (std::size_t i = whole; i < dimension; ++i) partial[i - whole] += widen(row[i]) * widen(query[i]);
    for (std::size_t j = 0; j < 4; ++j) partial[j] += partial[j + 4];
    for (std::size_t j = 0; j < 2; ++j) partial[j] += partial[j + 2];
    return partial[0] + partial[1];
}

}  // namespace

const Kernels portable_kernels = {"portable", dots_i8, dot<float>, dot<std::uint16_t>};

}  // namespace cardrec
