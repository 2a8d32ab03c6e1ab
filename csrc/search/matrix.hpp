// Several segments seen as one matrix. Nothing here owns the rows; nothing reads them before the first search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace cardrec {

// One of vectors_f32 and vectors_f16 is null, unless the segment is empty. All arrays are packed.
struct Segment {
    std::size_t rows;
    const float* vectors_f32;
    const std::uint16_t* vectors_f16;
    const std::int8_t* codes;
    const float* scales;
    const float* errors;  // >= |x - scale * codes|_2 of the stored row x
};

class Matrix {
  public:
    Matrix(std::vector<Segment> segments, std::size_t dimension);

    std::size_t rows() const { return offsets_.back(); }
    std::size_t dimension() const { return dimension_; }
    const std::vector<Segment>& segments() const { return segments_; }

    // The global row of segment `index`'s first row.
    std::size_t offset(std::size_t index) const { return offsets_[index]; }

    // norms()[r] >= |x_r| and >= |x'_r|, by global row. Computed by the first caller, from codes alone; thread-safe.
    const float* norms() const;

    // The score of one row: row . query in double, in the order of kernels.hpp; a row that holds NaN scores -infinity.
    double score(std::size_t row, const float* query) const;

  private:
    void compute_norms() const;

    std::vector<Segment> segments_;
    std::vector<std::size_t> offsets_;
    std::size_t dimension_;
    mutable std::once_flag norms_once_;
    mutable std::vector<float> norms_;
};

}  // namespace cardrec
