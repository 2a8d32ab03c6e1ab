"""A slowdown of known size in one kernel, to show that a gate notices it.

`plant` edits the sources of a copy of this repository: a share of the kernel's work is done twice, in every tier, and
what the kernel computes stays the same to the bit. It is for copies: a checkout edited so is not put back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# For each piece of work: whether it is done once more, so that on average `SHARE` of all are.
OWED = """
bool planted_again() {
    static thread_local double owed = 0.0;
    owed += SHARE;
    if (owed < 1.0) return false;
    owed -= 1.0;
    return true;
}
"""

# The first part of a chunk once more, for lists that nobody reads; by then the threshold is what the first time found.
SCAN_AGAIN = """
void planted_scan(const Task& task, Chunk chunk, const std::vector<Shortlist>& found) {
    static thread_local bool planted = false;
    if (planted) return;
    planted = true;
    std::vector<Threshold> thresholds(task.count);
    std::vector<Shortlist> unread;
    for (std::size_t q = 0; q < task.count; ++q) {
        thresholds[q].raise(found[q].threshold());
        unread.emplace_back(task.k, thresholds[q]);
    }
    chunk.last = chunk.first + static_cast<std::size_t>(SHARE * static_cast<double>(chunk.last - chunk.first));
    scan(task, chunk, unread);
    planted = false;
}
"""


@dataclass(frozen=True)
class Edit:
    """One place in a source: `old` occurs there once."""

    file: str
    old: str
    new: str


def _inside(file: str, what: str) -> Edit:
    """Adds functions to the unnamed namespace that a source opens."""
    opening = "namespace cardrec {\nnamespace {\n"
    return Edit(file, opening, opening + what)


_SCAN = "csrc/search/scan.cpp"
_SCAN_BEGINS = "void scan(const Task& task, Chunk chunk, std::vector<Shortlist>& found) {\n"
_SCAN_FUNCTION = Edit(_SCAN, _SCAN_BEGINS, SCAN_AGAIN + "\n" + _SCAN_BEGINS)
_ALL, _PROMISING = "scan_all(task, chunk, found);", "scan_promising(task, chunk, rows, sums.data(), found);"
_MATRIX, _RECTIFY, _RESIZE = "csrc/search/matrix.cpp", "csrc/image/rectify.cpp", "csrc/image/resize.cpp"
_SCORED = "at.vectors.half ? kernels_.dot_f16(halves, query, dimension_) : kernels_.dot_f32(floats, query, dimension_);"
_VISIT = "visit(block, out + 3 * (row * side + first));"
_LINE = "average.write(static_cast<std::size_t>(row), out);"
_YUV_LINE = """        luma.write(static_cast<std::size_t>(row), out);
        u.write(static_cast<std::size_t>(row), u_line);
        if (apart) v.write(static_cast<std::size_t>(row), v_line);
        kernels.yuv(u_line, v_line, static_cast<std::size_t>(width), out);
"""

EDITS = {
    "scan": (
        _SCAN_FUNCTION,
        Edit(_SCAN, f"return {_ALL}", f"{{ {_ALL} return planted_scan(task, chunk, found); }}"),
    ),
    "prefix": (_SCAN_FUNCTION, Edit(_SCAN, _PROMISING, f"{_PROMISING}\n    planted_scan(task, chunk, found);")),
    "rescore": (
        _inside(_MATRIX, OWED),
        Edit(_MATRIX, _SCORED, f"{_SCORED}\n    if (planted_again()) static_cast<void>({_SCORED[:-1]});"),
    ),
    "rectify": (_inside(_RECTIFY, OWED), Edit(_RECTIFY, _VISIT, f"{_VISIT} if (planted_again()) {_VISIT}")),
    "resize": (
        _inside(_RESIZE, OWED),
        Edit(_RESIZE, _LINE, f"{{ {_LINE} if (planted_again()) {_LINE} }}"),
        Edit(_RESIZE, _YUV_LINE, f"{_YUV_LINE}        if (planted_again()) {{\n{_YUV_LINE}        }}\n"),
    ),
}
KERNELS = tuple(EDITS)


def plant(tree: Path, kernel: str, share: float) -> None:
    """Makes one kernel slower by about `share`, in the sources of a copy of this repository.

    Args:
        tree: the copy's root, in which csrc/ lies.
        kernel: one of KERNELS: `scan`, the scan of int8 codes without pruning; `prefix`, that with it; `rescore`, exact
            scores of rows; `rectify`, of one quad; `resize`, the area average of a picture.
        share: of the work that is done twice, 0.08 for 8 %; above 0, at most 1.

    Raises:
        ValueError: there is no such kernel, or share.
        RuntimeError: the sources are no longer those that this module knows.
    """
    if kernel not in EDITS:
        raise ValueError(f"no kernel {kernel!r} to slow down; there are {', '.join(KERNELS)}")
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, not {share!r}")
    edited: dict[Path, str] = {}
    for edit in EDITS[kernel]:
        file = tree / edit.file
        text = edited.get(file) or file.read_text()
        if text.count(edit.old) != 1:
            line = edit.old.strip().splitlines()[0]
            raise RuntimeError(
                f"{edit.file} has no longer one {line!r}: bring EDITS of benchmarks/planted.py up to date"
            )
        edited[file] = text.replace(edit.old, edit.new.replace("SHARE", repr(share)))
    for file, text in edited.items():
        file.write_text(text)
