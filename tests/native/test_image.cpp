// Checks the kernels of csrc/image: every tier that runs here against the scalar one, bit for bit, at awkward sizes and
// extreme values; the contract is in kernels.hpp. (tests/test_rectify.py checks whole pictures against NumPy.) Inputs
// and outputs end where a page begins that can't be touched. And no call allocates anything, after the first.
//
// test_image [--require TIER]...   fails where such a tier does not run here
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "native.hpp"
#include "rectify.hpp"
#include "resize.hpp"

namespace {

std::size_t allocations = 0;

}  // namespace

void* operator new(std::size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using cardrec::Kernels;
using cardrec::kTile;
using native::check;
using native::Guarded;
using native::random_between;
using Bytes = Guarded<std::uint8_t>;

const int kSizes[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 97, 224};

const Kernels& scalar() { return cardrec::find_tier("scalar"); }

template <typename T>
bool same(const Guarded<T>& left, const Guarded<T>& right, std::size_t count) {
    return std::memcmp(left.data(), right.data(), count * sizeof(T)) == 0;
}

// Anything, or black and white, where sums are largest.
void fill(const Bytes& bytes) {
    const bool extreme = random_between(0, 1) != 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::uint8_t>(extreme ? 255 * random_between(0, 3) / 3 : random_between(0, 255));
    }
}

double random_double(double size) { return static_cast<double>(random_between(-1000000, 1000000)) * 1e-6 * size; }

void test_place(const Kernels& tier) {
    for (const int count : kSizes) {
        const auto filled = static_cast<std::size_t>((count + kTile - 1) / kTile * kTile);
        for (int round = 0; round < 20; ++round) {
            const cardrec::Row row{
                random_double(3000), random_double(3000),      random_double(0.4), random_double(2000),
                random_double(2000), 1.0 + random_double(0.3), 1.0 / 224};
            const Guarded<std::int64_t> x(filled), y(filled), expected_x(filled), expected_y(filled);
            const int first = static_cast<int>(random_between(0, 12)) * kTile;
            tier.place(row, first, count, x.data(), y.data());
            scalar().place(row, first, count, expected_x.data(), expected_y.data());
            const auto size = static_cast<std::size_t>(count);
            check(same(x, expected_x, size) && same(y, expected_y, size), tier, "place", count, first);
        }
    }
}

// A source of `width` x `height` pixels, whose last 8 bytes that can be read are the last of the page.
struct Scene {
    cardrec::Source source;
    int width, height;

    Scene()
        : source{}, width(static_cast<int>(random_between(1, 70))), height(static_cast<int>(random_between(2, 40))) {
        source.step = static_cast<std::int32_t>(random_between(1, 4));
        source.stride = (width - 1) * source.step + 8 + static_cast<std::int32_t>(random_between(0, 9));
        for (int c = 0; c < 4; ++c) {
            if (c < 3) source.lane[c] = static_cast<std::uint8_t>(random_between(0, 7 - source.step));
            const auto left = source.lane[c % 3], right = static_cast<std::uint8_t>(left + source.step);
            const std::uint8_t order[] = {left, static_cast<std::uint8_t>(left + 8), right,
                                          static_cast<std::uint8_t>(right + 8)};
            std::memcpy(source.order + 4 * c, order, 4);
        }
    }

    std::size_t bytes() const {
        return static_cast<std::size_t>((height - 1) * source.stride + (width - 1) * source.step + 8);
    }
};

// Samples between low and high, of which some are the corners.
void fill_pattern(int size, std::int64_t wide, std::int64_t tall, cardrec::Pattern& pattern) {
    pattern.size = size;
    pattern.bits = size == 1 ? 4 : 3;
    for (int s = 0; s < size; ++s) {
        pattern.x[s] = static_cast<std::int32_t>(s % 5 == 0 ? wide : random_between(0, wide));
        pattern.y[s] = static_cast<std::int32_t>(s % 3 == 0 ? tall : random_between(0, tall));
    }
}

void test_blend(const Kernels& tier) {
    for (const int size : {1, 2, 4, 6, 7, 8, 9, 16, 17, 255, 256}) {
        for (int round = 0; round < 40; ++round) {
            const Scene scene;
            const Bytes frame(scene.bytes()), out(3 * kTile), expected(3 * kTile);
            fill(frame);
            const std::int64_t wide = (scene.width << 16) - 1, tall = ((scene.height - 1) << 16) - 1;
            cardrec::Pattern pattern{};
            fill_pattern(size, wide / 2, tall / 2, pattern);
            const Guarded<std::int64_t> x(kTile), y(kTile);
            const std::int64_t turns = random_between(-3, 3) * (std::int64_t{1} << 32);  // which must not matter
            for (std::size_t u = 0; u < kTile; ++u) {
                x[u] = turns + (u % 4 == 0 ? wide - wide / 2 : random_between(0, wide - wide / 2));
                y[u] = turns + (u % 3 == 0 ? tall - tall / 2 : random_between(0, tall - tall / 2));
            }
            tier.blend(scene.source, frame.data(), pattern, x.data(), y.data(), out.data());
            scalar().blend(scene.source, frame.data(), pattern, x.data(), y.data(), expected.data());
            check(same(out, expected, out.size()), tier, "blend", size, scene.width, scene.height, scene.source.step);
        }
    }
}

void test_add_lines(const Kernels& tier) {
    for (const int bytes : kSizes) {
        for (std::size_t count = 1; count <= cardrec::kLinesTogether; ++count) {
            const auto size = static_cast<std::size_t>(bytes);
            const Bytes frame(count * size);
            const Guarded<std::uint16_t> sums(size), expected(size);
            fill(frame);
            const std::uint8_t* lines[cardrec::kLinesTogether];
            std::uint16_t weights[cardrec::kLinesTogether];
            for (std::size_t j = 0; j < count; ++j) {
                lines[j] = frame.data() + j * size;
                weights[j] = static_cast<std::uint16_t>(count == 1 ? 65535 : 65536 / count);
            }
            for (std::size_t i = 0; i < size; ++i) sums[i] = expected[i] = static_cast<std::uint16_t>(i % 128);
            const int begin = static_cast<int>(random_between(-1, 127));
            tier.add_lines(lines, weights, count, size, begin, sums.data());
            scalar().add_lines(lines, weights, count, size, begin, expected.data());
            check(same(sums, expected, size), tier, "add_lines", bytes, count);
        }
    }
}

// Weights of outputs, which sum to 2^16, or are 2^16 - 1 alone; returns the heaviest. Light ones are below 2^15.
std::uint16_t write_weights(const Guarded<std::uint16_t>& weights, std::size_t taps, bool light) {
    int heaviest = 0;
    for (std::size_t from = 0; from < weights.size(); from += taps) {
        int left = 65536;
        for (std::size_t j = 0; j < taps; ++j) {
            const int after = static_cast<int>(taps - 1 - j), most = light && taps > 2 ? 32767 : 65535;
            const int least = std::max(0, left - after * most), highest = std::min(left, most);
            const int weight = after == 0 ? highest : random_between(least, std::max(least, highest));
            weights[from + j] = static_cast<std::uint16_t>(weight);
            heaviest = std::max(heaviest, weight);
            left -= weight;
        }
    }
    return static_cast<std::uint16_t>(heaviest);
}

void test_columns(const Kernels& tier) {
    for (const int outputs : kSizes) {
        for (std::size_t taps = 2; taps <= 34; taps += 4) {
            const auto step = static_cast<std::ptrdiff_t>(random_between(1, 4));
            std::uint8_t lane[3];
            for (std::uint8_t& each : lane) each = static_cast<std::uint8_t>(random_between(0, 7 - step));
            const auto size = static_cast<std::size_t>(outputs);
            const Guarded<std::int64_t> first(size);
            const Guarded<std::uint16_t> weights(size * taps);
            for (std::size_t u = 0; u < size; ++u) first[u] = static_cast<std::int64_t>(2 * u);
            const std::uint16_t heaviest = write_weights(weights, taps, random_between(0, 1) == 1);
            const std::size_t last = 2 * (size - 1) + taps - 2;  // the pixel from which the last 8 sums are read
            const Guarded<std::uint16_t> sums(last * static_cast<std::size_t>(step) + 8);
            for (std::size_t i = 0; i < sums.size(); ++i)
                sums[i] = static_cast<std::uint16_t>(random_between(0, 65407));
            const Bytes out(3 * size), expected(3 * size);
            const cardrec::Columns columns{first.data(), weights.data(), size, taps, heaviest};
            tier.columns(sums.data(), step, lane, columns, out.data());
            scalar().columns(sums.data(), step, lane, columns, expected.data());
            check(same(out, expected, out.size()), tier, "columns", outputs, taps, step);
        }
    }
}

void test_yuv(const Kernels& tier) {
    for (const int count : kSizes) {
        for (const bool joined : {true, false}) {
            const auto size = static_cast<std::size_t>(3 * count);
            const Bytes u(size), v(size), rgb(size), expected(size);
            fill(u);
            fill(v);
            fill(rgb);
            std::memcpy(expected.data(), rgb.data(), size);
            const std::uint8_t* v_bytes = joined ? u.data() + 1 : v.data();
            tier.yuv(u.data(), v_bytes, static_cast<std::size_t>(count), rgb.data());
            scalar().yuv(u.data(), v_bytes, static_cast<std::size_t>(count), expected.data());
            check(same(rgb, expected, size), tier, "yuv", count, joined);
        }
    }
}

// Whole frames of every layout, whose last byte is the last of the page, through quads that reach their edges.
void test_frames(const Kernels& tier) {
    for (const std::ptrdiff_t channels : {1, 3, 4}) {
        for (const int width : {1, 3, 15, 17, 33, 97}) {
            for (const int height : {1, 3, 33}) {
                const Bytes frame(static_cast<std::size_t>(width * height * channels)), out(3 * 33 * 33),
                    expected(3 * 33 * 33);
                fill(frame);
                const cardrec::Picture picture =
                    cardrec::make_picture(frame.data(), height, width, channels, width * channels, channels, 1, true);
                const auto w = static_cast<float>(width), h = static_cast<float>(height);
                const float corners[] = {0, 0, w, 0, w, h, 0, h};
                cardrec::rectify(tier, picture, corners, 33, out.data());
                cardrec::rectify(scalar(), picture, corners, 33, expected.data());
                check(same(out, expected, out.size()), tier, "rectify", width, height, channels);
                cardrec::resize(tier, picture, 33, 33, out.data());
                cardrec::resize(scalar(), picture, 33, 33, expected.data());
                check(same(out, expected, out.size()), tier, "resize", width, height, channels);
            }
        }
    }
}

// NV12 and I420, likewise.
void test_planes(const Kernels& tier) {
    for (const int width : {2, 4, 16, 34, 98}) {
        for (const bool joined : {true, false}) {
            const int height = 18, half = width / 2;
            const Bytes luma(static_cast<std::size_t>(width * height)), chroma(luma.size() / 2), out(3 * 40 * 40),
                expected(3 * 40 * 40);
            fill(luma);
            fill(chroma);
            const std::ptrdiff_t step = joined ? 2 : 1, apart = joined ? 1 : half * height / 2;
            const auto plane = [&](std::ptrdiff_t from) {
                return cardrec::make_plane(chroma.data() + from, height / 2, half, half * step, step);
            };
            const cardrec::Picture picture =
                cardrec::make_yuv(cardrec::make_plane(luma.data(), height, width, width, 1), plane(0), plane(apart));
            const auto w = static_cast<float>(width);
            const float corners[] = {0, 0, w, 0, w, 18, 0, 18};
            cardrec::rectify(tier, picture, corners, 40, out.data());
            cardrec::rectify(scalar(), picture, corners, 40, expected.data());
            check(same(out, expected, out.size()), tier, "rectify of planes", width, joined);
            cardrec::resize(tier, picture, 40, 40, out.data());
            cardrec::resize(scalar(), picture, 40, 40, expected.data());
            check(same(out, expected, out.size()), tier, "resize of planes", width, joined);
        }
    }
}

void test_allocations(const Kernels& tier) {
    const std::vector<std::uint8_t> frame(720 * 1280 * 3);
    std::vector<std::uint8_t> out(3 * 300 * 300);
    const auto packed = cardrec::make_picture(frame.data(), 720, 1280, 3, 3840, 3, 1, true);
    const auto plane = cardrec::make_plane(frame.data(), 360, 640, 640, 1);
    const auto planes = cardrec::make_yuv(cardrec::make_plane(frame.data(), 720, 1280, 1280, 1), plane, plane);
    const float corners[] = {-9, 8, 600, 30, 610, 700, 20, 690};
    for (const auto* picture : {&packed, &planes}) {
        cardrec::resize(tier, *picture, 300, 300, out.data());
        const std::size_t before = allocations;
        cardrec::resize(tier, *picture, 300, 300, out.data());
        cardrec::rectify(tier, *picture, corners, 300, out.data());
        check(allocations == before, tier, "allocations", allocations - before);
    }
}

void test_tier(const Kernels& tier) {
    test_place(tier);
    test_blend(tier);
    test_add_lines(tier);
    test_columns(tier);
    test_yuv(tier);
    test_frames(tier);
    test_planes(tier);
    test_allocations(tier);
}

}  // namespace

int main(int count, char** arguments) { return native::run(count, arguments, test_tier); }
