// Runs a libFuzzer target without libFuzzer.
//
// driver PATH...                                runs files, and all files of folders
// driver --random N --seed S [--keep FOLDER]    runs N random inputs: the same ones for the same seed
//
// The input that ends the process, be it by an abort or a wrong access, is written to the folder as crash-S-NUMBER.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

std::vector<std::uint8_t> input;
std::string name;  // of the input, or where it is to be kept

// Only calls that a signal handler may make.
void keep_input() {
    const int descriptor = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (descriptor >= 0 && ::write(descriptor, input.data(), input.size()) >= 0) ::close(descriptor);
    for (const char* text : {"driver: ended by ", name.c_str(), "\n"}) {
        if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
    }
}

void on_signal(int number) {
    std::signal(number, SIG_DFL);
    keep_input();
    std::raise(number);
}

void run_file(const std::filesystem::path& path) {
    name = path.string();
    std::ifstream stream(path, std::ios::binary);
    input.assign(std::istreambuf_iterator<char>(stream), {});
    LLVMFuzzerTestOneInput(input.data(), input.size());
}

std::size_t run_path(const std::filesystem::path& path) {
    if (!std::filesystem::is_directory(path)) {
        run_file(path);
        return 1;
    }
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
        run_file(entry.path());
        ++count;
    }
    return count;
}

void run_random(std::size_t count, unsigned long seed, const std::filesystem::path& folder) {
    for (std::size_t i = 0; i < count; ++i) {
        std::seed_seq seeds{static_cast<std::uint64_t>(seed), static_cast<std::uint64_t>(i)};
        std::mt19937 generator(seeds);
        input.resize(24 + generator() % 40);  // what is left of the arrays, the target draws itself
        for (std::uint8_t& byte : input) byte = static_cast<std::uint8_t>(generator());
        name = (folder / ("crash-" + std::to_string(seed) + "-" + std::to_string(i))).string();
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
}

}  // namespace

int main(int count, char** given) {
    const std::vector<std::string> arguments(given + 1, given + count);
    std::size_t random = 0, runs = 0;
    unsigned long seed = 0;
    std::filesystem::path folder = ".";
    for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
        if (__sanitizer_set_death_callback == nullptr) std::signal(number, on_signal);
    }
    if (__sanitizer_set_death_callback != nullptr) {
        std::signal(SIGABRT, on_signal);
        __sanitizer_set_death_callback(keep_input);
    }
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        if (arguments[i] == "--random" && i + 1 < arguments.size()) {
            random = std::stoul(arguments[++i]);
        } else if (arguments[i] == "--seed" && i + 1 < arguments.size()) {
            seed = std::stoul(arguments[++i]);
        } else if (arguments[i] == "--keep" && i + 1 < arguments.size()) {
            folder = arguments[++i];
        } else {
            runs += run_path(arguments[i]);
        }
    }
    run_random(random, seed, folder);
    std::printf("%zu inputs ran\n", runs + random);
    return 0;
}
