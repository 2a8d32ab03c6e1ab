#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace cardrec {
namespace {

// Weights of one axis: output i is the sum over j of weights[start[i] + j] / 2^16 * source[first[i] + j].
struct Axis {
    std::vector<std::int64_t> first;
    std::vector<std::size_t> start;  // one more than there are outputs
    std::vector<std::uint16_t> weights;

    std::size_t count(std::size_t i) const { return start[i + 1] - start[i]; }
};

// Integral from 0 to t of the ramp that is 1 up to 0, falls to 0 at 1 and stays there.
double ramp_integral(double t) {
    if (t <= 0.0) return t;
    return t < 1.0 ? t - 0.5 * t * t : 0.5;
}

// What the source pixels up to `last` contribute to the mean over begin..end. The triangles of bilinear interpolation
// up to the one at pixel centre c add up to a ramp that falls from 1 at c to 0 at c + 1; continued beyond the edge, the
// first pixel is 1 all the way.
double running_weight(double begin, double end, std::int64_t last) {
    const double centre = static_cast<double>(last) + 0.5;
    return (ramp_integral(end - centre) - ramp_integral(begin - centre)) / (end - begin);
}

// Weights are differences of rounded running totals, so that they sum to 2^16 and rounding does not add up. (One pixel
// that holds the whole weight gets 2^16 - 1, the most that fits; 255 stays 255 after the final rounding.)
Axis make_axis(std::int64_t size, std::int64_t outputs) {
    Axis axis;
    axis.start.push_back(0);
    for (std::int64_t i = 0; i < outputs; ++i) {
        const double begin = static_cast<double>(i) * static_cast<double>(size) / static_cast<double>(outputs);
        const double end = static_cast<double>(i + 1) * static_cast<double>(size) / static_cast<double>(outputs);
        const auto first = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(begin - 0.5)), 0, size - 1);
        const auto last = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(end - 0.5)), 0, size - 1);
        std::int64_t given = 0;
        for (std::int64_t pixel = first; pixel <= last; ++pixel) {
            const double running = pixel == last ? 1.0 : running_weight(begin, end, pixel);
            const auto total = static_cast<std::int64_t>(65536.0 * running + 0.5);
            axis.weights.push_back(static_cast<std::uint16_t>(std::min<std::int64_t>(total - given, 65535)));
            given = total;
        }
        axis.first.push_back(first);
        axis.start.push_back(axis.weights.size());
    }
    return axis;
}

// sums += weight / 2^16 * line, with 8 fractional bits; each product is cut off, not rounded.
void add_line(const std::uint8_t* __restrict line, std::uint16_t weight, std::size_t count,
              std::uint16_t* __restrict sums) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto shifted = static_cast<std::uint16_t>(line[i] << 8);
        sums[i] = static_cast<std::uint16_t>(sums[i] + ((static_cast<std::uint32_t>(shifted) * weight) >> 16));
    }
}

// The frame's lines as packed pixels: in the frame's own memory where they already lie so, else copied one by one.
class Lines {
  public:
    explicit Lines(const Frame& frame) : frame_(frame) {
        const bool grey = frame.rgb[0] == frame.rgb[2];
        const std::ptrdiff_t packed = grey && frame.stride_x == 1 ? 1 : packed_pixel_bytes(frame);
        lowest_ = std::min({frame.rgb[0], frame.rgb[1], frame.rgb[2]});
        channels_ = grey ? 1 : 3;
        step = packed != 0 ? packed : channels_;
        for (int c = 0; c < 3; ++c) lane[c] = packed != 0 ? frame.rgb[c] - lowest_ : (grey ? 0 : c);
        count = static_cast<std::size_t>((frame.width - 1) * step + channels_);
        if (packed == 0) copy_.resize(count);
    }

    const std::uint8_t* at(std::int64_t y) {
        const std::uint8_t* pixel = frame_.data + y * frame_.stride_y;
        if (copy_.empty()) return pixel + lowest_;
        std::uint8_t* out = copy_.data();
        for (std::ptrdiff_t x = 0; x < frame_.width; ++x, pixel += frame_.stride_x) {
            for (std::ptrdiff_t c = 0; c < channels_; ++c) *out++ = pixel[frame_.rgb[c]];
        }
        return copy_.data();
    }

    std::ptrdiff_t step;     // bytes from pixel to pixel
    std::ptrdiff_t lane[3];  // where red, green and blue lie in a pixel
    std::size_t count;       // bytes in a line

  private:
    const Frame& frame_;
    std::ptrdiff_t lowest_, channels_;
    std::vector<std::uint8_t> copy_;
};

// One output line from the averaged source lines: 65280 * 2^16 from the weights, 127 * 2^16 from the start value of the
// sums and 2^23 for rounding stay below 2^32.
void average_columns(const std::vector<std::uint16_t>& sums, const Lines& lines, const Axis& columns,
                     std::uint8_t* out) {
    for (std::size_t u = 0; u + 1 < columns.start.size(); ++u) {
        const std::uint16_t* pixel = sums.data() + columns.first[u] * lines.step;
        const std::uint16_t* weights = columns.weights.data() + columns.start[u];
        std::uint32_t red = 1u << 23, green = red, blue = red;
        for (std::size_t j = 0; j < columns.count(u); ++j, pixel += lines.step) {
            red += static_cast<std::uint32_t>(pixel[lines.lane[0]]) * weights[j];
            green += static_cast<std::uint32_t>(pixel[lines.lane[1]]) * weights[j];
            blue += static_cast<std::uint32_t>(pixel[lines.lane[2]]) * weights[j];
        }
        *out++ = static_cast<std::uint8_t>(red >> 24);
        *out++ = static_cast<std::uint8_t>(green >> 24);
        *out++ = static_cast<std::uint8_t>(blue >> 24);
    }
}

}  // namespace

void resize(const Frame& frame, std::int64_t height, std::int64_t width, std::uint8_t* out) {
    const Axis rows = make_axis(frame.height, height), columns = make_axis(frame.width, width);
    Lines lines(frame);
    std::vector<std::uint16_t> sums(lines.count);
    for (std::size_t v = 0; v < rows.first.size(); ++v, out += 3 * width) {
        // Each line loses half a unit on average when its products are cut off.
        std::fill(sums.begin(), sums.end(), static_cast<std::uint16_t>(std::min<std::size_t>(rows.count(v) / 2, 127)));
        for (std::size_t j = 0; j < rows.count(v); ++j) {
            const std::uint8_t* line = lines.at(rows.first[v] + static_cast<std::int64_t>(j));
            add_line(line, rows.weights[rows.start[v] + j], lines.count, sums.data());
        }
        average_columns(sums, lines, columns, out);
    }
}

}  // namespace cardrec
