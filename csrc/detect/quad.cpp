#include "quad.hpp"

#include <algorithm>

namespace cardrec {
namespace {

constexpr double kMostSlanted = 6.0;  // longest side by shortest: 2 for a card tilted by 45 degrees and near

// Share of the smaller of two outlines that the other covers. Cards to be found are covered by a fifth at most.
constexpr double kSameCard = 0.4;

// Distance of centres, in square roots of the larger area, from which outlines of cards can't cover that much: moved
// along its longer side, 1.18 of them, a card still covers 0.4 of another at 0.6 * 1.18.
constexpr double kFar = 0.8;

// A convex quad, cut down side by side (Sutherland and Hodgman, 1974). A cut gives at most half as many corners more,
// whatever the shape: 4, 6, 9, 13, 19.
class Polygon {
  public:
    explicit Polygon(const Quad& quad) : size_(quad.size()) { std::copy(quad.begin(), quad.end(), corners_); }

    // Keeps what lies to the right of the way from `from` along `step`; to the left where `sign` is -1.
    void cut(Point from, Point step, double sign) {
        Point kept[kMost];
        std::size_t count = 0;
        for (std::size_t i = 0; i < size_; ++i) {
            const Point corner = corners_[i], next = corners_[(i + 1) % size_];
            const double inside = sign * cross(step, corner - from), next_inside = sign * cross(step, next - from);
            if (inside >= 0.0) kept[count++] = corner;
            if ((inside < 0.0) != (next_inside < 0.0)) {
                kept[count++] = corner + (next - corner) * (inside / (inside - next_inside));
            }
        }
        std::copy(kept, kept + count, corners_);
        size_ = count;
    }

    double area() const {
        double twice = 0.0;
        for (std::size_t i = 0; i < size_; ++i) twice += cross(corners_[i], corners_[(i + 1) % size_]);
        return std::fabs(twice) / 2.0;
    }

  private:
    static constexpr std::size_t kMost = 19;

    Point corners_[kMost];
    std::size_t size_;
};

double shared_area(const Quad& quad, const Quad& other) {
    const double sign = cross(other[2] - other[0], other[3] - other[1]) < 0.0 ? -1.0 : 1.0;
    Polygon rest(quad);
    for (std::size_t i = 0; i < 4; ++i) rest.cut(other[i], other[(i + 1) % 4] - other[i], sign);
    return rest.area();
}

Point centre(const Quad& quad) { return (quad[0] + quad[1] + quad[2] + quad[3]) * 0.25; }

}  // namespace

Quad read_quad(const float* numbers) {
    Quad quad;
    for (std::size_t i = 0; i < 4; ++i) quad[i] = {numbers[2 * i], numbers[2 * i + 1]};
    return quad;
}

void write_quad(const Quad& quad, float* numbers) {
    for (const Point corner : quad) {
        *numbers++ = static_cast<float>(corner.x);
        *numbers++ = static_cast<float>(corner.y);
    }
}

Quad turned(const Quad& quad, std::size_t start) {
    return {quad[start % 4], quad[(start + 1) % 4], quad[(start + 2) % 4], quad[(start + 3) % 4]};
}

double area(const Quad& quad) { return std::fabs(cross(quad[2] - quad[0], quad[3] - quad[1])) / 2.0; }

bool sound(const Quad& quad) {
    double longest = 0.0, shortest = HUGE_VAL;
    for (std::size_t i = 0; i < 4; ++i) {
        const Point step = quad[(i + 1) % 4] - quad[i], next = quad[(i + 2) % 4] - quad[(i + 1) % 4];
        if (!(cross(step, next) > 0.0)) return false;
        longest = std::max(longest, length(step));
        shortest = std::min(shortest, length(step));
    }
    return std::isfinite(longest) && longest < kMostSlanted * shortest;
}

double longest_side(const Quad& quad) {
    double longest = 0.0;
    for (std::size_t i = 0; i < 4; ++i) longest = std::max(longest, length(quad[(i + 1) % 4] - quad[i]));
    return longest;
}

double moved(const Quad& quad, const Quad& other) {
    double least = HUGE_VAL;
    for (std::size_t start = 0; start < 4; ++start) {
        double most = 0.0;
        for (std::size_t i = 0; i < 4; ++i) {
            const Point away = quad[i] - other[(start + i) % 4];
            most = std::max({most, std::fabs(away.x), std::fabs(away.y)});
        }
        least = std::min(least, most);
    }
    return least / std::sqrt(std::max(area(quad), 1e-6));
}

double straightness(const Quad& quad) {
    const Point across = (quad[1] - quad[0] + (quad[2] - quad[3])) * (0.5 / kCardWidth);
    const Point down = (quad[3] - quad[0] + (quad[2] - quad[1])) * (0.5 / kCardHeight);
    const double squares = dot(across, across), product = dot(across, down), other = dot(down, down);
    const double mean = (squares + other) / 2.0, spread = std::hypot((squares - other) / 2.0, product);
    return std::sqrt(std::max(mean - spread, 0.0) / (mean + spread + 1e-9));
}

bool same_card(const Quad& quad, const Quad& other) {
    const double size = area(quad), other_size = area(other);
    const Point apart = centre(quad) - centre(other);
    if (dot(apart, apart) > kFar * kFar * std::max(size, other_size)) return false;
    return shared_area(quad, other) > kSameCard * std::min(size, other_size);
}

Quad crossings(const Quad& starts, const Quad& steps) {
    Quad corners;
    for (std::size_t i = 0; i < 4; ++i) {
        const Point before = starts[(i + 3) % 4], before_step = steps[(i + 3) % 4];
        const double determinant = cross(before_step, steps[i]);
        const double part = cross(starts[i] - before, steps[i]) / (determinant == 0.0 ? 1e-6 : determinant);
        corners[i] = before + before_step * part;
    }
    return corners;
}

Sides::Sides(const Quad& quad) : starts(quad) {
    for (std::size_t i = 0; i < 4; ++i) {
        steps[i] = quad[(i + 1) % 4] - quad[i];
        normals[i] = Point{-steps[i].y, steps[i].x} * (1.0 / (length(steps[i]) + 1e-6));
    }
}

Quad Sides::shifted(double first, double last, double reach, const double (*inside)[2]) const {
    Quad from, along;
    for (std::size_t i = 0; i < 4; ++i) {
        from[i] = starts[i] + steps[i] * first + normals[i] * (reach * inside[i][0]);
        along[i] = starts[i] + steps[i] * last + normals[i] * (reach * inside[i][1]) - from[i];
    }
    return crossings(from, along);
}

}  // namespace cardrec
