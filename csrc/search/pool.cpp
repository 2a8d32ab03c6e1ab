#include "pool.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

namespace cardrec {
namespace {

struct Job {
    std::size_t count;
    const std::function<void(std::size_t)>& work;
    std::size_t next = 0;  // the first part that nobody has taken
    std::size_t done = 0;
    std::exception_ptr error;
    std::condition_variable finished;
};

class Pool {
  public:
    explicit Pool(pid_t process) : process_(process) {}

    pid_t process() const { return process_; }

    void run(Job& job) {
        std::unique_lock<std::mutex> lock(mutex_);
        jobs_.push_back(&job);
        start_threads(std::min(jobs_.size() * (job.count - 1), kMost));
        for (std::size_t part = 1; part < job.count; ++part) wake_.notify_one();
        while (job.next < job.count) run_part(job, lock);
        job.finished.wait(lock, [&job] { return job.done == job.count; });
    }

  private:
    static constexpr std::size_t kMost = 256;

    void start_threads(std::size_t wanted) {
        try {
            while (threads_ < wanted) {
                std::thread([this] { serve(); }).detach();
                ++threads_;
            }
        } catch (const std::exception&) {  // no thread to be had: those there are do the work, the caller at least
        }
    }

    [[noreturn]] void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return !jobs_.empty(); });
            run_part(*jobs_.front(), lock);
        }
    }

    // Takes the next part of a job and does it, unlocked.
    void run_part(Job& job, std::unique_lock<std::mutex>& lock) {
        const std::size_t part = job.next++;
        if (job.next == job.count) jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
        lock.unlock();
        std::exception_ptr error;
        try {
            job.work(part);
        } catch (...) {
            error = std::current_exception();
        }
        lock.lock();
        if (error && !job.error) job.error = error;
        if (++job.done == job.count) job.finished.notify_all();
    }

    const pid_t process_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Job*> jobs_;  // those with parts that nobody has taken
    std::size_t threads_ = 0;
};

// Never destroyed: its threads sleep until the process ends. A forked child has none of them and makes a new pool; what
// its parent had is left alone, and no lock is taken on the way, since another thread may have held it.
Pool& shared_pool() {
    static std::atomic<Pool*> shared{nullptr};
    Pool* pool = shared.load();
    while (pool == nullptr || pool->process() != ::getpid()) {
        auto fresh = std::make_unique<Pool>(::getpid());
        if (shared.compare_exchange_strong(pool, fresh.get())) return *fresh.release();
    }
    return *pool;
}

}  // namespace

void run_parts(std::size_t count, const std::function<void(std::size_t)>& work) {
    if (count == 1) return work(0);
    Job job{count, work, 0, 0, nullptr, {}};
    shared_pool().run(job);
    if (job.error) std::rethrow_exception(job.error);
}

}  // namespace cardrec
