// IEEE 754 half precision to single, exactly, without hardware support.
#pragma once

#include <cstdint>
#include <cstring>

namespace cardrec {

inline float float_from_bits(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline float float_from_half(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1fu;
    const std::uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, which a float holds as a normal number
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    const std::uint32_t widened = exponent == 31 ? 0xffu : exponent + 112u;  // the biases differ by 127 - 15
    return float_from_bits(sign | (widened << 23) | (mantissa << 13));
}

}  // namespace cardrec
