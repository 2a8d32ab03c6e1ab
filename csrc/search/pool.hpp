// Threads that are kept between searches and sleep while there is nothing to do.
#pragma once

#include <cstddef>
#include <functional>

namespace cardrec {

// Runs work(0) .. work(count - 1) on this thread and on as many others as there are free, at most count - 1; returns
// when all are done and rethrows the first exception. Callers may be concurrent; each works on its own job until
// nothing of it is left, so none waits for a thread. In a forked child new threads are started.
void run_parts(std::size_t count, const std::function<void(std::size_t)>& work);

}  // namespace cardrec
