// The table of inner loops that one instruction set ("tier") supplies. Everything else in this folder is written once.
//
// A tier is one file that defines one `const Kernels`; dispatch.cpp picks among them. Nothing is allocated or thrown in
// a kernel, and nothing is checked: what is read lies where the contract says. The contract, the same for every tier,
// to the bit:
//
//   place    x[i] = the bits of ((row.a * u + row.x) * (1 / (row.g * u + row.w)) - 0.5) + kFixedPoint, as an integer,
//            less those of kFixedPoint: a position in 2^-16 pixels. y[i] likewise with row.d and row.y. Here u = (first
//            + i + 0.5) * row.pixel. In double, each operation rounded by itself (no fused multiply-add). Writes up to
//            the next multiple of kTile; what it writes behind `count` is anything.
//   blend    a tile: kTile output pixels, each the mean of bilinear samples. Sample s of pixel u lies at x[u] +
//            pattern.x[s], y[u] + pattern.y[s] (mod 2^32), in 2^-16 pixels. Its pixel is at origin + (y >> 16) *
//            source.stride + (x >> 16) * source.step; 8 bytes are read there and on the line below. fx, fy: the upper
//            `bits` (4, or 3 where there are several samples) of the fractions; one = 2^bits. A channel's sample is
//            (one - fy) * ((one - fx) * a + fx * b) + fy * ((one - fx) * c + fx * d), a and c at byte lane[channel] of
//            the lines, b and d `step` bytes further (lane + step <= 7). The output is trunc(sum / (samples * 4^bits) +
//            0.5), in float: a product with the rounded reciprocal, then a sum. Overflow: one * 255 <= 4080 fits in
//            int16, a sample is at most 4^bits * 255 <= 65280, 256 samples of 3 bits make at most 2^22: exact in float.
//            Writes kTile * 3 bytes.
//   add_lines    sums[i] += sum_j ((lines[j][i] << 8) * weights[j]) >> 16, each product cut off, for `bytes` bytes of
//            `count` <= kLinesTogether lines. Before, the sums become `begin`, unless that is negative. The caller's
//            weights sum to 2^16 at most over all lines of an output line, and sums begin at 127 or less: at most
//            65280 + 127 fits in uint16.
//   columns  out[3 u + c] = (2^23 + sum_j sums[(first[u] + j) * step + lane[c]] * weights[u * taps + j]) >> 24, for j
//            from 0 to taps, an even number. Overflow: 65407 * 2^16 + 2^23 < 2^32. 8 sums are read from each pixel on,
//            where step <= 4 and lane + step <= 7. The weights of an output sum to 2^16, or one of them is `heaviest`
//            and at least 2^15.
//   yuv      RGB of luma and chroma, in place: of each pixel's three bytes in `rgb` the first is Y; U and V are every
//            third byte. y = 9539 * max(0, Y - 16) + 4096, u = U - 128, v = V - 128;
//                R = clamp((y + 13075 v) >> 13)
//                G = clamp((y - 6660 v - 3209 u) >> 13)
//                B = clamp((y + 16525 u) >> 13)
//            clamp to 0..255, the shift arithmetic. This is BT.601 with limited range (luma 16 to 235, chroma 16 to
//            240; coefficients of ITU-R BT.601-7 times 2^13), as cameras give it and as OpenCV's COLOR_YUV2RGB_NV12
//            takes it. Overflow: |sums| < 9539 * 239 + 16525 * 128 + 4096 < 2^23. Reads up to 3 * count bytes of each.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cardrec {

constexpr int kFractionBits = 16;  // of positions
// Adding this to |x| <= 2^34 leaves x in units of 2^-16 in the low bits of the double: a conversion that every vector
// unit has.
constexpr double kFixedPoint = 0x1.8p36;
constexpr int kTile = 16;  // output pixels that share one pattern of samples: their footprints differ by 1 % or so
constexpr int kMostPerAxis = 16;  // samples
constexpr std::size_t kLinesTogether = 8;

// How a frame's samples are read.
struct Source {
    std::int32_t stride, step;  // bytes from line to line, from pixel to pixel
    std::uint8_t lane[3];       // where red, green and blue lie in a pixel
    // For shuffles of the 8 bytes of two lines, the lower line's behind the upper's: of red, green, blue and red again,
    // upper left, lower left, upper right, lower right.
    std::uint8_t order[16];
};

// The samples of an output pixel, as seen from its centre, or from elsewhere: sums are mod 2^32.
struct Pattern {
    int size;
    int bits;  // of fractions
    std::int32_t x[kMostPerAxis * kMostPerAxis], y[kMostPerAxis * kMostPerAxis];
};

// Which pixels of a line make which outputs.
struct Columns {
    const std::int64_t* first;
    const std::uint16_t* weights;  // `taps` for each output
    std::size_t outputs, taps;
    std::uint16_t heaviest;  // of the weights
};

// One output line's part of a homography: its numerators and denominator at u = 0, their slopes, the size of a pixel.
struct Row {
    double a, d, g, x, y, w, pixel;
};

struct Kernels {
    const char* tier;  // see tiers.hpp
    void (*place)(const Row& row, int first, int count, std::int64_t* x, std::int64_t* y);
    void (*blend)(const Source& source, const std::uint8_t* origin, const Pattern& pattern, const std::int64_t* x,
                  const std::int64_t* y, std::uint8_t* out);
    void (*add_lines)(const std::uint8_t* const* lines, const std::uint16_t* weights, std::size_t count,
                      std::size_t bytes, int begin, std::uint16_t* sums);
    void (*columns)(const std::uint16_t* sums, std::ptrdiff_t step, const std::uint8_t* lane, const Columns& columns,
                    std::uint8_t* out);
    void (*yuv)(const std::uint8_t* u, const std::uint8_t* v, std::size_t count, std::uint8_t* rgb);
};

}  // namespace cardrec
