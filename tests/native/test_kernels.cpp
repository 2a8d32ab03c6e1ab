// Checks every tier that runs here against the plain references below, at awkward sizes and extreme values; the
// contract is in kernels.hpp. Inputs and outputs end where a page begins that can't be touched: what reads or writes
// behind the end of an array crashes.
//
// test_kernels [--require TIER]...   fails where such a tier does not run here
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels.hpp"
#include "native.hpp"

namespace {

using cardrec::Kernels;
using cardrec::kLanes;
using cardrec::kSlack;
using native::check;
using native::generator;
using native::Guarded;
using native::random_between;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kLargest = std::numeric_limits<float>::max();
constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();
constexpr double kUnit = 0x1p-24;  // a rounding to float, relative
const std::size_t kDimensions[] = {1, 3, 15, 16, 17, 31, 33, 63, 64, 65, 97, 255, 768, 1280};

float random_float(float size) { return std::uniform_real_distribution<float>(-size, size)(generator()); }

// How codes are drawn: anything, or an extreme everywhere, where sums are largest.
enum class Codes { kRandom, kLeast, kMost, kExtremes };
constexpr Codes kAllCodes[] = {Codes::kRandom, Codes::kLeast, Codes::kMost, Codes::kExtremes};

std::int8_t draw_code(Codes kind, std::int64_t least) {
    switch (kind) {
        case Codes::kLeast:
            return static_cast<std::int8_t>(least);
        case Codes::kMost:
            return 127;
        case Codes::kExtremes:
            return static_cast<std::int8_t>(random_between(0, 1) ? least : 127);
        default:
            return static_cast<std::int8_t>(random_between(least, 127));
    }
}

void fill_codes(const Guarded<std::int8_t>& codes, Codes kind, std::int64_t least) {
    for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = draw_code(kind, least);
}

// --- prefix_sums

void test_prefix_sums(const Kernels& tier) {
    for (std::size_t count = 0; count <= 9; ++count) {
        for (std::size_t width = 4; width <= 132; width += width < 24 ? 4 : 12) {
            for (const Codes kind : kAllCodes) {
                const Guarded<std::int8_t> groups(count * width * kLanes), query(width);
                const Guarded<std::int32_t> sums(count * kLanes);
                fill_codes(groups, kind, -128);
                fill_codes(query, kind, -127);
                tier.prefix_sums(groups.data(), count, width, query.data(), sums.data());
                for (std::size_t i = 0; i < sums.size(); ++i) {
                    const std::int8_t* group = groups.data() + i / kLanes * width * kLanes;
                    std::int64_t sum = 0;
                    for (std::size_t j = 0; j < width; ++j) {
                        sum += group[(j / 4 * kLanes + i % kLanes) * 4 + j % 4] * query[j];
                    }
                    check(sums[i] == sum, tier, "prefix_sums", count, width, i);
                }
            }
        }
    }
}

// --- maxima and select

std::vector<std::size_t> counts() {
    std::vector<std::size_t> all(101);
    std::iota(all.begin(), all.end(), std::size_t{0});
    all.push_back(1000);
    return all;
}

// Few different values, the extremes among them, so that thresholds meet values exactly.
void fill_values(const Guarded<std::int32_t>& values) {
    const std::int32_t choices[] = {kLeast, kLeast + 1, -7, 0, 7, 8, kMost - 1, kMost};
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] =
            random_between(0, 3) ? static_cast<std::int32_t>(random_between(-9, 9)) : choices[random_between(0, 7)];
    }
}

void test_maxima(const Kernels& tier) {
    for (const std::size_t count : counts()) {
        const Guarded<std::int32_t> values(count), lanes(kLanes);
        fill_values(values);
        tier.maxima(values.data(), count, lanes.data());
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            std::int32_t most = kLeast;
            for (std::size_t i = lane; i < count; i += kLanes) most = std::max(most, values[i]);
            check(lanes[lane] == most, tier, "maxima", count, lane);
        }
    }
}

void test_select(const Kernels& tier) {
    for (const std::size_t count : counts()) {
        const Guarded<std::int32_t> values(count);
        fill_values(values);
        for (const std::int32_t low : {kLeast, kLeast + 1, -3, 0, 8, kMost - 1, kMost}) {
            std::vector<std::uint32_t> expected;
            for (std::size_t i = 0; i < count; ++i) {
                if (values[i] >= low) expected.push_back(static_cast<std::uint32_t>(i));
            }
            const Guarded<std::uint32_t> places(expected.size() + kSlack);
            const std::size_t found = tier.select(values.data(), count, low, places.data());
            check(found == expected.size(), tier, "select: number", count, low, found);
            check(std::equal(expected.begin(), expected.end(), places.data()), tier, "select: places", count, low);
        }
    }
}

// --- dots_i8

// A query in both widths, padded as the search pads it.
struct PaddedQuery {
    PaddedQuery(std::size_t dimension, Codes kind) : codes_i8(padded(dimension)), codes_i16(padded(dimension)), sum(0) {
        for (std::size_t i = 0; i < dimension; ++i) {
            codes_i8[i] = draw_code(kind, -127);
            codes_i16[i] = codes_i8[i];
            sum += codes_i8[i];
        }
    }
    static std::size_t padded(std::size_t dimension) {
        return (dimension + cardrec::kQueryPadding - 1) / cardrec::kQueryPadding * cardrec::kQueryPadding;
    }
    cardrec::QueryCodes view() const { return {codes_i8.data(), codes_i16.data(), sum}; }

    Guarded<std::int8_t> codes_i8;
    Guarded<std::int16_t> codes_i16;
    std::int32_t sum;
};

// In order and out of order, with repeats, the last row of the matrix among them.
std::vector<std::vector<std::uint32_t>> row_lists(std::size_t rows) {
    const auto last = static_cast<std::uint32_t>(rows - 1);
    std::vector<std::vector<std::uint32_t>> lists;
    for (std::size_t count : {1, 2, 3, 4, 5, 6, 7, 8, 9, 128}) {
        std::vector<std::uint32_t> rising(count), any(count);
        for (std::size_t i = 0; i < count; ++i) {
            rising[count - 1 - i] = last - static_cast<std::uint32_t>(i % rows);
            any[i] = static_cast<std::uint32_t>(random_between(0, last));
        }
        any[static_cast<std::size_t>(random_between(0, static_cast<std::int64_t>(count) - 1))] = last;
        lists.push_back(rising);
        lists.push_back(any);
        lists.emplace_back(count, last);
    }
    return lists;
}

void test_dots_i8_of(const Kernels& tier, std::size_t dimension, Codes row_kind, Codes query_kind) {
    constexpr std::size_t kRows = 128;
    const Guarded<std::int8_t> codes(kRows * dimension);
    fill_codes(codes, row_kind, -128);
    const PaddedQuery query(dimension, query_kind);
    std::vector<std::int64_t> expected(kRows);
    for (std::size_t i = 0; i < codes.size(); ++i) expected[i / dimension] += codes[i] * query.codes_i16[i % dimension];
    for (const std::vector<std::uint32_t>& list : row_lists(kRows)) {
        const Guarded<std::uint32_t> rows(list);
        const Guarded<std::int32_t> dots(list.size());
        tier.dots_i8(codes.data(), dimension, rows.data(), rows.size(), query.view(), dots.data());
        for (std::size_t i = 0; i < rows.size(); ++i) {
            check(dots[i] == expected[rows[i]], tier, "dots_i8", dimension, rows.size(), i, rows[i]);
        }
    }
}

void test_dots_i8(const Kernels& tier) {
    for (const std::size_t dimension : kDimensions) {
        for (const Codes row_kind : kAllCodes) {
            for (const Codes query_kind : kAllCodes) test_dots_i8_of(tier, dimension, row_kind, query_kind);
        }
    }
    test_dots_i8_of(tier, cardrec::kMaxDimension, Codes::kLeast, Codes::kMost);  // the largest sums that there are
}

// --- screen

enum class Expected { kPasses, kExcluded, kEither };

// What the contract says of one place, given that each of four operations may round once, and flush to zero.
Expected screened(std::int32_t dot, float scale, cardrec::Screen screen) {
    const double product = static_cast<double>(screen.slope) * dot, line = product + screen.offset;
    const double line_band = 4 * kUnit * (std::fabs(product) + std::fabs(screen.offset)) + 0x1p-126;
    if (std::isnan(line) || std::isnan(scale) || std::isnan(screen.low)) return Expected::kPasses;
    if (std::isinf(scale) && std::fabs(line) <= line_band) return Expected::kEither;  // infinity, or NaN
    double value = scale * line;
    if (std::isnan(value)) return Expected::kPasses;
    if (std::fabs(value) > kLargest) value = std::copysign(kInfinity, value);  // as it overflows in float
    const double band =
        std::isinf(value) ? 0.0 : std::fabs(scale) * line_band + 2 * kUnit * std::fabs(value) + 0x1p-126;
    if (value - band >= screen.low) return Expected::kPasses;
    return value + band < screen.low ? Expected::kExcluded : Expected::kEither;
}

void test_screen_of(const Kernels& tier, const Guarded<std::int32_t>& dots, const Guarded<float>& scales,
                    cardrec::Screen screen) {
    const std::size_t count = dots.size();
    const Guarded<std::uint32_t> places(count + kSlack);
    const std::size_t found = tier.screen(dots.data(), scales.data(), count, screen, places.data());
    check(found <= count, tier, "screen: number", count, found);
    std::vector<bool> passed(count);
    for (std::size_t i = 0; i < found; ++i) {
        check(places[i] < count && (i == 0 || places[i - 1] < places[i]), tier, "screen: order", count, i);
        passed[places[i]] = true;
    }
    for (std::size_t i = 0; i < count; ++i) {
        const Expected expected = screened(dots[i], scales[i], screen);
        const bool right = expected == Expected::kEither || passed[i] == (expected == Expected::kPasses);
        check(right, tier, "screen", count, i, dots[i]);
    }
}

void test_screen(const Kernels& tier) {
    const float odd_scales[] = {0.0f, -0.0f, kInfinity, -kInfinity, kNan, 1e-45f, 1e38f, -1.0f};
    const float lows[] = {-kInfinity, -1e30f, -100.0f, 0.0f, 1e-44f, 50.0f, 3e38f, kInfinity, kNan};
    for (std::size_t count = 0; count <= 40; ++count) {
        const Guarded<std::int32_t> dots(count);
        const Guarded<float> scales(count);
        for (const float low : lows) {
            for (const cardrec::Screen screen : {cardrec::Screen{0.01f, 3.0f, low}, cardrec::Screen{1.0f, 0.0f, low},
                                                 cardrec::Screen{1e-6f, kInfinity, low}}) {
                for (std::size_t i = 0; i < count; ++i) {
                    dots[i] = static_cast<std::int32_t>(random_between(-20000, 20000));
                    scales[i] = random_between(0, 3) ? std::fabs(random_float(1.0f)) : odd_scales[random_between(0, 7)];
                }
                test_screen_of(tier, dots, scales, screen);
            }
        }
    }
}

// --- project

void test_project(const Kernels& tier) {
    for (const std::size_t dimension : kDimensions) {
        for (const std::size_t count : {1, 2, 3, 4, 5, 8, 12, 31}) {
            const Guarded<float> basis(count * dimension), vector(dimension), products(count);
            for (std::size_t i = 0; i < basis.size(); ++i) basis[i] = random_float(1.0f);
            for (std::size_t i = 0; i < dimension; ++i) vector[i] = random_float(1.0f);
            tier.project(basis.data(), count, dimension, vector.data(), products.data());
            for (std::size_t p = 0; p < count; ++p) {
                double sum = 0.0, magnitude = 0.0;
                for (std::size_t i = 0; i < dimension; ++i) {
                    const double product = static_cast<double>(basis[p * dimension + i]) * vector[i];
                    sum += product;
                    magnitude += std::fabs(product);
                }
                const double roundings = static_cast<double>(dimension) * kUnit;
                const double bound = roundings / (1.0 - roundings) * magnitude;
                check(std::fabs(products[p] - sum) <= bound, tier, "project", dimension, count, p);
            }
        }
    }
}

// --- dot_f32 and dot_f16

// By the definition of the format, not by its bits.
float half_value(std::uint16_t half) {
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    float magnitude = std::ldexp(static_cast<float>(exponent ? mantissa + 1024 : mantissa), std::max(exponent, 1) - 25);
    if (exponent == 31) magnitude = mantissa ? kNan : kInfinity;
    return half & 0x8000 ? -magnitude : magnitude;
}

float value_of(float value) { return value; }
float value_of(std::uint16_t half) { return half_value(half); }

// The sum in the order that kernels.hpp defines.
template <typename Element>
double ordered_dot(const Element* row, const float* query, std::size_t dimension) {
    double partial[8] = {};
    for (std::size_t i = 0; i < dimension; ++i) {
        partial[i % 8] += static_cast<double>(value_of(row[i])) * static_cast<double>(query[i]);
    }
    for (std::size_t width = 4; width > 0; width /= 2) {
        for (std::size_t j = 0; j < width; ++j) partial[j] += partial[j + width];
    }
    return partial[0];
}

bool same_bits(double left, double right) {
    if (std::isnan(left) || std::isnan(right)) return std::isnan(left) && std::isnan(right);
    return std::memcmp(&left, &right, sizeof left) == 0;
}

double dot(const Kernels& tier, const float* row, const float* query, std::size_t dimension) {
    return tier.dot_f32(row, query, dimension);
}
double dot(const Kernels& tier, const std::uint16_t* row, const float* query, std::size_t dimension) {
    return tier.dot_f16(row, query, dimension);
}

float any_float(bool odd) {
    const float values[] = {0.0f, -0.0f, 1e-45f, -1e-40f, 1.17549435e-38f, 3.4028235e38f, -3.4028235e38f, 1.0f};
    return odd ? values[random_between(0, 7)] : random_float(1.0f);
}
void draw(float& element, bool odd) { element = any_float(odd); }
void draw(std::uint16_t& element, bool odd) {
    element = static_cast<std::uint16_t>(random_between(0, odd ? 1023 : 0x7bff) | random_between(0, 1) << 15);
}

template <typename Element>
void test_dot(const Kernels& tier, const char* name, std::vector<Element> not_finite) {
    for (const std::size_t dimension : kDimensions) {
        const Guarded<Element> row(dimension);
        const Guarded<float> query(dimension);
        for (int turn = 0; turn < 24; ++turn) {
            for (std::size_t i = 0; i < dimension; ++i) {
                draw(row[i], turn % 3 == 1);
                query[i] = any_float(turn % 3 != 0);
            }
            if (turn >= 12) {  // one that is not finite, or two, which may cancel
                for (int times = 0; times < 1 + turn % 2; ++times) {
                    const auto place =
                        static_cast<std::size_t>(random_between(0, static_cast<std::int64_t>(dimension) - 1));
                    row[place] = not_finite[static_cast<std::size_t>(turn) % not_finite.size()];
                }
            }
            const double found = dot(tier, row.data(), query.data(), dimension);
            check(same_bits(found, ordered_dot(row.data(), query.data(), dimension)), tier, name, dimension, turn);
            const Kernels& scalar = cardrec::find_tier("scalar");
            check(same_bits(found, dot(scalar, row.data(), query.data(), dimension)), tier, name, dimension, turn);
        }
    }
}

void test_every_half(const Kernels& tier) {
    const Guarded<std::uint16_t> row(9);  // one that vectors convert, and one that is left over
    const Guarded<float> query(9);
    for (std::size_t place : {0, 8}) {
        std::fill(row.data(), row.data() + 9, std::uint16_t{0});
        std::fill(query.data(), query.data() + 9, 0.0f);
        query[place] = 1.0f;
        for (std::uint32_t half = 0; half < 65536; ++half) {
            row[place] = static_cast<std::uint16_t>(half);
            const double expected = 0.0 + static_cast<double>(half_value(row[place]));
            check(same_bits(tier.dot_f16(row.data(), query.data(), 9), expected), tier, "dot_f16: every half", half);
        }
    }
}

void test_tier(const Kernels& tier) {
    test_prefix_sums(tier);
    test_maxima(tier);
    test_select(tier);
    test_dots_i8(tier);
    test_screen(tier);
    test_project(tier);
    test_dot<float>(tier, "dot_f32", {kInfinity, -kInfinity, kNan});
    test_dot<std::uint16_t>(tier, "dot_f16", {0x7c00, 0xfc00, 0x7e00, 0x7c01});
    test_every_half(tier);
}

}  // namespace

int main(int count, char** arguments) { return native::run(count, arguments, test_tier); }
