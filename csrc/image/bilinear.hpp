// The mean of several bilinear samples of a frame, in integers.
//
// A sample at x = ix + fx / 2^Bits (the fraction cut to Bits bits) takes the pixels ix and ix + 1 with weights 2^Bits -
// fx and fx, and likewise in y, so its four weights sum to 4^Bits. 255 * 4^Bits <= 65280 fits in 16 bits, and for Bits
// = 3 so do four samples: they are added up in 16-bit lanes and then moved to 32 bits. 256 samples at most: 255 * 256 *
// 64 < 2^22.
//
// Two ways to the same sums: where all pixels lie well inside the frame and are packed, one load takes both pixels of a
// line (8 bytes: 2 pixels of 4, or 2 of 3 and 2 bytes of the third) and all their channels are weighted at once; else
// sample by sample. GCC's and Clang's vector types make SSE2 or NEON of the first way.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "frame.hpp"

namespace cardrec {

constexpr int kFractionBits = 16;  // of positions
constexpr int kMostPerAxis = 16;   // samples
constexpr int kTile = 16;  // output pixels that share one pattern of samples: their footprints differ by 1 % or so

// A point of the frame, or the way from one to another, in 2^-16 pixels.
struct Position {
    std::int64_t x, y;
};

// The samples of an output pixel, as seen from its centre, and the box that holds them.
class Pattern {
  public:
    void clear() {
        size_ = 0;
        low_ = high_ = {0, 0};
    }

    void add(Position sample) {
        samples_[size_++] = sample;
        low_ = {std::min(low_.x, sample.x), std::min(low_.y, sample.y)};
        high_ = {std::max(high_.x, sample.x), std::max(high_.y, sample.y)};
    }

    std::size_t size() const { return size_; }
    const Position& operator[](std::size_t i) const { return samples_[i]; }
    Position low() const { return low_; }
    Position high() const { return high_; }

  private:
    std::size_t size_ = 0;
    Position low_{}, high_{};
    Position samples_[kMostPerAxis * kMostPerAxis];
};

using U64x2 = std::uint64_t __attribute__((vector_size(16)));
using U8x16 = std::uint8_t __attribute__((vector_size(16)));
using U16x8 = std::uint16_t __attribute__((vector_size(16)));
using I32x4 = std::int32_t __attribute__((vector_size(16)));
using F32x4 = float __attribute__((vector_size(16)));

struct alignas(16) PairWeights {
    std::uint16_t top[8], bottom[8];
};

// For each fraction (fy, fx): the weight of each byte of the upper and the lower line's 8 bytes.
template <int Bits, int PixelBytes>
constexpr std::array<PairWeights, std::size_t{1} << (2 * Bits)> pair_weights() {
    std::array<PairWeights, std::size_t{1} << (2 * Bits)> table{};
    constexpr int one = 1 << Bits;
    for (int fy = 0; fy < one; ++fy) {
        for (int fx = 0; fx < one; ++fx) {
            PairWeights& weights = table[static_cast<std::size_t>(fy * one + fx)];
            for (int byte = 0; byte < 2 * PixelBytes; ++byte) {
                const int horizontal = byte < PixelBytes ? one - fx : fx;
                weights.top[byte] = static_cast<std::uint16_t>((one - fy) * horizontal);
                weights.bottom[byte] = static_cast<std::uint16_t>(fy * horizontal);
            }
        }
    }
    return table;
}

// Writes some neighbouring output pixels, whose centres lie on a line of the frame, with one pattern of samples.
template <int Bits, int PixelBytes>
class Blender {
  public:
    Blender(const Frame& frame, const Pattern& pattern)
        : frame_(frame), pattern_(pattern), reciprocal_(1.0f / static_cast<float>(pattern.size() << (2 * Bits))) {}

    void blend(const Position* centres, int count, std::uint8_t* out) const {
        I32x4 sums[kTile];
        if (PixelBytes != 0 && inside(centres[0], centres[count - 1])) {
            const std::ptrdiff_t lowest = std::min(frame_.rgb[0], frame_.rgb[2]);
            add_inside(frame_.data + lowest, frame_.stride_y, centres, count, sums);
            write(sums, count, frame_.rgb[0] - lowest, frame_.rgb[1] - lowest, frame_.rgb[2] - lowest, out);
        } else {
            add_anywhere(centres, count, sums);
            write(sums, count, 0, 1, 2, out);
        }
    }

  private:
    static constexpr std::int64_t kMask = (1 << Bits) - 1;
    static constexpr std::int64_t kHalf = std::int64_t{1}
                                          << (kFractionBits - Bits - 1);  // fractions are cut off: makes it rounding

    static std::int64_t whole(std::int64_t position) { return position >> kFractionBits; }
    static std::size_t fraction(std::int64_t position) {
        return static_cast<std::size_t>((position >> (kFractionBits - Bits)) & kMask);
    }

    // Whether all samples need only two lines, and two pixels and a third of each, that lie in the frame. The first and
    // the last centre bound the others.
    bool inside(Position first, Position last) const {
        const Position low = pattern_.low(), high = pattern_.high();
        return std::min(first.x, last.x) + low.x >= 0 && std::min(first.y, last.y) + low.y >= 0 &&
               whole(std::max(first.x, last.x) + high.x + kHalf) < frame_.width - 2 &&
               whole(std::max(first.y, last.y) + high.y + kHalf) < frame_.height - 1;
    }

    void add_inside(const std::uint8_t* origin, std::ptrdiff_t stride, const Position* centres, int count,
                    I32x4* sums) const {
        static constexpr auto kWeights = pair_weights<Bits, PixelBytes>();
        constexpr std::size_t kBatch = std::size_t{1} << (8 - 2 * Bits);  // samples whose sum fits in 16 bits
        for (std::size_t begin = 0; begin < pattern_.size(); begin += kBatch) {
            U16x8 batch[kTile];
            for (std::size_t i = begin; i < std::min(pattern_.size(), begin + kBatch); ++i) {
                const Position offset{pattern_[i].x + kHalf, pattern_[i].y + kHalf};
                for (int u = 0; u < count; ++u) {
                    const std::int64_t x = centres[u].x + offset.x, y = centres[u].y + offset.y;
                    const std::uint8_t* pixel = origin + whole(y) * stride + whole(x) * PixelBytes;
                    const U16x8 sample = weighted(pixel, pixel + stride, weights_at(kWeights.data(), x, y));
                    batch[u] = i == begin ? sample : batch[u] + sample;
                }
            }
            for (int u = 0; u < count; ++u)
                sums[u] = begin == 0 ? left_and_right(batch[u]) : sums[u] + left_and_right(batch[u]);
        }
    }

    // weights[(fraction(y) << Bits) | fraction(x)], with the scaling of the index folded into the shifts.
    static const PairWeights& weights_at(const PairWeights* weights, std::int64_t x, std::int64_t y) {
        constexpr int size_bits = 5;
        static_assert(sizeof(PairWeights) == 1 << size_bits);
        const std::int64_t column = (x >> (kFractionBits - Bits - size_bits)) & (kMask << size_bits);
        const std::int64_t line = (y >> (kFractionBits - 2 * Bits - size_bits)) & (kMask << (Bits + size_bits));
        return *reinterpret_cast<const PairWeights*>(reinterpret_cast<const char*>(weights) + (line | column));
    }

    // Both pixels of each line: upper, lower.
    static U16x8 weighted(const std::uint8_t* upper, const std::uint8_t* lower, const PairWeights& weights) {
        U64x2 lines;
        U16x8 top, bottom;
        std::memcpy(&lines, upper, 8);
        std::memcpy(reinterpret_cast<char*>(&lines) + 8, lower, 8);
        std::memcpy(&top, weights.top, sizeof top);
        std::memcpy(&bottom, weights.bottom, sizeof bottom);
        const auto bytes = reinterpret_cast<U8x16>(lines);
        const U8x16 zero = {};
        const auto top_pixels = reinterpret_cast<U16x8>(
            __builtin_shufflevector(bytes, zero, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
        const auto bottom_pixels = reinterpret_cast<U16x8>(
            __builtin_shufflevector(bytes, zero, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
        return top_pixels * top + bottom_pixels * bottom;
    }

    static I32x4 left_and_right(U16x8 pair) {
        const U16x8 right = PixelBytes == 4 ? __builtin_shufflevector(pair, pair, 4, 5, 6, 7, 4, 5, 6, 7)
                                            : __builtin_shufflevector(pair, pair, 3, 4, 5, 6, 7, 7, 7, 7);
        return reinterpret_cast<I32x4>(__builtin_shufflevector(pair + right, U16x8{}, 0, 8, 1, 9, 2, 10, 3, 11));
    }

    void add_anywhere(const Position* centres, int count, I32x4* sums) const {
        for (std::size_t i = 0; i < pattern_.size(); ++i) {
            const Position offset{pattern_[i].x + kHalf, pattern_[i].y + kHalf};
            for (int u = 0; u < count; ++u) {
                const I32x4 sample = clamped(centres[u].x + offset.x, centres[u].y + offset.y);
                sums[u] = i == 0 ? sample : sums[u] + sample;
            }
        }
    }

    I32x4 clamped(std::int64_t x, std::int64_t y) const {
        const std::ptrdiff_t left = std::clamp<std::int64_t>(whole(x), 0, frame_.width - 1) * frame_.stride_x;
        const std::ptrdiff_t right = std::clamp<std::int64_t>(whole(x) + 1, 0, frame_.width - 1) * frame_.stride_x;
        const std::uint8_t* upper =
            frame_.data + std::clamp<std::int64_t>(whole(y), 0, frame_.height - 1) * frame_.stride_y;
        const std::uint8_t* lower =
            frame_.data + std::clamp<std::int64_t>(whole(y) + 1, 0, frame_.height - 1) * frame_.stride_y;
        const int fx = static_cast<int>(fraction(x)), fy = static_cast<int>(fraction(y));
        const int gx = (1 << Bits) - fx, gy = (1 << Bits) - fy;
        I32x4 rgb = {};
        for (int c = 0; c < 3; ++c) {
            const std::ptrdiff_t at = frame_.rgb[c];
            rgb[c] = gy * (gx * upper[left + at] + fx * upper[right + at]) +
                     fy * (gx * lower[left + at] + fx * lower[right + at]);
        }
        return rgb;
    }

    // Means, rounded. A sum < 2^24 is exact in float and the two operations round as IEEE 754 says: the same byte
    // everywhere.
    void write(const I32x4* sums, int count, std::ptrdiff_t red, std::ptrdiff_t green, std::ptrdiff_t blue,
               std::uint8_t* out) const {
        for (int u = 0; u < count; ++u) {
            const F32x4 mean = __builtin_convertvector(sums[u], F32x4) * reciprocal_ + 0.5f;
            const I32x4 bytes = __builtin_convertvector(mean, I32x4);
            std::int32_t lanes[4];
            std::memcpy(lanes, &bytes, sizeof lanes);
            *out++ = static_cast<std::uint8_t>(lanes[red]);
            *out++ = static_cast<std::uint8_t>(lanes[green]);
            *out++ = static_cast<std::uint8_t>(lanes[blue]);
        }
    }

    const Frame& frame_;
    const Pattern& pattern_;
    float reciprocal_;
};

using BlendFunction = void (*)(const Frame& frame, const Pattern& pattern, const Position* centres, int count,
                               std::uint8_t* out);

template <int Bits, int PixelBytes>
void blend(const Frame& frame, const Pattern& pattern, const Position* centres, int count, std::uint8_t* out) {
    Blender<Bits, PixelBytes>(frame, pattern).blend(centres, count, out);
}

template <int Bits>
BlendFunction blend_function(const Frame& frame) {
    switch (packed_pixel_bytes(frame)) {
        case 3:
            return blend<Bits, 3>;
        case 4:
            return blend<Bits, 4>;
        default:
            return blend<Bits, 0>;
    }
}

}  // namespace cardrec
