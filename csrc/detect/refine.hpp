// Fits quads to the edges of the frame, to a fraction of a pixel.
#pragma once

#include "frame.hpp"
#include "quad.hpp"

namespace cardrec {

// How far a side of an outline may move, in pixels, unless it is said.
double usual_reach(const Quad& quad);

// Moves each side to the strongest straight edge no further away than `reach` pixels, to about a thirtieth of that. A
// quad whose sides would cross or leave its neighbourhood stays as it was.
Quad refined(const Frame& frame, const Quad& quad, double reach);

}  // namespace cardrec
