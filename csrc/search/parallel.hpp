// Runs work(0) .. work(count - 1), the first here and each of the others on a thread of its own; rethrows the first
// exception.
#pragma once

#include <cstddef>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace cardrec {

template <typename Work>
void run_parts(std::size_t count, Work work) {
    if (count == 1) return work(0);
    std::vector<std::exception_ptr> errors(count);
    const auto guarded = [&](std::size_t part) {
        try {
            work(part);
        } catch (...) {
            errors[part] = std::current_exception();
        }
    };
    std::vector<std::thread> threads;
    threads.reserve(count);
    for (std::size_t part = 1; part < count; ++part) {
        try {
            threads.emplace_back(guarded, part);
        } catch (const std::system_error&) {  // no thread to be had: do its part here
            guarded(part);
        }
    }
    guarded(0);
    for (std::thread& thread : threads) thread.join();
    for (const std::exception_ptr& error : errors) {
        if (error) std::rethrow_exception(error);
    }
}

}  // namespace cardrec
