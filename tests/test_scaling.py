"""The scaling benchmark, small: what its catalogs hold, how it times, and that every part and picture is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from refusals import refusal

from benchmarks import scaling, scaling_report
from benchmarks.scaling_parts import KINDS, NEAREST, PARTS, Plan, catalog_of, demo_rows, frames_of, rows_of, shown_card
from benchmarks.scaling_timing import Timed, in_turn, stages, whole
from cardrec import Catalog, Recognizer
from cardrec.bench import camera_frame
from cardrec.detect import OutlineDetector
from cardrec.image import load
from cardrec.model import Model

TINY = Plan(1, 1, sizes=(1_000, 1_200), cards=(1, 2), searched=1_200, queries=(1, 2), batches=(1, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_demos_and_others_not_too_near(kind: str) -> None:
    ids, demo, _ = demo_rows()
    shown = demo[ids.index(shown_card())]
    rows = np.concatenate(list(rows_of(kind, 3_000, demo, shown)))
    assert rows.shape == (3_000, demo.shape[1]) and (rows[: len(demo)] == demo).all()
    others = rows[len(demo) :]
    assert np.linalg.norm(others, axis=1) == pytest.approx(1, abs=1e-5)
    assert (others @ shown).max() < NEAREST
    assert len(np.unique(others, axis=0)) == len(others)
    assert (np.concatenate(list(rows_of(kind, 2_000, demo, shown)))[: len(demo)] == demo).all()


def test_rows_like_embeddings_have_their_spectrum() -> None:
    ids, demo, _ = demo_rows()
    shown = demo[ids.index(shown_card())]

    def leading(kind: str) -> float:
        """The share of 64 directions in the rows' variance."""
        rows = np.concatenate(list(rows_of(kind, 4_000, demo, shown)))[len(demo) :]
        variances = np.linalg.eigvalsh(np.cov(rows.T.astype(np.float64)))
        return float(variances[-64:].sum() / variances.sum())

    assert leading(KINDS[0]) > 0.98
    assert leading(KINDS[1]) < 0.2


def test_the_card_is_as_sure_in_a_larger_catalog(tmp_path: Path) -> None:
    for kind in KINDS:
        path = catalog_of(kind, 1_500, Model.load(), tmp_path)
        with Catalog.open(path) as catalog, Recognizer(catalog, threads=1) as recognizer:
            assert len(catalog) == 1_500 and catalog.verify()
            (card,) = recognizer.identify(camera_frame()).cards
        assert card.match is not None and card.match.card_id == shown_card() and card.confidence > 0.98
        before = path.stat().st_ino
        assert catalog_of(kind, 1_500, Model.load(), tmp_path) == path and path.stat().st_ino == before, "kept"
    assert [path.suffix for path in tmp_path.iterdir()] == [".cardrec", ".cardrec"]


def test_frames_show_as_many_cards_as_they_say() -> None:
    for count in (1, 9):
        (frame,) = frames_of(count, TINY)
        found = OutlineDetector().detect(load(frame), max_cards=18)
        assert len(found) == count


def test_settings_take_turns() -> None:
    asked: list[str] = []

    def action(name: str, times_ms: Iterator[float]) -> Callable[[], Timed]:
        def act() -> Timed:
            asked.append(name)
            return {"each_ms": next(times_ms), "found": 1}

        return act

    actions = {"a": action("a", iter([99.0, 99, 1, 2, 9])), "b": action("b", iter([99.0, 99, 4, 4, 4]))}
    found = in_turn(actions, 3)
    assert asked == ["a", "b", "b", "a", "a", "b", "b", "a", "a", "b"]
    assert found["a"]["each_ms"] == 2 and found["a"]["calls"] == 3 and found["b"]["p95_ms"] == 4
    quick, slow = iter([9.0, 9, 1, 1, 8]), iter([9.0, 9, 3, 7, 3])
    both = {"x1": lambda: {"each_ms": next(quick)}, "x2": lambda: {"each_ms": next(slow)}}
    together = in_turn(both, 3, together=lambda key: key[0])
    assert set(together) == {"x"} and together["x"]["each_ms"] == 2 and together["x"]["calls"] == 6


def test_what_is_timed(recognizer: Recognizer) -> None:
    spent = stages(recognizer.identify(camera_frame()))
    parts = sum(spent[name] for name in ("detect_ms", "rectify_ms", "encode_ms", "search_ms"))
    assert 0 < parts <= spent["total_ms"] and spent["found"] == spent["named"] == 1
    each = whole(lambda: sum(range(200_000)), of=4)()
    assert each["each_ms"] > 0


def test_all_parts_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "QUICK", TINY)
    scaling.main([str(tmp_path), "--quick", "--prepare"])
    assert len(list((tmp_path / "catalogs").iterdir())) == 4 and not (tmp_path / "scaling.json").exists()
    scaling.main([str(tmp_path), "--quick"])
    found = json.loads((tmp_path / "scaling.json").read_text())
    assert set(PARTS) < set(found)
    assert [row["cards"] for row in found["catalog"]["rows"]] == [1_000, 1_200] * 2
    assert all(row["total_ms"] > row["encode_ms"] > 0 for row in found["catalog"]["rows"])
    one = {(row["cards_in_frame"], row["max_cards"]): row for row in found["cards"]["rows"]}
    assert set(one) == {(1, 1), (1, 18), (2, 18)} and one[2, 18]["found"] == 2
    text = (tmp_path / "scaling.md").read_text()
    assert all(title in text for title in scaling_report.TITLES.values())

    found["catalog"]["rows"][0]["cards"] = -1
    (tmp_path / "scaling.json").write_text(json.dumps(found))
    scaling.main([str(tmp_path), "--quick", "--only", "threads"])
    again = json.loads((tmp_path / "scaling.json").read_text())
    assert again["catalog"]["rows"][0]["cards"] == -1, "what is not measured again stays"
    found["model"] = "another"
    (tmp_path / "scaling.json").write_text(json.dumps(found))
    scaling.main([str(tmp_path), "--quick", "--only", "threads"])
    assert "catalog" not in json.loads((tmp_path / "scaling.json").read_text()), "another model's figures do not"


def test_pictures_of_made_up_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="of the extra `bench`")
    times = {"detect_ms": 3.0, "rectify_ms": 1.0, "encode_ms": 9.0, "search_ms": 1.0, "total_ms": 14.0}
    found = {
        "catalog": {"rows": [{"kind": kind, "cards": size} | times for kind in KINDS for size in (1_000, 10_000)]},
        "cards": {"rows": [{"cards_in_frame": n, "max_cards": 18} | times for n in (1, 2, 9)]},
        "searches": {
            "rows": [{"kind": kind, "cards": 9, "queries": n, "each_ms": 0.1} for kind in KINDS for n in (1, 2)]
        },
        "batches": {
            "rows": [
                {"what": what, "threads": threads, "batch": n, "each_ms": 5.0}
                for what in ("encode", "identify_batch")
                for threads in (1, 2)
                for n in (1, 2)
            ]
        },
    }
    drawn = scaling_report.draw(found, tmp_path)
    assert len(drawn) == 3 and all(5_000 < path.stat().st_size < 200_000 for path in drawn)


def test_a_catalog_smaller_than_the_demo_is_refused(tmp_path: Path) -> None:
    refusal(
        lambda: scaling.main([str(tmp_path), "--sizes", "10"]),
        "--sizes 10",
        "1,000",
        command="python -m benchmarks.scaling",
    )
