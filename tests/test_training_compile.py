"""Compiling for a Hailo chip, by a stand-in for its compiler: HEFs, refusals, and where the compiler is looked for."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import fake_dfc
import numpy as np
import pytest
from refusals import refused
from small_encoder import small_encoder

from cardrec.backends.hef import find_hef
from cardrec.model import Model
from training import compile as compiling
from training import hailo_compilers, hailo_worker, quantize
from training.hailo_compilers import Compiler, find_compiler
from training.hailo_recipe import write_recipe
from training.staged import staged

SHIM = "from fake_dfc import ClientRunner, InferenceContext\n"


@pytest.fixture(scope="module")
def full(npu_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 1,024: the same pictures over and over."""
    out = tmp_path_factory.mktemp("set") / "full"
    shutil.copytree(npu_set, out)
    np.save(out / "calibration.npy", np.tile(np.load(npu_set / "calibration.npy"), (16, 1, 1, 1)))
    return out


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return small_encoder(tmp_path / "bundle")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a GPU, without the compiler; the folder is the only one on its PATH."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("FAKE_DFC", "gpu")
    return tools


def install_api(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "hailo_sdk_client.py").write_text(SHIM)
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{machine}")


def install_commands(machine: Path) -> None:
    path = machine / "hailo"
    path.write_text(f"#!{sys.executable}\nimport sys, fake_dfc\nfake_dfc.main(sys.argv[1:])\n")
    path.chmod(0o755)


@pytest.fixture
def compiler(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler's Python API, its steps run in this process: another one each takes most of a test's time."""

    def in_this_process(folder: Path, command: list[Any]) -> str:
        assert command[1] == hailo_compilers.WORKER and folder.is_dir()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [str(word) for word in command[1:]])
            try:
                hailo_worker.main()
            except fake_dfc.BackendError as error:
                raise ValueError(f"Hailo's compiler failed: {error}") from error
        return printed.getvalue()

    monkeypatch.setitem(sys.modules, "hailo_sdk_client", fake_dfc)
    monkeypatch.setattr(hailo_compilers, "run_command", in_this_process)
    monkeypatch.setattr(compiling, "find_compiler", lambda *_, **__: Compiler(sys.executable, None))


def asked(model: Model, calibration: Path, out: Path, *more: str, arch: str = "hailo8") -> None:
    home = model.network.parent
    compiling.main(
        [str(home), "--calibration", str(calibration / "calibration.npy"), "--arch", arch, "--out", str(out), *more]
    )


# The whole command


@pytest.mark.parametrize("arch", ["hailo8", "hailo8l", "hailo8r"])
@pytest.mark.usefixtures("compiler")
def test_a_network_is_compiled_into_its_bundle(
    arch: str, model: Model, full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = model.network.parent
    asked(model, full, home, arch=arch)
    made = Model.load(home)
    assert find_hef(made, arch).read_bytes().startswith(fake_dfc.HEF)
    (entry,) = made.details["hailo"]
    assert entry["optimisation"] == {"level": 1, "pictures": 1024, "reason": ""}
    assert entry["parity"]["agreement"] == 1 and entry["parity"]["cosine"][0] > 0.99
    assert sorted(path.name for path in home.iterdir()) == sorted([f"{arch}.hef", "model.json", "model.onnx"])
    assert "named alike: 100.0%" in capsys.readouterr().out
    assert [path.name for path in home.parent.iterdir() if path.name not in ("bundle", "tools")] == []


@pytest.mark.usefixtures("compiler")
def test_a_bundle_holds_several_chips_and_one_of_each(model: Model, full: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    asked(model, full, first)
    asked(Model.load(first), full, second, arch="hailo8l")
    asked(Model.load(second), full, second, arch="hailo8l")
    made = Model.load(second)
    assert [find_hef(made, arch).name for arch in ("hailo8", "hailo8l")] == ["hailo8.hef", "hailo8l.hef"]
    assert len(made.details["hailo"]) == 2 and made.fingerprint == model.fingerprint


@pytest.mark.usefixtures("compiler")
def test_a_bundle_in_integers_gets_what_is_made_of_its_floats(
    model: Model, full: Path, npu_cards: Path, tmp_path: Path
) -> None:
    home, integers = model.network.parent, tmp_path / "integers"
    numbers = ["--pictures", "4", "--count", "0", "--processes", "0"]
    quantize.main([str(home), "--images", str(npu_cards), "--out", str(integers), *numbers])
    made, other = Model.load(integers), small_encoder(tmp_path / "other", seed=1)
    with refused(tmp_path / "out", "give it the bundle in floats"):
        asked(made, full, tmp_path / "out")
    with refused(tmp_path / "out", "is not what", "was made from"):
        asked(made, full, tmp_path / "out", "--floats", str(other.network.parent))
    asked(made, full, integers, "--floats", str(home))
    compiled = Model.load(integers)
    assert find_hef(compiled, "hailo8").exists() and compiled.fingerprint == made.fingerprint != model.fingerprint
    assert compiled.network.read_bytes() == made.network.read_bytes()


@pytest.mark.usefixtures("compiler")
def test_fewer_pictures_and_no_gpu_have_to_be_accepted(
    model: Model,
    npu_set: Path,
    full: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    with refused(out, "holds 64 pictures", "--level 0"):
        asked(model, npu_set, out)
    monkeypatch.setenv("FAKE_DFC", "")
    with refused(out, "from 1 to 0 because there's no available GPU", "--level 0"):
        asked(model, full, out)
    asked(model, npu_set, out, "--level", "0")
    assert Model.load(out).details["hailo"][0]["optimisation"] == {"level": 0, "pictures": 64, "reason": ""}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("shuffled", ("not the bundle's", "1 % quantile", "named alike", "No HEF was written", "a16_w16")),
        ("nan", ("not finite",)),
        ("fails", ("the model cannot be translated",)),
        ("not-a-hef", ("no HEF", "4645480")),
    ],
)
@pytest.mark.usefixtures("compiler")
def test_no_hef_is_written_where_something_is_wrong(
    fault: str,
    words: tuple[str, ...],
    model: Model,
    full: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_DFC", f"gpu {fault}")
    with refused(tmp_path / "out", *words):
        asked(model, full, tmp_path / "out")


@pytest.mark.usefixtures("compiler")
def test_layers_that_the_compiler_lacks_are_refused(full: Path, tmp_path: Path) -> None:
    other = small_encoder(tmp_path / "other", operation="Erf")
    with refused(tmp_path / "out", "Erf (bend)", "replace these layers"):
        asked(other, full, tmp_path / "out")
    (tmp_path / "small").mkdir()
    np.save(tmp_path / "small" / "calibration.npy", np.zeros((64, 3, 4, 4), np.uint8))
    with refused(tmp_path / "out", "calibration.npy is (64, 3, 4, 4)", "calibrate_npu"):
        asked(other, tmp_path / "small", tmp_path / "out")


@pytest.mark.usefixtures("compiler")
def test_commands_that_break_the_script_are_refused(model: Model, full: Path, tmp_path: Path) -> None:
    (tmp_path / "more.alls").write_text("normalization2 = normalization([0, 0, 0], [255, 255, 255])\n")
    with refused(tmp_path / "out", "normalises 2 times", "--script"):
        asked(model, full, tmp_path / "out", "--script", str(tmp_path / "more.alls"))
    (tmp_path / "more.alls").write_text("model_optimization_config(calibration, batch_size=8, calibset_size=64)\n")
    with refused(tmp_path / "out", "calibrated on 64 of 1024"):
        asked(model, full, tmp_path / "out", "--script", str(tmp_path / "more.alls"))


@pytest.mark.usefixtures("compiler")
def test_a_silent_compiler_is_warned_of(
    model: Model, full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DFC", "gpu silent")
    asked(model, full, tmp_path / "out")
    assert "WARNING: the compiler does not say" in capsys.readouterr().err


# The compiler's ways


def test_the_api_in_a_python_of_its_own(
    machine: Path, model: Model, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_api(machine, monkeypatch)
    asked(model, full, tmp_path / "out", "--compiler-python", sys.executable)
    assert find_hef(Model.load(tmp_path / "out"), "hailo8").is_file()


def test_the_commands(machine: Path, model: Model, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_api(machine, monkeypatch)
    install_commands(machine)
    asked(model, full, tmp_path / "out", "--commands")
    assert find_hef(Model.load(tmp_path / "out"), "hailo8").is_file()


def test_commands_without_an_emulator(machine: Path, model: Model, full: Path, tmp_path: Path) -> None:
    install_commands(machine)
    with refused(tmp_path / "out", "--compiler-python", "--unverified"):
        asked(model, full, tmp_path / "out")
    asked(model, full, tmp_path / "out", "--unverified")
    assert Model.load(tmp_path / "out").details["hailo"][0]["parity"] is None


def test_a_compiler_that_is_killed(
    machine: Path, model: Model, full: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    install_api(machine, monkeypatch)
    monkeypatch.setenv("FAKE_DFC", "gpu killed")
    with refused(tmp_path / "out", "killed, as for memory"):
        asked(model, full, tmp_path / "out")


def test_the_compiler_is_looked_for(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_compiler() is None
    with pytest.raises(ValueError, match="has no hailo_sdk_client"):
        find_compiler(sys.executable)
    with pytest.raises(ValueError, match="not on the PATH"):
        find_compiler(commands=True)
    install_commands(machine)
    assert find_compiler() == Compiler(None, str(machine / "hailo"))
    install_api(machine, monkeypatch)
    assert find_compiler() == Compiler(sys.executable, None)
    assert find_compiler(commands=True) == Compiler(sys.executable, str(machine / "hailo"))


@pytest.mark.usefixtures("machine")
def test_where_it_is_missing_a_recipe_is_written(
    model: Model, full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        asked(model, full, out, arch="hailo8r")
    assert caught.value.code == compiling.MISSING
    (line,) = capsys.readouterr().err.splitlines()
    assert "Developer Zone" in line and "compile.sh" in line
    assert {path.name for path in out.iterdir()} == {
        "Dockerfile", "calibration-used.json", "compile.sh", "ec2.sh", "network.alls", "network.onnx",
    }  # fmt: skip
    assert fake_dfc.Script((out / "network.alls").read_text()).pictures == 1024
    monkeypatch.undo()
    for name in ("compile.sh", "ec2.sh"):
        assert os.system(f"bash -n {out / name}") == 0
    command = (out / "compile.sh").read_text().split("-m training.compile ")[1].split()
    options = compiling.arguments(command)
    assert (options.arch, options.level, options.out, options.floats) == ("hailo8r", 1, Path("/out"), None)
    write_recipe(out, "hailo8", 1, script=True, floats=True)
    command = (out / "compile.sh").read_text().split("-m training.compile ")[1].split()
    options = compiling.arguments(command)
    assert (options.script, options.floats) == (Path("/set/more.alls"), Path("/set/floats"))


def test_a_result_is_there_whole_or_not(tmp_path: Path) -> None:
    out = tmp_path / "made" / "out"
    with pytest.raises(FileNotFoundError), staged(out) as folder:
        (folder / "a").write_text((folder / "missing").read_text())
    assert list(tmp_path.iterdir()) == []
    with staged(out) as folder:
        (folder / "a").write_text("a")
    (out / "other").write_text("kept")
    with staged(out) as folder:
        (folder / "a").write_text("b")
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "b", "other": "kept"}
    with pytest.raises(ValueError, match="is a file"), staged(out / "a"):
        pass
