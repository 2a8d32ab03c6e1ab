// A quad of a picture, stretched to a square: the one way by which a picture becomes the model's input.
#pragma once

#include <cstdint>

#include "frame.hpp"
#include "kernels.hpp"

namespace cardrec {

// Writes (side, side, 3) RGB bytes. `corners`: x, y of the square's top left, top right, bottom right, bottom left, in
// the picture's pixels; its first pixel covers 0..1, the centre of that is at 0.5. Requires can_rectify(corners).
// Samples beyond the picture take the nearest pixel.
//
// Each output pixel is the mean of nx * ny bilinear samples spread over its footprint in the picture, nx and ny chosen
// from the footprint's size: one sample where the picture is enlarged, at most 16 x 16. Blending is in integers,
// coordinates are in double without contraction: the same bytes on every platform and every tier. Of luma and chroma
// each is rectified by itself, chroma with the quad of half the size; Kernels::yuv makes RGB of them.
void rectify(const Kernels& kernels, const Picture& picture, const float* corners, std::int64_t side,
             std::uint8_t* out);

// False for a quad that is not finite, not convex, or degenerate.
bool can_rectify(const float* corners);

}  // namespace cardrec
