// A picture in the caller's memory: uint8 samples with any strides, and where its red, green and blue lie in a pixel.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace cardrec {

struct Frame {
    const std::uint8_t* data;
    std::ptrdiff_t height, width;
    std::ptrdiff_t stride_y, stride_x;  // bytes, may be negative
    std::ptrdiff_t rgb[3];  // byte offsets of red, green and blue within a pixel; three times 0 in a grey picture
};

inline Frame make_frame(const std::uint8_t* data, std::ptrdiff_t height, std::ptrdiff_t width, std::ptrdiff_t channels,
                        std::ptrdiff_t stride_y, std::ptrdiff_t stride_x, std::ptrdiff_t stride_c, bool swap_rb) {
    const std::ptrdiff_t step = channels == 1 ? 0 : stride_c;
    return {data, height, width, stride_y, stride_x, {swap_rb ? 2 * step : 0, step, swap_rb ? 0 : 2 * step}};
}

// 3 or 4 where a pixel's channels are neighbours in memory and so are pixels; else 0.
inline int packed_pixel_bytes(const Frame& frame) {
    const auto [low, high] = std::minmax({frame.rgb[0], frame.rgb[1], frame.rgb[2]});
    const bool packed = high - low == 2 && (frame.stride_x == 3 || frame.stride_x == 4);
    return packed ? static_cast<int>(frame.stride_x) : 0;
}

}  // namespace cardrec
