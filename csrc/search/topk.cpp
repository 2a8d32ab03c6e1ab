#include "topk.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <thread>

#include "pool.hpp"
#include "scan.hpp"
#include "shortlist.hpp"

namespace cardrec {
namespace {

// A query's prefix sums of a chunk take 128 KiB. Smaller chunks would stay in a nearer cache, but prune worse: the best
// rows of a chunk set its threshold, and those of a small one are not very good.
constexpr std::size_t kChunkRows = 32768;
constexpr std::size_t kQueriesTogether = 32;
// A further thread takes some 30 us to wake; this many bytes take longer to read than that.
constexpr std::size_t kBytesPerThread = 16 << 20;

struct Scored {
    double score;
    std::size_t row;
};

bool better(const Scored& left, const Scored& right) {
    return left.score != right.score ? left.score > right.score : left.row < right.row;
}

// The chunks of all segments, small enough that every thread has some.
std::vector<Chunk> chunks(const Matrix& matrix, std::size_t threads) {
    std::size_t most = threads == 1 ? kChunkRows : std::min(kChunkRows, matrix.rows() / threads + 1);
    most = (most + kLanes - 1) / kLanes * kLanes;
    std::vector<Chunk> found;
    for (std::size_t s = 0; s < matrix.segments().size(); ++s) {
        const std::size_t rows = matrix.segments()[s].rows;
        for (std::size_t first = 0; first < rows; first += most)
            found.push_back({s, first, std::min(rows, first + most)});
    }
    return found;
}

std::size_t chosen_threads(const Matrix& matrix, std::size_t queries) {
    const std::size_t width = matrix.basis().vectors != nullptr ? matrix.basis().rows + kRestCodes : matrix.dimension();
    const std::size_t processors = std::max(1u, std::thread::hardware_concurrency());
    return std::clamp<std::size_t>(matrix.rows() * width * queries / kBytesPerThread, 1, processors);
}

// The candidates of all parts that the k-th largest lower bound of them all leaves, most promising first.
std::vector<Candidate> merge(const std::vector<std::vector<Shortlist>>& parts, std::size_t query, std::size_t k) {
    std::vector<double> lowers;
    for (const auto& part : parts) {
        lowers.insert(lowers.end(), part[query].lowers().begin(), part[query].lowers().end());
    }
    double threshold = -std::numeric_limits<double>::infinity();
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

// Scores in descending order of the upper bound, until no further bound reaches the k-th score.
std::vector<Scored> rescore(const Matrix& matrix, const float* query, const std::vector<Candidate>& candidates,
                            std::size_t k) {
    std::vector<char> buffer;
    std::vector<Scored> best;  // a heap, the worst first
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        const Candidate& candidate = candidates[i];
        if (best.size() == k && candidate.upper < best.front().score) break;
        if (i + 1 < candidates.size()) matrix.prefetch(candidates[i + 1].row);
        const Scored scored{matrix.score(candidate.row, query, buffer), candidate.row};
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

// One pass: `count` queries share each chunk of memory.
void search_together(const Matrix& matrix, const Query* queries, std::size_t count, std::size_t k,
                     const std::uint64_t* allowed, std::size_t threads, std::int64_t* rows, float* scores) {
    if (threads == 0) threads = chosen_threads(matrix, count);
    std::vector<PrefixQuery> prefixes;
    for (std::size_t q = 0; matrix.basis().vectors != nullptr && q < count; ++q) {
        prefixes.emplace_back(matrix.kernels(), matrix.basis(), queries[q].vector(), matrix.dimension());
    }
    const Task task{matrix, queries, count, prefixes, allowed, k};
    const std::vector<Chunk> work = chunks(matrix, threads);

    const std::size_t part_count = std::min(threads, work.size());
    std::vector<Threshold> thresholds(count);
    std::vector<std::vector<Shortlist>> parts(part_count);
    for (auto& part : parts) {
        for (Threshold& threshold : thresholds) part.emplace_back(k, threshold);
    }
    run_parts(part_count, [&](std::size_t part) {
        const std::size_t first = work.size() * part / part_count, last = work.size() * (part + 1) / part_count;
        for (std::size_t c = first; c < last; ++c) scan(task, work[c], parts[part]);
    });

    for (std::size_t q = 0; q < count; ++q) {
        for (const Scored& scored : rescore(matrix, queries[q].vector(), merge(parts, q, k), k)) {
            *rows++ = static_cast<std::int64_t>(scored.row);
            *scores++ = static_cast<float>(scored.score);
        }
    }
}

}  // namespace

void search(const Matrix& matrix, const std::vector<Query>& queries, std::size_t k, const std::uint64_t* allowed,
            std::size_t threads, std::int64_t* rows, float* scores) {
    if (k == 0) return;
    for (std::size_t q = 0; q < queries.size(); q += kQueriesTogether) {
        const std::size_t count = std::min(kQueriesTogether, queries.size() - q);
        search_together(matrix, queries.data() + q, count, k, allowed, threads, rows + q * k, scores + q * k);
    }
}

}  // namespace cardrec
