"""HTTP for all sources: polite, patient, and clear about what went wrong."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from cardrec import __version__
from training.download.limits import RateLimit, back_off, retry_after
from training.failure import Failure

__all__ = ["BUSY", "HttpError", "Session", "Stopped", "TryAgain", "Unreachable"]

Result = TypeVar("Result")

USER_AGENT = f"cardrec/{__version__}"
"""Scryfall requires one that names the application."""

TIMEOUT_S = 30.0
"""Without a byte. Answers of the Pokemon TCG API take seconds at times."""

LONGEST_PAUSE_S = 600.0
"""What a host may ask for with Retry-After before the download stops instead: a day's quota is used up."""

BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Answers that may be another one later."""


class HttpError(Exception):
    """A host answered, but not with what was asked for.

    Attributes:
        status: of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Failure):
    """A host gives no answers, or asks for a longer pause than is waited: nothing more can be had from it now."""


class Stopped(Exception):
    """The download is being stopped; who waits, waits no longer."""


class TryAgain(Exception):
    """An attempt came to nothing, but the next one may not."""


class _Busy(Exception):
    def __init__(self, response: httpx.Response) -> None:
        super().__init__(describe(response))
        self.status = response.status_code
        self.after_s = retry_after(response.headers.get("Retry-After"))


def describe(response: httpx.Response) -> str:
    """The answer in words. Never with request headers, which may hold a key."""
    return f"{response.url} answers {response.status_code} {response.reason_phrase}".rstrip()


class Session:
    """Requests with a rate for each host, repeated with growing pauses where that may help. Threads may share it.

    Args:
        rates: requests per second of certain hosts.
        rate: of every other host.
        retries: how often a request is repeated.
        sleep, clock, chance: of time and of the pauses' jitter; tests bring their own.
    """

    def __init__(
        self,
        rates: Mapping[str, float] | None = None,
        rate: float = 10.0,
        retries: int = 6,
        *,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._stop = threading.Event()
        self._sleep_for, self._clock, self._chance = sleep or self._stop.wait, clock, chance
        self._rates, self._rate, self._retries = dict(rates or {}), rate, retries
        self._limits: dict[str, RateLimit] = {}
        self._lock = threading.Lock()
        self._client = httpx.Client(timeout=TIMEOUT_S, headers={"User-Agent": USER_AGENT})

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.close()

    def stop(self) -> None:
        """Ends all waits, with `Stopped`."""
        self._stop.set()

    def get_json(
        self, url: str, *, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON at an address. Redirects are not followed, since headers with a key would go along.

        Raises:
            HttpError: the host refuses, or still answers with an error after all retries.
            Unreachable: it doesn't answer.
        """

        def attempt() -> Any:
            response = self._client.get(
                url, params=params, headers={"Accept": "application/json"} | dict(headers or {})
            )
            self.check(response)
            try:
                return response.json()
            except ValueError as error:
                raise TryAgain(f"{response.url} answers with what is no JSON ({error})") from error

        return self.again(url, attempt)

    @contextmanager
    def stream(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """One request whose body is read while it comes, in the encoding that it has at the host."""
        asked = {"Accept": "*/*", "Accept-Encoding": "identity", **headers}
        with self._client.stream("GET", url, headers=asked, follow_redirects=True) as response:
            yield response

    def check(self, response: httpx.Response) -> None:
        """Refuses what is no success.

        Raises:
            HttpError: the answer is final; or, within `again`, one that makes it try again.
        """
        self.raise_if_stopped()
        if response.status_code in BUSY:
            raise _Busy(response)
        if not response.is_success:
            leads = f", to {response.headers['Location']}" if "Location" in response.headers else ""
            raise HttpError(response.status_code, describe(response) + leads)

    def again(self, url: str, attempt: Callable[[], Result]) -> Result:
        """What ``attempt`` gives, at the host's rate, tried again while the host is busy or the connection fails."""
        limit = self._limit(url)
        for number in range(self._retries + 1):
            limit.wait()
            self.raise_if_stopped()
            try:
                return attempt()
            except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                raise HttpError(0, f"{url}: {error}") from error
            except httpx.TransportError as error:
                reason, last, after_s = f"{url}: {str(error) or type(error).__name__}", None, None
            except TryAgain as error:
                reason, last, after_s = str(error), None, None
            except _Busy as error:
                reason, last, after_s = str(error), error.status, error.after_s
            if after_s is not None and after_s > LONGEST_PAUSE_S:
                raise Unreachable(f"{reason} and asks for a pause of {after_s:,.0f} s; run the same command again then")
            if number == self._retries:
                break
            if after_s is not None:
                limit.pause(after_s)
            else:
                self._sleep(back_off(number, self._chance))
        if last is not None:
            raise HttpError(last, f"{reason}, {self._retries + 1} times")
        raise Unreachable(f"{reason}, {self._retries + 1} times; check the connection, then run the same command again")

    def _limit(self, url: str) -> RateLimit:
        try:
            host = httpx.URL(url).host
        except httpx.InvalidURL as error:
            raise HttpError(0, f"{url!r} is no address: {error}") from error
        with self._lock:
            if host not in self._limits:
                self._limits[host] = RateLimit(self._rates.get(host, self._rate), self._sleep, self._clock)
            return self._limits[host]

    def _sleep(self, seconds: float) -> None:
        self._sleep_for(seconds)
        self.raise_if_stopped()

    def raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise Stopped
