#include "resize.hpp"

#include <algorithm>
#include <vector>

#include "axis.hpp"

namespace cardrec {
namespace {

// Sums behind the last pixel: an output at the edge has at most 3 weights of 0, for pixels of at most 4 bytes, and the
// kernels read 8 sums at every other pixel.
constexpr std::size_t kReadBeyond = 32;
constexpr std::size_t kKeptBytes = 4 << 20;  // per frame and thread

// The memory of one frame's resize, and the weights of the last one: a camera's pictures are all of one size.
struct Workspace {
    Axis rows, columns;
    std::vector<std::uint16_t> sums;
    std::vector<std::uint8_t> copies, line;

    std::size_t bytes() const {
        return rows.bytes() + columns.bytes() + 2 * sums.capacity() + copies.capacity() + line.capacity();
    }
};

// One frame, averaged line by line.
class Average {
  public:
    Average(const Kernels& kernels, const Frame& frame, std::int64_t height, std::int64_t width, Workspace& memory)
        : kernels_(kernels), frame_(frame), memory_(memory) {
        const auto [low, high] = std::minmax({frame.rgb[0], frame.rgb[1], frame.rgb[2]});
        const std::ptrdiff_t extent = high - low;
        packed_ = frame.stride_x >= 1 && frame.stride_x <= 4 && extent + frame.stride_x < 8;
        lowest_ = low;
        step_ = packed_ ? frame.stride_x : extent == 0 ? 1 : 3;
        for (int c = 0; c < 3; ++c) {
            lane_[c] = static_cast<std::uint8_t>(packed_ ? frame.rgb[c] - low : extent == 0 ? 0 : c);
        }
        bytes_ = static_cast<std::size_t>((frame.width - 1) * step_ + (packed_ ? extent + 1 : step_));
        prepare(memory.rows, frame.height, height, 0);
        prepare(memory.columns, frame.width, width, 2);
        memory.sums.resize(bytes_ + kReadBeyond);
        if (!packed_) memory.copies.resize(kLinesTogether * bytes_);
    }

    // Writes output line `row`.
    void write(std::size_t row, std::uint8_t* out) {
        const Axis &rows = memory_.rows, &columns = memory_.columns;
        const std::size_t count = rows.count(row);
        for (std::size_t j = 0; j < count; j += kLinesTogether) {
            const std::size_t together = std::min(kLinesTogether, count - j);
            const std::uint8_t* lines[kLinesTogether];
            for (std::size_t i = 0; i < together; ++i) {
                lines[i] = line_at(rows.first[row] + static_cast<std::int64_t>(j + i), i);
            }
            // Each line loses half a unit on average when its products are cut off.
            const int begin = j == 0 ? static_cast<int>(std::min<std::size_t>(count / 2, 127)) : -1;
            kernels_.add_lines(lines, rows.weights.data() + rows.start[row] + j, together, bytes_, begin,
                               memory_.sums.data());
        }
        const Columns view{columns.first.data(), columns.weights.data(), columns.first.size(), columns.count(0),
                           columns.heaviest};
        kernels_.columns(memory_.sums.data(), step_, lane_, view, out);
    }

  private:
    // A line as packed pixels: in the frame's own memory where it lies so, else as copy number `place`.
    const std::uint8_t* line_at(std::int64_t y, std::size_t place) {
        const std::uint8_t* pixel = frame_.data + y * frame_.stride_y;
        if (packed_) return pixel + lowest_;
        std::uint8_t* copy = memory_.copies.data() + place * bytes_;
        for (std::uint8_t* to = copy; to != copy + bytes_; pixel += frame_.stride_x) {
            for (std::ptrdiff_t c = 0; c < step_; ++c) *to++ = pixel[frame_.rgb[c]];
        }
        return copy;
    }

    const Kernels& kernels_;
    const Frame& frame_;
    Workspace& memory_;
    bool packed_;
    std::ptrdiff_t lowest_, step_;
    std::uint8_t lane_[3];  // where red, green and blue lie in a pixel
    std::size_t bytes_;     // in a line
};

void resize_yuv(const Kernels& kernels, const Picture& picture, std::int64_t height, std::int64_t width,
                Workspace* memory, std::uint8_t* out) {
    const bool apart = picture.count == 3;
    const std::size_t bytes = 3 * static_cast<std::size_t>(width);
    Average luma(kernels, picture.frames[0], height, width, memory[0]);
    Average u(kernels, picture.frames[1], height, width, memory[1]);
    Average v(kernels, picture.frames[apart ? 2 : 1], height, width, memory[apart ? 2 : 1]);
    std::uint8_t *u_line = (memory[1].line.resize(bytes), memory[1].line.data()), *v_line = u_line + 1;
    if (apart) v_line = (memory[2].line.resize(bytes), memory[2].line.data());
    for (std::int64_t row = 0; row < height; ++row, out += bytes) {
        luma.write(static_cast<std::size_t>(row), out);
        u.write(static_cast<std::size_t>(row), u_line);
        if (apart) v.write(static_cast<std::size_t>(row), v_line);
        kernels.yuv(u_line, v_line, static_cast<std::size_t>(width), out);
    }
}

}  // namespace

void resize(const Kernels& kernels, const Picture& picture, std::int64_t height, std::int64_t width,
            std::uint8_t* out) {
    static thread_local Workspace memory[3];
    if (picture.count > 1) {
        resize_yuv(kernels, picture, height, width, memory, out);
    } else {
        Average average(kernels, picture.frames[0], height, width, memory[0]);
        for (std::int64_t row = 0; row < height; ++row, out += 3 * width)
            average.write(static_cast<std::size_t>(row), out);
    }
    for (Workspace& each : memory) {
        if (each.bytes() > kKeptBytes) each = Workspace{};
    }
}

}  // namespace cardrec
