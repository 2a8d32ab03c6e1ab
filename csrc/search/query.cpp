#include "query.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantise.hpp"

namespace cardrec {
namespace {

std::size_t padded(std::size_t dimension) { return (dimension + kQueryPadding - 1) / kQueryPadding * kQueryPadding; }

}  // namespace

Query::Query(const Kernels& kernels, const float* values, std::size_t dimension, bool integral)
    : vector_(dimension), codes_i8_(padded(dimension)), codes_i16_(padded(dimension)) {
    const double inverse = 1.0 / std::sqrt(kernels.dot_f32(values, values, dimension));
    for (std::size_t i = 0; i < dimension; ++i) {
        vector_[i] = static_cast<float>(static_cast<double>(values[i]) * inverse);
    }
    if (integral) {
        scale_ = inverse;
        for (std::size_t i = 0; i < dimension; ++i) codes_i16_[i] = static_cast<std::int16_t>(values[i]);
    } else {
        quantise();
    }
    for (std::size_t i = 0; i < dimension; ++i) {
        codes_i8_[i] = static_cast<std::int8_t>(codes_i16_[i]);
        sum_ += codes_i16_[i];
    }
    bound();
}

// Any codes would do, since their error is measured; these are the nearest ones, or next to them.
void Query::quantise() {
    float largest = 0.0f;
    for (const float value : vector_) largest = std::max(largest, std::fabs(value));
    scale_ = static_cast<double>(largest) / 127.0;
    const float inverse = 127.0f / largest;
    for (std::size_t i = 0; i < vector_.size(); ++i) {
        const float ratio = vector_[i] * inverse;
        codes_i16_[i] = static_cast<std::int16_t>(ratio + (ratio < 0.0f ? -0.5f : 0.5f));
    }
}

void Query::bound() {
    constexpr std::size_t kParts = 8;  // independent sums, which a compiler may keep in vector registers
    double squares[kParts] = {};
    std::int32_t code_squares = 0;  // <= 2^16 * 127^2 < 2^30
    const auto rest = [this](std::size_t i) { return static_cast<double>(vector_[i]) - scale_ * codes_i16_[i]; };
    const std::size_t dimension = vector_.size(), whole = dimension - dimension % kParts;
    for (std::size_t i = 0; i < whole; i += kParts) {
        for (std::size_t j = 0; j < kParts; ++j) squares[j] += rest(i + j) * rest(i + j);
    }
    for (std::size_t i = whole; i < dimension; ++i) squares[i - whole] += rest(i) * rest(i);
    for (std::size_t i = 0; i < dimension; ++i) code_squares += codes_i16_[i] * codes_i16_[i];
    double error = 0.0;
    for (const double square : squares) error += square;
    error = std::sqrt(error) * kRoundUp;
    const double norm = scale_ * std::sqrt(static_cast<double>(code_squares)) * kRoundUp;
    const double rounding = 2.0 * (static_cast<double>(dimension) + 4.0) * 0x1p-53 * (norm + error);
    error_factor_ = norm * kRoundUp;
    norm_factor_ = (error + rounding) * kRoundUp;
}

Screen Query::screen(const SegmentBounds& bounds, double threshold) const {
    const double rest = error_factor_ * bounds.zero_error + norm_factor_ * bounds.norm +
                        0x1p-21 * error_factor_ * (bounds.norm + bounds.error) + 0x1p-99;
    return {static_cast<float>(scale_), static_cast<float>(error_factor_ * bounds.ratio),
            round_down(threshold - rest * kRoundUp)};
}

float round_down(double value) {
    const float rounded = static_cast<float>(value);
    if (static_cast<double>(rounded) <= value) return rounded;
    return std::nextafter(rounded, -std::numeric_limits<float>::infinity());
}

}  // namespace cardrec
