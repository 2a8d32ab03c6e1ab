"""The stages that the latency gate times, on the package as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import gate_worker
from benchmarks.gate_worker import STAGES, Scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate_worker, "CARDS", 300)
        gate_worker.make_scene(folder)
        gate_worker.make_catalogs(folder)
    made = Scene(folder, folder)
    yield made
    made.recognizer.close()


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_timed(scene: Scene, stage: str) -> None:
    once = STAGES[stage].make(scene)
    assert 0 < once() < 10_000


def test_the_photo_has_a_card_to_identify(scene: Scene) -> None:
    assert [card.status for card in scene.recognizer.identify(scene.pixels).cards] == ["match"]
