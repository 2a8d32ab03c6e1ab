#include "axis.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace cardrec {
namespace {

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
void append_output(Axis& axis, double begin, double end) {
    const auto first = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(begin - 0.5)), 0, axis.size - 1);
    const auto last = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(end - 0.5)), 0, axis.size - 1);
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

// Gives all outputs equally many weights, a multiple of `axis.multiple`.
void fill_up(Axis& axis) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < axis.first.size(); ++i) count = std::max(count, axis.count(i));
    count += (axis.multiple - count % axis.multiple) % axis.multiple;
    std::vector<std::uint16_t> weights(axis.first.size() * count, 0);
    for (std::size_t i = 0; i < axis.first.size(); ++i) {
        std::copy_n(axis.weights.begin() + static_cast<std::ptrdiff_t>(axis.start[i]), axis.count(i),
                    weights.begin() + static_cast<std::ptrdiff_t>(i * count));
    }
    for (std::size_t i = 0; i < axis.start.size(); ++i) axis.start[i] = i * count;
    axis.weights = std::move(weights);
}

}  // namespace

void prepare(Axis& axis, std::int64_t size, std::int64_t outputs, std::size_t multiple) {
    if (axis.size == size && axis.outputs == outputs && axis.multiple == multiple) return;
    axis.size = axis.outputs = 0;  // until it is complete: memory may run out
    axis.first.clear();
    axis.weights.clear();
    axis.start.assign(1, 0);
    axis.size = size;
    axis.multiple = multiple;
    for (std::int64_t i = 0; i < outputs; ++i) {
        const double begin = static_cast<double>(i) * static_cast<double>(size) / static_cast<double>(outputs);
        const double end = static_cast<double>(i + 1) * static_cast<double>(size) / static_cast<double>(outputs);
        append_output(axis, begin, end);
    }
    if (multiple != 0) fill_up(axis);
    axis.heaviest = *std::max_element(axis.weights.begin(), axis.weights.end());
    axis.outputs = outputs;
}

}  // namespace cardrec
