// Counts the instructions of a call by the processor's own single steps, for instruction sets that callgrind lacks.
//
// With the trap flag set, an x86 processor stops behind every instruction, and Linux sends SIGTRAP: its handler counts.
// Exact, but a step takes 1 to 20 us. On other processors nothing is counted.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <functional>

#if defined(__x86_64__)
#include <ucontext.h>
#include <csignal>
#endif

// Of the linker: where this program's own code begins, and where the section of workload.hpp that follows it does.
extern "C" __attribute__((visibility("hidden"))) char __executable_start, __start_makes_input;

namespace workload {

inline std::size_t text_begin() { return reinterpret_cast<std::size_t>(&__executable_start); }
inline std::size_t text_end() { return reinterpret_cast<std::size_t>(&__start_makes_input); }

struct Steps {
    std::size_t inside;   // instructions of this program
    std::size_t outside;  // and of libraries, whose number is not ours: memset has versions for each processor
};

using Counted = void (*)(const std::function<void()>&);

#if defined(__x86_64__)

namespace stepping {

inline volatile std::size_t inside, outside, entry, frame;  // `frame`: the stack pointer at the function's entry, or 0

// Called behind each instruction, with the address of the next one. What is counted begins where the function begins,
// and ends when it has returned, which takes its return address from the stack.
inline void on_step(int, siginfo_t*, void* context) {
    const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
    const auto next = static_cast<std::size_t>(registers[REG_RIP]),
               stack = static_cast<std::size_t>(registers[REG_RSP]);
    if (next == entry) frame = stack;
    if (frame == 0) return;
    if (stack > frame) {
        frame = 0;
    } else if (next >= text_begin() && next < text_end()) {
        inside = inside + 1;
    } else {
        outside = outside + 1;
    }
}

__attribute__((noinline)) inline void step_through(Counted function, const std::function<void()>& run) {
    __asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
    function(run);
    __asm__ volatile("pushfq\n\tandl $~0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
}

}  // namespace stepping

inline Steps count_steps(Counted function, const std::function<void()>& run) {
    struct sigaction action = {}, before = {};
    action.sa_sigaction = stepping::on_step;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGTRAP, &action, &before);
    stepping::inside = stepping::outside = stepping::frame = 0;
    stepping::entry = reinterpret_cast<std::size_t>(function);
    stepping::step_through(function, run);
    ::sigaction(SIGTRAP, &before, nullptr);
    return {stepping::inside, stepping::outside};
}

#else

inline Steps count_steps(Counted, const std::function<void()>&) { std::abort(); }

#endif

}  // namespace workload
