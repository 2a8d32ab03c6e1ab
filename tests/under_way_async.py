"""Asynchronous frames under way, under a test's control."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import pytest
from under_way import PATIENCE_S, at_once

from cardrec.flight import Drop
from cardrec.stream import AsyncStream
from cardrec.types import Result

T = TypeVar("T")
Source = Callable[[Iterable[Any]], Any]


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs it in an event loop of its own, which must not take for ever."""
    return asyncio.run(asyncio.wait_for(main(), 3 * PATIENCE_S))


def opened(frames: Any, identify: Any = at_once, in_flight: int = 3, drop: Drop = "never") -> AsyncStream:
    return AsyncStream(identify, frames, in_flight=in_flight, drop=drop)


async def indices(results: AsyncIterable[Result]) -> list[int]:
    return [each.index async for each in results]


async def soon(condition: Callable[[], bool]) -> None:
    """`eventually` for asyncio."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "this did not come about"
        await asyncio.sleep(1e-3)


async def awaited(frames: Iterable[Any]) -> AsyncIterator[Any]:
    """Gives frames asynchronously, waiting before it takes each."""
    await asyncio.sleep(0)
    for frame in frames:
        yield frame
        await asyncio.sleep(0)


async def hasty(frames: Iterable[Any]) -> AsyncIterator[Any]:
    """Gives frames asynchronously, without ever waiting."""
    for frame in frames:
        yield frame


def plain(frames: Iterable[Any]) -> Iterable[Any]:
    """Gives frames as they are."""
    return frames


sources = pytest.mark.parametrize("source", [plain, awaited, hasty])
drops = pytest.mark.parametrize("drop", ["never", "oldest"])
