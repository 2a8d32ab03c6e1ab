#include "matrix.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels.hpp"
#include "quantise.hpp"

namespace cardrec {
namespace {

std::int32_t squared_norm(const std::int8_t* codes, std::size_t dimension) {  // <= 2^16 * 2^14 = 2^30
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < dimension; ++i) {
        const std::int16_t code = codes[i];
        sum += code * code;
    }
    return sum;
}

}  // namespace

Matrix::Matrix(std::vector<Segment> segments, std::size_t dimension)
    : segments_(std::move(segments)), offsets_{0}, dimension_(dimension) {
    for (const Segment& segment : segments_) offsets_.push_back(offsets_.back() + segment.rows);
}

const float* Matrix::norms() const {
    std::call_once(norms_once_, [this] { compute_norms(); });
    return norms_.data();
}

// |x'| = scale |codes| and |x| <= |x'| + |x - x'|. Three roundings of 2^-53 each; kRoundUp outweighs them.
void Matrix::compute_norms() const {
    std::vector<float> norms(rows());
    float* norm = norms.data();
    for (const Segment& segment : segments_) {
        for (std::size_t r = 0; r < segment.rows; ++r) {
            const double code_norm =
                std::sqrt(static_cast<double>(squared_norm(segment.codes + r * dimension_, dimension_)));
            *norm++ = round_up((static_cast<double>(segment.scales[r]) * code_norm + segment.errors[r]) * kRoundUp);
        }
    }
    norms_ = std::move(norms);
}

double Matrix::score(std::size_t row, const float* query) const {
    const auto next = std::upper_bound(offsets_.begin(), offsets_.end(), row);
    const std::size_t index = static_cast<std::size_t>(next - offsets_.begin()) - 1;
    const Segment& segment = segments_[index];
    const std::size_t start = (row - offsets_[index]) * dimension_;
    const double score = segment.vectors_f32 != nullptr
                             ? kernels().dot_f32(segment.vectors_f32 + start, query, dimension_)
                             : kernels().dot_f16(segment.vectors_f16 + start, query, dimension_);
    return std::isnan(score) ? -std::numeric_limits<double>::infinity() : score;
}

}  // namespace cardrec
