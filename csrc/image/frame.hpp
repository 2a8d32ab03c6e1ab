// A picture in the caller's memory: uint8 samples with any strides, as packed pixels or as planes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cardrec {

// Samples of one resolution, and where a pixel's red, green and blue lie, or what is taken for them.
struct Frame {
    const std::uint8_t* data;
    std::ptrdiff_t height, width;
    std::ptrdiff_t stride_y, stride_x;  // bytes, may be negative
    std::ptrdiff_t rgb[3];  // byte offsets of red, green and blue within a pixel; three times 0 in a grey picture
};

// A packed picture (one frame), or luma and chroma: two frames where U and V are neighbours in memory (NV12: U for red,
// V for green and blue), else three. Chroma has half of luma's size, each sample in the middle of 2x2 of luma.
struct Picture {
    Frame frames[3];
    int count;
};

inline Picture make_picture(const std::uint8_t* data, std::ptrdiff_t height, std::ptrdiff_t width,
                            std::ptrdiff_t channels, std::ptrdiff_t stride_y, std::ptrdiff_t stride_x,
                            std::ptrdiff_t stride_c, bool swap_rb) {
    const std::ptrdiff_t step = channels == 1 ? 0 : stride_c;
    const std::ptrdiff_t red = swap_rb ? 2 * step : 0, blue = swap_rb ? 0 : 2 * step;
    return {{{data, height, width, stride_y, stride_x, {red, step, blue}}, {}, {}}, 1};
}

inline Frame make_plane(const std::uint8_t* data, std::ptrdiff_t height, std::ptrdiff_t width, std::ptrdiff_t stride_y,
                        std::ptrdiff_t stride_x) {
    return {data, height, width, stride_y, stride_x, {0, 0, 0}};
}

inline Picture make_yuv(const Frame& luma, const Frame& u, const Frame& v) {
    const std::ptrdiff_t apart = u.stride_x == 2 || u.stride_x == -2 ? v.data - u.data : 0;
    if ((apart != 1 && apart != -1) || u.stride_x != v.stride_x || u.stride_y != v.stride_y) return {{luma, u, v}, 3};
    return {{luma, {u.data, u.height, u.width, u.stride_y, u.stride_x, {0, apart, apart}}, {}}, 2};
}

}  // namespace cardrec
