#include "propose.hpp"

#include <algorithm>
#include <cmath>
#include <complex>

namespace cardrec {
namespace {

using Complex = std::complex<double>;

constexpr double kCellPixels = 8.0, kSizePixels = 32.0;
constexpr double kLeastShare = 0.5;  // of the score wanted: cells from here on help to average a card's outline
constexpr double kNearby = 0.12;     // of a card's size: cells whose outlines are that close are averaged

// A cell that sees a card, perhaps.
struct Cell {
    std::size_t at;
    float heat, score;
    bool highest;  // of those around it
    Quad quad;
};

class Cells {
  public:
    Cells(const float* numbers, std::size_t rows, std::size_t columns)
        : numbers_(numbers), rows_(rows), columns_(columns) {}

    // Those above some log odds, the best first.
    std::vector<Cell> above(float heat) const {
        std::vector<Cell> found;
        for (std::size_t at = 0; at < rows_ * columns_; ++at) {
            if (numbers_[at] > heat) found.push_back(cell(at));
        }
        std::stable_sort(found.begin(), found.end(), [](const Cell& a, const Cell& b) { return a.heat > b.heat; });
        return found;
    }

  private:
    Cell cell(std::size_t at) const {
        const float heat = numbers_[at], score = 1.0f / (1.0f + std::exp(-heat));
        return {at, heat, score, is_highest(at), decode(at)};
    }

    bool is_highest(std::size_t at) const {
        const std::size_t row = at / columns_, column = at % columns_;
        for (std::size_t y = row - (row > 0); y <= std::min(row + 1, rows_ - 1); ++y) {
            for (std::size_t x = column - (column > 0); x <= std::min(column + 1, columns_ - 1); ++x) {
                if (numbers_[y * columns_ + x] > numbers_[at]) return false;
            }
        }
        return true;
    }

    Complex pair(std::size_t at, std::size_t channel) const {
        const std::size_t plane = rows_ * columns_;
        return {numbers_[channel * plane + at], numbers_[(channel + 1) * plane + at]};
    }

    // From the discrete Fourier transform of the corners.
    Quad decode(std::size_t at) const {
        constexpr double kHalf = 0.7071067811865476;  // of its square is i: what turns Z_1 towards the top
        const Complex up = pair(at, 10), direction = pair(at, 4);
        const Complex straight{0.0, (kCardHeight - kCardWidth) / (kCardHeight + kCardWidth)};  // Z_3 / Z_1
        const double size = kSizePixels * std::exp(std::clamp<double>(numbers_[3 * rows_ * columns_ + at], -4.0, 4.0));
        Complex first = std::sqrt(direction / std::max(std::abs(direction), 1e-6)) * size;
        if ((first * Complex{kHalf, kHalf} * std::conj(up)).real() < 0.0) first = -first;
        const Complex cell{static_cast<double>(at % columns_) + 0.5, static_cast<double>(at / columns_) + 0.5};
        const Complex middle = cell * kCellPixels + pair(at, 1) * size, second = pair(at, 8) * size;
        const Complex third = first * (pair(at, 6) + straight), turn{0.0, 1.0};
        const Complex corners[] = {middle + first + second + third, middle + turn * (first - third) - second,
                                   middle - first + second - third, middle + turn * (third - first) - second};
        Quad quad;
        for (std::size_t i = 0; i < 4; ++i) quad[i] = {corners[i].real(), corners[i].imag()};
        return quad;
    }

    const float* numbers_;
    std::size_t rows_, columns_;
};

bool is_near(const Quad& quad, const Quad& other, double most) {
    for (std::size_t i = 0; i < 4; ++i) {
        const Point away = quad[i] - other[i];
        if (!(std::max(std::fabs(away.x), std::fabs(away.y)) < most)) return false;
    }
    return true;
}

// The mean outline of the cells that say nearly the same as the peak, weighted by their scores.
Quad average(const std::vector<Cell>& cells, const Cell& peak) {
    const double most = kNearby * std::sqrt(area(peak.quad));
    Quad sum{};
    double weights = 0.0;
    for (const Cell& cell : cells) {
        if (&cell != &peak && !is_near(cell.quad, peak.quad, most)) continue;
        for (std::size_t i = 0; i < 4; ++i) sum[i] = sum[i] + cell.quad[i] * cell.score;
        weights += cell.score;
    }
    for (Point& corner : sum) corner = corner * (1.0 / weights);
    return sum;
}

}  // namespace

std::vector<Proposal> propose(const float* cells, std::size_t rows, std::size_t columns, double least,
                              std::size_t most) {
    const double share = kLeastShare * least;
    const std::vector<Cell> seen = Cells(cells, rows, columns).above(static_cast<float>(std::log(share / (1 - share))));
    std::vector<Proposal> found;
    for (const Cell& peak : seen) {
        if (found.size() == most) break;
        if (!peak.highest || !(peak.score >= static_cast<float>(least))) continue;
        const Quad quad = average(seen, peak);
        const auto is_same = [&quad](const Proposal& other) { return same_card(quad, other.quad); };
        if (std::none_of(found.begin(), found.end(), is_same)) found.push_back({quad, peak.score});
    }
    return found;
}

}  // namespace cardrec
