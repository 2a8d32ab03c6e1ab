"""Every error that cardrec raises on purpose.

    CardrecError
    +-- InputError (also a ValueError)     a picture, array, quad or argument that can't be used
    +-- ModelError                         a model bundle that is missing, damaged or does not fit
    +-- CatalogError                       a catalog operation that can't be carried out
    |   +-- CatalogFormatError             the files are not a sound catalog
    |   +-- CatalogMismatchError           a sound catalog, made with another model or preprocessing
    +-- DeviceError                        the accelerator or the camera failed
        +-- DeviceUnavailable              there is none, or its driver is missing
        +-- DeviceBusy                     another process holds it
        +-- DeviceTimeout                  it did not answer in time

A path that can't be read stays the OSError that the system raised (FileNotFoundError, PermissionError, ...). 'No card
in the frame' and 'a card that is not in the catalog' are results, not errors.
"""

from __future__ import annotations

__all__ = [
    "CardrecError",
    "CatalogError",
    "CatalogFormatError",
    "CatalogMismatchError",
    "DeviceBusy",
    "DeviceError",
    "DeviceTimeout",
    "DeviceUnavailable",
    "InputError",
    "ModelError",
]


class CardrecError(Exception):
    """Base of every error that cardrec raises on purpose."""


class InputError(CardrecError, ValueError):
    """A picture, array, quad or argument that can't be used; the message says what was expected."""


class ModelError(CardrecError):
    """A model bundle that is missing, damaged or does not fit this version."""


class CatalogError(CardrecError):
    """A catalog operation that can't be carried out: a duplicate id, a catalog that another process is writing."""


class CatalogFormatError(CatalogError):
    """The files in the folder are not a sound catalog; nothing was mapped."""


class CatalogMismatchError(CatalogError):
    """The catalog was built with another model or another preprocessing than the one in use."""


class DeviceError(CardrecError):
    """The accelerator or the camera failed."""


class DeviceUnavailable(DeviceError):
    """There is no such device, or its driver or library is missing."""


class DeviceBusy(DeviceError):
    """Another process holds the accelerator."""


class DeviceTimeout(DeviceError):
    """The accelerator or the camera did not answer in time."""
