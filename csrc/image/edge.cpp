#include "edge.hpp"

#include <algorithm>

namespace cardrec {
namespace {

// Where the two neighbours of a position lie, in bytes, and the second one's weight.
struct Axis {
    std::ptrdiff_t near, far;
    std::uint32_t fraction;

    Axis(std::int64_t position, std::ptrdiff_t size, std::ptrdiff_t stride, int bits) {
        const std::int64_t whole = position >> kFractionBits;
        near = std::clamp<std::int64_t>(whole, 0, size - 1) * stride;
        far = std::clamp<std::int64_t>(whole + 1, 0, size - 1) * stride;
        fraction = static_cast<std::uint32_t>(position >> (kFractionBits - bits)) & ((1u << bits) - 1);
    }
};

void add_sample(const Frame& frame, Position at, int bits, std::uint32_t* rgb) {
    const Axis x(at.x, frame.width, frame.stride_x, bits), y(at.y, frame.height, frame.stride_y, bits);
    const std::uint32_t one = 1u << bits, gx = one - x.fraction, gy = one - y.fraction;
    const std::uint8_t *upper = frame.data + y.near, *lower = frame.data + y.far;
    for (int c = 0; c < 3; ++c) {
        const std::ptrdiff_t left = x.near + frame.rgb[c], right = x.far + frame.rgb[c];
        rgb[c] += gy * (gx * upper[left] + x.fraction * upper[right]) +
                  y.fraction * (gx * lower[left] + x.fraction * lower[right]);
    }
}

}  // namespace

void blend_anywhere(const Frame& frame, const Grid& grid, const Position* centres, int count, std::uint8_t* out) {
    const float reciprocal = 1.0f / static_cast<float>(grid.size() << (2 * grid.bits()));
    for (int u = 0; u < count; ++u) {
        std::uint32_t rgb[3] = {};
        grid.each(centres[u], [&](Position at) { add_sample(frame, at, grid.bits(), rgb); });
        for (const std::uint32_t sum : rgb) {
            *out++ = static_cast<std::uint8_t>(static_cast<float>(static_cast<std::int32_t>(sum)) * reciprocal + 0.5f);
        }
    }
}

}  // namespace cardrec
