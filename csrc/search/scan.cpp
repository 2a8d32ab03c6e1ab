#include "scan.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "bitmap.hpp"

namespace cardrec {
namespace {

constexpr std::size_t kBlockRows = 128;
constexpr std::size_t kBlockBytes = 24 << 10;  // of codes that several queries share: most of the L1 cache
constexpr std::size_t kSharedGroups = 32;      // groups of prefixes that several queries share
// Prefixes are worth their scan where at least one row in kSparse is allowed, and k is at most one row in kPicky.
constexpr std::size_t kSparse = 8;
constexpr std::size_t kPicky = 64;
// Of several queries, those that one row in kFailed remains for share a pass over the codes.
constexpr std::size_t kFailed = 12;

constexpr std::int32_t kExcluded = std::numeric_limits<std::int32_t>::min();

// Memory of one thread, kept between searches.
struct Scratch {
    std::vector<std::int32_t> sums;
    std::vector<std::int32_t> lanes;
    std::vector<std::uint32_t> places;
};

Scratch& scratch() {
    static thread_local Scratch memory;
    return memory;
}

// Scores some rows of a segment by their codes, at most kBlockRows of them.
void scan_block(const Task& task, std::size_t index, const std::uint32_t* rows, std::size_t count, const Query& query,
                Shortlist& found) {
    if (count == 0) return;
    const Matrix& matrix = task.matrix;
    const Segment& segment = matrix.segments()[index];
    const SegmentBounds& bounds = matrix.bounds(index);
    std::int32_t dots[kBlockRows];
    float scales[kBlockRows];
    std::uint32_t kept[kBlockRows + kSlack];
    matrix.kernels().dots_i8(segment.codes, matrix.dimension(), rows, count, query.codes(), dots);
    for (std::size_t i = 0; i < count; ++i) scales[i] = segment.scales[rows[i]];
    const std::size_t kept_count =
        matrix.kernels().screen(dots, scales, count, query.screen(bounds, found.threshold()), kept);
    for (std::size_t i = 0; i < kept_count; ++i) {
        const std::size_t row = rows[kept[i]];
        found.add(matrix.offset(index) + row,
                  query.interval(dots[kept[i]], scales[kept[i]], segment.errors[row], bounds.norm));
    }
}

// Rows whose codes stay in the L1 cache while one query after another is held against them.
std::size_t shared_rows(const Task& task) {
    return std::clamp<std::size_t>(kBlockBytes / task.matrix.dimension(), 4, kBlockRows);
}

// Every allowed row, block by block, each block for all queries in turn.
void scan_all(const Task& task, Chunk chunk, std::vector<Shortlist>& found) {
    const std::size_t most = task.count == 1 ? kBlockRows : shared_rows(task);
    std::uint32_t rows[kBlockRows];
    std::size_t count = 0;
    const auto flush = [&] {
        for (std::size_t q = 0; q < task.count; ++q) {
            scan_block(task, chunk.segment, rows, count, task.queries[q], found[q]);
        }
        count = 0;
    };
    const auto take = [&](std::size_t first, std::size_t last) {
        for (std::size_t row = first; row < last;) {
            const std::size_t taken = std::min(last - row, most - count);
            std::iota(rows + count, rows + count + taken, static_cast<std::uint32_t>(row));
            row += taken;
            count += taken;
            if (count == most) flush();
        }
    };
    if (task.allowed == nullptr) {
        take(chunk.first, chunk.last);
    } else {
        const std::size_t offset = task.matrix.offset(chunk.segment);
        for_each_run(task.allowed, offset + chunk.first, offset + chunk.last, 0,
                     [&](std::size_t first, std::size_t last) { take(first - offset, last - offset); });
    }
    flush();
}

// The prefix sums of all queries, (queries, rows of whole groups); rows that can't be returned are excluded.
void sum_prefixes(const Task& task, Chunk chunk, std::size_t group_rows, std::int32_t* sums) {
    const Prefix& prefix = task.matrix.segments()[chunk.segment].prefix;
    const std::size_t width = task.prefixes.front().width();
    const std::int8_t* groups = prefix.groups + chunk.first * width;
    const std::size_t shared = task.count == 1 ? group_rows / kLanes : kSharedGroups;
    for (std::size_t g = 0; g < group_rows / kLanes; g += shared) {
        const std::size_t count = std::min(shared, group_rows / kLanes - g);
        for (std::size_t q = 0; q < task.count; ++q) {
            task.matrix.kernels().prefix_sums(groups + g * kLanes * width, count, width, task.prefixes[q].codes(),
                                              sums + q * group_rows + g * kLanes);
        }
    }
    const auto exclude = [&](std::size_t first, std::size_t last) {
        for (std::size_t q = 0; q < task.count; ++q) {
            std::fill(sums + q * group_rows + first, sums + q * group_rows + last, kExcluded);
        }
    };
    exclude(chunk.last - chunk.first, group_rows);
    if (task.allowed == nullptr) return;
    const std::size_t start = task.matrix.offset(chunk.segment) + chunk.first;
    for_each_run(task.allowed, start, start + (chunk.last - chunk.first), ~std::uint64_t{0},
                 [&](std::size_t first, std::size_t last) { exclude(first - start, last - start); });
}

// A sum that some `wanted` rows reach, and hardly more do: the largest sums of many small sets of rows, one for each
// lane of a part of the chunk, are nearly the largest of all.
std::int32_t seed_level(const Kernels& kernels, const std::int32_t* sums, std::size_t count, std::size_t wanted,
                        std::vector<std::int32_t>& lanes) {
    const std::size_t parts = std::min((2 * wanted + kLanes - 1) / kLanes, count / kLanes);
    const std::size_t part_rows = count / kLanes / parts * kLanes;
    lanes.resize(parts * kLanes);
    for (std::size_t part = 0; part < parts; ++part) {
        const std::size_t rows = part + 1 < parts ? part_rows : count - part * part_rows;
        kernels.maxima(sums + part * part_rows, rows, lanes.data() + part * kLanes);
    }
    const auto level = lanes.begin() + static_cast<std::ptrdiff_t>(std::min(wanted, lanes.size()) - 1);
    std::nth_element(lanes.begin(), level, lanes.end(), std::greater<>());
    return *level;
}

// Scans the rows at some places of a chunk, as long as their prefix sums reach the threshold, which rises meanwhile;
// and excludes them, so that none is scanned twice.
void scan_places(const Task& task, Chunk chunk, std::size_t q, const std::uint32_t* places, std::size_t count,
                 std::int32_t* sums, Shortlist& found) {
    const Prefix& prefix = task.matrix.segments()[chunk.segment].prefix;
    std::uint32_t rows[kBlockRows];
    for (std::size_t i = 0; i < count;) {
        const std::int32_t least = task.prefixes[q].least(prefix, found.threshold());
        std::size_t taken = 0;
        for (; i < count && taken < kBlockRows; ++i) {
            if (sums[places[i]] >= least) rows[taken++] = static_cast<std::uint32_t>(places[i] + chunk.first);
            sums[places[i]] = kExcluded;
        }
        scan_block(task, chunk.segment, rows, taken, task.queries[q], found);
    }
}

// The places that may still reach a query's threshold, in memory that the next call takes again.
std::size_t select_places(const Task& task, Chunk chunk, std::size_t q, std::int32_t level, const std::int32_t* sums,
                          std::size_t count, const Shortlist& found) {
    Scratch& memory = scratch();
    memory.places.resize(std::max(memory.places.size(), count + kSlack));
    const std::int32_t least = task.prefixes[q].least(task.matrix.segments()[chunk.segment].prefix, found.threshold());
    return task.matrix.kernels().select(sums, count, std::max(level, least), memory.places.data());
}

// The queries for which pruning fails, because no row stands out or they resemble nothing: most rows remain. That is
// the full scan, and the prefixes were read in vain; block by block, each block for all of these queries in turn.
void scan_remaining(const Task& task, Chunk chunk, const std::vector<std::size_t>& queries, std::size_t count,
                    std::int32_t* sums, std::vector<Shortlist>& found) {
    const std::size_t block = shared_rows(task);
    for (std::size_t first = 0; !queries.empty() && first < count; first += block) {
        const std::size_t rows = std::min(block, count - first);
        const Chunk part{chunk.segment, chunk.first + first, chunk.last};
        for (const std::size_t q : queries) {
            std::int32_t* part_sums = sums + q * count + first;
            const std::size_t selected = select_places(task, part, q, kExcluded, part_sums, rows, found[q]);
            scan_places(task, part, q, scratch().places.data(), selected, part_sums, found[q]);
        }
    }
}

// Each query's most promising rows first, for a threshold; then whatever may still reach it.
void scan_promising(const Task& task, Chunk chunk, std::size_t count, std::int32_t* sums,
                    std::vector<Shortlist>& found) {
    std::vector<std::size_t> failed;
    for (std::size_t q = 0; q < task.count; ++q) {
        std::int32_t* query_sums = sums + q * count;
        const std::int32_t seeds = seed_level(task.matrix.kernels(), query_sums, count, task.k + 8, scratch().lanes);
        std::size_t selected = select_places(task, chunk, q, seeds, query_sums, count, found[q]);
        scan_places(task, chunk, q, scratch().places.data(), selected, query_sums, found[q]);
        selected = select_places(task, chunk, q, kExcluded, query_sums, count, found[q]);
        if (task.count > 1 && selected > count / kFailed) {
            failed.push_back(q);
        } else {
            scan_places(task, chunk, q, scratch().places.data(), selected, query_sums, found[q]);
        }
    }
    scan_remaining(task, chunk, failed, count, sums, found);
}

bool prunes(const Task& task, Chunk chunk) {
    if (task.prefixes.empty() || task.matrix.segments()[chunk.segment].prefix.groups == nullptr) return false;
    const std::size_t offset = task.matrix.offset(chunk.segment), rows = chunk.last - chunk.first;
    return task.k <= rows / kPicky &&
           count_allowed(task.allowed, offset + chunk.first, offset + chunk.last) >= rows / kSparse;
}

}  // namespace

void scan(const Task& task, Chunk chunk, std::vector<Shortlist>& found) {
    if (!prunes(task, chunk)) return scan_all(task, chunk, found);
    const std::size_t rows = (chunk.last - chunk.first + kLanes - 1) / kLanes * kLanes;
    std::vector<std::int32_t>& sums = scratch().sums;
    sums.resize(std::max(sums.size(), rows * task.count));
    sum_prefixes(task, chunk, rows, sums.data());
    scan_promising(task, chunk, rows, sums.data(), found);
}

}  // namespace cardrec
