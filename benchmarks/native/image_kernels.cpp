// The pictures' hot kernels on random frames: a card rectified, a frame area-averaged, each of BGR and of NV12. What is
// called is what cardrec._image calls, in csrc/image; see workload.hpp for how it is run.
#include <algorithm>
#include <memory>

#include "dispatch.hpp"
#include "rectify.hpp"
#include "resize.hpp"
#include "workload.hpp"

namespace {

using namespace cardrec;

// Random bytes, as BGR or as NV12 (luma, below it U and V as neighbours); both fit.
struct Pixels {
    std::ptrdiff_t width, height;
    std::vector<std::uint8_t> bytes;

    Pixels(std::ptrdiff_t w, std::ptrdiff_t h) : width(w), height(h), bytes(static_cast<std::size_t>(3 * w * h)) {
        fill();
    }

    Picture picture(bool nv12) const {
        if (!nv12) return make_picture(bytes.data(), height, width, 3, 3 * width, 3, 1, true);
        const std::uint8_t* chroma = bytes.data() + width * height;
        const std::ptrdiff_t pitch = width / 2 * 2;
        return make_yuv(make_plane(bytes.data(), height, width, width, 1),
                        make_plane(chroma, height / 2, width / 2, pitch, 2),
                        make_plane(chroma + 1, height / 2, width / 2, pitch, 2));
    }

  private:
    MAKES_INPUT void fill() {
        workload::Random random(static_cast<std::uint64_t>(width * 31 + height));
        for (std::size_t i = 0; i < bytes.size(); i += 8) {
            const std::uint64_t eight = random.bits();
            for (std::size_t j = i; j < std::min(i + 8, bytes.size()); ++j) {
                bytes[j] = static_cast<std::uint8_t>(eight >> 8 * (j - i));
            }
        }
    }
};

// A camera's frame, one with a quarter and one with an eighth of its sides, and one with awkward sides.
const Pixels& large() {
    static const Pixels pixels(1280, 720);
    return pixels;
}

const Pixels& quarter() {
    static const Pixels pixels(320, 180);
    return pixels;
}

const Pixels& eighth() {
    static const Pixels pixels(160, 90);
    return pixels;
}

const Pixels& awkward() {
    static const Pixels pixels(106, 58);
    return pixels;
}

// A quad of a picture, made a square.
struct Rectified {
    const Pixels& pixels;
    float corners[8];
    std::int64_t side;

    std::size_t columns() const { return extent(0); }
    std::size_t lines() const { return extent(1); }

    // The bytes that it reads, or hardly more: those of the box around the quad, in the picture.
    const std::uint8_t* begin(std::ptrdiff_t pixel_bytes) const {
        return pixels.bytes.data() + (least(1) * pixels.width + least(0)) * pixel_bytes;
    }

  private:
    std::ptrdiff_t least(int axis) const {
        return static_cast<std::ptrdiff_t>(
            std::min({corners[axis], corners[axis + 2], corners[axis + 4], corners[axis + 6]}));
    }
    std::size_t extent(int axis) const {
        const float most = std::max({corners[axis], corners[axis + 2], corners[axis + 4], corners[axis + 6]});
        return static_cast<std::size_t>(static_cast<std::ptrdiff_t>(most) - least(axis));
    }
};

struct Resized {
    const Pixels& pixels;
    std::int64_t width, height;
};

using Output = std::shared_ptr<std::vector<std::uint8_t>>;

Output output(std::int64_t width, std::int64_t height) {
    return std::make_shared<std::vector<std::uint8_t>>(static_cast<std::size_t>(3 * width * height));
}

void keep(const Output& out) { workload::sink = (*out)[out->size() / 2]; }

workload::Work rectifying(const char* kernel, const Kernels& kernels, const std::vector<Rectified>& all, bool nv12) {
    const Rectified first = all[0];
    const Output out = output(224, 224);
    const std::size_t columns = first.columns(), lines = first.lines();
    const std::ptrdiff_t width = first.pixels.width;
    return {kernel,
            [=, &kernels] {
                for (const Rectified& each : all) {
                    rectify(kernels, each.pixels.picture(nv12), each.corners, each.side, out->data());
                }
                keep(out);
            },
            [=] {
                if (nv12) {
                    workload::read(first.begin(1), columns * 3 / 2, lines, width);
                } else {
                    workload::read(first.begin(3), columns * 3, lines, 3 * width);
                }
            },
            columns * lines * 3 / (nv12 ? 2 : 1)};
}

workload::Work resizing(const char* kernel, const Kernels& kernels, const std::vector<Resized>& all, bool nv12) {
    const Output out = output(1280, 720);
    const Pixels& first = all[0].pixels;
    const std::size_t bytes = first.bytes.size() / (nv12 ? 2 : 1);
    return {kernel,
            [=, &kernels] {
                for (const Resized& each : all) {
                    resize(kernels, each.pixels.picture(nv12), each.height, each.width, out->data());
                }
                keep(out);
            },
            [=, &first] { workload::read(first.bytes.data(), bytes); }, bytes};
}

std::vector<workload::Work> works(const std::string& tier, const std::vector<Rectified>& quads,
                                  const std::vector<Resized>& sizes) {
    const Kernels& kernels = find_tier(tier);
    return {rectifying("rectify", kernels, quads, false), rectifying("rectify_nv12", kernels, quads, true),
            resizing("resize", kernels, sizes, false), resizing("resize_nv12", kernels, sizes, true)};
}

}  // namespace

namespace workload {

std::vector<std::string> tiers() { return names_of(available_tiers()); }

// The reductions of `timed_works` with smaller sides, since under emulation they would take a minute; a quad that
// leaves the picture, enlarged to a side that no tile divides; odd sizes, reduced and enlarged.
std::vector<Work> counted_works(const std::string& tier) {
    return works(tier,
                 {{quarter(), {105, 22.5f, 197.5f, 27.5f, 200, 160, 102.5f, 155}, 56},
                  {awkward(), {-5, 10, 30, 7, 33, 50, -2, 47}, 49}},
                 {{eighth(), 64, 36}, {awkward(), 31, 21}, {awkward(), 117, 61}});
}

// A card in a frame, to the encoder's input; a frame, to what the detector looks at.
std::vector<Work> timed_works(const std::string& tier, std::size_t) {
    return works(tier, {{large(), {420, 90, 790, 110, 800, 640, 410, 620}, 224}}, {{large(), 512, 288}});
}

}  // namespace workload
