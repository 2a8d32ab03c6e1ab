#include "refine.hpp"

#include <algorithm>
#include <cmath>

#include "lines.hpp"
#include "sample.hpp"

namespace cardrec {
namespace {

constexpr int kAlong = 16, kAcross = 17;  // samples along a side and across it
constexpr int kPlaces = kAcross - 2;      // across it, of which a gradient is taken
constexpr int kMiddle = (kPlaces - 1) / 2;
// The part of a side that is sampled: rounded corners (3 of 63 mm) are left out.
constexpr double kFirst = 0.08, kLast = 0.92;
constexpr double kReach = 0.006;  // of the square root of a card's area
constexpr double kLeastReach = 1.0;
constexpr double kSecondReach = 0.25;  // of the first pass's
constexpr float kClip = 48.0f;  // levels; stronger steps count as this much, lest a few outweigh a long weak edge

using Lines = LinesOf<kAlong, kPlaces, kMiddle, true>;
constexpr Lines kLines;

Lanes absolute(Lanes value) { return value < 0.0f ? -value : value; }

Lanes clipped(Lanes value) {
    const Lanes most = Lanes{} + kClip;
    value = value > most ? most : value;
    return value < -most ? -most : value;
}

float total(Lanes value) { return (value[0] + value[1]) + (value[2] + value[3]); }

// The gradients across a side of red, green and blue, and half of what they are in all, whichever way each goes: for
// the ground may change along a side.
void write_gradients(const Samples& samples, Point start, Point step, Point across, Lanes* strip) {
    for (int i = 0; i < kAlong; ++i, strip += Lines::kStride) {
        const Point on_side = start + step * (kFirst + i * ((kLast - kFirst) / (kAlong - 1)));
        Lanes levels[kAcross];
        samples.line(on_side - across, across * (2.0 / (kAcross - 1)), kAcross, levels);
        for (int j = 0; j < kPlaces; ++j) {
            strip[j] = clipped(levels[j + 2] - levels[j]);
            strip[j][3] = 0.5f * total(absolute(strip[j]));
        }
    }
}

Quad fit(const Samples& samples, const Quad& quad, double reach) {
    const Sides sides(quad);
    double ends[4][2] = {};
    Lanes strip[kAlong * Lines::kStride] = {};
    for (std::size_t side = 0; side < 4; ++side) {
        // From the inside out: of two lines that are equally strong, the inner one counts.
        write_gradients(samples, sides.starts[side], sides.steps[side], sides.normals[side] * -reach, strip);
        float best = -1.0f;
        kLines.each(strip, [&](int first, int last, Lanes sum) {
            const float strength = total(absolute(sum));
            if (!(strength > best)) return;
            best = strength;
            ends[side][0] = (first - kMiddle) * (2.0 / (kAcross - 1));
            ends[side][1] = (last - kMiddle) * (2.0 / (kAcross - 1));
        });
    }
    return sides.shifted(kFirst, kLast, -reach, ends);
}

double furthest(const Quad& quad, const Quad& other) {
    double most = 0.0;
    for (std::size_t i = 0; i < 4; ++i) {
        const Point away = quad[i] - other[i];
        most = std::max({most, std::fabs(away.x), std::fabs(away.y)});
    }
    return most;
}

}  // namespace

double usual_reach(const Quad& quad) { return std::max(kReach * std::sqrt(area(quad)), kLeastReach); }

Quad refined(const Frame& frame, const Quad& quad, double reach) {
    const Samples samples(frame);
    const Quad fitted = fit(samples, fit(samples, quad, reach), kSecondReach * reach);
    return furthest(fitted, quad) < 3.0 * reach ? fitted : quad;
}

}  // namespace cardrec
