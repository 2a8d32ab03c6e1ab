#include "sides.hpp"

#include <algorithm>
#include <cmath>

#include "lines.hpp"
#include "sample.hpp"

namespace cardrec {
namespace {

constexpr double kReach = 0.08;  // half of a strip's width, as a share of the square root of the card's area
// The part of a side that a strip shows: rounded corners (3 of 63 mm) are left out.
constexpr double kFirst = 0.05, kLast = 0.95;
constexpr int kSteepest = 10;    // places across by which a side may be further in at one end than at the other
constexpr double kSpread = 0.3;  // standard deviation, in reaches, of where sides are: around the outline given
constexpr float kFloor = 0.03f;  // chance that a place's answer is worth nothing, for a finger may cover it

using Lines = LinesOf<kSidePlaces, kStripAcross, kSteepest, false>;
constexpr Lines kLines;

double reach_of(const Quad& quad) { return kReach * std::sqrt(area(quad)); }

// From -1 outside to 1 inside.
double across(std::size_t at) { return (static_cast<double>(at) + 0.5) * (2.0 / kStripAcross) - 1.0; }

// The logarithm of each place's chances, but for the floor, to lane `side` of a strip.
void write_chances(const float* said, std::size_t side, Lanes* strip) {
    for (std::size_t place = 0; place < kSidePlaces; ++place, said += kStripAcross, strip += Lines::kStride) {
        const float highest = *std::max_element(said, said + kStripAcross);
        float chances[kStripAcross], sum = 0.0f;
        for (std::size_t i = 0; i < kStripAcross; ++i) sum += chances[i] = std::exp(said[i] - highest);
        for (std::size_t i = 0; i < kStripAcross; ++i) strip[i][side] = std::log(chances[i] / sum + kFloor);
    }
}

}  // namespace

void write_strips(const Frame& frame, const Quad& quad, std::uint8_t* out) {
    const Samples samples(frame);
    const Sides sides(quad);
    const double reach = reach_of(quad);
    for (std::size_t side = 0; side < 4; ++side) {
        for (std::size_t i = 0; i < kStripAlong; ++i) {
            const double along = kFirst + (static_cast<double>(i) + 0.5) * ((kLast - kFirst) / kStripAlong);
            const Point on_side = sides.starts[side] + sides.steps[side] * along;
            const Point inward = sides.normals[side] * reach;
            Lanes line[kStripAcross];
            samples.line(on_side + inward * across(0), inward * (2.0 / kStripAcross), kStripAcross, line);
            for (const Lanes& rgb : line) {
                for (int c = 0; c < 3; ++c) *out++ = static_cast<std::uint8_t>(rgb[c]);
            }
        }
    }
}

Quad with_sides(const Quad& quad, const float* said) {
    Lanes strip[kSidePlaces * Lines::kStride] = {};
    for (std::size_t side = 0; side < 4; ++side) write_chances(said + side * kSideNumbers, side, strip);
    float best[4] = {-HUGE_VALF, -HUGE_VALF, -HUGE_VALF, -HUGE_VALF};
    double ends[4][2] = {};
    kLines.each(strip, [&](int first, int last, Lanes sum) {
        const double end[] = {across(static_cast<std::size_t>(first)), across(static_cast<std::size_t>(last))};
        // A line near the middle is likelier than one that only just is in the strip: a sleeve's rim is a side, too.
        const double expected = -0.5 * (end[0] * end[0] + end[1] * end[1]) / (kSpread * kSpread);
        for (int side = 0; side < 4; ++side) {
            const float likely = sum[side] + static_cast<float>(expected);
            if (!(likely > best[side])) continue;
            best[side] = likely;
            ends[side][0] = end[0];
            ends[side][1] = end[1];
        }
    });
    return Sides(quad).shifted(kFirst, kLast, reach_of(quad), ends);
}

}  // namespace cardrec
