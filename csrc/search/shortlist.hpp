// What a scan has found for one query: the rows not excluded so far, and the k largest lower bounds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <vector>

#include "query.hpp"

namespace cardrec {

struct Candidate {
    double upper;
    std::size_t row;
};

class Shortlist {
  public:
    explicit Shortlist(std::size_t k) : k_(k) {}

    // The k-th largest lower bound so far: at least k rows score this much. Minus infinity before there are k.
    double threshold() const { return threshold_; }
    const std::vector<Candidate>& candidates() const { return candidates_; }
    const std::vector<double>& lowers() const { return lowers_; }

    // Takes a row, once, unless its upper bound is below the threshold.
    void add(std::size_t row, Interval interval) {
        if (interval.upper < threshold_) return;
        candidates_.push_back(
            {std::isnan(interval.upper) ? std::numeric_limits<double>::infinity() : interval.upper, row});
        if (!(interval.lower > threshold_)) return;  // also NaN
        if (lowers_.size() == k_) {
            std::pop_heap(lowers_.begin(), lowers_.end(), std::greater<>());
            lowers_.pop_back();
        }
        lowers_.push_back(interval.lower);
        std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
        if (lowers_.size() == k_) threshold_ = lowers_.front();
    }

  private:
    std::size_t k_;
    double threshold_ = -std::numeric_limits<double>::infinity();
    std::vector<Candidate> candidates_;
    std::vector<double> lowers_;  // a heap, the smallest first
};

}  // namespace cardrec
