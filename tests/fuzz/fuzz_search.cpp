// A libFuzzer target for the search: whatever the arrays of a matrix hold, `search` writes k different allowed rows for
// each query and touches nothing else. Where codes, scales, errors and prefixes were made as cardrec makes them, the
// rows and scores are also those of brute force, bit for bit.
//
// An input is the sizes and choices (see `read_shape`), then the contents of the arrays; behind its end a generator
// that it seeds goes on, so that short inputs fill large arrays as well.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "bitmap.hpp"
#include "dispatch.hpp"
#include "half.hpp"
#include "matrix.hpp"
#include "quantise.hpp"
#include "topk.hpp"

namespace {

using cardrec::kLanes;
using cardrec::kRestCodes;

constexpr double kSafe = 1.0 + 1e-9;  // outweighs the roundings of doubles below, as in cardrec/pruning.py

void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "fuzz_search: %s\n", what);
    std::abort();
}

class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {
        for (std::size_t i = 0; i < size; ++i) state_ = state_ * 31 + data[i];
    }

    template <typename T>
    void fill(T* values, std::size_t count) {
        auto* bytes = reinterpret_cast<std::uint8_t*>(values);
        const std::size_t size = count * sizeof(T), given = std::min(size, left_);
        std::copy(data_, data_ + given, bytes);
        data_ += given;
        left_ -= given;
        for (std::size_t i = given; i < size; i += sizeof state_) {
            const std::uint64_t word = next();
            std::memcpy(bytes + i, &word, std::min(sizeof word, size - i));
        }
    }

    template <typename T>
    T take() {
        T value;
        fill(&value, 1);
        return value;
    }

    std::size_t at_most(std::size_t most) { return take<std::uint16_t>() % (most + 1); }

  private:
    // SplitMix64.
    std::uint64_t next() {
        std::uint64_t word = state_ += 0x9e3779b97f4a7c15;
        word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
        word = (word ^ word >> 27) * 0x94d049bb133111eb;
        return word ^ word >> 31;
    }

    const std::uint8_t* data_;
    std::size_t left_;
    std::uint64_t state_ = 0;
};

enum class Values { kRaw, kCoarse, kUnit, kClustered };

struct Shape {
    const cardrec::Kernels* tier;
    bool honest;  // codes and bounds are computed, not raw bytes
    Values values;
    std::size_t dimension, basis_rows, queries, k, threads;
    std::vector<std::size_t> segment_rows;
    bool half, in_file, integral, filtered;
};

Shape read_shape(Input& input) {
    Shape shape;
    const auto flags = input.take<std::uint16_t>();
    const std::vector<const cardrec::Kernels*> tiers = cardrec::available_tiers();
    shape.tier = tiers[(flags & 7u) % tiers.size()];
    shape.honest = flags & 8;
    shape.half = flags & 16;
    shape.in_file = flags & 32;
    shape.integral = flags & 64;
    shape.filtered = flags & 128;
    shape.values = static_cast<Values>(flags >> 8 & 3);
    shape.dimension = 1 + input.at_most(flags & 1024 ? 200 : 40);
    const std::size_t most_basis_rows = shape.dimension / 4 * 4;
    shape.basis_rows = flags & 2048 ? std::min(most_basis_rows, 4 + input.at_most(12) / 4 * 4) : 0;
    shape.segment_rows.resize(input.at_most(3));
    for (std::size_t& rows : shape.segment_rows) rows = input.at_most(flags & 4096 ? 700 : 150);
    shape.queries = 1 + input.at_most(flags & 8192 ? 34 : 3);
    shape.k = 1 + input.at_most(flags & 16384 ? 70 : 4);
    shape.threads = input.at_most(4);
    return shape;
}

// --- floats

void draw_floats(Input& input, Values kind, float* values, std::size_t rows, std::size_t dimension) {
    const std::size_t count = rows * dimension;
    if (kind == Values::kRaw) return input.fill(values, count);
    std::vector<std::int8_t> bytes(count), centre(dimension);
    input.fill(centre.data(), dimension);
    input.fill(bytes.data(), count);
    for (std::size_t i = 0; i < count; ++i) {
        if (kind == Values::kCoarse) values[i] = static_cast<float>(bytes[i] % 3);  // many ties
        if (kind == Values::kUnit) values[i] = static_cast<float>(bytes[i]) / 128.0f;
        if (kind == Values::kClustered) {
            values[i] = static_cast<float>(centre[i % dimension]) / 128.0f + static_cast<float>(bytes[i] / 32) * 1e-6f;
        }
    }
}

// Finite, and with a finite float as its norm, as rows of a catalog have.
void make_finite(std::vector<float>& values) {
    for (float& value : values) {
        if (!(std::fabs(value) < 1e30f)) value = 0.0f;
    }
}

// --- the arrays of a matrix

struct Data {
    std::vector<float> rows;            // as brute force sees them: of halves, what they stand for
    std::vector<std::uint16_t> halves;  // what is stored, where that is halves
    std::vector<std::int8_t> codes;
    std::vector<float> scales, errors;
    std::vector<std::int8_t> groups;
    int descriptor = -1;
};

struct Rotation {
    std::vector<float> vectors;
    double delta = 0.0;
};

// Rows made orthonormal by Gram and Schmidt; `delta` bounds what rounding leaves: the Frobenius norm is the larger one.
Rotation make_rotation(Input& input, const Shape& shape) {
    const std::size_t dimension = shape.dimension;
    Rotation rotation;
    rotation.vectors.resize(shape.basis_rows * dimension);
    if (!shape.honest) {
        draw_floats(input, shape.values, rotation.vectors.data(), shape.basis_rows, dimension);
        rotation.delta = input.take<double>();
        return rotation;
    }
    std::vector<std::vector<double>> done;
    for (std::size_t p = 0; p < shape.basis_rows; ++p) {
        std::vector<double> row(dimension);
        for (std::size_t i = 0; i < dimension; ++i) row[i] = input.take<std::int8_t>() + (i == p ? 1000.0 : 0.0);
        for (const std::vector<double>& other : done) {
            double product = 0.0;
            for (std::size_t i = 0; i < dimension; ++i) product += row[i] * other[i];
            for (std::size_t i = 0; i < dimension; ++i) row[i] -= product * other[i];
        }
        double norm = 0.0;
        for (const double value : row) norm += value * value;
        for (double& value : row) value /= std::sqrt(norm);
        for (std::size_t i = 0; i < dimension; ++i) rotation.vectors[p * dimension + i] = static_cast<float>(row[i]);
        done.push_back(row);
    }
    double squared = 0.0;
    for (std::size_t p = 0; p < shape.basis_rows; ++p) {
        for (std::size_t r = 0; r < shape.basis_rows; ++r) {
            double product = p == r ? -1.0 : 0.0;
            for (std::size_t i = 0; i < dimension; ++i) {
                product +=
                    static_cast<double>(rotation.vectors[p * dimension + i]) * rotation.vectors[r * dimension + i];
            }
            squared += product * product;
        }
    }
    rotation.delta = std::sqrt(squared) * kSafe + 1e-12;
    return rotation;
}

// The codes of cardrec.pruning.encode_prefix, whose numbers are returned.
cardrec::Prefix encode_prefix(const Rotation& rotation, std::size_t length, Data& data, std::size_t dimension) {
    const std::size_t rows = data.rows.size() / dimension, width = length + kRestCodes;
    std::vector<double> coordinates(rows * length), rests(rows);
    double largest = 0.0, error = 0.0, norm = 0.0;
    for (std::size_t r = 0; r < rows; ++r) {
        const float* row = data.rows.data() + r * dimension;
        double squared = 0.0, kept = 0.0;
        for (std::size_t i = 0; i < dimension; ++i) squared += static_cast<double>(row[i]) * row[i];
        for (std::size_t p = 0; p < length; ++p) {
            double& coordinate = coordinates[r * length + p];
            for (std::size_t i = 0; i < dimension; ++i) {
                coordinate += static_cast<double>(rotation.vectors[p * dimension + i]) * row[i];
            }
            kept += coordinate * coordinate;
            largest = std::max(largest, std::fabs(coordinate));
        }
        rests[r] = std::sqrt(std::max(0.0, squared - (1.0 - rotation.delta) * kept) + 1e-9 * squared) * kSafe;
        largest = std::max(largest, rests[r] / kRestCodes);
        norm = std::max(norm, std::sqrt(kept));
    }
    const double scale = largest > 0.0 ? largest / 127.0 * kSafe : 1.0;
    data.groups.resize((rows + kLanes - 1) / kLanes * kLanes * width);
    const auto code = [&](std::size_t row, std::size_t j) -> std::int8_t& {
        return data.groups[((row / kLanes * (width / 4) + j / 4) * kLanes + row % kLanes) * 4 + j % 4];
    };
    for (std::size_t r = 0; r < rows; ++r) {
        double missed = 0.0;
        for (std::size_t p = 0; p < length; ++p) {
            code(r, p) = static_cast<std::int8_t>(std::nearbyint(coordinates[r * length + p] / scale));
            const double miss = coordinates[r * length + p] - scale * code(r, p);
            missed += miss * miss;
        }
        error = std::max(error, std::sqrt(missed));
        const int rest = static_cast<int>(std::ceil(rests[r] / scale));
        for (std::size_t j = 0; j < kRestCodes; ++j) {
            code(r, length + j) = static_cast<std::int8_t>((rest + static_cast<int>(j)) / static_cast<int>(kRestCodes));
        }
    }
    return {data.groups.data(), scale, (error + norm * 0x1p-40) * kSafe, norm * kSafe};
}

// What the bindings let through: a positive scale, an error and a norm that are not negative.
cardrec::Prefix raw_prefix(Input& input, std::size_t length, std::size_t rows, Data& data) {
    data.groups.resize((rows + kLanes - 1) / kLanes * kLanes * (length + kRestCodes));
    input.fill(data.groups.data(), data.groups.size());
    const auto number = [&input] {
        const double value = std::fabs(input.take<double>());
        return value >= 0.0 ? value : 1.0;
    };
    return {data.groups.data(), std::max(number(), 1e-300), number(), number()};
}

// The rows as they are stored: in memory, or behind a header in a file.
cardrec::Vectors store(Data& data, const Shape& shape) {
    const void* memory = shape.half ? static_cast<const void*>(data.halves.data()) : data.rows.data();
    if (!shape.in_file) return {memory, -1, 0, shape.half};
    constexpr std::size_t kHeader = 7;
    data.descriptor = ::memfd_create("rows", 0);
    require(data.descriptor >= 0, "memfd_create failed");
    const std::size_t size = data.rows.size() * (shape.half ? sizeof(std::uint16_t) : sizeof(float));
    const auto written = ::pwrite(data.descriptor, memory, size, kHeader);
    require(written == static_cast<ssize_t>(size), "pwrite failed");
    return {nullptr, data.descriptor, kHeader, shape.half};
}

// A segment that is as cardrec makes it, or one whose contents are anything.
cardrec::Segment make_segment(Input& input, const Shape& shape, const Rotation& rotation, std::size_t rows,
                              Data& data) {
    const std::size_t dimension = shape.dimension, size = rows * dimension;
    data.rows.resize(size);
    data.codes.resize(size);
    data.scales.resize(rows);
    data.errors.resize(rows);
    if (shape.half) {
        data.halves.resize(size);
        input.fill(data.halves.data(), size);
        for (std::uint16_t& half : data.halves) {
            if (shape.honest && (half & 0x7c00) == 0x7c00) half &= 0x83ff;  // neither infinite nor NaN
        }
        std::transform(data.halves.begin(), data.halves.end(), data.rows.begin(), cardrec::float_from_half);
    } else {
        draw_floats(input, shape.values, data.rows.data(), rows, dimension);
        if (shape.honest) make_finite(data.rows);
    }
    cardrec::Segment segment{rows, store(data, shape), data.codes.data(), data.scales.data(), data.errors.data(), 0.0,
                             {}};
    if (!shape.honest) {
        input.fill(data.codes.data(), size);
        input.fill(data.scales.data(), rows);
        input.fill(data.errors.data(), rows);
        segment.norm = input.take<double>();
        if (shape.basis_rows > 0) segment.prefix = raw_prefix(input, shape.basis_rows, rows, data);
        return segment;
    }
    for (std::size_t r = 0; r < rows; ++r) {
        const cardrec::Quantised row =
            cardrec::quantise(data.rows.data() + r * dimension, dimension, data.codes.data() + r * dimension);
        data.scales[r] = row.scale;
        data.errors[r] = row.error;
        segment.norm = std::max(segment.norm, static_cast<double>(row.norm));
    }
    if (shape.basis_rows > 0 && rows > 0) segment.prefix = encode_prefix(rotation, shape.basis_rows, data, dimension);
    return segment;
}

std::vector<cardrec::Query> make_queries(Input& input, const Shape& shape) {
    std::vector<cardrec::Query> queries;
    std::vector<float> values(shape.dimension);
    for (std::size_t q = 0; q < shape.queries; ++q) {
        if (shape.integral) {
            for (float& value : values) value = std::max<float>(-127.0f, input.take<std::int8_t>());
        } else {
            draw_floats(input, shape.values, values.data(), 1, shape.dimension);
            for (float& value : values) value = std::isfinite(value) ? value : 1.0f;
        }
        if (std::all_of(values.begin(), values.end(), [](float value) { return value == 0.0f; })) values.back() = 1.0f;
        queries.emplace_back(*shape.tier, values.data(), shape.dimension, shape.integral);
    }
    return queries;
}

// --- what must hold

struct Found {
    std::vector<std::int64_t> rows;
    std::vector<float> scores;
};

bool is_allowed(const std::vector<std::uint64_t>& bits, std::size_t row) {
    return bits.empty() || (bits[row / 64] >> (row % 64) & 1) != 0;
}

void check_rows(const Found& found, std::size_t k, std::size_t row_count, const std::vector<std::uint64_t>& bits) {
    for (std::size_t first = 0; first < found.rows.size(); first += k) {
        std::set<std::int64_t> different;
        for (std::size_t i = first; i < first + k; ++i) {
            const std::int64_t row = found.rows[i];
            require(row >= 0 && static_cast<std::size_t>(row) < row_count, "a row that is not there, or none at all");
            require(is_allowed(bits, static_cast<std::size_t>(row)), "a row that is not allowed");
            require(different.insert(row).second, "a row twice");
        }
    }
}

void check_best(const Found& found, std::size_t k, const std::vector<cardrec::Query>& queries,
                const std::vector<float>& rows, std::size_t dimension, const std::vector<std::uint64_t>& bits) {
    const cardrec::Kernels& scalar = cardrec::find_tier("scalar");
    for (std::size_t q = 0; q < queries.size(); ++q) {
        std::vector<std::pair<double, std::size_t>> all;  // (-score, row): smaller is better
        for (std::size_t r = 0; r < rows.size() / dimension; ++r) {
            if (!is_allowed(bits, r)) continue;
            all.emplace_back(-scalar.dot_f32(rows.data() + r * dimension, queries[q].vector(), dimension), r);
        }
        std::sort(all.begin(), all.end());
        for (std::size_t i = 0; i < k; ++i) {
            const auto score = static_cast<float>(-all[i].first);
            require(found.rows[q * k + i] == static_cast<std::int64_t>(all[i].second), "not the rows of brute force");
            require(std::memcmp(&found.scores[q * k + i], &score, sizeof score) == 0, "not the scores of brute force");
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    Input input(bytes, size);
    const Shape shape = read_shape(input);
    const Rotation rotation = make_rotation(input, shape);
    std::vector<Data> data(shape.segment_rows.size());
    std::vector<cardrec::Segment> segments;
    std::vector<float> rows;
    for (std::size_t s = 0; s < data.size(); ++s) {
        segments.push_back(make_segment(input, shape, rotation, shape.segment_rows[s], data[s]));
        rows.insert(rows.end(), data[s].rows.begin(), data[s].rows.end());
    }
    const cardrec::Basis basis{shape.basis_rows > 0 ? rotation.vectors.data() : nullptr, shape.basis_rows,
                               rotation.delta};
    const cardrec::Matrix matrix(*shape.tier, segments, shape.dimension, basis);
    const std::vector<cardrec::Query> queries = make_queries(input, shape);
    std::vector<std::uint64_t> bits(shape.filtered ? (matrix.rows() + 63) / 64 : 0);
    input.fill(bits.data(), bits.size());
    const std::uint64_t* allowed = shape.filtered ? bits.data() : nullptr;

    const std::size_t k = std::min(shape.k, cardrec::count_allowed(allowed, 0, matrix.rows()));
    if (k == 0) return 0;
    Found found{std::vector<std::int64_t>(queries.size() * k, -1), std::vector<float>(queries.size() * k)};
    cardrec::search(matrix, queries, k, allowed, shape.threads, found.rows.data(), found.scores.data());
    check_rows(found, k, matrix.rows(), bits);
    if (shape.honest) check_best(found, k, queries, rows, shape.dimension, bits);
    for (const Data& each : data) {
        if (each.descriptor >= 0) ::close(each.descriptor);
    }
    return 0;
}
