// The weights of an area average along one axis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cardrec {

// Output i is the sum over j of weights[start[i] + j] / 2^16 * source[first[i] + j]. One weight alone counts 2^16 - 1.
struct Axis {
    std::int64_t size = 0, outputs = 0;
    std::size_t multiple = 0;
    std::vector<std::int64_t> first;
    std::vector<std::size_t> start;  // one more than there are outputs
    std::vector<std::uint16_t> weights;
    std::uint16_t heaviest = 0;

    std::size_t count(std::size_t i) const { return start[i + 1] - start[i]; }
    std::size_t bytes() const {
        return sizeof(std::int64_t) * first.capacity() + sizeof(std::size_t) * start.capacity() +
               sizeof(std::uint16_t) * weights.capacity();
    }
};

// Makes the weights of `outputs` means of `size` pixels, unless they are there already. With a `multiple` other than 0
// all outputs have equally many, a multiple of it: zeros fill them up, as if there were a few pixels more.
void prepare(Axis& axis, std::int64_t size, std::int64_t outputs, std::size_t multiple);

}  // namespace cardrec
