// What a scan has found for one query: the rows not excluded so far, and the k largest lower bounds.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <vector>

#include "query.hpp"

namespace cardrec {

// A score that at least k rows reach, whichever thread found them.
class Threshold {
  public:
    double get() const { return value_.load(std::memory_order_relaxed); }

    void raise(double value) {
        double present = get();
        while (value > present && !value_.compare_exchange_weak(present, value, std::memory_order_relaxed)) {
        }
    }

  private:
    std::atomic<double> value_{-std::numeric_limits<double>::infinity()};
};

struct Candidate {
    double upper;
    std::size_t row;
};

// One thread's part of it. Threads share the threshold: each of their own k-th largest lower bounds is one.
class Shortlist {
  public:
    Shortlist(std::size_t k, Threshold& threshold) : k_(k), threshold_(&threshold) {}

    double threshold() const { return threshold_->get(); }
    const std::vector<Candidate>& candidates() const { return candidates_; }
    const std::vector<double>& lowers() const { return lowers_; }

    // Takes a row, once, unless its upper bound is below the threshold.
    void add(std::size_t row, Interval interval) {
        if (interval.upper < threshold()) return;
        if (candidates_.size() == limit_) forget_excluded();
        candidates_.push_back(
            {std::isnan(interval.upper) ? std::numeric_limits<double>::infinity() : interval.upper, row});
        if (std::isnan(interval.lower)) return;
        if (lowers_.size() == k_) {
            if (interval.lower <= lowers_.front()) return;
            std::pop_heap(lowers_.begin(), lowers_.end(), std::greater<>());
            lowers_.pop_back();
        }
        lowers_.push_back(interval.lower);
        std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
        if (lowers_.size() == k_) threshold_->raise(lowers_.front());
    }

  private:
    // Where scores rise with the row, every row is a candidate when it is met, and few are later.
    void forget_excluded() {
        const double least = threshold();
        const auto excluded = [least](const Candidate& candidate) { return candidate.upper < least; };
        candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), excluded), candidates_.end());
        limit_ = std::max(limit_, 2 * candidates_.size());
    }

    std::size_t k_;
    Threshold* threshold_;
    std::size_t limit_ = 1024;
    std::vector<Candidate> candidates_;
    std::vector<double> lowers_;  // a heap, the smallest first
};

}  // namespace cardrec
