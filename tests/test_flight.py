"""Frames under way: order, room, dropping, errors, closing, borrowed memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from under_way import FRAME, PATIENCE_S, Camera, Desk, at_once, eventually

from cardrec.errors import InputError
from cardrec.flight import Drop, Exhausted, InFlight, Lease
from cardrec.types import ImageLike, Result

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def put(in_flight: InFlight, camera: Camera, *indices: int) -> None:
    for index in indices:
        in_flight.put(index, camera.frame())


def fetch(in_flight: InFlight) -> list[int]:
    """The numbers of all results until there are no more."""
    fetched = []
    while True:
        try:
            fetched.append(in_flight.get().index)
        except Exhausted:
            return fetched


@pytest.mark.parametrize("depth", [0, -1, 1.0, True, "3", None])
def test_depth_is_a_whole_number_from_1(depth: object) -> None:
    with pytest.raises(InputError, match="in_flight="):
        InFlight(at_once, depth=depth, drop="never")  # type: ignore[arg-type]


def test_drop_is_known() -> None:
    with pytest.raises(InputError, match="drop='newest'"):
        InFlight(at_once, depth=1, drop="newest")  # type: ignore[arg-type]


def test_results_come_in_the_order_of_the_frames(desk: Desk) -> None:
    in_flight, camera = InFlight(desk, depth=3, drop="never"), Camera()
    put(in_flight, camera, 0, 1, 2)
    desk.finish(2, 1)
    eventually(lambda: set(camera.returned) == {1, 2})
    assert in_flight.get_nowait() is None
    desk.finish(0)
    in_flight.end()
    assert fetch(in_flight) == [0, 1, 2]
    in_flight.close()


def test_there_is_room_for_so_many_until_they_are_fetched(desk: Desk) -> None:
    in_flight, camera = InFlight(desk, depth=2, drop="never"), Camera()
    put(in_flight, camera, 0)
    assert in_flight.has_room()
    put(in_flight, camera, 1)
    desk.finish(0, 1)
    eventually(camera.all_returned_once)
    assert not in_flight.has_room()  # done, but not fetched
    assert in_flight.get().index == 0
    assert in_flight.has_room() and in_flight.wait_for_room()
    in_flight.close()


@pytest.mark.parametrize("act", [InFlight.get, InFlight.close], ids=["get", "close"])
def test_waiting_for_room_ends(desk: Desk, act: Callable[[InFlight], object]) -> None:
    desk.finish(0)
    in_flight = InFlight(desk, depth=1, drop="never")
    in_flight.put(0, FRAME)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(in_flight.wait_for_room)
        with pytest.raises(TimeoutError):
            waiting.result(0.02)
        act(in_flight)
        assert waiting.result(PATIENCE_S) is (act is InFlight.get)
    in_flight.close()


@pytest.mark.parametrize("act", [InFlight.end, InFlight.close], ids=["end", "close"])
def test_waiting_for_a_result_ends(act: Callable[[InFlight], object]) -> None:
    in_flight = InFlight(at_once, depth=1, drop="never")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(in_flight.get)
        with pytest.raises(TimeoutError):
            waiting.result(0.02)
        act(in_flight)
        with pytest.raises(Exhausted):
            waiting.result(PATIENCE_S)
    in_flight.close()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_newest_frame_takes_the_place_of_the_one_that_waits(desk: Desk, depth: int) -> None:
    in_flight, camera = InFlight(desk, depth=depth, drop="oldest"), Camera()
    put(in_flight, camera, *range(10))
    desk.wait_for(*range(depth))
    assert in_flight.dropped == 9 - depth and sorted(camera.returned) == list(range(depth, 9))
    desk.finish_all()
    in_flight.end()
    assert fetch(in_flight) == [*range(depth), 9]
    assert in_flight.dropped == 9 - depth and camera.all_returned_once() and desk.most == depth
    in_flight.close()


def test_the_frame_that_waits_is_begun_when_another_is_done(desk: Desk) -> None:
    in_flight, camera = InFlight(desk, depth=1, drop="oldest"), Camera()
    put(in_flight, camera, 0, 1)
    desk.wait_for(0)
    desk.finish(0)
    desk.wait_for(0, 1)  # though nobody fetched a result
    desk.finish_all()
    in_flight.close()


def test_a_slow_frame_keeps_back_those_behind_it(desk: Desk) -> None:
    in_flight, camera = InFlight(desk, depth=2, drop="oldest"), Camera()
    desk.finish(*range(1, 10))
    for index in range(10):
        put(in_flight, camera, index)
        eventually(lambda: camera.lent - len(camera.returned) <= 2)
    desk.wait_for(0, 1, 2)
    desk.finish_all()
    in_flight.end()
    assert fetch(in_flight)[-1] == 9
    in_flight.close()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_results_that_nobody_fetches_make_room(depth: int) -> None:
    in_flight, camera = InFlight(at_once, depth=depth, drop="oldest"), Camera()
    for index in range(50):
        put(in_flight, camera, index)
        eventually(camera.all_returned_once)
    in_flight.end()
    fetched = fetch(in_flight)
    assert fetched == list(range(50 - len(fetched), 50)) and 1 <= len(fetched) <= depth + 1
    assert in_flight.dropped == 50 - len(fetched)
    in_flight.close()


def test_the_newest_result_stays_while_newer_frames_are_under_way(desk: Desk) -> None:
    in_flight, camera = InFlight(desk, depth=2, drop="oldest"), Camera()
    desk.finish(0, 1)
    put(in_flight, camera, 0, 1)
    eventually(camera.all_returned_once)
    put(in_flight, camera, *range(2, 9))
    desk.wait_for(0, 1, 2, 3)  # one result made room for them
    result_ready = in_flight.get_nowait()
    assert result_ready is not None and result_ready.index == 1
    desk.finish_all()
    in_flight.end()
    assert fetch(in_flight) == [2, 3, 8]
    assert in_flight.dropped == 1 + 4
    in_flight.close()


def failing(*bad: int, kind: type[BaseException] = ValueError) -> Callable[[ImageLike, int], Result]:
    """Identification that raises at some frames."""
    desk = Desk(dict.fromkeys(bad, kind))
    desk.finish_all()
    return desk


@pytest.mark.parametrize("bad", [(0,), (2,), (4,), (1, 2), tuple(range(5))], ids=str)
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, CancelledError])
def test_errors_are_raised_at_their_frames(bad: tuple[int, ...], kind: type[BaseException]) -> None:
    in_flight, camera = InFlight(failing(*bad, kind=kind), depth=5, drop="never"), Camera()
    put(in_flight, camera, *range(5))
    in_flight.end()
    for index in range(5):
        if index in bad:
            with pytest.raises(kind, match=f"frame {index}"):
                in_flight.get()
        else:
            assert in_flight.get().index == index
    assert fetch(in_flight) == [] and camera.all_returned_once()
    in_flight.close()


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
def test_errors_that_would_end_a_loop_are_wrapped(kind: type[Exception]) -> None:
    in_flight = InFlight(failing(0, kind=kind), depth=1, drop="never")
    in_flight.put(0, FRAME)
    with pytest.raises(RuntimeError, match=kind.__name__):
        in_flight.get()
    in_flight.close()


def test_an_error_of_the_source_comes_last_and_once() -> None:
    in_flight = InFlight(at_once, depth=2, drop="never")
    in_flight.put(0, FRAME)
    in_flight.end(OSError("unplugged"))
    assert in_flight.get().index == 0
    with pytest.raises(OSError, match="unplugged"):
        in_flight.get()
    assert fetch(in_flight) == []
    in_flight.close()


def test_closing_takes_the_sources_error_back_and_tells() -> None:
    told: list[bool] = []
    in_flight = InFlight(at_once, depth=2, drop="never", changed=lambda: told.append(in_flight.closed))
    in_flight.end(OSError("unplugged"))
    in_flight.close()
    assert fetch(in_flight) == [] and told == [False, True]


@pytest.mark.parametrize("drop", ["never", "oldest"])
def test_closing_gives_everything_back(desk: Desk, drop: Drop) -> None:
    in_flight, camera = InFlight(desk, depth=2, drop=drop), Camera()
    put(in_flight, camera, *range(2 if drop == "never" else 5))
    desk.wait_for(0, 1)
    dropped = in_flight.dropped
    in_flight.close(wait=False)
    assert not set(camera.returned) & {0, 1}  # they are still read
    put(in_flight, camera, 5)
    assert camera.returned[camera.lent - 1] == 1
    assert not in_flight.wait_for_room() and fetch(in_flight) == []
    desk.finish_all()
    in_flight.close()
    assert camera.all_returned_once() and in_flight.dropped == dropped and desk.begun == [0, 1]


def test_frames_that_no_thread_took_up_are_given_back() -> None:
    in_flight, camera = InFlight(at_once, depth=2, drop="never"), Camera()
    in_flight._pool.submit = lambda *_: Future()  # type: ignore[method-assign, assignment]
    put(in_flight, camera, 0, 1)
    assert not camera.returned
    in_flight.close()
    assert camera.all_returned_once()


@pytest.mark.parametrize("drop", ["never", "oldest"])
def test_closing_within_a_put_gives_the_frame_back(drop: Drop) -> None:
    """As the garbage collector does when it finds a stream on a thread that holds the lock."""
    in_flight, camera = InFlight(at_once, depth=2, drop=drop), Camera()
    submit = in_flight._pool.submit

    def collected(*arguments: object) -> Future[Result]:
        in_flight.close(wait=False)
        return submit(*arguments)  # type: ignore[arg-type]

    in_flight._pool.submit = collected  # type: ignore[method-assign, assignment]
    put(in_flight, camera, 0)
    assert camera.all_returned_once() and in_flight.closed


def test_closing_from_many_threads(desk: Desk) -> None:
    in_flight, camera = InFlight(desk, depth=3, drop="oldest"), Camera()
    put(in_flight, camera, *range(5))
    with ThreadPoolExecutor(4) as pool:
        closing = [pool.submit(in_flight.close) for _ in range(4)]
        desk.finish_all()
        for each in closing:
            each.result(PATIENCE_S)
    assert camera.all_returned_once()


def test_memory_is_given_back_without_the_lock(desk: Desk) -> None:
    """A camera's own lock may be held by a thread that waits for ours."""
    in_flight = InFlight(desk, depth=1, drop="oldest")
    free: list[bool] = []

    def release() -> None:
        with ThreadPoolExecutor(1) as pool:
            free.append(pool.submit(in_flight.get_nowait).result(1.0) is None)

    for index in range(3):
        in_flight.put(index, Lease(FRAME, release))
    assert free == [True]
    in_flight.close(wait=False)
    assert in_flight.closed
    desk.finish_all()


def broken() -> None:
    raise OSError("the camera is gone")


def test_an_error_of_giving_back_is_raised_at_the_frame() -> None:
    in_flight = InFlight(at_once, depth=1, drop="never")
    in_flight.put(0, Lease(FRAME, broken))
    with pytest.raises(OSError, match="the camera is gone"):
        in_flight.get()
    in_flight.close()


def test_an_error_of_giving_back_a_dropped_frame_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    in_flight, camera = InFlight(desk, depth=1, drop="oldest"), Camera()
    put(in_flight, camera, 0)
    in_flight.put(1, Lease(FRAME, broken))
    put(in_flight, camera, 2)
    assert "failed" in caplog.text and "the camera is gone" in caplog.text
    in_flight.put(3, Lease(FRAME, broken))
    desk.finish_all()
    in_flight.close()
    assert camera.all_returned_once()


def test_nobody_who_listens_closes() -> None:
    def changed() -> None:
        raise RuntimeError("Event loop is closed")

    in_flight, camera = InFlight(at_once, depth=2, drop="oldest", changed=changed), Camera()
    put(in_flight, camera, 0)
    eventually(lambda: in_flight.closed)
    put(in_flight, camera, 1)
    eventually(camera.all_returned_once)


@given(st.integers(1, 4), st.sampled_from(["never", "oldest"]), st.lists(st.sampled_from("ppppgggfffe"), max_size=60))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence(depth: int, drop: Drop, steps: list[str]) -> None:
    """Puts, gets, frames that get done in any order; then whatever is left is fetched, or closed at an 'e'."""
    desk, camera = Desk(), Camera()
    in_flight = InFlight(desk, depth=depth, drop=drop)
    fetched: list[int] = []
    for step in steps:
        if step == "p" and in_flight.has_room():
            put(in_flight, camera, camera.lent)
        elif step == "g" and (ready := in_flight.get_nowait()) is not None:
            fetched.append(ready.index)
        elif step == "f" and desk.begun:
            desk.finish(desk.begun[-1 - len(fetched) % 2 * (len(desk.begun) > 1)])
        assert drop == "oldest" or camera.lent - len(fetched) <= depth
    desk.finish_all()
    if "e" not in steps:
        in_flight.end()
        fetched += fetch(in_flight)
        assert len(fetched) + in_flight.dropped == camera.lent
        assert fetched[-1:] == list(range(camera.lent))[-1:]  # the newest is never dropped
    in_flight.close()
    assert fetched == sorted(set(fetched)) and (drop == "oldest" or fetched == list(range(len(fetched))))
    assert camera.all_returned_once() and desk.most <= depth and camera.most <= depth + 2 * (drop == "oldest")
