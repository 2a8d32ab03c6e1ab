// From luma and chroma to RGB: BT.601 with limited range ("video range": luma 16 to 235, chroma 16 to 240), as cameras
// give it and as OpenCV's COLOR_YUV2BGR_NV12 takes it.
//
// Luma, U and V are each averaged at the output's resolution and rounded to a byte, each as a grey picture of its own
// size; then
//
//   y = 9539 * max(0, Y - 16) + 4096,  u = U - 128,  v = V - 128       (coefficients: ITU-R BT.601-7, times 2^13)
//   R = clamp((y + 13075 v) >> 13),  G = clamp((y - 6660 v - 3209 u) >> 13),  B = clamp((y + 16525 u) >> 13)
//
// with clamp to 0..255 and an arithmetic shift. |y| + ... < 9539 * 239 + 16525 * 128 + 4096 < 2^23: no overflow.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cardrec {

inline std::uint8_t to_byte(std::int32_t value) {
    return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// In place: `rgb` holds Y as its red. U and V are every third byte, as the kernels write pixels.
inline void convert_yuv(const std::uint8_t* u_bytes, const std::uint8_t* v_bytes, std::size_t count,
                        std::uint8_t* __restrict rgb) {
    for (std::size_t i = 0; i < 3 * count; i += 3) {
        const std::int32_t luma = rgb[i] - 16, y = 9539 * (luma < 0 ? 0 : luma) + 4096;
        const std::int32_t u = u_bytes[i] - 128, v = v_bytes[i] - 128;
        rgb[i] = to_byte((y + 13075 * v) >> 13);
        rgb[i + 1] = to_byte((y - 6660 * v - 3209 * u) >> 13);
        rgb[i + 2] = to_byte((y + 16525 * u) >> 13);
    }
}

}  // namespace cardrec
