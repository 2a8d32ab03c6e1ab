"""Configuring a Hailo network anew, and HailoRT's errors in our words: what fails then, and what must not stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_hailo import (
    Platform,
    encode,
    in_flight,
    is_answer,
    opened,
    right,
    tiny_compiled,
    tiny_model,
)

from cardrec.backends.hailort import translated
from cardrec.backends.simulated import Fault, write_bundle
from cardrec.backends.simulated import faults as raised
from cardrec.errors import DeviceBusy, DeviceError, DeviceTimeout, DeviceUnavailable
from cardrec.model import Model


@pytest.fixture
def platform() -> Platform:
    return Platform()


class Obstacles:
    """Errors of the networks to be configured, one after the other."""

    def __init__(self) -> None:
        self.coming: list[Exception | None] = []
        self.always: Exception | None = None

    def __call__(self, _number: int) -> Exception | None:
        return self.coming.pop(0) if self.coming else self.always


def test_an_error_while_configuring_opens_the_device_anew(tiny: Model) -> None:
    obstacles = Obstacles()
    platform = Platform(obstacles=obstacles)
    with opened(tiny, platform) as encoder:
        platform.schedule.coming.append(Fault.FAILS)
        obstacles.coming.append(raised.HailoRTException("libhailort failed with error: 36 (INTERNAL)"))
        assert right(in_flight(encoder, range(3)), range(3))
        assert (platform.opens, platform.configured) == (2, 3)


def test_a_device_that_can_not_be_configured_any_more(tiny: Model) -> None:
    obstacles = Obstacles()
    platform = Platform(obstacles=obstacles)
    with opened(tiny, platform) as encoder:
        platform.schedule.coming.append(Fault.FAILS)
        obstacles.always = raised.HailoRTException("libhailort failed with error: 36 (INTERNAL)")
        for outcome in in_flight(encoder, range(3)):
            assert type(outcome) is DeviceError and "INTERNAL" in str(outcome)
        obstacles.always = None
        assert right(in_flight(encoder, range(3)), range(3))


@pytest.mark.parametrize("at", [0, 1])
def test_an_error_at_first_leaves_nothing_open(tiny: Model, at: int) -> None:
    obstacles = Obstacles()
    obstacles.coming = [None] * at + [raised.HailoRTException("libhailort failed with error: 36 (INTERNAL)")] * 2
    platform = Platform(obstacles=obstacles)
    if at:  # the empty card that it is tried with
        platform.schedule.coming.append(Fault.FAILS)
    with pytest.raises(DeviceError, match="INTERNAL"), opened(tiny, platform):
        pass
    platform.in_order()


def test_a_file_that_was_damaged_since_is_the_devices_error(tmp_path: Path, platform: Platform) -> None:
    model = tiny_model(tmp_path / "plain")
    bundle = write_bundle(model, tmp_path / "bundle", tiny_compiled(model))
    path = bundle.network.parent / "hailo8.hef"
    sound = path.read_bytes()
    with opened(bundle, platform) as encoder:
        path.write_bytes(b"no network")
        platform.schedule.coming.append(Fault.FAILS)
        with pytest.raises(DeviceError, match=r"can't be configured anew: loading .*hailo8\.hef"):
            encode(encoder, 1)
        path.write_bytes(sound)
        assert is_answer(encode(encoder, 1), 1)


def test_a_network_that_can_not_be_activated_is_let_go(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = Platform()

    def fail(_: object) -> None:
        raise raised.HailoRTInvalidOperationException("Invalid operation")

    monkeypatch.setattr("cardrec.backends.simulated.network.ConfiguredModel.activate", fail)
    with pytest.raises(DeviceError, match="activating the network"), opened(tiny, platform):
        pass
    platform.in_order()


def test_only_loading_puts_it_down_to_the_file(
    tiny: Model, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised.HailoRTHEFNotCompatibleWithDevice("HEF file is not compatible with device")

    with opened(tiny, platform) as encoder:
        monkeypatch.setattr("cardrec.backends.simulated.network.ConfiguredModel.run_async", fail)
        with pytest.raises(DeviceError, match=r"sending a card.*not compatible"):
            encode(encoder, 1)


class HailoCommunicationClosedException(raised.HailoRTException):
    """As HailoRT's."""


def status(text: str) -> raised.HailoRTException:
    return raised.HailoRTException(f"libhailort failed with error: {text}")


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (raised.HailoRTTimeout("Received a timeout"), DeviceTimeout, "did not answer in time"),
        (status("4 (HAILO_TIMEOUT)"), DeviceTimeout, "did not answer in time"),
        (status("74 (HAILO_OUT_OF_PHYSICAL_DEVICES)"), DeviceBusy, "multi_process_service=True"),
        (status("82 (HAILO_DEVICE_IN_USE)"), DeviceBusy, "end it"),
        (raised.HailoRTDriverOperationFailedException("ioctl"), DeviceUnavailable, "power and cable"),
        (HailoCommunicationClosedException("closed"), DeviceUnavailable, "power and cable"),
        (raised.HailoRTStreamAborted("Stream was aborted"), DeviceError, "cardrec doctor"),
        (raised.HailoRTInvalidHEFException("Invalid HEF"), DeviceError, "cardrec doctor"),
        (KeyError("what is this"), DeviceError, "cardrec doctor"),
    ],
)
def test_errors_say_the_remedy(platform: Platform, error: Exception, kind: type[DeviceError], remedy: str) -> None:
    ours = translated(platform, error, "doing this")
    assert type(ours) is kind and remedy in str(ours) and "doing this" in str(ours) and str(error) in str(ours)


def test_nothing_found_is_no_other_process(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    platform.plugged = False
    error = status("74 (HAILO_OUT_OF_PHYSICAL_DEVICES)")
    assert type(translated(platform, error, "opening")) is DeviceUnavailable

    def fail() -> list[str]:
        raise status("36 (HAILO_DRIVER_FAIL)")

    monkeypatch.setattr(platform.Device, "scan", fail)
    assert type(translated(platform, error, "opening")) is DeviceUnavailable


def test_the_log_holds_no_device(tiny: Model, platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tiny, platform) as encoder:
        platform.schedule.coming.extend([Fault.FAILS])
        encode(encoder, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert all(isinstance(argument, str) for record in caplog.records for argument in record.args or ())


def test_completion_information_that_raises(tiny: Model, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @property
        def exception(self) -> None:
            raise RuntimeError("no information")

    with opened(tiny, platform) as encoder:
        monkeypatch.setattr("cardrec.backends.simulated.pipeline.SimpleNamespace", lambda **_: Broken())
        with pytest.raises(DeviceError, match="no information"):
            encode(encoder, 1)
        monkeypatch.undo()
        assert is_answer(encode(encoder, 2), 2)
