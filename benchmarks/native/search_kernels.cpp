// The search's hot kernels on a catalog of random unit vectors: the scan of all codes, the one that prefixes prune,
// exact scores. What is called is what a search calls, in csrc/search; see workload.hpp for how it is run.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <tuple>

#include "dispatch.hpp"
#include "scan.hpp"
#include "workload.hpp"

namespace {

using namespace cardrec;

// IEEE half precision of a float below 1 in size; tiny ones become 0.
std::uint16_t half_from_float(float value) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude < 0x38800000u) return static_cast<std::uint16_t>(sign);  // 2^-14
    return static_cast<std::uint16_t>(sign | (magnitude - 0x38000000u + 0x1000u) >> 13);
}

// Rows, each coordinate a little smaller than the one before, as embeddings are after the rotation of a catalog: so the
// first coordinates are the prefix, and the rotation is a part of the identity.
struct Rows {
    std::size_t count, dimension, prefix;
    std::vector<float> vectors, scales, errors, basis;
    std::vector<std::uint16_t> halves;
    std::vector<std::int8_t> codes, groups;
    double norm = 1.0 + 1e-6, prefix_scale = 1.0, prefix_error = 0.0, prefix_norm = 0.0;

    Rows(std::size_t rows, std::size_t d, std::size_t p)
        : count(rows),
          dimension(d),
          prefix(p),
          vectors(rows * d),
          scales(rows),
          errors(rows),
          basis(p * d),
          halves(rows * d),
          codes(rows * d),
          groups((p != 0 ? (rows + kLanes - 1) / kLanes * kLanes : 0) * (p + kRestCodes)) {
        for (std::size_t i = 0; i < p; ++i) basis[i * d + i] = 1.0f;
        workload::Random random(rows * 31 + d);
        for (std::size_t r = 0; r < rows; ++r) make_row(random, r);
        if (p != 0) make_prefixes();
    }

    Segment segment(bool half, bool pruned) const {
        const void* memory = half ? static_cast<const void*>(halves.data()) : vectors.data();
        return {count,
                {memory, -1, 0, half},
                codes.data(),
                scales.data(),
                errors.data(),
                norm,
                {pruned ? groups.data() : nullptr, prefix_scale, prefix_error, prefix_norm}};
    }

  private:
    // A row of length 1, its half-precision twin and its codes.
    MAKES_INPUT void make_row(workload::Random& random, std::size_t r) {
        float* row = vectors.data() + r * dimension;
        float decay = 1.0f, largest = 0.0f;
        double squares = 0.0, missed = 0.0;
        for (std::size_t i = 0; i < dimension; ++i, decay = std::max(decay * 0.97f, 0x1p-10f)) {
            row[i] = random.unit() * decay;
            squares += static_cast<double>(row[i]) * static_cast<double>(row[i]);
        }
        const double inverse = 1.0 / std::sqrt(squares);
        for (std::size_t i = 0; i < dimension; ++i) {
            row[i] = static_cast<float>(static_cast<double>(row[i]) * inverse);
            halves[r * dimension + i] = half_from_float(row[i]);
            largest = std::max(largest, std::fabs(row[i]));
        }
        scales[r] = largest / 127.0f;
        for (std::size_t i = 0; i < dimension; ++i) {
            const double ratio = static_cast<double>(row[i]) / static_cast<double>(scales[r]);
            const auto code = static_cast<std::int8_t>(ratio < 0 ? ratio - 0.5 : ratio + 0.5);
            codes[r * dimension + i] = code;
            missed += (ratio - code) * (ratio - code);
        }
        errors[r] = static_cast<float>(scales[r] * std::sqrt(missed) + 1e-6);
    }

    // As cardrec/pruning.py does it; the bounds are a little wider than need be.
    MAKES_INPUT void make_prefixes() {
        const std::size_t width = prefix + kRestCodes;
        std::vector<double> rests(count);
        double largest = 0.0;
        for (std::size_t r = 0; r < count; ++r) {
            double kept = 0.0, left = 0.0;
            for (std::size_t i = 0; i < dimension; ++i) {
                const double value = vectors[r * dimension + i];
                (i < prefix ? kept : left) += value * value;
                if (i < prefix) largest = std::max(largest, std::fabs(value));
            }
            rests[r] = std::sqrt(left) + 1e-6;
            largest = std::max(largest, rests[r] / kRestCodes);
            prefix_norm = std::max(prefix_norm, std::sqrt(kept) + 1e-6);
        }
        prefix_scale = largest * (1.0 + 1e-9) / 127.0;
        for (std::size_t r = 0; r < count; ++r) {
            double missed = 0.0;
            const auto rest = static_cast<std::size_t>(std::ceil(rests[r] / prefix_scale));
            for (std::size_t i = 0; i < width; ++i) {
                std::int8_t& code = groups[((r / kLanes * width + i / 4 * 4) * kLanes) + r % kLanes * 4 + i % 4];
                if (i >= prefix) {
                    code = static_cast<std::int8_t>((rest + i - prefix) / kRestCodes);
                    continue;
                }
                const double ratio = static_cast<double>(vectors[r * dimension + i]) / prefix_scale;
                code = static_cast<std::int8_t>(ratio < 0 ? ratio - 0.5 : ratio + 0.5);
                missed += (ratio - code) * (ratio - code);
            }
            prefix_error = std::max(prefix_error, prefix_scale * std::sqrt(missed) + 1e-6);
        }
    }
};

const Rows& rows_of(std::size_t count, std::size_t dimension, std::size_t prefix) {
    static std::map<std::tuple<std::size_t, std::size_t, std::size_t>, std::unique_ptr<Rows>> made;
    auto& rows = made[{count, dimension, prefix}];
    if (!rows) rows = std::make_unique<Rows>(count, dimension, prefix);
    return *rows;
}

// A catalog and a query that resembles one of its rows.
struct Lookup {
    const Rows& rows;
    Matrix matrix;
    std::vector<Query> queries;
    std::vector<PrefixQuery> prefixes;
    std::size_t k;
    std::size_t first = 0;  // of the candidates
    static constexpr std::size_t kCandidates = 32;

    Lookup(const Rows& r, const Kernels& kernels, bool half, bool pruned, std::size_t wanted)
        : rows(r),
          matrix(kernels, {r.segment(half, pruned)}, r.dimension, {pruned ? r.basis.data() : nullptr, r.prefix, 1e-6}),
          k(wanted) {
        workload::Random random(7);
        std::vector<float> query(r.vectors.begin(), r.vectors.begin() + static_cast<std::ptrdiff_t>(r.dimension));
        for (float& value : query) value += 0.5f * random.unit() * std::fabs(value);
        queries.emplace_back(kernels, query.data(), r.dimension, false);
        if (pruned) prefixes.emplace_back(kernels, matrix.basis(), queries[0].vector(), r.dimension);
    }

    void scan_once() const {
        std::vector<Threshold> thresholds(1);
        std::vector<Shortlist> found{Shortlist(k, thresholds[0])};
        scan({matrix, queries.data(), 1, prefixes, nullptr, k}, {0, 0, rows.count}, found);
        workload::sink = found[0].candidates().size();
    }

    // visit(row) for the rows that rescoring might ask for: from all over the catalog, each time others. As a search
    // does, it asks for the next row's memory meanwhile.
    template <typename Visit>
    void each_candidate(Visit visit) {
        constexpr std::size_t kApart = 7919;
        for (std::size_t i = 0; i < kCandidates; ++i) {
            if (i + 1 < kCandidates) matrix.prefetch((first + i + 1) * kApart % rows.count);
            visit((first + i) * kApart % rows.count);
        }
        first += kCandidates;
    }

    void score() {
        std::vector<char> buffer;
        double sum = 0.0;
        each_candidate([&](std::size_t row) { sum += matrix.score(row, queries[0].vector(), buffer); });
        workload::sink = static_cast<std::uint64_t>(sum * 1e6);
    }

    std::size_t row_bytes() const { return rows.dimension * (matrix.segments()[0].vectors.half ? 2 : 4); }
};

using Lookups = std::vector<std::shared_ptr<Lookup>>;

Lookups lookups(const Kernels& kernels, const std::vector<const Rows*>& all, bool half, bool pruned, std::size_t k) {
    Lookups made;
    for (const Rows* rows : all) made.push_back(std::make_shared<Lookup>(*rows, kernels, half, pruned, k));
    return made;
}

workload::Work scanning(const char* kernel, const Lookups& all) {
    const Rows& rows = all[0]->rows;
    const std::vector<std::int8_t>& codes = all[0]->prefixes.empty() ? rows.codes : rows.groups;
    return {kernel,
            [all] {
                for (const auto& each : all) each->scan_once();
            },
            [&codes] { workload::read(codes.data(), codes.size()); }, codes.size()};
}

workload::Work scoring(const char* kernel, const Lookups& all) {
    const auto first = all[0];
    const std::size_t row_bytes = first->row_bytes();
    const auto* memory = static_cast<const char*>(first->matrix.segments()[0].vectors.memory);
    return {
        kernel,
        [all] {
            for (const auto& each : all) each->score();
        },
        [=] { first->each_candidate([=](std::size_t row) { workload::read(memory + row * row_bytes, row_bytes); }); },
        Lookup::kCandidates * row_bytes};
}

std::vector<workload::Work> works(const std::string& tier, const std::vector<const Rows*>& plain,
                                  const std::vector<const Rows*>& pruned, std::size_t k) {
    const Kernels& kernels = find_tier(tier);
    return {scanning("scan", lookups(kernels, plain, false, false, k)),
            scanning("prefix", lookups(kernels, pruned, false, true, k)),
            scoring("rescore_f32", lookups(kernels, plain, false, false, k)),
            scoring("rescore_f16", lookups(kernels, plain, true, false, k))};
}

}  // namespace

namespace workload {

std::vector<std::string> tiers() { return names_of(available_tiers()); }

// A usual dimension, and one that no vector register divides; rows that fill no last block and no last group of 16.
std::vector<Work> counted_works(const std::string& tier) {
    return works(tier, {&rows_of(501, 768, 0), &rows_of(389, 97, 0)}, {&rows_of(2035, 200, 60)}, 2);
}

// Five rows are wanted, or as many of a small catalog as still make the search use its prefixes.
std::vector<Work> timed_works(const std::string& tier, std::size_t rows) {
    return works(tier, {&rows_of(rows, 768, 60)}, {&rows_of(rows, 768, 60)}, std::clamp<std::size_t>(rows / 64, 1, 5));
}

}  // namespace workload
