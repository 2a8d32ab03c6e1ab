"""What a source holds, as JSON with every file, and as Markdown with the numbers and the first of each list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.duplicates import Pair
from training.prepare.look import Facts
from training.prepare.sources import Picture, Source

__all__ = ["as_markdown", "report"]

SHOWN = 20
SIZES_SHOWN = 10


def report(source: Source, facts: Sequence[Facts], pairs: Sequence[Pair]) -> dict[str, Any]:
    """The figures and lists. Paths are relative to the source's folder."""
    pictures = source.pictures
    sound = [row for row, fact in enumerate(facts) if fact.fault is None]
    names = [_relative(picture.path, source) for picture in pictures]
    variants = Counter(pictures[row].card_id for row in sound)
    return {
        "files": len(pictures) + len(source.orphans),
        "pictures": len(sound),
        "cards": len(variants),
        "bytes": sum(facts[row].bytes for row in sound),
        "width": _spread([facts[row].width for row in sound]),
        "height": _spread([facts[row].height for row in sound]),
        "sizes": _counts(f"{facts[row].width}x{facts[row].height}" for row in sound),
        "modes": _counts(facts[row].mode for row in sound),
        "kinds": _counts(facts[row].kind for row in sound),
        "variants": {card_id: count for card_id, count in sorted(variants.items()) if count > 1},
        "cards_without_picture": sorted({picture.card_id for picture in pictures} - set(variants)),
        "faulty": [
            {"file": name, "why": _reason(fact, picture)}
            for name, fact, picture in zip(names, facts, pictures, strict=True)
            if fact.fault
        ],
        "identical": _identical(names, facts, sound),
        "duplicates": [
            {
                "a": names[pair.a], "b": names[pair.b],
                "same_card": pictures[pair.a].card_id == pictures[pair.b].card_id,
                "bits": pair.bits, "cosine": round(pair.cosine, 4), "agreement": round(pair.agreement, 4),
            }
            for pair in pairs
        ],
        "orphans": [_relative(path, source) for path in source.orphans],
    }  # fmt: skip


def _relative(path: Path, source: Source) -> str:
    """The path for people; bytes that are no text are shown as ``\\xe9``."""
    inner = path.absolute().relative_to(source.folder.absolute())
    return str(inner).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _reason(fact: Facts, picture: Picture) -> str:
    """What is wrong, without the path that stands beside it."""
    shown = f"{fact.fault}".removeprefix(f"{picture.path} ").removeprefix("is not a readable image: ")
    return shown.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _spread(values: Sequence[int]) -> dict[str, int]:
    ordered = sorted(values)
    if not ordered:
        return {}
    return {"least": ordered[0], "median": ordered[len(ordered) // 2], "most": ordered[-1]}


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _identical(names: Sequence[str], facts: Sequence[Facts], rows: Sequence[int]) -> list[list[str]]:
    """Files with the same bytes."""
    same: dict[str, list[str]] = {}
    for row in rows:
        same.setdefault(facts[row].sha256, []).append(names[row])
    return [group for group in same.values() if len(group) > 1]


def as_markdown(found: Mapping[str, Any], title: str) -> str:
    """The report for people."""
    rows = [
        ("files in the source", found["files"]),
        ("pictures in the layout", found["pictures"]),
        ("cards", found["cards"]),
        ("cards with several pictures", len(found["variants"])),
        ("pairs of pictures that look the same", len(found["duplicates"])),
        ("groups of files with the same bytes", len(found["identical"])),
        ("faulty pictures", len(found["faulty"])),
        ("orphans: files of no card", len(found["orphans"])),
        ("cards without a sound picture", len(found["cards_without_picture"])),
    ]
    table = [f"| {name} | {count:,} |" for name, count in rows]
    table.append(f"| megabytes | {found['bytes'] / 1e6:,.1f} |")
    for side in ("width", "height"):
        spread = found[side] or {"least": 0, "median": 0, "most": 0}
        table.append(f"| {side}, px: least, median, most | {spread['least']}, {spread['median']}, {spread['most']} |")
    parts = [f"# {title}", "", "| | |", "|---|---|", *table, ""]
    for name in ("sizes", "modes", "kinds"):
        shown = list(found[name].items())[:SIZES_SHOWN]
        more = len(found[name]) - len(shown)
        parts += [
            f"{name}: " + ", ".join(f"{key} ({count:,})" for key, count in shown) + (f", {more} more" if more else ""),
            "",
        ]
    parts += _list("Faulty pictures", [f"{each['file']}: {each['why']}" for each in found["faulty"]])
    parts += _list("Look the same", [_pair(each) for each in found["duplicates"]])
    parts += _list("Same bytes", [", ".join(group) for group in found["identical"]])
    parts += _list("Several pictures", [f"{card_id}: {count}" for card_id, count in found["variants"].items()])
    parts += _list("Without a sound picture", found["cards_without_picture"])
    parts += _list("Orphans", found["orphans"])
    return "\n".join(parts).rstrip() + "\n"


def _pair(each: Mapping[str, Any]) -> str:
    of = "one card" if each["same_card"] else "two cards"
    return f"{each['a']} and {each['b']} ({of}; agreement {each['agreement']}, cosine {each['cosine']})"


def _list(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    rest = [f"- and {len(lines) - SHOWN:,} more, in report.json"] if len(lines) > SHOWN else []
    return [f"## {title}", "", *(f"- `{line}`" for line in lines[:SHOWN]), *rest, ""]
