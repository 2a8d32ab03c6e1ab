// A whole picture, resized by exact area averaging of its bilinear interpolation.
#pragma once

#include <cstdint>

#include "frame.hpp"
#include "kernels.hpp"

namespace cardrec {

// Writes (height, width, 3) RGB bytes. This is the integral that rectify() samples, for the quad of the full picture:
// the picture, interpolated bilinearly between pixel centres and continued beyond its edges, averaged over each output
// pixel's footprint. It works for reduction (then it is the area average, very nearly) and for enlargement (then it is
// bilinear, very nearly). Luma and chroma are each resized by themselves; Kernels::yuv makes RGB of them.
//
// Working memory belongs to the thread and is kept for its next call, unless it is large.
void resize(const Kernels& kernels, const Picture& picture, std::int64_t height, std::int64_t width, std::uint8_t* out);

}  // namespace cardrec
