// The projective map from the unit square to a quad: P. Heckbert, "Fundamentals of Texture Mapping and Image Warping"
// (1989), 2.2.3. Only + - * /, each rounded as IEEE 754 says (the build sets -ffp-contract=off): the same bits on every
// platform.
#pragma once

#include <algorithm>
#include <cmath>

namespace cardrec {

// x = (a u + b v + c) / (g u + h v + 1),  y = (d u + e v + f) / (g u + h v + 1)
struct Homography {
    double a, b, c, d, e, f, g, h;

    // `corners`: x and y of the images of (0,0), (1,0), (1,1), (0,1). For a convex quad the denominator is positive in
    // the square.
    static Homography to_quad(const float* corners) {
        const double x0 = corners[0], y0 = corners[1], x1 = corners[2], y1 = corners[3];
        const double x2 = corners[4], y2 = corners[5], x3 = corners[6], y3 = corners[7];
        const double dx1 = x1 - x2, dy1 = y1 - y2, dx2 = x3 - x2, dy2 = y3 - y2;
        const double sum_x = (x0 - x1) + (x2 - x3), sum_y = (y0 - y1) + (y2 - y3);
        const double determinant = dx1 * dy2 - dx2 * dy1;
        const double g = (sum_x * dy2 - dx2 * sum_y) / determinant;
        const double h = (dx1 * sum_y - sum_x * dy1) / determinant;
        return {(x1 - x0) + g * x1, (x3 - x0) + h * x3, x0, (y1 - y0) + g * y1, (y3 - y0) + h * y3, y0, g, h};
    }

    // Whether the image of every point of the square is finite and within 2^31: the denominator w is linear, so at
    // least what it is at the corners, and no numerator exceeds the sum of its coefficients. False for corners that are
    // not finite, for quads that are not convex, and for those so thin or so slanted that their scale varies more than
    // a thousandfold.
    bool bounded() const {
        const double largest =
            std::max(std::fabs(a) + std::fabs(b) + std::fabs(c), std::fabs(d) + std::fabs(e) + std::fabs(f));
        const double smallest_w = std::min(std::min(1.0, 1.0 + g), std::min(1.0 + h, 1.0 + g + h));
        const double rounding = 0x1p-40 * (1.0 + std::fabs(g) + std::fabs(h));
        return largest <= 0x1p40 && std::fabs(g) + std::fabs(h) <= 0x1p10 && smallest_w - rounding >= 0x1p-10 &&
               largest <= 0x1p30 * smallest_w;
    }
};

}  // namespace cardrec
