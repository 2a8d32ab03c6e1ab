// The scalar tier: plain loops, for any processor. Compilers turn most of them into the vector instructions that every
// processor of the target has (SSE2 pmaddwd, NEON smlal). See kernels.hpp for the contract and the overflow bounds.
#include <algorithm>
#include <limits>

#include "half.hpp"
#include "kernels.hpp"

namespace cardrec {
extern const Kernels scalar_kernels;
namespace {

void prefix_sums(const std::int8_t* groups, std::size_t count, std::size_t width, const std::int8_t* query,
                 std::int32_t* sums) {
    for (std::size_t g = 0; g < count; ++g, groups += width * kLanes, sums += kLanes) {
        std::int32_t sum[kLanes] = {};
        for (std::size_t j = 0; j < width; j += 4) {
            const std::int8_t* quads = groups + j * kLanes;
            for (std::size_t r = 0; r < kLanes; ++r) {
                const std::int8_t* quad = quads + 4 * r;
                sum[r] += quad[0] * query[j] + quad[1] * query[j + 1] + quad[2] * query[j + 2] + quad[3] * query[j + 3];
            }
        }
        std::copy(sum, sum + kLanes, sums);
    }
}

void maxima(const std::int32_t* values, std::size_t count, std::int32_t* lanes) {
    std::fill(lanes, lanes + kLanes, std::numeric_limits<std::int32_t>::min());
    for (std::size_t i = 0; i < count; ++i) lanes[i % kLanes] = std::max(lanes[i % kLanes], values[i]);
}

std::size_t select(const std::int32_t* values, std::size_t count, std::int32_t low, std::uint32_t* places) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (values[i] >= low) places[found++] = static_cast<std::uint32_t>(i);
    }
    return found;
}

std::int32_t dot_i8(const std::int8_t* __restrict row, const std::int16_t* __restrict query, std::size_t dimension) {
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < dimension; ++i) {
        const std::int16_t widened = row[i];  // int16 x int16 -> int32 is the pattern that becomes pmaddwd
        sum += widened * query[i];
    }
    return sum;
}

void dots_i8(const std::int8_t* codes, std::size_t dimension, const std::uint32_t* rows, std::size_t count,
             QueryCodes query, std::int32_t* dots) {
    for (std::size_t i = 0; i < count; ++i) dots[i] = dot_i8(codes + rows[i] * dimension, query.codes_i16, dimension);
}

std::size_t screen(const std::int32_t* dots, const float* scales, std::size_t count, Screen screen,
                   std::uint32_t* places) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const float value = scales[i] * (screen.slope * static_cast<float>(dots[i]) + screen.offset);
        if (!(value < screen.low)) places[found++] = static_cast<std::uint32_t>(i);
    }
    return found;
}

void project(const float* basis, std::size_t count, std::size_t dimension, const float* vector, float* products) {
    for (std::size_t p = 0; p < count; ++p, basis += dimension) {
        float partial[16] = {};  // independent sums, which a compiler may keep in vector registers
        std::size_t i = 0;
        for (; i + 16 <= dimension; i += 16) {
            for (std::size_t j = 0; j < 16; ++j) partial[j] += basis[i + j] * vector[i + j];
        }
        for (; i < dimension; ++i) partial[i % 16] += basis[i] * vector[i];
        float sum = 0.0f;
        for (const float part : partial) sum += part;
        products[p] = sum;
    }
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
    return sum_in_order(partial);
}

}  // namespace

const Kernels scalar_kernels = {"scalar",   prefix_sums,       maxima, select, dots_i8, screen, project,
                                dot<float>, dot<std::uint16_t>};

}  // namespace cardrec
