# distutils: language = c++
# cython: boundscheck=False, wraparound=False, initializedcheck=False, binding=True, autotestdict=False
"""From a frame to the model's input: rectify a quad, resize a whole picture. Checks shapes once; no algorithm here."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t
from libcpp cimport bool as cpp_bool
from libcpp.string cimport string
from libcpp.vector cimport vector


cdef extern from "frame.hpp" namespace "cardrec" nogil:
    cdef cppclass Frame:
        pass

    cdef cppclass Picture:
        pass

    Picture make_picture(
        const uint8_t* data, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
        ptrdiff_t stride_y, ptrdiff_t stride_x, ptrdiff_t stride_c, cpp_bool swap_rb,
    )
    Frame make_plane(
        const uint8_t* data, ptrdiff_t height, ptrdiff_t width, ptrdiff_t stride_y, ptrdiff_t stride_x
    )
    Picture make_yuv(const Frame& luma, const Frame& u, const Frame& v)


cdef extern from "dispatch.hpp" namespace "cardrec" nogil:
    cdef cppclass Kernels:
        const char* tier

    const Kernels& find_tier(const string& name) except +
    vector[const Kernels*] available_tiers() except +


cdef extern from "rectify.hpp" namespace "cardrec" nogil:
    bint can_rectify(const float* corners)
    void c_rectify "cardrec::rectify"(
        const Kernels& kernels, const Picture& picture, const float* corners, int64_t side, uint8_t* out
    )


cdef extern from "resize.hpp" namespace "cardrec" nogil:
    void c_resize "cardrec::resize"(
        const Kernels& kernels, const Picture& picture, int64_t height, int64_t width, uint8_t* out
    ) except +


MAX_SIDE = 4096
cdef int64_t LARGEST = MAX_SIDE


cdef const Kernels* kernels_of(str tier) except NULL:
    return &find_tier(tier.encode())


cdef Picture packed(const uint8_t[:, :, :] frame, bint swap_rb) except *:
    """The frame as C++ sees it; refuses empty ones and channel counts other than 1, 3 and 4."""
    if frame.shape[0] < 1 or frame.shape[1] < 1 or frame.shape[2] not in (1, 3, 4):
        got = tuple([frame.shape[i] for i in range(3)])
        raise ValueError(f"frame: expected (height, width, 1 | 3 | 4), none of them 0, got {got}")
    return make_picture(
        &frame[0, 0, 0], frame.shape[0], frame.shape[1], frame.shape[2],
        frame.strides[0], frame.strides[1], frame.strides[2], swap_rb,
    )


cdef Frame plane(const uint8_t[:, :] samples) noexcept:
    return make_plane(&samples[0, 0], samples.shape[0], samples.shape[1], samples.strides[0], samples.strides[1])


cdef Picture planar(const uint8_t[:, :] luma, const uint8_t[:, :] u, const uint8_t[:, :] v) except *:
    """Three planes as C++ sees them; refuses empty ones, and chroma that isn't of half the size."""
    cdef ptrdiff_t height = luma.shape[0], width = luma.shape[1]
    if height < 2 or width < 2 or height % 2 or width % 2:
        raise ValueError(f"luma: expected an even height and width, none of them 0, got ({height}, {width})")
    for shape in ((u.shape[0], u.shape[1]), (v.shape[0], v.shape[1])):
        if shape != (height // 2, width // 2):
            raise ValueError(f"chroma: expected ({height // 2}, {width // 2}), half of the luma, got {shape}")
    return make_yuv(plane(luma), plane(u), plane(v))


cdef int rectify_all(
    const Picture& source, const float[:, :, ::1] quads, uint8_t[:, :, :, ::1] out, str tier
) except -1:
    cdef Py_ssize_t i, count = quads.shape[0]
    cdef int64_t side = out.shape[1]
    cdef const Kernels* kernels = kernels_of(tier)
    if quads.shape[1] != 4 or quads.shape[2] != 2:
        raise ValueError(f"quads: expected (n, 4, 2), got ({count}, {quads.shape[1]}, {quads.shape[2]})")
    if out.shape[0] != count or out.shape[2] != side or out.shape[3] != 3 or not 1 <= side <= LARGEST:
        got = tuple([out.shape[i] for i in range(4)])
        raise ValueError(f"out: expected ({count}, side, side, 3), side 1 to {LARGEST}, got {got}")
    for i in range(count):
        if not can_rectify(&quads[i, 0, 0]):
            raise ValueError(f"quads: quad {i} is not finite, not convex or degenerate")
    with nogil:
        for i in range(count):
            c_rectify(kernels[0], source, &quads[i, 0, 0], side, &out[i, 0, 0, 0])
    return 0


cdef int resize_all(const Picture& source, uint8_t[:, :, ::1] out, str tier) except -1:
    cdef const Kernels* kernels = kernels_of(tier)
    if not 1 <= out.shape[0] <= LARGEST or not 1 <= out.shape[1] <= LARGEST or out.shape[2] != 3:
        got = tuple([out.shape[i] for i in range(3)])
        raise ValueError(f"out: expected (height, width, 3), sides 1 to {LARGEST}, got {got}")
    with nogil:
        c_resize(kernels[0], source, out.shape[0], out.shape[1], &out[0, 0, 0])
    return 0


def rectify(
    const uint8_t[:, :, :] frame, bint swap_rb, const float[:, :, ::1] quads, uint8_t[:, :, :, ::1] out, str tier=""
) -> None:
    """Write each quad of the frame, stretched to a square, to its place in ``out`` (n, side, side, 3) as RGB."""
    rectify_all(packed(frame, swap_rb), quads, out, tier)


def rectify_yuv(
    const uint8_t[:, :] luma, const uint8_t[:, :] u, const uint8_t[:, :] v, const float[:, :, ::1] quads,
    uint8_t[:, :, :, ::1] out, str tier=""
) -> None:
    """The same for a frame of three planes, chroma of half the size of luma; BT.601, limited range."""
    rectify_all(planar(luma, u, v), quads, out, tier)


def resize(const uint8_t[:, :, :] frame, bint swap_rb, uint8_t[:, :, ::1] out, str tier="") -> None:
    """Write the whole frame, averaged over each output pixel's footprint, to ``out`` (height, width, 3) as RGB."""
    resize_all(packed(frame, swap_rb), out, tier)


def resize_yuv(
    const uint8_t[:, :] luma, const uint8_t[:, :] u, const uint8_t[:, :] v, uint8_t[:, :, ::1] out, str tier=""
) -> None:
    """The same for a frame of three planes, chroma of half the size of luma; BT.601, limited range."""
    resize_all(planar(luma, u, v), out, tier)


def simd_tiers() -> list[str]:
    """The tiers that have kernels here and run on this processor, the slowest first."""
    cdef vector[const Kernels*] tiers = available_tiers()
    return [tiers[i].tier.decode() for i in range(tiers.size())]


def simd_tier(str tier="") -> str:
    """The kernels that are used for a tier; for "", those of CARDREC_SIMD or the fastest."""
    return kernels_of(tier).tier.decode()
