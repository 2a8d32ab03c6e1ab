// What the programs that check kernels share: arrays that end at a forbidden page, random numbers, the loop over tiers.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "kernels.hpp"

namespace native {

inline std::size_t checks = 0;

// `sizes` are those of the case at hand, for the message.
template <typename... Sizes>
void check(bool right, const cardrec::Kernels& tier, const char* what, Sizes... sizes) {
    ++checks;
    if (right) return;
    std::printf("FAILED: %s.%s", tier.tier, what);
    (std::printf(" %lld", static_cast<long long>(sizes)), ...);
    std::printf("\n");
    std::exit(1);
}

// `size` elements whose last is the last of its page; the next page can't be read or written.
template <typename T>
class Guarded {
  public:
    explicit Guarded(std::size_t size) : size_(size) {
        const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        const std::size_t bytes = (size * sizeof(T) + page - 1) / page * page;
        length_ = bytes + page;
        memory_ = ::mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory_ == MAP_FAILED || ::mprotect(static_cast<char*>(memory_) + bytes, page, PROT_NONE) != 0) {
            std::perror("mmap");
            std::exit(2);
        }
        data_ = reinterpret_cast<T*>(static_cast<char*>(memory_) + bytes) - size;
    }
    explicit Guarded(const std::vector<T>& values) : Guarded(values.size()) {
        std::copy(values.begin(), values.end(), data_);
    }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    ~Guarded() { ::munmap(memory_, length_); }

    T* data() const { return data_; }
    std::size_t size() const { return size_; }
    T& operator[](std::size_t i) const { return data_[i]; }

  private:
    std::size_t size_;
    std::size_t length_;
    void* memory_;
    T* data_;
};

inline std::mt19937_64& generator() {
    static std::mt19937_64 engine(20240501);
    return engine;
}

inline std::int64_t random_between(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(generator());
}

// main(): calls `test` for each tier. [--require TIER]...: fails where such a tier does not run here.
template <typename Test>
int run(int count, char** arguments, Test test) {
    std::vector<std::string> required;
    for (int i = 1; i < count; ++i) {
        if (std::string(arguments[i]) != "--require" || i + 1 == count) {
            std::fprintf(stderr, "usage: %s [--require TIER]...\n", arguments[0]);
            return 2;
        }
        required.emplace_back(arguments[++i]);
    }
    for (const cardrec::Kernels* tier : cardrec::available_tiers()) {
        std::printf("tier %s\n", tier->tier);
        std::fflush(stdout);
        test(*tier);
        required.erase(std::remove(required.begin(), required.end(), tier->tier), required.end());
    }
    for (const std::string& tier : required) std::printf("FAILED: the tier %s does not run here\n", tier.c_str());
    if (!required.empty()) return 1;
    std::printf("%zu checks passed\n", checks);
    return 0;
}

}  // namespace native
