// Where the samples of an output pixel lie: how many, and how they are spread over its footprint in the frame.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels.hpp"

namespace cardrec {

// A point of the frame, or the way from one to another, in 2^-16 pixels.
struct Position {
    std::int64_t x, y;
};

// How far apart samples may lie, in frame pixels. Measured against 8 x 8 samples on pictures with fine print, 224 x 224
// output: a quad of 600 x 840 gets 2 x 3 samples and 42 to 45 dB (2 x 2: 39.6 to 44 dB); one sample at a scale of 1.3
// would give 34 dB, two give 50.
constexpr double kSpacing = 1.7;
constexpr double kOneSample = 1.25;

// For lengths, which a slanted quad may stretch beyond any frame.
inline std::int64_t to_fixed(double length) {
    constexpr double kFar = 0x1p30;
    const double shifted = std::min(kFar, std::max(-kFar, length)) + kFixedPoint, zero = kFixedPoint;
    std::int64_t bits, offset;
    std::memcpy(&bits, &shifted, sizeof bits);
    std::memcpy(&offset, &zero, sizeof offset);
    return bits - offset;
}

// What one output pixel covers, to first order: the vectors from its centre in the frame to those of its right and
// lower neighbours.
struct Footprint {
    double ux, uy, vx, vy;
};

// 1 / n, and how long a side n samples suffice for, squared.
struct Divisions {
    double inverse[kMostPerAxis + 1], longest_squared[kMostPerAxis + 1];
};

constexpr Divisions divisions() {
    Divisions made{};
    for (int n = 1; n <= kMostPerAxis; ++n) {
        const double longest = n == 1 ? kOneSample : n * kSpacing;
        made.inverse[n] = 1.0 / n;
        made.longest_squared[n] = longest * longest;
    }
    return made;
}

constexpr Divisions kDivisions = divisions();

inline int samples_for(double x, double y) {
    const double length_squared = x * x + y * y;
    int count = 1;
    while (count < kMostPerAxis && length_squared > kDivisions.longest_squared[count]) ++count;
    return count;
}

// The samples of a pixel, as seen from its centre. They lie on a sheared grid: each line of it is shifted against the
// one before, so that nx * ny different positions are taken along either axis, which serves the edges that cards have
// most.
class Grid {
  public:
    explicit Grid(const Footprint& at) : nx_(samples_for(at.ux, at.uy)), ny_(samples_for(at.vx, at.vy)) {
        const double per_x = kDivisions.inverse[nx_], per_y = kDivisions.inverse[ny_], per_sample = per_x * per_y;
        const double first_u = 0.5 * per_sample - 0.5, first_v = per_y - 0.5 * per_sample - 0.5;
        step_ = {to_fixed(at.ux * per_x - at.vx * per_sample), to_fixed(at.uy * per_x - at.vy * per_sample)};
        line_ = {to_fixed(at.vx * per_y + at.ux * per_sample), to_fixed(at.vy * per_y + at.uy * per_sample)};
        start_ = {to_fixed(first_u * at.ux + first_v * at.vx), to_fixed(first_u * at.uy + first_v * at.vy)};
        const std::int64_t half = std::int64_t{1}
                                  << (kFractionBits - bits() - 1);  // fractions are cut off: rounds them
        start_ = {start_.x + half, start_.y + half};
    }

    int size() const { return nx_ * ny_; }
    int bits() const { return size() == 1 ? 4 : 3; }  // of fractions

    // The box that holds all samples.
    Position low() const { return {low_of(start_.x, step_.x, line_.x), low_of(start_.y, step_.y, line_.y)}; }
    Position high() const { return {high_of(start_.x, step_.x, line_.x), high_of(start_.y, step_.y, line_.y)}; }

    // For kernels, whose positions are mod 2^32: as seen from `from` beyond the centre.
    void write(Position from, Pattern& pattern) const {
        pattern.size = 0;
        pattern.bits = bits();
        each({-from.x, -from.y}, [&pattern](Position at) {
            pattern.x[pattern.size] = static_cast<std::int32_t>(at.x);
            pattern.y[pattern.size++] = static_cast<std::int32_t>(at.y);
        });
    }

    // Calls visit(position) for each sample of the pixel at `centre`.
    template <typename Visit>
    void each(Position centre, Visit visit) const {
        Position line{centre.x + start_.x, centre.y + start_.y};
        for (int j = 0; j < ny_; ++j, line = {line.x + line_.x, line.y + line_.y}) {
            Position at = line;
            for (int i = 0; i < nx_; ++i, at = {at.x + step_.x, at.y + step_.y}) visit(at);
        }
    }

  private:
    std::int64_t low_of(std::int64_t start, std::int64_t step, std::int64_t line) const {
        return start + std::min<std::int64_t>(0, (nx_ - 1) * step) + std::min<std::int64_t>(0, (ny_ - 1) * line);
    }
    std::int64_t high_of(std::int64_t start, std::int64_t step, std::int64_t line) const {
        return start + std::max<std::int64_t>(0, (nx_ - 1) * step) + std::max<std::int64_t>(0, (ny_ - 1) * line);
    }

    int nx_, ny_;
    Position start_, step_, line_;
};

}  // namespace cardrec
