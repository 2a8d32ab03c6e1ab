#include "matrix.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <limits>
#include <system_error>
#include <utility>

#include "quantise.hpp"

namespace cardrec {
namespace {

// Reads exactly `size` bytes.
void read_exactly(int descriptor, char* to, std::size_t size, std::size_t offset) {
    while (size > 0) {
        const ssize_t got = ::pread(descriptor, to, size, static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw std::system_error(errno, std::generic_category(), "reading a catalog's vectors");
        if (got == 0) throw std::system_error(EIO, std::generic_category(), "a catalog's vectors were cut short");
        to += got;
        size -= static_cast<std::size_t>(got);
        offset += static_cast<std::size_t>(got);
    }
}

SegmentBounds bounds_of(const Segment& segment) {
    SegmentBounds bounds{segment.norm, 0.0, 0.0, 0.0};
    for (std::size_t r = 0; r < segment.rows; ++r) {
        const double scale = segment.scales[r], error = segment.errors[r];
        bounds.error = std::max(bounds.error, error);  // a NaN leaves the maximum as it is
        if (scale > 0.0) {
            bounds.ratio = std::max(bounds.ratio, error / scale);
        } else {
            bounds.zero_error = std::max(bounds.zero_error, error);
        }
    }
    bounds.norm += bounds.error;  // |x'| <= |x| + e
    bounds.ratio *= kRoundUp;
    return bounds;
}

}  // namespace

Matrix::Matrix(const Kernels& kernels, std::vector<Segment> segments, std::size_t dimension, Basis basis)
    : kernels_(kernels), segments_(std::move(segments)), offsets_{0}, dimension_(dimension), basis_(basis) {
    for (const Segment& segment : segments_) {
        offsets_.push_back(offsets_.back() + segment.rows);
        bounds_.push_back(bounds_of(segment));
    }
}

Matrix::Place Matrix::place(std::size_t row) const {
    const auto next = std::upper_bound(offsets_.begin(), offsets_.end(), row);
    const std::size_t index = static_cast<std::size_t>(next - offsets_.begin()) - 1;
    return {segments_[index].vectors, row - offsets_[index]};
}

std::size_t Matrix::row_size(const Vectors& vectors) const {
    return dimension_ * (vectors.half ? sizeof(std::uint16_t) : sizeof(float));
}

void Matrix::prefetch(std::size_t row) const {
    const Place at = place(row);
    if (at.vectors.memory == nullptr) return;
    const std::size_t size = row_size(at.vectors);
    const char* bytes = static_cast<const char*>(at.vectors.memory) + at.row * size;
    for (std::size_t i = 0; i < size; i += 64) __builtin_prefetch(bytes + i);
}

double Matrix::score(std::size_t row, const float* query, std::vector<char>& buffer) const {
    const Place at = place(row);
    const std::size_t size = row_size(at.vectors);
    const char* bytes = nullptr;
    if (at.vectors.memory != nullptr) {
        bytes = static_cast<const char*>(at.vectors.memory) + at.row * size;
    } else {
        buffer.resize(size);
        read_exactly(at.vectors.descriptor, buffer.data(), size, at.vectors.offset + at.row * size);
        bytes = buffer.data();
    }
    const auto* halves = reinterpret_cast<const std::uint16_t*>(bytes);
    const auto* floats = reinterpret_cast<const float*>(bytes);
    const double score =
        at.vectors.half ? kernels_.dot_f16(halves, query, dimension_) : kernels_.dot_f32(floats, query, dimension_);
    return std::isnan(score) ? -std::numeric_limits<double>::infinity() : score;
}

}  // namespace cardrec
