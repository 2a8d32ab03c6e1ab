// How long this core takes to read a catalog's codes, and how long each tier takes to scan them: alternated in one run.
// Compiled and run by `python -m benchmarks.roofline`.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "dispatch.hpp"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define EACH_TARGET __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define EACH_TARGET
#endif

namespace {

volatile std::uint64_t sink;

// The least that a scan must do: touch every byte. A compiler makes vector loads of it.
EACH_TARGET void read_all(const std::uint64_t* words, std::size_t count) {
    std::uint64_t seen[32] = {};
    for (std::size_t i = 0; i + 32 <= count; i += 32) {
        for (std::size_t j = 0; j < 32; ++j) seen[j] |= words[i + j];
    }
    sink = std::accumulate(seen, seen + 32, std::uint64_t{0});
}

struct Timed {
    std::string name;
    std::function<void()> run;
    std::vector<double> times_us;
};

double once_us(const std::function<void()>& run) {
    const auto begun = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begun).count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
    const std::size_t rows = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 17592;
    const std::size_t dimension = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 768;
    const std::size_t rounds = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 200;
    constexpr std::size_t kBlock = 128;

    const std::size_t bytes = rows * dimension;
    void* memory = ::mmap(nullptr, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return std::perror("mmap"), 1;
    auto* codes = static_cast<std::int8_t*>(memory);
    for (std::size_t i = 0; i < bytes; ++i) codes[i] = static_cast<std::int8_t>(i * 2654435761u >> 13);

    std::vector<std::int8_t> narrow(dimension + cardrec::kQueryPadding);
    for (std::size_t i = 0; i < dimension; ++i) narrow[i] = static_cast<std::int8_t>(i * 40503u >> 5 & 127);
    const std::vector<std::int16_t> wide(narrow.begin(), narrow.end());
    const std::int32_t sum = std::accumulate(narrow.begin(), narrow.end(), 0);
    const cardrec::QueryCodes query{narrow.data(), wide.data(), sum};
    const std::vector<float> scales(rows, 1e-3f);
    std::vector<std::uint32_t> order(rows);
    std::iota(order.begin(), order.end(), 0u);

    std::vector<Timed> all;
    all.push_back({"read", [&] { read_all(static_cast<const std::uint64_t*>(memory), bytes / 8); }, {}});
    for (const cardrec::Kernels* tier : cardrec::available_tiers()) {
        all.push_back({tier->tier,
                       [&, tier] {
                           std::int32_t dots[kBlock];
                           std::uint32_t places[kBlock + cardrec::kSlack];
                           for (std::size_t r = 0; r < rows; r += kBlock) {
                               const std::size_t count = std::min(kBlock, rows - r);
                               tier->dots_i8(codes, dimension, order.data() + r, count, query, dots);
                               sink = tier->screen(dots, scales.data() + r, count, {1e-3f, 0.0f, 1e9f}, places);
                           }
                       },
                       {}});
    }
    for (std::size_t round = 0; round < rounds + 5; ++round) {
        for (Timed& each : all) {
            const double spent_us = once_us(each.run);
            if (round >= 5) each.times_us.push_back(spent_us);
        }
    }
    const double read_us = median(all.front().times_us);
    std::printf("%zu x %zu int8, %.1f MB, median of %zu alternated rounds\n", rows, dimension, bytes / 1e6, rounds);
    for (const Timed& each : all) {
        const double middle_us = median(each.times_us);
        std::printf("%-14s %9.1f us %7.1f GB/s %6.2f x read\n", each.name.c_str(), middle_us, bytes / middle_us / 1e3,
                    middle_us / read_us);
    }
}
