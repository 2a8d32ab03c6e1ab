// What the drivers of the hot kernels share: the input's random numbers, and the two ways in which a driver is run.
//
//   DRIVER count callgrind|qemu|steps TIER... KERNEL...
//     each kernel (all, where none is named) in each tier, once for warmth, then once inside `counted`; says their
//     order, and `steps` counts them itself
//   DRIVER time ROUNDS ROWS
//     each kernel in every tier that runs here, and a plain read of the bytes that it needs, in turn; median us
//
// Input depends on nothing but this source: integers and exact or correctly rounded operations of <cmath> make it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

// Functions that make input: with all that they call, they lie apart from the code that is counted, so that qemu's log,
// a line for every jump, need not have them.
#define MAKES_INPUT __attribute__((noinline, flatten, section("makes_input")))

namespace workload {

// One kernel with its input, in one tier.
struct Work {
    std::string kernel;
    std::function<void()> run;
    std::function<void()> read;  // each byte that `run` can't do without, once
    std::size_t bytes;           // that `read` reads
};

// The drivers' own part. `rows` of the timed catalog are chosen on the command line.
std::vector<std::string> tiers();
std::vector<Work> counted_works(const std::string& tier);
std::vector<Work> timed_works(const std::string& tier, std::size_t rows);

// The names of a module's tiers.
template <typename Tiers>
std::vector<std::string> names_of(const Tiers& all) {
    std::vector<std::string> names;
    for (const auto* each : all) names.emplace_back(each->tier);
    return names;
}

// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t bits() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }

    // In -1..1.
    float unit() { return static_cast<float>(static_cast<std::int32_t>(bits() >> 32)) * 0x1p-31f; }

  private:
    std::uint64_t state_;
};

// Keeps results, so that no call is left out.
extern volatile std::uint64_t sink;

// Reads `lines` times `bytes` bytes.
void read(const void* from, std::size_t bytes, std::size_t lines = 1, std::ptrdiff_t stride = 0);

}  // namespace workload
