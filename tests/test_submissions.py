"""Single submissions: room for so many, their numbers, errors, cancelling, closing."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from under_way import FRAME, PATIENCE_S, Desk, eventually, result

from cardrec import flight
from cardrec.errors import CardrecError, DeviceTimeout
from cardrec.flight import Submissions
from cardrec.types import Result

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def test_submissions_wait_for_room(desk: Desk) -> None:
    submissions = Submissions(depth=2)
    first, second = (submissions.submit(lambda index: desk(FRAME, index)) for _ in range(2))
    with ThreadPoolExecutor(1) as pool:
        third = pool.submit(submissions.submit, lambda index: desk(FRAME, index))
        with pytest.raises(TimeoutError):
            third.result(0.02)
        desk.finish(1, 2)
        assert third.result(PATIENCE_S).result(PATIENCE_S).index == 2
    assert second.result().index == 1 and not first.done()
    desk.finish(0)
    assert first.result(PATIENCE_S).index == 0 and desk.most == 2
    submissions.close()


def failing(index: int) -> Result:
    raise ValueError(f"frame {index}")


def test_a_submission_that_fails_gives_its_room_back() -> None:
    submissions = Submissions(depth=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="frame"):
            submissions.submit(failing).result(PATIENCE_S)
    submissions.close()


def test_submissions_give_up_waiting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "SUBMIT_TIMEOUT_S", 0.01)
    submissions = Submissions(depth=1)
    submissions.submit(lambda index: desk(FRAME, index))
    with pytest.raises(DeviceTimeout, match="under way"):
        submissions.submit(result)
    desk.finish_all()
    submissions.close()


def test_closing_submissions(desk: Desk) -> None:
    submissions = Submissions(depth=1)
    running = submissions.submit(lambda index: desk(FRAME, index))
    desk.wait_for(0)
    assert not running.cancel()
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(submissions.submit, result)
        closing = pool.submit(submissions.close)
        eventually(lambda: submissions._pool._shutdown)
        desk.finish_all()
        closing.result(PATIENCE_S)
        with pytest.raises(CardrecError, match="closed"):
            waiting.result(PATIENCE_S)
    assert running.result().index == 0
    submissions.close()
    with pytest.raises(CardrecError, match="closed"):
        submissions.submit(result)


def test_a_cancelled_submission_gives_its_room_back() -> None:
    submissions = Submissions(depth=1)
    pool, lent = submissions._pool, Future[Result]()
    submissions._pool = type("Stuck", (), {"submit": lambda *_: lent})()
    assert submissions.submit(result).cancel()
    submissions._pool = pool
    assert submissions.submit(result).result(PATIENCE_S).index == 1
    submissions.close()


def test_submissions_are_numbered_from_many_threads() -> None:
    submissions, begin = Submissions(depth=3), threading.Barrier(4)

    def some() -> list[int]:
        begin.wait(PATIENCE_S)
        return [submissions.submit(result).result(PATIENCE_S).index for _ in range(25)]

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for each in [pool.submit(some) for _ in range(4)] for number in each.result(PATIENCE_S)]
    assert sorted(numbers) == list(range(100))
    submissions.close()
