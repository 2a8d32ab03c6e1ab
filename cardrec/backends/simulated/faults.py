"""What can go wrong: HailoRT's exceptions, and what a simulated device is told to do wrong."""

from __future__ import annotations

from enum import Enum

__all__ = [
    "Fault",
    "HailoRTDriverOperationFailedException",
    "HailoRTException",
    "HailoRTHEFNotCompatibleWithDevice",
    "HailoRTInvalidHEFException",
    "HailoRTInvalidOperationException",
    "HailoRTStreamAborted",
    "HailoRTTimeout",
]


class Fault(Enum):
    """What goes wrong with a job."""

    FAILS = "the job ends with an error"
    TIMES_OUT = "the job ends with HailoRT's timeout"
    NEVER_RETURNS = "the job is never called back"
    RETURNS_LATE = "the job is called back after the network was taken down, and writes its answer then"
    REFUSED = "the job is not taken"
    NOT_READY = "the queue never has room for the job"
    UNPLUGGED = "the device is gone"


class HailoRTException(Exception):
    """As HailoRT's."""


class HailoRTTimeout(HailoRTException):
    """As HailoRT's."""


class HailoRTStreamAborted(HailoRTException):
    """As HailoRT's."""


class HailoRTInvalidOperationException(HailoRTException):
    """As HailoRT's."""


class HailoRTInvalidHEFException(HailoRTException):
    """As HailoRT's."""


class HailoRTHEFNotCompatibleWithDevice(HailoRTException):
    """As HailoRT's."""


class HailoRTDriverOperationFailedException(HailoRTException):
    """As HailoRT's."""
