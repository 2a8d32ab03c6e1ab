# distutils: language = c++
# cython: boundscheck=False, wraparound=False, initializedcheck=False, binding=True, autotestdict=False
"""From a frame to the model's input: rectify a quad, resize a whole picture. Checks shapes once; no algorithm here."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t
from libcpp cimport bool as cpp_bool


cdef extern from "frame.hpp" namespace "cardrec" nogil:
    cdef cppclass Frame:
        pass

    Frame make_frame(
        const uint8_t* data, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
        ptrdiff_t stride_y, ptrdiff_t stride_x, ptrdiff_t stride_c, cpp_bool swap_rb,
    )


cdef extern from "rectify.hpp" namespace "cardrec" nogil:
    bint can_rectify(const float* corners)
    void c_rectify "cardrec::rectify"(const Frame& frame, const float* corners, int64_t side, uint8_t* out) except +


cdef extern from "resize.hpp" namespace "cardrec" nogil:
    void c_resize "cardrec::resize"(const Frame& frame, int64_t height, int64_t width, uint8_t* out) except +


cdef Frame view(const uint8_t[:, :, :] frame, bint swap_rb) except *:
    """The frame as C++ sees it; refuses empty ones and channel counts other than 1, 3 and 4."""
    if frame.shape[0] < 1 or frame.shape[1] < 1 or frame.shape[2] not in (1, 3, 4):
        got = tuple([frame.shape[i] for i in range(3)])
        raise ValueError(f"frame: expected (height, width, 1 | 3 | 4), none of them 0, got {got}")
    return make_frame(
        &frame[0, 0, 0], frame.shape[0], frame.shape[1], frame.shape[2],
        frame.strides[0], frame.strides[1], frame.strides[2], swap_rb,
    )


def rectify(
    const uint8_t[:, :, :] frame, bint swap_rb, const float[:, :, ::1] quads, uint8_t[:, :, :, ::1] out
) -> None:
    """Write each quad of the frame, stretched to a square, to its place in ``out`` (n, side, side, 3) as RGB."""
    cdef Frame source = view(frame, swap_rb)
    cdef Py_ssize_t i, count = quads.shape[0]
    cdef int64_t side = out.shape[1]
    if quads.shape[1] != 4 or quads.shape[2] != 2:
        raise ValueError(f"quads: expected (n, 4, 2), got ({count}, {quads.shape[1]}, {quads.shape[2]})")
    if out.shape[0] != count or out.shape[2] != side or out.shape[3] != 3 or side < 1:
        raise ValueError(
            f"out: expected ({count}, side, side, 3), got {tuple([out.shape[i] for i in range(4)])}"
        )
    for i in range(count):
        if not can_rectify(&quads[i, 0, 0]):
            raise ValueError(f"quads: quad {i} is not finite, not convex or degenerate")
    with nogil:
        for i in range(count):
            c_rectify(source, &quads[i, 0, 0], side, &out[i, 0, 0, 0])


def resize(const uint8_t[:, :, :] frame, bint swap_rb, uint8_t[:, :, ::1] out) -> None:
    """Write the whole frame, averaged over each output pixel's footprint, to ``out`` (height, width, 3) as RGB."""
    cdef Frame source = view(frame, swap_rb)
    if out.shape[0] < 1 or out.shape[1] < 1 or out.shape[2] != 3:
        raise ValueError(f"out: expected (height, width, 3), got {tuple([out.shape[i] for i in range(3)])}")
    with nogil:
        c_resize(source, out.shape[0], out.shape[1], &out[0, 0, 0])
