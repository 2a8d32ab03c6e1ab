// The portable tier, and the reading of the contract in kernels.hpp that the others are tested against.
#include <algorithm>
#include <cstring>

#include "kernels.hpp"

namespace cardrec {
extern const Kernels scalar_kernels;
namespace {

std::int64_t fixed_point(double shifted) {
    const double zero = kFixedPoint;
    std::int64_t bits, offset;
    std::memcpy(&bits, &shifted, sizeof bits);
    std::memcpy(&offset, &zero, sizeof offset);
    return bits - offset;
}

void place(const Row& row, int first, int count, std::int64_t* x, std::int64_t* y) {
    for (int i = 0; i < count; ++i) {
        const double u = (static_cast<double>(first + i) + 0.5) * row.pixel, inverse = 1.0 / (row.g * u + row.w);
        x[i] = fixed_point(((row.a * u + row.x) * inverse - 0.5) + kFixedPoint);
        y[i] = fixed_point(((row.d * u + row.y) * inverse - 0.5) + kFixedPoint);
    }
}

void blend(const Source& source, const std::uint8_t* origin, const Pattern& pattern, const std::int64_t* x,
           const std::int64_t* y, std::uint8_t* out) {
    const std::uint32_t one = 1u << pattern.bits;
    const float reciprocal = 1.0f / static_cast<float>(pattern.size << (2 * pattern.bits));
    std::uint32_t sums[kTile][3] = {};
    for (int s = 0; s < pattern.size; ++s) {
        for (int u = 0; u < kTile; ++u) {
            const std::uint32_t at_x = static_cast<std::uint32_t>(x[u]) + static_cast<std::uint32_t>(pattern.x[s]);
            const std::uint32_t at_y = static_cast<std::uint32_t>(y[u]) + static_cast<std::uint32_t>(pattern.y[s]);
            const std::uint32_t fx = at_x >> (kFractionBits - pattern.bits) & (one - 1), gx = one - fx;
            const std::uint32_t fy = at_y >> (kFractionBits - pattern.bits) & (one - 1), gy = one - fy;
            const std::int32_t column = static_cast<std::int32_t>(at_x) >> kFractionBits;
            const std::int32_t line = static_cast<std::int32_t>(at_y) >> kFractionBits;
            const std::uint8_t* upper = origin + std::ptrdiff_t{line} * source.stride + column * source.step;
            const std::uint8_t* lower = upper + source.stride;
            for (int c = 0; c < 3; ++c) {
                const int left = source.lane[c], right = left + source.step;
                sums[u][c] += gy * (gx * upper[left] + fx * upper[right]) + fy * (gx * lower[left] + fx * lower[right]);
            }
        }
    }
    for (int u = 0; u < kTile; ++u) {
        for (const std::uint32_t sum : sums[u]) {
            *out++ = static_cast<std::uint8_t>(static_cast<float>(static_cast<std::int32_t>(sum)) * reciprocal + 0.5f);
        }
    }
}

void add_lines(const std::uint8_t* const* lines, const std::uint16_t* weights, std::size_t count, std::size_t bytes,
               int begin, std::uint16_t* sums) {
    if (begin >= 0) std::fill_n(sums, bytes, static_cast<std::uint16_t>(begin));
    for (std::size_t j = 0; j < count; ++j) {
        const std::uint8_t* line = lines[j];
        const std::uint32_t weight = weights[j];
        for (std::size_t i = 0; i < bytes; ++i) {
            const auto shifted = static_cast<std::uint16_t>(line[i] << 8);
            sums[i] = static_cast<std::uint16_t>(sums[i] + ((shifted * weight) >> 16));
        }
    }
}

void columns(const std::uint16_t* sums, std::ptrdiff_t step, const std::uint8_t* lane, const Columns& columns,
             std::uint8_t* out) {
    for (std::size_t u = 0; u < columns.outputs; ++u) {
        const std::uint16_t* pixel = sums + columns.first[u] * step;
        std::uint32_t rgb[3] = {1u << 23, 1u << 23, 1u << 23};
        const std::uint16_t* weights = columns.weights + u * columns.taps;
        for (std::size_t j = 0; j < columns.taps; ++j, pixel += step) {
            for (int c = 0; c < 3; ++c) rgb[c] += std::uint32_t{pixel[lane[c]]} * weights[j];
        }
        for (const std::uint32_t sum : rgb) *out++ = static_cast<std::uint8_t>(sum >> 24);
    }
}

std::uint8_t to_byte(std::int32_t value) {
    return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

void yuv(const std::uint8_t* u_bytes, const std::uint8_t* v_bytes, std::size_t count, std::uint8_t* rgb) {
    for (std::size_t i = 0; i < 3 * count; i += 3) {
        const std::int32_t luma = rgb[i] - 16, y = 9539 * (luma < 0 ? 0 : luma) + 4096;
        const std::int32_t u = u_bytes[i] - 128, v = v_bytes[i] - 128;
        rgb[i] = to_byte((y + 13075 * v) >> 13);
        rgb[i + 1] = to_byte((y - 6660 * v - 3209 * u) >> 13);
        rgb[i + 2] = to_byte((y + 16525 * u) >> 13);
    }
}

}  // namespace

const Kernels scalar_kernels = {"scalar", place, blend, add_lines, columns, yuv};

}  // namespace cardrec
