#include "axis.hpp"

#include <algorithm>
#include <cmath>

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
        axis.weights.push_back(static_cast<std::uint32_t>(std::min<std::int64_t>(total - given, 65535)));
        given = total;
    }
    while (axis.weights.size() % axis.together != 0) axis.weights.push_back(0);
    axis.first.push_back(first);
    axis.start.push_back(axis.weights.size());
}

}  // namespace

void prepare(Axis& axis, std::int64_t size, std::int64_t outputs, std::size_t together) {
    if (axis.size == size && axis.outputs == outputs && axis.together == together) return;
    axis.size = axis.outputs = 0;  // until it is complete: memory may run out
    axis.first.clear();
    axis.weights.clear();
    axis.start.assign(1, 0);
    axis.size = size;
    axis.together = together;
    for (std::int64_t i = 0; i < outputs; ++i) {
        const double begin = static_cast<double>(i) * static_cast<double>(size) / static_cast<double>(outputs);
        const double end = static_cast<double>(i + 1) * static_cast<double>(size) / static_cast<double>(outputs);
        append_output(axis, begin, end);
    }
    axis.outputs = outputs;
}

}  // namespace cardrec
