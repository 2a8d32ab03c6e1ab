// Several segments seen as one matrix. Nothing here owns the arrays. Scales and errors are read once, no vector before
// a search needs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels.hpp"
#include "prefix.hpp"
#include "query.hpp"

namespace cardrec {

// The stored rows, packed, as float or half. They lie in memory, or in an open file from which they are read row by
// row: so the rows of a large catalog never fill the process's memory, and a failing disk is an error, not a signal.
struct Vectors {
    const void* memory;  // null where they lie in a file
    int descriptor;
    std::size_t offset;  // of the first row in the file, in bytes
    bool half;
};

struct Segment {
    std::size_t rows;
    Vectors vectors;
    const std::int8_t* codes;  // packed rows
    const float* scales;
    const float* errors;  // >= |x - scale * codes|_2 of the stored row x
    double norm;          // >= |x|_2 of every stored row
    Prefix prefix;
};

class Matrix {
  public:
    Matrix(const Kernels& kernels, std::vector<Segment> segments, std::size_t dimension, Basis basis);

    const Kernels& kernels() const { return kernels_; }
    std::size_t rows() const { return offsets_.back(); }
    std::size_t dimension() const { return dimension_; }
    const Basis& basis() const { return basis_; }
    const std::vector<Segment>& segments() const { return segments_; }

    // The global row of segment `index`'s first row.
    std::size_t offset(std::size_t index) const { return offsets_[index]; }

    // What holds for all rows of segment `index`.
    const SegmentBounds& bounds(std::size_t index) const { return bounds_[index]; }

    // The score of one row: row . query in double, in the order of kernels.hpp; a row that holds NaN scores -infinity.
    // `buffer` is memory to read a row into. Throws std::system_error where the file can't be read.
    double score(std::size_t row, const float* query, std::vector<char>& buffer) const;

    // Asks for the row's memory, to be scored soon; does nothing for rows in a file.
    void prefetch(std::size_t row) const;

  private:
    struct Place {
        const Vectors& vectors;
        std::size_t row;  // within the segment
    };
    Place place(std::size_t row) const;
    std::size_t row_size(const Vectors& vectors) const;

    const Kernels& kernels_;
    std::vector<Segment> segments_;
    std::vector<std::size_t> offsets_;
    std::size_t dimension_;
    Basis basis_;
    std::vector<SegmentBounds> bounds_;
};

}  // namespace cardrec
