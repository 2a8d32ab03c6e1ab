// main() of the drivers; see workload.hpp.
#include "workload.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "steps.hpp"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define EACH_TARGET __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define EACH_TARGET
#endif

// What is counted lies between these two: callgrind and `steps` know the first by its name, the log of qemu shows both.
extern "C" __attribute__((noinline)) void counted(const std::function<void()>& run) {
    run();
    __asm__ volatile("");  // no tail call: the function ends when the work has ended
}
extern "C" __attribute__((noinline)) void finished() { __asm__ volatile(""); }

namespace workload {

volatile std::uint64_t sink;

namespace {

using Word = std::uint64_t __attribute__((aligned(1), may_alias));

// The least that a kernel must do: touch every byte. A compiler makes vector loads of it.
EACH_TARGET std::uint64_t read_words(const char* from, std::size_t bytes) {
    std::uint64_t seen[32] = {}, all = 0;
    std::size_t i = 0;
    for (; i + sizeof seen <= bytes; i += sizeof seen) {
        const auto* words = reinterpret_cast<const Word*>(from + i);
        for (std::size_t j = 0; j < 32; ++j) seen[j] |= words[j];
    }
    for (const std::uint64_t each : seen) all |= each;
    for (; i + 8 <= bytes; i += 8) all |= *reinterpret_cast<const Word*>(from + i);
    for (; i < bytes; ++i) all |= static_cast<unsigned char>(from[i]);
    return all;
}

double once_us(const std::function<void()>& run) {
    const auto begun = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begun).count();
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

// `names`: tiers, and kernels where not all are wanted.
int count(const std::string& method, const std::vector<std::string>& names) {
    const std::vector<std::string> known = tiers();
    const bool all = std::all_of(names.begin(), names.end(), [&](const auto& name) { return contains(known, name); });
    std::printf("text %zx %zx marks %zx %zx\n", text_begin(), text_end(), reinterpret_cast<std::size_t>(&counted),
                reinterpret_cast<std::size_t>(&finished));
    for (const std::string& tier : known) {
        if (!contains(names, tier)) continue;
        for (const Work& work : counted_works(tier)) {
            if (!all && !contains(names, work.kernel)) continue;
            work.run();
            if (method == "steps") {
                const Steps steps = count_steps(&counted, work.run);
                std::printf("%s %s %zu %zu\n", work.kernel.c_str(), tier.c_str(), steps.inside, steps.outside);
            } else {
                counted(work.run);
                finished();
                std::printf("%s %s\n", work.kernel.c_str(), tier.c_str());
            }
        }
    }
    return 0;
}

struct Timed {
    std::string name;
    const Work* work;
    const std::function<void()>* run;
    std::vector<double> times_us;
};

// Kernels one after the other, of each the tiers and the read in turn: a slow second hits them all.
int time(std::size_t rounds, std::size_t rows) {
    constexpr std::size_t kWarmUp = 5;
    std::vector<std::vector<Work>> works;
    for (const std::string& tier : tiers()) works.push_back(timed_works(tier, rows));
    for (std::size_t kernel = 0; kernel < works.front().size(); ++kernel) {
        const Work& first = works.front()[kernel];
        std::vector<Timed> all{{"read", &first, &first.read, {}}};
        for (std::size_t t = 0; t < works.size(); ++t) {
            all.push_back({tiers()[t], &works[t][kernel], &works[t][kernel].run, {}});
        }
        for (std::size_t round = 0; round < rounds + kWarmUp; ++round) {
            for (Timed& each : all) {
                const double spent_us = once_us(*each.run);
                if (round >= kWarmUp) each.times_us.push_back(spent_us);
            }
        }
        for (Timed& each : all) {
            const auto middle = each.times_us.begin() + static_cast<std::ptrdiff_t>(rounds / 2);
            std::nth_element(each.times_us.begin(), middle, each.times_us.end());
            std::printf("%s %s %zu %.3f\n", first.kernel.c_str(), each.name.c_str(), first.bytes, *middle);
        }
    }
    return 0;
}

}  // namespace

void read(const void* from, std::size_t bytes, std::size_t lines, std::ptrdiff_t stride) {
    const char* line = static_cast<const char*>(from);
    for (std::size_t i = 0; i < lines; ++i, line += stride) sink = read_words(line, bytes);
}

}  // namespace workload

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() >= 2 && arguments[0] == "count") {
        return workload::count(arguments[1], {arguments.begin() + 2, arguments.end()});
    }
    if (arguments.size() == 3 && arguments[0] == "time") {
        return workload::time(std::stoul(arguments[1]), std::stoul(arguments[2]));
    }
    if (arguments.size() == 1 && arguments[0] == "tiers") {
        for (const std::string& tier : workload::tiers()) std::puts(tier.c_str());
        return 0;
    }
    std::fprintf(stderr, "usage: %s tiers | count callgrind|qemu|steps TIER... KERNEL... | time ROUNDS ROWS\n",
                 argv[0]);
    return 2;
}
