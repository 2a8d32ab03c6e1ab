// Colours between the pixels of a frame.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "frame.hpp"
#include "lines.hpp"
#include "quad.hpp"

namespace cardrec {

// Samples are red, green, blue and 0, bilinear between the centres of pixels, rounded to whole levels (half to even);
// beyond the frame they are those of its nearest pixel. Positions are floats, in which a frame 8,192 pixels wide has
// fractions of a thousandth.
class Samples {
  public:
    explicit Samples(const Frame& frame) : frame_(frame) {
        lowest_ = std::min({frame.rgb[0], frame.rgb[1], frame.rgb[2]});
        const std::ptrdiff_t red = frame.rgb[0] - lowest_, green = frame.rgb[1] - lowest_;
        order_ = red == 0 && green == 0 ? kGrey : green != 1 ? kAnyOrder : red == 0 ? kRgb : kBgr;
        if (frame.stride_x < 1 || order_ == kAnyOrder) return;
        // Where four bytes can be read at a pixel and at the neighbours to the right and below.
        right_ = static_cast<float>(frame.width - 2 - 3 / frame.stride_x);
        bottom_ = static_cast<float>(frame.height - 1);
    }

    // Writes the samples at `from`, `from` + `step`, ...
    void line(Point from, Point step, int count, Lanes* out) const {
        const Point last = from + step * (count - 1);
        // A line inside the frame takes 11 ns a sample, another 24 (Xeon of 2023).
        const bool inside = is_inside(from) && is_inside(last);
        const auto x = static_cast<float>(from.x - 0.5), y = static_cast<float>(from.y - 0.5);
        const auto right = static_cast<float>(step.x), down = static_cast<float>(step.y);
        for (int i = 0; i < count; ++i) {
            const auto at = static_cast<float>(i);
            out[i] = inside ? inner(x + right * at, y + down * at) : anywhere(x + right * at, y + down * at);
        }
    }

  private:
    enum Order { kRgb, kBgr, kGrey, kAnyOrder };

    // A position between two neighbours: where they lie, in bytes, and the second one's weight.
    struct Along {
        std::ptrdiff_t near, far;
        float part;

        Along(float position, std::ptrdiff_t size, std::ptrdiff_t stride) {
            // -1 where it is not a number.
            const float clamped = std::min(std::max(-1.0f, position), static_cast<float>(size));
            const auto whole = static_cast<std::ptrdiff_t>(clamped + 1.0f) - 1;
            near = std::clamp<std::ptrdiff_t>(whole, 0, size - 1) * stride;
            far = std::clamp<std::ptrdiff_t>(whole + 1, 0, size - 1) * stride;
            part = clamped - static_cast<float>(whole);
        }
    };

    // With a hundredth to spare for the rounding of what lies between two such points.
    bool is_inside(Point point) const {
        return point.x >= 0.51 && point.y >= 0.51 && point.x < right_ && point.y < bottom_;
    }

    Lanes inner(float x, float y) const {
        const auto column = static_cast<std::int32_t>(x), row = static_cast<std::int32_t>(y);
        const std::uint8_t* upper = frame_.data + lowest_ + row * frame_.stride_y + column * frame_.stride_x;
        const std::uint8_t* lower = upper + frame_.stride_y;
        const Lanes mean = mixed(four(upper), four(upper + frame_.stride_x), four(lower), four(lower + frame_.stride_x),
                                 x - static_cast<float>(column), y - static_cast<float>(row));
        if (order_ == kRgb) return mean;
        if (order_ == kBgr) return Lanes{mean[2], mean[1], mean[0], 0.0f};
        return Lanes{mean[0], mean[0], mean[0], 0.0f};
    }

    Lanes anywhere(float to_x, float to_y) const {
        const Along x(to_x, frame_.width, frame_.stride_x), y(to_y, frame_.height, frame_.stride_y);
        const std::uint8_t *upper = frame_.data + y.near, *lower = frame_.data + y.far;
        return mixed(three(upper + x.near), three(upper + x.far), three(lower + x.near), three(lower + x.far), x.part,
                     y.part);
    }

    // A pixel's three bytes as they lie in memory, of four that are read (little-endian): each is kept in its own lane
    // and brought down by an exact product. In a compiler's own conversion of bytes to floats each goes alone.
    static Lanes four(const std::uint8_t* from) {
        typedef std::int32_t Integers __attribute__((vector_size(16)));
        std::int32_t pixel;
        std::memcpy(&pixel, from, sizeof pixel);
        const Integers bytes = (Integers{} + pixel) & Integers{0xff, 0xff00, 0xff0000, 0};
        return __builtin_convertvector(bytes, Lanes) * Lanes{1.0f, 0x1p-8f, 0x1p-16f, 0.0f};
    }

    Lanes three(const std::uint8_t* from) const {
        return Lanes{static_cast<float>(from[frame_.rgb[0]]), static_cast<float>(from[frame_.rgb[1]]),
                     static_cast<float>(from[frame_.rgb[2]]), 0.0f};
    }

    static Lanes mixed(Lanes upper, Lanes upper_right, Lanes lower, Lanes lower_right, float right, float down) {
        const Lanes whole = Lanes{} + 0x1.8p23f;  // a float of this size has no fraction left
        const Lanes top = upper + (upper_right - upper) * right, bottom = lower + (lower_right - lower) * right;
        return (top + (bottom - top) * down + whole) - whole;
    }

    const Frame& frame_;
    std::ptrdiff_t lowest_;
    Order order_;
    float right_ = 0.0f, bottom_ = 0.0f;
};

}  // namespace cardrec
