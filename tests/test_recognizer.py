"""The stages together: identification, batches, outlines of the caller's, filters, threads, bad input."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import card_picture, photo
from PIL import Image

from cardrec import (
    Card,
    CardrecError,
    Catalog,
    CatalogMismatchError,
    DeviceUnavailable,
    Embedder,
    InputError,
    Recognizer,
)
from cardrec.detect import OutlineDetector
from cardrec.image import load
from cardrec.rectify import simd_tier as image_tier
from cardrec.samples import Sample, read_samples
from cardrec.search import simd_tier as search_tier
from cardrec.types import Color, ImageLike


@pytest.fixture(scope="module")
def tiny(tiny_catalog: Path) -> Iterator[Recognizer]:
    """A recognizer of eight drawn cards."""
    with Recognizer(tiny_catalog, max_cards=4) as opened:
        yield opened


@pytest.fixture(scope="module")
def c3(photo_of_c3: Path) -> NDArray[np.uint8]:
    """The photo of card c3 as a BGR array."""
    return np.ascontiguousarray(load(photo_of_c3).pixels[:, :, ::-1])


def names(cards: tuple[Card, ...]) -> list[str | None]:
    return [card.match.card_id if card.match else None for card in cards]


@pytest.mark.parametrize("sample", read_samples(), ids=lambda sample: sample.path.stem)
def test_bundled_photos_show_what_their_list_says(recognizer: Recognizer, sample: Sample) -> None:
    result = recognizer.identify(sample.path, max_cards=9)
    known = sorted(name for name in sample.card_ids if name)
    if sample.path.stem == "reprint":  # the catalog has a twin of it: the answer is both
        (card,) = result.cards
        assert card.match is None and card.status == "ambiguous"
        assert known[0] in {match.card_id for match in card.group} and len(card.group) == 2
    else:
        assert sorted(name for name in names(result.cards) if name) == known


def test_result_is_complete(recognizer: Recognizer, sample: Sample) -> None:
    result = recognizer.identify(sample.path)
    assert result.size_wh == (1280, 720) and result.index == 0
    (card,) = result.cards
    assert card.status == "match" and card.match == result.best == card.matches[0]
    assert card.corners_px.shape == (4, 2) and card.corners_px.dtype == np.float32
    assert len(card.matches) == 5 and 0 < card.confidence <= 1 and 0 < card.detection <= 1
    scores = [match.score for match in card.matches]
    assert scores == sorted(scores, reverse=True)
    assert card.matches[0].meta["game"] == "Aetherfall"
    timings = result.timings
    stages = timings.detect_ms + timings.rectify_ms + timings.encode_ms + timings.search_ms
    assert 0 < stages <= timings.total_ms
    assert result.to_dict()["cards"][0]["matches"][0]["card_id"] == card.matches[0].card_id


def test_every_form_of_a_picture_gives_the_same_answer(
    tiny: Recognizer, photo_of_c3: Path, c3: NDArray[np.uint8], tmp_path: Path
) -> None:
    tall = np.zeros((c3.shape[0] * 2, c3.shape[1], 3), np.uint8)
    tall[::2] = c3
    forms: dict[str, ImageLike] = {
        "text": str(photo_of_c3),
        "path": photo_of_c3,
        "pil": Image.fromarray(c3[:, :, ::-1]),
        "array": c3,
        "alpha": np.dstack([c3, np.zeros(c3.shape[:2], np.uint8)]),
        "not contiguous": tall[::2],
        "negative strides": np.ascontiguousarray(c3[::-1, ::-1])[::-1, ::-1],
        "read-only": np.frombuffer(c3.tobytes(), np.uint8).reshape(c3.shape),
    }
    found = {name: tiny.identify(form).best for name, form in forms.items()}
    assert {match.card_id if match else None for match in found.values()} == {"c3"}
    scores = [match.score for match in found.values() if match]
    assert scores == pytest.approx([scores[0]] * len(scores), abs=1e-5)


def test_colour_order_is_said_once(tiny_catalog: Path, c3: NDArray[np.uint8], tiny: Recognizer) -> None:
    with Recognizer(tiny_catalog, color="rgb", max_cards=4) as rgb:
        straight, swapped = rgb.identify(c3[:, :, ::-1]).best, tiny.identify(c3).best
    assert straight and swapped and straight.score == pytest.approx(swapped.score, abs=1e-5)


@pytest.mark.parametrize("color", ["nv12", "i420"])
def test_frames_of_luma_and_chroma_are_identified(tiny_catalog: Path, c3: NDArray[np.uint8], color: Color) -> None:
    planes = np.asarray(cv2.cvtColor(c3[: len(c3) // 2 * 2, : c3.shape[1] // 2 * 2], cv2.COLOR_BGR2YUV_I420), np.uint8)
    if color == "nv12":
        height = len(planes) // 3 * 2
        u, v = planes[height:].reshape(2, -1)
        planes[height:] = np.stack([u, v], axis=1).reshape(height // 2, -1)
    with Recognizer(tiny_catalog, color=color) as recognizer:
        found = recognizer.identify(planes)
    assert found.size_wh == (c3.shape[1] // 2 * 2, len(c3) // 2 * 2)
    assert found.best and found.best.card_id == "c3"


def test_a_turned_card_is_read_the_right_way_up(tiny: Recognizer, c3: NDArray[np.uint8]) -> None:
    upright = tiny.identify(c3).cards[0]
    turned = tiny.identify(np.ascontiguousarray(c3[::-1, ::-1])).cards[0]
    assert names((turned,)) == ["c3"]
    size = np.array([c3.shape[1], c3.shape[0]])
    assert np.abs((size - turned.corners_px) - upright.corners_px).max() < 3  # the card's own corners, not the frame's


def test_batch_answers_in_order_and_as_single_calls(tiny: Recognizer) -> None:
    frames = [photo([card_picture(seed)]) for seed in (5, 0, 3)] * 7
    together = tiny.identify_batch(iter(frames))
    assert [result.index for result in together] == list(range(21))
    for result, frame in zip(together[:3], frames, strict=False):
        alone = tiny.identify(frame)
        assert names(result.cards) == names(alone.cards)
        assert result.cards[0].matches[0].score == pytest.approx(alone.cards[0].matches[0].score, abs=1e-4)
    assert [result.best.card_id for result in together if result.best] == ["c5", "c0", "c3"] * 7


def test_empty_batch(tiny: Recognizer) -> None:
    assert tiny.identify_batch([]) == []


def test_several_cards_in_one_frame(tiny: Recognizer) -> None:
    frame = photo([card_picture(1), card_picture(6)])
    assert sorted(filter(None, names(tiny.identify(frame).cards))) == ["c1", "c6"]
    assert len(tiny.identify(frame, max_cards=1).cards) == 1


def test_no_card_is_an_empty_result(tiny: Recognizer) -> None:
    result = tiny.identify(np.full((480, 640, 3), 120, np.uint8))
    assert result.cards == () and result.best is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (2, 400, 3), (224, 1, 4)])
def test_tiny_frames_hold_no_card(tiny: Recognizer, shape: tuple[int, ...]) -> None:
    assert tiny.identify(np.zeros(shape, np.uint8)).cards == ()


def test_own_outlines_are_taken_as_they_are(tiny: Recognizer, c3: NDArray[np.uint8]) -> None:
    quad = OutlineDetector().detect(load(c3), max_cards=1)[0].corners_px
    result = tiny.identify(c3, quads=[quad, quad.tolist()], max_cards=1)
    assert names(result.cards) == ["c3", "c3"] and np.array_equal(result.cards[0].corners_px, quad)
    assert tiny.identify(c3, quads=np.empty((0, 4, 2))).cards == ()
    upside_down = tiny.identify(c3, quads=np.roll(quad, 2, axis=0)[None])
    assert upside_down.cards[0].matches[0].score < result.cards[0].matches[0].score


@pytest.mark.parametrize(
    "quads",
    [
        [[1, 2], [3, 4]],
        "quads",
        [[[0, 0], [10, 0], [10, 10]]],
        [[[0, 0], [100, 0], [100, float("nan")], [0, 100]]],
        [[[0, 0], [100, 100], [100, 0], [0, 100]]],
        [[[0, 0], [0, 0], [0, 0], [0, 0]]],
        [[[0, 0], [0, 100], [100, 100], [100, 0]]],
    ],
    ids=["shape", "text", "three corners", "nan", "crossed", "point", "anticlockwise"],
)
def test_bad_outlines_are_refused(tiny: Recognizer, c3: NDArray[np.uint8], quads: object) -> None:
    with pytest.raises(InputError, match="quad"):
        tiny.identify(c3, quads=quads)  # type: ignore[arg-type]


def test_outlines_beyond_the_frame_are_read_with_its_edge(tiny: Recognizer, c3: NDArray[np.uint8]) -> None:
    outside = np.array([[[-50, -50], [5000, -50], [5000, 5000], [-50, 5000]]], np.float32)
    assert len(tiny.identify(c3, quads=outside).cards) == 1


def on_its_side(card: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture of a card in landscape: another card's face, squeezed to lie within its long sides."""
    return cv2.resize(card, (352, 252), interpolation=cv2.INTER_AREA).astype(np.uint8)


@pytest.mark.parametrize("turns", range(4))
def test_a_card_in_landscape(tmp_path: Path, turns: int) -> None:
    faces = {f"c{seed}": on_its_side(card_picture(seed)) for seed in (1, 3, 5)}
    path, empty_meta = tmp_path / "wide.cardrec", dict[str, object]()
    with Embedder() as embedder:
        Catalog.build(path, [(name, face, empty_meta) for name, face in faces.items()], encoder=embedder)
    frame = np.rot90(photo([np.rot90(faces["c3"], -1)]), turns).copy()
    with Recognizer(path) as recognizer:
        (card,) = recognizer.identify(frame).cards
        assert card.matches[0].card_id == "c3"
        own = np.roll(card.corners_px, -1, axis=0)  # from the print's own top left, as callers have it
        (given,) = recognizer.identify(frame, quads=own[None]).cards
    assert given.matches[0] == card.matches[0]
    assert np.array_equal(given.corners_px, own)


def test_where_limits_the_candidates(tiny: Recognizer, c3: NDArray[np.uint8]) -> None:
    assert names(tiny.identify(c3, where={"set": "S1"}).cards) == ["c3"]
    others = tiny.identify(c3, where={"set": ["S0"]}).cards[0]
    assert {match.meta["set"] for match in others.matches} == {"S0"} and others.match is None
    nothing = tiny.identify(c3, where={"set": "no such set"}).cards[0]
    assert (nothing.matches, nothing.status, nothing.confidence) == ((), "unknown", 0.0)


def test_top_k_may_exceed_the_catalog(tiny: Recognizer, c3: NDArray[np.uint8]) -> None:
    assert len(tiny.identify(c3, top_k=1).cards[0].matches) == 1
    assert len(tiny.identify(c3, top_k=10**6).cards[0].matches) == 8


def test_several_views_count_as_one_card(card_folder: Path, tmp_path: Path, tiny: Recognizer) -> None:
    views: list[tuple[str, Path, dict[str, object]]] = [
        ("one", card_folder / f"c{seed}.png", {}) for seed in (3, 3, 3, 3, 3, 3, 3)
    ]
    others: list[tuple[str, Path, dict[str, object]]] = [
        (name, card_folder / f"{name}.png", {}) for name in ("c4", "c5")
    ]
    path = tmp_path / "views.cardrec"
    Catalog.build(path, [*views, *others], encoder=tiny, on_duplicate="keep-all")  # a Recognizer is an encoder, too
    with Recognizer(path, top_k=3) as recognizer:
        card = recognizer.identify(photo([card_picture(3)])).cards[0]
    assert card.matches[0].card_id == "one" and len({match.card_id for match in card.matches}) == 3
    assert card.status == "match"


def test_a_catalog_of_nothing(tmp_path: Path, tiny: Recognizer, c3: NDArray[np.uint8]) -> None:
    path = tmp_path / "empty.cardrec"
    Catalog.build(path, [], encoder=tiny)
    with Recognizer(path) as recognizer:
        card = recognizer.identify(c3).cards[0]
    assert (card.status, card.matches, card.confidence) == ("unknown", (), 0.0)


def test_encode_gives_unit_vectors(tiny: Recognizer, card_folder: Path) -> None:
    paths = sorted(card_folder.iterdir())
    vectors = tiny.encode(paths)
    assert vectors.shape == (len(paths), tiny.dimension) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(paths)), abs=1e-5)
    assert tiny.encode(paths[0]).shape == (1, tiny.dimension)
    assert tiny.encode(np.zeros((3, 224, 224, 3), np.uint8)).shape == (3, tiny.dimension)
    assert tiny.encode([]).shape == (0, tiny.dimension)
    many = tiny.encode(paths * 5)
    assert np.abs(many - np.tile(vectors, (5, 1))).max() < 1e-4


def test_threads_get_their_own_answers(tiny: Recognizer) -> None:
    frames = {f"c{seed}": photo([card_picture(seed)]) for seed in range(8)}

    def ask(name: str) -> bool:
        return names(tiny.identify(frames[name]).cards) == [name]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, list(frames) * 4))


def test_closed_recognizer_says_so(tiny_catalog: Path, c3: NDArray[np.uint8]) -> None:
    recognizer = Recognizer(tiny_catalog)
    recognizer.close()
    recognizer.close()
    for call in (lambda: recognizer.identify(c3), lambda: recognizer.identify_batch([c3]), recognizer.info):
        with pytest.raises(CardrecError, match="closed"):
            call()


def test_an_open_catalog_stays_the_callers(tiny_catalog: Path, c3: NDArray[np.uint8]) -> None:
    with Catalog.open(tiny_catalog) as catalog:
        with Recognizer(catalog) as recognizer:
            assert recognizer.catalog is catalog
        assert len(catalog) == 8


def test_info(tiny: Recognizer) -> None:
    info = tiny.info()
    assert info["backend"] == "onnx" and info["catalog"]["cards"] == 8
    assert info["simd"] == search_tier() and info["simd_image"] == image_tier()
    assert info["model"]["fingerprint"] == info["catalog"]["fingerprint"] == tiny.fingerprint


def test_catalog_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.cardrec"
    Catalog.from_vectors(path, ["a"], np.ones((1, 768)), fingerprint="other", preprocessing_hash="other").close()
    with pytest.raises(CatalogMismatchError, match="build the catalog again"):
        Recognizer(path)


def test_hailo_is_never_replaced_silently() -> None:
    with pytest.raises(DeviceUnavailable, match=r"hailo-all|no Hailo device"):
        Recognizer(backend="hailo")


@pytest.mark.parametrize(
    "wrong",
    [
        {"backend": "tpu"},
        {"threads": -1},
        {"top_k": 0},
        {"top_k": 1.5},
        {"max_cards": 0},
        {"max_cards": True},
        {"color": "bgra"},
    ],
    ids=str,
)
def test_wrong_arguments_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Recognizer(**wrong)  # type: ignore[arg-type]


def test_missing_picture_stays_the_systems_error(tiny: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg"):
        tiny.identify(tmp_path / "absent.jpg")
