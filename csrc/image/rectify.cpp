#include "rectify.hpp"

#include <algorithm>
#include <cstring>

#include "edge.hpp"
#include "homography.hpp"
#include "pattern.hpp"

namespace cardrec {
namespace {

// Output pixels are made in blocks, so that lines of the frame that several output lines need are still in the nearest
// cache. A card of 600 x 840 pixels that lies across takes 360 us so, 405 us line by line (Zen 4); one upright the
// same.
constexpr std::int64_t kBlock = 4 * kTile, kBlockLines = 8;
constexpr std::int64_t kReadBytes = 8;  // by the kernels, at each sample

// What kernels need to know of a frame, and how far they may go in it.
class Reach {
  public:
    explicit Reach(const Frame& frame) : frame_(frame) {
        const auto [low, high] = std::minmax({frame.rgb[0], frame.rgb[1], frame.rgb[2]});
        lowest_ = low;
        usable_ = frame.stride_x >= 1 && high - low + frame.stride_x < kReadBytes && frame.stride_y > -kLongest &&
                  frame.stride_y < kLongest;
        if (!usable_) return;
        const std::int64_t line_bytes = (frame.width - 1) * frame.stride_x + high - low + 1;
        last_ = {line_bytes < kReadBytes ? -1 : (line_bytes - kReadBytes) / frame.stride_x, frame.height - 2};
        source_.stride = static_cast<std::int32_t>(frame.stride_y);
        source_.step = static_cast<std::int32_t>(frame.stride_x);
        for (int c = 0; c < 4; ++c) {
            const std::ptrdiff_t left = frame.rgb[c % 3] - low, right = left + frame.stride_x;
            if (c < 3) source_.lane[c] = static_cast<std::uint8_t>(left);
            const std::ptrdiff_t order[] = {left, left + kReadBytes, right, right + kReadBytes};
            for (int i = 0; i < 4; ++i) source_.order[4 * c + i] = static_cast<std::uint8_t>(order[i]);
        }
    }

    // Whether all samples in this box (in 2^-16 pixels) can be read by kernels, with 32-bit positions and offsets from
    // its upper left corner.
    bool holds(Position low, Position high) const {
        if (!usable_ || low.x < 0 || low.y < 0 || whole(high.x) > last_.x || whole(high.y) > last_.y) return false;
        const std::int64_t wide = whole(high.x) - whole(low.x), tall = whole(high.y) - whole(low.y) + 1;
        return wide < kWidest && tall < kWidest &&
               tall * (frame_.stride_y < 0 ? -frame_.stride_y : frame_.stride_y) < kLongest;
    }

    const Source& source() const { return source_; }

    const std::uint8_t* pixel_at(Position position) const {
        return frame_.data + lowest_ + whole(position.y) * frame_.stride_y + whole(position.x) * frame_.stride_x;
    }

  private:
    static constexpr std::int64_t kLongest = 1 << 30, kWidest = 1 << 14;

    static std::int64_t whole(std::int64_t position) { return position >> kFractionBits; }

    const Frame& frame_;
    std::ptrdiff_t lowest_;
    bool usable_;
    Position last_{};
    Source source_{};
};

// Output pixels of a line: their centres in the frame, in 2^-16 pixels, and the footprints of their tiles.
struct Line {
    std::int64_t x[kBlock], y[kBlock];
    double ux[kBlock / kTile], uy[kBlock / kTile], vx[kBlock / kTile], vy[kBlock / kTile];
};

// Output pixels `first` to `first + count` of `lines` lines from `row` on.
struct Block {
    std::int64_t row, lines, first, count;
};

// Calls visit(block, where its first pixel goes) for all blocks of a (side, side, 3) picture.
template <typename Visit>
void each_block(std::int64_t side, std::uint8_t* out, Visit visit) {
    for (std::int64_t row = 0; row < side; row += kBlockLines) {
        for (std::int64_t first = 0; first < side; first += kBlock) {
            const Block block{row, std::min(kBlockLines, side - row), first, std::min(kBlock, side - first)};
            visit(block, out + 3 * (row * side + first));
        }
    }
}

// A frame and the quad in it.
class Warp {
  public:
    Warp(const Kernels& kernels, const Frame& frame, const Homography& map, std::int64_t side)
        : kernels_(kernels),
          frame_(frame),
          map_(map),
          side_(side),
          pixel_(1.0 / static_cast<double>(side)),
          reach_(frame) {}

    // Writes the pixels of a block; `pitch` bytes lie between the beginnings of their lines.
    void write(const Block& block, std::ptrdiff_t pitch, std::uint8_t* out) const {
        Line lines[kBlockLines];
        for (std::int64_t i = 0; i < block.lines; ++i) place(block.row + i, block.first, block.count, lines[i]);
        for (std::int64_t at = 0; at < block.count; at += kTile) {
            const int count = static_cast<int>(std::min<std::int64_t>(kTile, block.count - at));
            for (std::int64_t i = 0; i < block.lines; ++i) write_tile(lines[i], at, count, out + i * pitch + 3 * at);
        }
    }

  private:
    void place(std::int64_t row, std::int64_t first, std::int64_t count, Line& line) const {
        const Homography map = map_;
        const double pixel = pixel_, v = (static_cast<double>(row) + 0.5) * pixel;
        const int begin = static_cast<int>(first), size = static_cast<int>(count);
        const Row numbers{map.a, map.d, map.g, map.b * v + map.c, map.e * v + map.f, map.h * v + 1.0, pixel};
        kernels_.place(numbers, begin, size, line.x, line.y);
        for (int i = size; i % kTile != 0; ++i) {  // pixels that a last, shorter tile lacks repeat its last one
            line.x[i] = line.x[size - 1];
            line.y[i] = line.y[size - 1];
        }
        const int tiles = (size + kTile - 1) / kTile, end = static_cast<int>(side_);
        for (int tile = 0; tile < tiles; ++tile) {
            const int left = begin + tile * kTile, right = end < left + kTile ? end : left + kTile;
            const double u = 0.5 * static_cast<double>(left + right) * pixel;
            const double inverse = 1.0 / (map.g * u + map.h * v + 1.0), scale = inverse * pixel;
            const double centre_x = (map.a * u + map.b * v + map.c) * inverse;
            const double centre_y = (map.d * u + map.e * v + map.f) * inverse;
            line.ux[tile] = (map.a - map.g * centre_x) * scale;
            line.uy[tile] = (map.d - map.g * centre_y) * scale;
            line.vx[tile] = (map.b - map.h * centre_x) * scale;
            line.vy[tile] = (map.e - map.h * centre_y) * scale;
        }
    }

    // Centres of a line lie on a line of the frame: the first and the last bound the others.
    void write_tile(const Line& line, std::int64_t at, int count, std::uint8_t* out) const {
        const std::int64_t tile = at / kTile;
        const Grid grid(Footprint{line.ux[tile], line.uy[tile], line.vx[tile], line.vy[tile]});
        const std::int64_t *x = line.x + at, *y = line.y + at;
        const Position to_low = grid.low(), to_high = grid.high();
        const Position low{std::min(x[0], x[count - 1]) + to_low.x, std::min(y[0], y[count - 1]) + to_low.y};
        const Position high{std::max(x[0], x[count - 1]) + to_high.x, std::max(y[0], y[count - 1]) + to_high.y};
        if (reach_.holds(low, high)) {
            blend_tile(grid, low, x, y, count, out);
        } else {
            Position centres[kTile];
            for (int u = 0; u < count; ++u) centres[u] = {x[u], y[u]};
            blend_anywhere(frame_, grid, centres, count, out);
        }
    }

    void blend_tile(const Grid& grid, Position low, const std::int64_t* x, const std::int64_t* y, int count,
                    std::uint8_t* out) const {
        constexpr std::int64_t kWhole = ~((std::int64_t{1} << kFractionBits) - 1);
        Pattern pattern;
        grid.write({low.x & kWhole, low.y & kWhole}, pattern);
        if (count == kTile) return kernels_.blend(reach_.source(), reach_.pixel_at(low), pattern, x, y, out);
        std::uint8_t tile[3 * kTile];
        kernels_.blend(reach_.source(), reach_.pixel_at(low), pattern, x, y, tile);
        std::memcpy(out, tile, static_cast<std::size_t>(3 * count));
    }

    const Kernels& kernels_;
    const Frame& frame_;
    Homography map_;
    std::int64_t side_;
    double pixel_;
    Reach reach_;
};

Homography halved(const float* corners) {
    float half[8];
    for (int i = 0; i < 8; ++i) half[i] = 0.5f * corners[i];
    return Homography::to_quad(half);
}

void rectify_yuv(const Kernels& kernels, const Picture& picture, const float* corners, std::int64_t side,
                 std::uint8_t* out) {
    const Homography map = halved(corners);
    const Frame* frames = picture.frames;
    const bool apart = picture.count == 3;
    const Warp luma(kernels, frames[0], Homography::to_quad(corners), side);
    const Warp chroma[] = {{kernels, frames[1], map, side}, {kernels, frames[apart ? 2 : 1], map, side}};
    each_block(side, out, [&](const Block& block, std::uint8_t* pixels) {
        constexpr std::ptrdiff_t kPitch = 3 * kBlock;
        std::uint8_t u[kPitch * kBlockLines], v[kPitch * kBlockLines];
        luma.write(block, 3 * side, pixels);
        chroma[0].write(block, kPitch, u);
        if (apart) chroma[1].write(block, kPitch, v);
        for (std::int64_t i = 0; i < block.lines; ++i) {
            const std::uint8_t *u_line = u + i * kPitch, *v_line = apart ? v + i * kPitch : u_line + 1;
            kernels.yuv(u_line, v_line, static_cast<std::size_t>(block.count), pixels + i * 3 * side);
        }
    });
}

}  // namespace

bool can_rectify(const float* corners) { return Homography::to_quad(corners).bounded(); }

void rectify(const Kernels& kernels, const Picture& picture, const float* corners, std::int64_t side,
             std::uint8_t* out) {
    if (picture.count > 1) return rectify_yuv(kernels, picture, corners, side, out);
    const Warp warp(kernels, picture.frames[0], Homography::to_quad(corners), side);
    each_block(side, out, [&](const Block& block, std::uint8_t* pixels) { warp.write(block, 3 * side, pixels); });
}

}  // namespace cardrec
