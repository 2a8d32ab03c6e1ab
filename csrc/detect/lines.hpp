// All straight lines through a strip along a side, at once.
#pragma once

#include <cstddef>

namespace cardrec {

// Four floats, whose operations compilers make one instruction each. What they are of is up to the caller.
typedef float Lanes __attribute__((vector_size(16)));

// A strip has `kPlaces` places along the side, with `kAcross` values across it each, and one more that is not used (it
// must be a number). A line crosses the first place of the side at `first`, its last at `last`, which differ by
// `kSteepest` at most. `kFromEnds`: places are spread from one end of the line to the other; else each lies in the
// middle of its share.
template <int kPlaces, int kAcross, int kSteepest, bool kFromEnds>
class LinesOf {
  public:
    static constexpr int kStride = kAcross + 1;  // values from place to place

    constexpr LinesOf() : offset_{}, part_{} {
        for (int slope = -kSteepest; slope <= kSteepest; ++slope) {
            for (int place = 0; place < kPlaces; ++place) {
                const double along = kFromEnds ? place / (kPlaces - 1.0) : (place + 0.5) / kPlaces;
                const double at = slope * along + kSteepest;  // not below 0
                const int whole = static_cast<int>(at);
                offset_[slope + kSteepest][place] = place * kStride + whole - kSteepest;
                part_[slope + kSteepest][place] = static_cast<float>(at - whole);
            }
        }
    }

    // Calls visit(first, last, the sum of the values along the line, interpolated) for all lines.
    template <typename Visit>
    void each(const Lanes* strip, Visit visit) const {
        for (int first = 0; first < kAcross; ++first) {
            for (int last = 0; last < kAcross; ++last) {
                const int slope = last - first;
                if (-kSteepest <= slope && slope <= kSteepest) visit(first, last, sum(strip + first, slope));
            }
        }
    }

  private:
    Lanes sum(const Lanes* from, int slope) const {
        Lanes total{};
        for (int place = 0; place < kPlaces; ++place) {
            const Lanes* at = from + offset_[slope + kSteepest][place];
            total += at[0] + (at[1] - at[0]) * part_[slope + kSteepest][place];
        }
        return total;
    }

    int offset_[2 * kSteepest + 1][kPlaces];
    float part_[2 * kSteepest + 1][kPlaces];
};

}  // namespace cardrec
