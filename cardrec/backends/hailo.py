"""The Hailo backend: frames on their way through the NPU, in memory that it reads in place.

The device is opened and the network configured once. Each slot has a page-aligned input that the rectifier writes into
and the device reads without a copy, an output in the device's own integers, and the bindings of both, built once.
HailoRT's thread only says that a job is done; everything else happens in the threads of the callers.

A failed job takes HailoRT's whole pipeline down, and with it whatever else was on its way. Then the network is
configured anew, once for the incident, and each card whose job was lost is sent again, once: its pixels are still in
its slot. So every card is answered or fails, within a bounded time, and an answer can only be its own: what does not
come back in time is taken down with the network, also where nobody waits for it any more, and a job that comes back
after that writes to an output that its slot has replaced.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.backends.hailo_session import Job, Session
from cardrec.backends.hailort import DeviceSettings, DeviceShare, architecture_of, load
from cardrec.backends.hef import find_hef
from cardrec.encode import Embeddings, SlottedEncoder, page_aligned
from cardrec.errors import CardrecError, DeviceError, InputError, ModelError
from cardrec.model import Model
from cardrec.rectify import INPUT_SIZE

__all__ = ["HailoEncoder"]

_LOG = logging.getLogger(__name__)

SLOTS = 3
"""Frames on their way: one in the NPU, one waiting for it, one being written."""

TIMEOUT_S = 1.0
"""For one job: the network takes about 3 ms, and the queue holds a few."""


class HailoSlot:
    """One slot: an input that the device reads in place, an output, and the job that uses them."""

    def __init__(self, encoder: HailoEncoder) -> None:
        self._encoder = encoder
        self._output: NDArray[Any] = np.empty(0, np.uint8)
        self._bindings: Any = None
        self._bound_to: Session | None = None
        self.job: Job | None = None
        self.sent_again = False
        self.pixels: NDArray[np.uint8] = page_aligned((1, INPUT_SIZE, INPUT_SIZE, 3))

    def submit(self, count: int) -> None:
        """See `Slot.submit`; a slot holds one card."""
        if count != 1:
            raise ValueError(f"{count} cards submitted; a slot of the Hailo backend holds 1")
        if self.job is not None:
            raise ValueError("submitted twice; `wait` comes between")
        try:
            self._encoder.send(self)
        except BaseException:
            self.settle()
            raise

    def wait(self) -> Embeddings:
        """See `Slot.wait`."""
        try:
            return self._encoder.answered(self).session.read(self._output)
        finally:
            self.settle()

    def sent(self) -> Job:
        """The job on its way.

        Raises:
            ValueError: there is none.
        """
        if self.job is None:
            raise ValueError("nothing was submitted; `submit` comes before `wait`")
        return self.job

    def settle(self) -> None:
        """See `Slot.settle`."""
        if self.job is not None:
            self._encoder.settle(self.job)
            self.job = None

    def start(self, session: Session) -> None:
        """Starts a job of what the pixels hold; each network has outputs of its own, see the top."""
        if self._bound_to is not session:
            self._output = session.make_output()
            self._bindings = session.bind(self.pixels[0], self._output)
            self._bound_to = session
        self.job = Job(session)
        session.start(self._bindings, self.job)

    def lose(self, session: Session, reason: str) -> None:
        """Lets go of a network that was taken down, and wakes who waits for an answer of it."""
        if self._bound_to is session:
            self._bindings = self._bound_to = None
        job = self.job
        if job is not None and job.session is session:
            job.give_up(DeviceError(reason))


class HailoEncoder(SlottedEncoder):
    """Encodes cards on a Hailo-8, 8L or 8R through HailoRT 4.23's InferModel interface (5.x has the same).

    Opening takes a second or so, and holds the device until `close`. Two encoders in a process need ``shared=True``.

    Args:
        model: a bundle with the network compiled for this chip, see `cardrec.backends.hef`.
        slots: cards that may be on their way at once, at least 2 to keep the device busy.
        shared: other networks run on the device as well, by HailoRT's scheduler.
        group: name under which those of this process find each other.
        multi_process_service: other processes use the device as well, through Hailo's service; needs ``shared``.
        timeout_s: for each step of one card: the queue takes it, the answer comes. It is sent twice before its frame
            fails, so the longest wait is three times that, and the time to configure the network.
        platform: the module `hailo_platform`, or what stands in for it.

    Raises:
        DeviceUnavailable: there is no device, or HailoRT's Python library is missing.
        DeviceBusy: another process, or another encoder of this one, has it.
        ModelError: the bundle has no sound network for this chip.
        InputError: fewer than 1 slot, a time limit that is not positive, ``multi_process_service`` without ``shared``.

    Example:
        >>> with Recognizer("my-cards.cardrec", encoder=HailoEncoder(Model.load("my-model"), slots=4)) as recognizer:
        ...     recognizer.identify(frame)
    """

    name = "hailo"
    capacity = 1

    def __init__(
        self,
        model: Model,
        *,
        slots: int = SLOTS,
        shared: bool = False,
        group: str = "cardrec",
        multi_process_service: bool = False,
        timeout_s: float = TIMEOUT_S,
        platform: Any = None,
    ) -> None:
        if slots < 1 or not 0 < timeout_s < math.inf:
            raise InputError(f"slots={slots}, timeout_s={timeout_s}; expected at least 1 slot and a positive time")
        if multi_process_service and not shared:
            raise InputError("multi_process_service=True needs shared=True: its processes share the device")
        self.model = model
        self._platform = load() if platform is None else platform
        self._timeout_s = timeout_s
        self.architecture = architecture_of(self._platform)
        self._hef = find_hef(model, self.architecture)
        self._process = os.getpid()
        self._lock = threading.Lock()  # held while a job is sent and while the network is configured
        self._session: Session | None = None
        self._all = [HailoSlot(self) for _ in range(slots)]
        super().__init__(self._all)
        self._share = DeviceShare(self._platform, DeviceSettings(shared, group, multi_process_service))
        try:
            self._session = self._configured()
            self._warm_up()
        except BaseException:
            self.close()
            raise

    def _warm_up(self) -> None:
        """Runs one empty card, so that a device that does not work is found out here."""
        with self.slot() as slot:
            slot.submit(1)
            slot.wait()

    def send(self, slot: HailoSlot) -> None:
        """Starts a slot's job; if that fails, once more on the network configured anew.

        Raises:
            DeviceError: that failed as well.
        """
        self._check_process()
        with self._lock:
            slot.sent_again = False
            session = self._usable()
            try:
                slot.start(session)
            except DeviceError as error:
                self._send_again(slot, session, error)

    def answered(self, slot: HailoSlot) -> Job:
        """Waits for a slot's job; if it failed, for another one on the network configured anew.

        Raises:
            DeviceError: that failed as well.
        """
        self._check_process()
        job = slot.sent()
        failure = job.session.failure(job)
        if failure is not None:
            with self._lock:
                self._send_again(slot, job.session, failure)
            job = slot.sent()
            failure = job.session.failure(job)
        if failure is not None:
            job.session.failed = True
            raise failure
        return job

    def settle(self, job: Job) -> None:
        """Waits for a job that nobody wants any more; the network is taken down with one that does not come back."""
        if job.finished(0.0 if job.session.failed else self._timeout_s) or os.getpid() != self._process:
            return
        with self._lock:
            job.session.failed = True
            if job.session is self._session:
                self._take_down(
                    "the Hailo device did not answer in time on another card, and this one was lost with it"
                )

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise DeviceError(
                f"this encoder belongs to process {self._process}, and its device is not open in the fork "
                f"{os.getpid()}; start processes with 'spawn', or before the encoder is opened, and open one in each"
            )

    def _send_again(self, slot: HailoSlot, session: Session, failure: DeviceError) -> None:
        """Sends a card for the second and last time, with the lock held."""
        session.failed = True
        if slot.sent_again or self._closed:
            raise failure
        _LOG.warning("sending a card to the Hailo device again: %s", str(failure))
        slot.sent_again = True
        slot.start(self._usable())

    def _usable(self) -> Session:
        """The network on the device, configured anew where it failed; with the lock held."""
        if self._closed:
            raise DeviceError("this encoder was closed while a card was on its way")
        if self._session is None or self._session.failed:
            self._take_down("the Hailo device failed on another card, and this one was lost with it")
            self._session = self._recovered()
        return self._session

    def _take_down(self, reason: str) -> None:
        """Takes the network off the device, and tells those who wait for it; with the lock held."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            for slot in self._all:
                slot.lose(session, reason)

    def _configured(self) -> Session:
        settings = self._share.settings
        return Session(
            self._platform,
            self._share.vdevice,
            self._hef,
            self.model.dimension,
            alone=not settings.shared,
            timeout_s=self._timeout_s,
        )

    def _recovered(self) -> Session:
        """The network configured anew: on the device as it is open, else on the device opened anew."""
        if self._share.is_open:
            try:
                return self._configured()
            except CardrecError as error:
                # As text: records of the log are kept, an error keeps the network, and that the device.
                _LOG.warning("opening the Hailo device anew: %s", str(error))
        self._share.renew()
        try:
            return self._configured()
        except ModelError as error:  # though the file was sound when the encoder was opened
            raise DeviceError(f"the Hailo device failed, and the network can't be configured anew: {error}") from error

    def close(self) -> None:
        """Lets go of the device; cards on their way fail with DeviceError. Further calls do nothing."""
        if os.getpid() != self._process:
            super().close()  # the device belongs to the parent
            return
        with self._lock:
            super().close()
            self._take_down("this encoder was closed while a card was on its way")
            self._share.release()
