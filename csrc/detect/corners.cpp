#include "corners.hpp"

#include <algorithm>
#include <cmath>

namespace cardrec {
namespace {

constexpr double kMargin = 0.25;  // on each side of an outline, as a share of its width and height
constexpr double kShare = 1.0 / (1.0 + 2.0 * kMargin);

// By how much the logarithm of the tilt that an outline would need (its cosine) counts against which corner is first: a
// card that lies flat outweighs 20 in log odds, one tilted by 44 degrees along its longer side nothing.
constexpr double kShapeCounts = 30.0;

constexpr Point kUnitSquare[] = {{0.0, 0.0}, {1.0, 0.0}, {1.0, 1.0}, {0.0, 1.0}};

// The projective map from the unit square, and beyond it, to a quad: P. Heckbert, "Fundamentals of Texture Mapping and
// Image Warping" (1989), 2.2.3.
class Projection {
  public:
    explicit Projection(const Quad& quad) : first_(quad[0]) {
        const Point one = quad[1] - quad[2], other = quad[3] - quad[2], rest = quad[0] - quad[1] + quad[2] - quad[3];
        const double determinant = cross(one, other);
        g_ = cross(rest, other) / determinant;
        h_ = cross(one, rest) / determinant;
        across_ = quad[1] - quad[0] + quad[1] * g_;
        down_ = quad[3] - quad[0] + quad[3] * h_;
    }

    Point operator()(Point at) const {
        const Point over = across_ * at.x + down_ * at.y + first_;
        const double under = g_ * at.x + h_ * at.y + 1.0;
        return {over.x / under, over.y / under};
    }

  private:
    Point first_, across_, down_;
    double g_, h_;
};

}  // namespace

Quad surroundings(const Quad& quad) {
    const Projection projection(quad);
    Quad around;
    for (std::size_t i = 0; i < 4; ++i) {
        around[i] = projection(kUnitSquare[i] * (1.0 + 2.0 * kMargin) - Point{kMargin, kMargin});
    }
    return around;
}

Quad corrected(const Quad& around, const float* said) {
    const Projection projection(around);
    Quad quad;
    for (std::size_t i = 0; i < 4; ++i) {
        const Point expected = (kUnitSquare[i] + Point{kMargin, kMargin}) * kShare;
        quad[i] = projection(expected + Point{said[2 * i], said[2 * i + 1]} * kShare);
    }
    double best = -HUGE_VAL;
    std::size_t first = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        const double way = said[9 + i] + kShapeCounts * std::log(std::max(straightness(turned(quad, i)), 1e-6));
        if (way > best) first = i;
        best = std::max(best, way);
    }
    return turned(quad, first);
}

double score(const float* said) { return 1.0 / (1.0 + std::exp(-static_cast<double>(said[8]))); }

}  // namespace cardrec
