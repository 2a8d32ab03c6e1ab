"""The bundle's file for a chip: found, and refused before the device sees it where anything is wrong with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fake_hailo import Platform, opened, tiny_compiled, tiny_model

from cardrec.backends.hef import MAGIC, find_hef
from cardrec.backends.simulated import write_bundle
from cardrec.errors import ModelError
from cardrec.model import Model


@pytest.fixture
def bundle(tmp_path: Path) -> Model:
    """A tiny bundle of one's own, with a HEF for the Hailo-8."""
    model = tiny_model(tmp_path / "plain")
    return write_bundle(model, tmp_path / "bundle", tiny_compiled(model))


def with_entry(bundle: Model, **changes: Any) -> Model:
    """The bundle with another entry in `model.json`; None drops a field."""
    path = bundle.network.parent / "model.json"
    details = json.loads(path.read_text())
    entry = {**details["hailo"][0], **changes}
    details["hailo"] = [{name: value for name, value in entry.items() if value is not None}]
    path.write_text(json.dumps(details))
    return Model.load(bundle.network.parent)


def with_file(bundle: Model, data: bytes) -> Model:
    """The bundle with another file for the chip, its checksum in order."""
    (bundle.network.parent / "hailo8.hef").write_bytes(data)
    return with_entry(bundle, sha256=hashlib.sha256(data).hexdigest())


def refused(model: Model, *words: str, architecture: str = "hailo8") -> None:
    """It must be refused with those words, and no device be opened for it."""
    with pytest.raises(ModelError) as caught:
        find_hef(model, architecture)
    for word in words:
        assert word in str(caught.value)
    platform = Platform(architecture=architecture.upper())
    with pytest.raises(ModelError), opened(model, platform):
        pass
    assert platform.opens == 0


def test_a_sound_file_is_found(bundle: Model) -> None:
    assert find_hef(bundle, "hailo8") == bundle.network.parent / "hailo8.hef"


def test_each_chip_gets_its_own(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "plain")
    chips = ("hailo8", "hailo8l", "hailo8r")
    bundle = write_bundle(model, tmp_path / "bundle", *(tiny_compiled(model, architecture=chip) for chip in chips))
    for chip in chips:
        assert find_hef(bundle, chip).name == f"{chip}.hef"
        with opened(bundle, Platform(architecture=chip.upper())) as encoder:
            assert encoder.architecture == chip


def test_no_file_for_this_chip(bundle: Model) -> None:
    refused(bundle, "hailo8l", "it has one for hailo8.", "Dataflow Compiler", "backend='onnx'", architecture="hailo8l")


def test_no_file_at_all(tmp_path: Path) -> None:
    refused(tiny_model(tmp_path / "plain"), "none for any chip")


@pytest.mark.parametrize("entries", [{}, "hailo8.hef", [1], ["hailo8.hef"], None])
def test_no_list_of_objects(bundle: Model, entries: Any) -> None:
    path = bundle.network.parent / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hailo": entries}))
    refused(Model.load(bundle.network.parent), "not a list of objects")


@pytest.mark.parametrize("field", ["file", "sha256", "fingerprint", "preprocessing_hash"])
@pytest.mark.parametrize("value", [None, 7, ["x"]])
def test_a_field_that_is_missing_or_no_text(bundle: Model, field: str, value: object) -> None:
    refused(with_entry(bundle, **{field: value}), "hailo8 lacks", field)


def test_an_entry_without_a_chip(bundle: Model) -> None:
    refused(with_entry(bundle, architecture=None), "no network compiled for hailo8")


@pytest.mark.parametrize("data", [b"", b"\x01", MAGIC, MAGIC + bytes(7)])
def test_too_short(bundle: Model, data: bytes) -> None:
    refused(with_file(bundle, data), f"{len(data)} bytes", "copy the whole model folder again")


@pytest.mark.parametrize("data", [bytes(64), b"FEH\x01" + bytes(64), b"\x7fELF" + bytes(64)])
def test_another_magic(bundle: Model, data: bytes) -> None:
    refused(with_file(bundle, data), "no HEF", data[:4].hex(), "01484546")


def test_a_damaged_file(bundle: Model) -> None:
    path = bundle.network.parent / "hailo8.hef"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    refused(bundle, "damaged", "SHA-256", "copy the whole model folder again")


@pytest.mark.parametrize("field", ["fingerprint", "preprocessing_hash"])
def test_compiled_from_another_network(bundle: Model, field: str) -> None:
    refused(with_entry(bundle, **{field: "0" * 32}), "another network", field, "0" * 32, getattr(bundle, field))


def test_missing(bundle: Model) -> None:
    (bundle.network.parent / "hailo8.hef").unlink()
    refused(bundle, "hailo8.hef is not a file of the bundle")


def test_a_symlink(bundle: Model) -> None:
    path = bundle.network.parent / "hailo8.hef"
    path.rename(bundle.network.parent / "elsewhere.hef")
    path.symlink_to("elsewhere.hef")
    refused(bundle, "is not a file of the bundle")


@pytest.mark.parametrize("name", ["../outside.hef", "/{folder}/outside.hef", "sub/inside.hef", "", ".", ".."])
def test_a_path_that_leaves_the_folder(bundle: Model, name: str) -> None:
    folder = bundle.network.parent
    (folder / "sub").mkdir()
    data = (folder / "hailo8.hef").read_bytes()
    for place in (folder.parent / "outside.hef", folder / "sub" / "inside.hef"):
        place.write_bytes(data)
    refused(with_entry(bundle, file=name.format(folder=folder.parent)), "is not a file of the bundle")


@pytest.mark.parametrize("chip", ["hailo8l", "hailo10h"])
def test_a_file_that_lies_about_its_chip(bundle: Model, tmp_path: Path, chip: str) -> None:
    foreign = tiny_compiled(bundle, architecture=chip).to_bytes()
    platform = Platform()
    with pytest.raises(ModelError, match="for this chip"), opened(with_file(bundle, foreign), platform):
        pass
    platform.in_order()


@pytest.mark.parametrize("data", [MAGIC + bytes(60), MAGIC + (1 << 40).to_bytes(8, "little") + b"{}"])
def test_a_file_that_only_begins_well(bundle: Model, data: bytes) -> None:
    platform = Platform()
    with pytest.raises(ModelError, match=r"loading .*hailo8\.hef"), opened(with_file(bundle, data), platform):
        pass
    platform.in_order()
