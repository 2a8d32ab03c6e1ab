#include "rectify.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "bilinear.hpp"
#include "homography.hpp"

namespace cardrec {
namespace {

// How far apart samples may lie, in frame pixels. Measured against 8 x 8 samples on pictures with fine print, 224 x 224
// output: a quad of 600 x 840 gets 2 x 3 samples and 42 to 45 dB (2 x 2: 39.6 to 44 dB); one sample at a scale of 1.3
// would give 34 dB, two give 50.
constexpr double kSpacing = 1.7;
constexpr double kOneSample = 1.25;

// Adding this to |x| <= 2^34 leaves x in units of 2^-16 in the low bits of the double: a conversion that every vector
// unit has.
constexpr double kFixedPoint = 0x1.8p36;

std::int64_t fixed_point(double shifted) {
    const double zero = kFixedPoint;
    std::int64_t bits, offset;
    std::memcpy(&bits, &shifted, sizeof bits);
    std::memcpy(&offset, &zero, sizeof offset);
    return bits - offset;
}

// For lengths, which a slanted quad may stretch beyond any frame.
std::int64_t to_fixed(double length) {
    constexpr double kFar = 0x1p30;
    return fixed_point(std::min(kFar, std::max(-kFar, length)) + kFixedPoint);
}

// What one output pixel covers, to first order: the vectors from its centre in the frame to those of its right and
// lower neighbours.
struct Footprint {
    double ux, uy, vx, vy;

    Footprint(const Homography& map, double u, double v, double pixel) {
        const double inverse = 1.0 / (map.g * u + map.h * v + 1.0);
        const double x = (map.a * u + map.b * v + map.c) * inverse;
        const double y = (map.d * u + map.e * v + map.f) * inverse;
        const double scale = inverse * pixel;
        ux = (map.a - map.g * x) * scale;
        uy = (map.d - map.g * y) * scale;
        vx = (map.b - map.h * x) * scale;
        vy = (map.e - map.h * y) * scale;
    }
};

int samples_for(double x, double y) {
    const double length_squared = x * x + y * y;
    if (length_squared <= kOneSample * kOneSample) return 1;
    int count = 2;
    while (count < kMostPerAxis && length_squared > (count * kSpacing) * (count * kSpacing)) ++count;
    return count;
}

// The samples of a pixel lie on a sheared grid: each line of it is shifted against the one before, so that nx * ny
// different positions are taken along either axis, which serves the edges that cards have most.
void place_samples(const Footprint& at, Pattern& pattern) {
    const int nx = samples_for(at.ux, at.uy), ny = samples_for(at.vx, at.vy);
    const double per_x = 1.0 / nx, per_y = 1.0 / ny, per_sample = per_x * per_y;
    const double first_u = 0.5 * per_sample - 0.5, first_v = per_y - 0.5 * per_sample - 0.5;
    const std::int64_t step_x = to_fixed(at.ux * per_x - at.vx * per_sample),
                       step_y = to_fixed(at.uy * per_x - at.vy * per_sample);
    const std::int64_t line_x = to_fixed(at.vx * per_y + at.ux * per_sample),
                       line_y = to_fixed(at.vy * per_y + at.uy * per_sample);
    const std::int64_t x = to_fixed(first_u * at.ux + first_v * at.vx), y = to_fixed(first_u * at.uy + first_v * at.vy);
    pattern.clear();
    for (int j = 0; j < ny; ++j) {
        for (int i = 0; i < nx; ++i) pattern.add({x + i * step_x + j * line_x, y + i * step_y + j * line_y});
    }
}

// Where the centres of one line of output pixels lie in the frame. Two loops, as compilers vectorise them so.
class Centres {
  public:
    explicit Centres(std::size_t side) : x_(side), y_(side), positions_(side) {}

    const Position* place(const Homography& map, double v, double pixel) {
        const double x_start = map.b * v + map.c, y_start = map.e * v + map.f, w_start = map.h * v + 1.0;
        const int side = static_cast<int>(positions_.size());
        double* __restrict x = x_.data();
        double* __restrict y = y_.data();
        for (int i = 0; i < side; ++i) {
            const double u = (static_cast<double>(i) + 0.5) * pixel;
            const double inverse = 1.0 / (map.g * u + w_start);
            x[i] = ((map.a * u + x_start) * inverse - 0.5) + kFixedPoint;  // bilinear weights count from pixel centres
            y[i] = ((map.d * u + y_start) * inverse - 0.5) + kFixedPoint;
        }
        for (int i = 0; i < side; ++i) positions_[static_cast<std::size_t>(i)] = {fixed_point(x[i]), fixed_point(y[i])};
        return positions_.data();
    }

  private:
    std::vector<double> x_, y_;
    std::vector<Position> positions_;
};

}  // namespace

bool can_rectify(const float* corners) { return Homography::to_quad(corners).bounded(); }

void rectify(const Frame& frame, const float* corners, std::int64_t side, std::uint8_t* out) {
    const Homography map = Homography::to_quad(corners);
    const double pixel = 1.0 / static_cast<double>(side);
    const BlendFunction blend_one = blend_function<4>(frame), blend_many = blend_function<3>(frame);
    Centres row_centres(static_cast<std::size_t>(side));
    Pattern pattern;
    for (std::int64_t row = 0; row < side; ++row) {
        const double v = (static_cast<double>(row) + 0.5) * pixel;
        const Position* centres = row_centres.place(map, v, pixel);
        for (std::int64_t first = 0; first < side; first += kTile) {
            const std::int64_t last = std::min(side, first + kTile);
            place_samples(Footprint(map, 0.5 * static_cast<double>(first + last) * pixel, v, pixel), pattern);
            const BlendFunction blend = pattern.size() == 1 ? blend_one : blend_many;
            blend(frame, pattern, centres + first, static_cast<int>(last - first), out);
            out += 3 * (last - first);
        }
    }
}

}  // namespace cardrec
