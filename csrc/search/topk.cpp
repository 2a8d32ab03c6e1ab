#include "topk.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "bitmap.hpp"
#include "bound.hpp"
#include "kernels.hpp"
#include "parallel.hpp"

namespace cardrec {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kBlockRows = 128;  // 96 KiB of codes at 768 dimensions: all queries read them from the L2 cache
constexpr std::size_t kRowsPerThread = 8192;  // below about 0.3 ms of work a further thread costs more than it saves

struct Candidate {
    double upper;
    std::size_t row;
};

struct Scored {
    double score;
    std::size_t row;
};

bool better(const Scored& left, const Scored& right) {
    return left.score != right.score ? left.score > right.score : left.row < right.row;
}

// What one thread has found for one query: the rows not excluded so far, and the k largest lower bounds.
class Shortlist {
  public:
    explicit Shortlist(std::size_t k) : k_(k) {}

    double threshold() const { return threshold_; }
    const std::vector<Candidate>& candidates() const { return candidates_; }
    const std::vector<double>& lowers() const { return lowers_; }

    void add(std::size_t row, Interval interval) {
        candidates_.push_back({std::isnan(interval.upper) ? kInfinity : interval.upper, row});
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
    double threshold_ = -kInfinity;
    std::vector<Candidate> candidates_;
    std::vector<double> lowers_;  // a heap, the smallest first
};

// Stage 1 for rows first..last of one segment, at most kBlockRows of them.
void scan_block(const Segment& segment, std::size_t offset, std::size_t first, std::size_t last, const float* norms,
                std::size_t dimension, const QuantisedQuery& query, Shortlist& found) {
    std::int32_t dots[kBlockRows];
    Interval intervals[kBlockRows];
    const std::size_t count = last - first;
    kernels().dots_i8(segment.codes + first * dimension, count, dimension, query.codes(), dots);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t row = first + i;
        intervals[i] = query.interval(dots[i], segment.scales[row], segment.errors[row], norms[offset + row]);
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (!(intervals[i].upper < found.threshold())) found.add(offset + first + i, intervals[i]);
    }
}

// Stage 1 for the global rows begin..end and every query.
void scan(const Matrix& matrix, std::size_t begin, std::size_t end, const std::uint64_t* allowed,
          const std::vector<QuantisedQuery>& queries, std::vector<Shortlist>& found) {
    const float* norms = matrix.norms();
    for (std::size_t s = 0; s < matrix.segments().size(); ++s) {
        const Segment& segment = matrix.segments()[s];
        const std::size_t offset = matrix.offset(s);
        const std::size_t from = std::max(begin, offset);
        const std::size_t to = std::min(end, offset + segment.rows);
        for_each_run(allowed, from, to, [&](std::size_t first, std::size_t last) {
            for (std::size_t row = first; row < last; row += kBlockRows) {
                const std::size_t stop = std::min(last, row + kBlockRows);
                for (std::size_t q = 0; q < queries.size(); ++q) {
                    scan_block(segment, offset, row - offset, stop - offset, norms, matrix.dimension(), queries[q],
                               found[q]);
                }
            }
        });
    }
}

// The candidates of all threads that the k-th largest lower bound of them all leaves, most promising first.
std::vector<Candidate> merge(const std::vector<std::vector<Shortlist>>& parts, std::size_t query, std::size_t k) {
    std::vector<double> lowers;
    for (const auto& part : parts)
        lowers.insert(lowers.end(), part[query].lowers().begin(), part[query].lowers().end());
    double threshold = -kInfinity;
    if (lowers.size() >= k) {
        const auto kth = lowers.begin() + static_cast<std::ptrdiff_t>(k - 1);
        std::nth_element(lowers.begin(), kth, lowers.end(), std::greater<>());
        threshold = *kth;
    }
    std::vector<Candidate> kept;
    for (const auto& part : parts) {
        for (const Candidate& candidate : part[query].candidates()) {
            if (candidate.upper >= threshold) kept.push_back(candidate);
        }
    }
    std::sort(kept.begin(), kept.end(), [](const Candidate& left, const Candidate& right) {
        return left.upper != right.upper ? left.upper > right.upper : left.row < right.row;
    });
    return kept;
}

// Stage 2: scores in descending order of the upper bound, until no further bound reaches the k-th score.
std::vector<Scored> rescore(const Matrix& matrix, const float* query, const std::vector<Candidate>& candidates,
                            std::size_t k) {
    std::vector<Scored> best;  // a heap, the worst first
    for (const Candidate& candidate : candidates) {
        if (best.size() == k && candidate.upper < best.front().score) break;
        const Scored scored{matrix.score(candidate.row, query), candidate.row};
        if (best.size() == k) {
            if (!better(scored, best.front())) continue;
            std::pop_heap(best.begin(), best.end(), better);
            best.pop_back();
        }
        best.push_back(scored);
        std::push_heap(best.begin(), best.end(), better);
    }
    std::sort(best.begin(), best.end(), better);
    return best;
}

}  // namespace

void search(const Matrix& matrix, const float* queries, std::size_t count, std::size_t k, const std::uint64_t* allowed,
            std::size_t threads, std::int64_t* rows, float* scores) {
    if (k == 0 || count == 0) return;
    std::vector<QuantisedQuery> quantised;
    quantised.reserve(count);
    for (std::size_t q = 0; q < count; ++q)
        quantised.emplace_back(queries + q * matrix.dimension(), matrix.dimension());

    const std::size_t part_count = std::max<std::size_t>(1, std::min(threads, matrix.rows() / kRowsPerThread));
    std::vector<std::vector<Shortlist>> parts(part_count, std::vector<Shortlist>(count, Shortlist(k)));
    run_parts(part_count, [&](std::size_t part) {
        const std::size_t begin = matrix.rows() * part / part_count;
        const std::size_t end = matrix.rows() * (part + 1) / part_count;
        scan(matrix, begin, end, allowed, quantised, parts[part]);
    });

    for (std::size_t q = 0; q < count; ++q) {
        for (const Scored& scored : rescore(matrix, quantised[q].vector(), merge(parts, q, k), k)) {
            *rows++ = static_cast<std::int64_t>(scored.row);
            *scores++ = static_cast<float>(scored.score);
        }
    }
}

}  // namespace cardrec
