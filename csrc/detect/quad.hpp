// Points and quads, and what the detector asks of them.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

namespace cardrec {

struct Point {
    double x, y;
};

inline Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
inline Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
inline Point operator*(Point a, double factor) { return {a.x * factor, a.y * factor}; }
inline double dot(Point a, Point b) { return a.x * b.x + a.y * b.y; }
inline double cross(Point a, Point b) { return a.x * b.y - a.y * b.x; }
inline double length(Point a) { return std::sqrt(dot(a, a)); }

// Corners clockwise as seen, y pointing down; (0, 0) is the corner of the frame's first pixel.
using Quad = std::array<Point, 4>;

constexpr std::size_t kQuadNumbers = 8;
constexpr double kCardWidth = 63.0, kCardHeight = 88.0;  // millimetres

Quad read_quad(const float* numbers);
void write_quad(const Quad& quad, float* numbers);

// The quad from its corner `start` on.
Quad turned(const Quad& quad, std::size_t start);

// Of a convex quad.
double area(const Quad& quad);

// Whether it is finite, convex, clockwise and no more slanted than a card that can be read.
bool sound(const Quad& quad);

// The longest of the four sides.
double longest_side(const Quad& quad);

// How far corners have moved at most, as a share of the square root of the area; whichever comes first.
double moved(const Quad& quad, const Quad& other);

// How straight from above a card would have to be seen to look like this: 1, or the tilt's cosine. This is the ratio of
// the singular values of the affine map from a 63 x 88 card to the quad, whose first side is a short one.
double straightness(const Quad& quad);

// Whether two outlines overlap more than two cards can of which both are to be seen.
bool same_card(const Quad& quad, const Quad& other);

// Where the line of each side, through a point along a step, meets that of the side before.
Quad crossings(const Quad& starts, const Quad& steps);

// Each side of an outline: where it starts, the way along it, and its unit normal inward.
struct Sides {
    Quad starts, steps, normals;

    explicit Sides(const Quad& quad);

    // Sides that lie so far inside at `first` and `last` of their lengths, each as a multiple of `reach`; as corners.
    Quad shifted(double first, double last, double reach, const double (*inside)[2]) const;
};

}  // namespace cardrec
