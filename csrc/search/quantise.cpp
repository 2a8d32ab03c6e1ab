#include "quantise.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cardrec {
namespace {

float largest_magnitude(const float* vector, std::size_t dimension) {
    float largest = 0.0f;
    for (std::size_t i = 0; i < dimension; ++i) largest = std::max(largest, std::fabs(vector[i]));
    return largest;
}

// Round half away from zero: the same on every platform and in every rounding mode of <cfenv>.
std::int8_t nearest_code(float value, float scale) {
    const double ratio = static_cast<double>(value) / static_cast<double>(scale);
    const double clamped = std::min(127.0, std::max(-127.0, ratio));
    return static_cast<std::int8_t>(clamped < 0.0 ? clamped - 0.5 : clamped + 0.5);
}

}  // namespace

Quantised quantise(const float* vector, std::size_t dimension, std::int8_t* codes) {
    const float scale = largest_magnitude(vector, dimension) / 127.0f;  // 0 for vectors of the tiniest subnormals
    double error_squared = 0.0;
    double norm_squared = 0.0;
    for (std::size_t i = 0; i < dimension; ++i) {
        codes[i] = scale > 0.0f ? nearest_code(vector[i], scale) : std::int8_t{0};
        const double value = vector[i];
        const double rest = value - static_cast<double>(scale) * codes[i];
        error_squared += rest * rest;
        norm_squared += value * value;
    }
    return {scale, round_up(std::sqrt(error_squared) * kRoundUp), round_up(std::sqrt(norm_squared) * kRoundUp)};
}

float round_up(double value) {
    const float rounded = static_cast<float>(value);
    if (static_cast<double>(rounded) >= value) return rounded;
    return std::nextafter(rounded, std::numeric_limits<float>::infinity());
}

std::size_t first_not_finite(const float* values, std::size_t count) {
    return static_cast<std::size_t>(std::find_if_not(values, values + count, [](float v) { return std::isfinite(v); }) -
                                    values);
}

}  // namespace cardrec
