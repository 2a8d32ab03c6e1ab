#include "prefix.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantise.hpp"

namespace cardrec {
namespace {

// To a code in -127..127. NaN, which only a basis that is no rotation gives, becomes one too: its miss is NaN, so that
// nothing is excluded.
std::int8_t to_code(double value) { return static_cast<std::int8_t>(std::min(127.0, std::max(-127.0, value))); }

}  // namespace

PrefixQuery::PrefixQuery(const Kernels& kernels, const Basis& basis, const float* vector, std::size_t dimension)
    : codes_(basis.rows + kRestCodes) {
    std::vector<float> products(basis.rows);
    kernels.project(basis.vectors, basis.rows, dimension, vector, products.data());

    const double roundings = static_cast<double>(dimension) * 0x1p-24;
    const double zeta =
        std::sqrt(static_cast<double>(basis.rows)) * (1.0 + basis.delta) * roundings / (1.0 - roundings);
    const double norm = std::sqrt(kernels.dot_f32(vector, vector, dimension)) * kRoundUp;
    const double projected = std::sqrt(kernels.dot_f32(products.data(), products.data(), basis.rows));
    const double least = std::max(0.0, projected / kRoundUp - zeta * norm);  // <= |q_P|
    const double most = projected * kRoundUp + zeta * norm;                  // >= |q_P|
    const double rest = std::sqrt(std::max(0.0, norm * norm - (1.0 - basis.delta) * least * least)) + 0x1p-35;

    double largest = rest;
    for (const float product : products) largest = std::max(largest, std::fabs(static_cast<double>(product)));
    scale_ = largest * (1.0 + 0x1p-40) / 127.0;
    double missed = 0.0, kept = 0.0;
    for (std::size_t i = 0; i < basis.rows; ++i) {
        const double code = std::nearbyint(products[i] / scale_);
        const double miss = products[i] - scale_ * code;
        codes_[i] = to_code(code);
        missed += miss * miss;
        kept += code * code;
    }
    std::fill(codes_.end() - kRestCodes, codes_.end(), to_code(std::ceil(rest / scale_)));
    error_factor_ = scale_ * std::sqrt(kept) * kRoundUp;
    norm_factor_ = (std::sqrt(missed) + zeta * norm + basis.delta * most + 0x1p-34) * kRoundUp;
}

std::int32_t PrefixQuery::least(const Prefix& prefix, double threshold) const {
    constexpr double kLowest = std::numeric_limits<std::int32_t>::min() + 1.0;
    const double rest = error_factor_ * prefix.error + norm_factor_ * prefix.norm;
    const double least = std::floor((threshold - rest * kRoundUp) / (scale_ * prefix.scale)) - 1.0;
    // No sum reaches the largest int32, and a threshold of minus infinity or NaN keeps all.
    if (least >= std::numeric_limits<std::int32_t>::max()) return std::numeric_limits<std::int32_t>::max();
    return least > kLowest ? static_cast<std::int32_t>(least) : static_cast<std::int32_t>(kLowest);
}

}  // namespace cardrec
