"""What a pipeline is made of: its config, the rule for arguments, the version of the code, hashes of files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pipeline_steps import CONFIG
from pipeline_steps import STEPS as FAKES

from training.failure import Failure
from training.pipeline import files as hashes
from training.pipeline.code import code_version, files_behind
from training.pipeline.config import read_pipeline
from training.pipeline.files import Files, listed
from training.pipeline.steps import STEPS, Step, arguments

EXAMPLE = Path(__file__).parents[1] / "training/configs/pipeline.toml"


def test_arguments_follow_one_rule() -> None:
    step = Step(name="s", command=("m",), positional=("source", "target"))
    table: dict[str, Any] = {
        "out_folder": "o",
        "target": "t",
        "source": "-s",
        "yes": True,
        "no": False,
        "set": ["a", "b"],
        "rate": 1.5,
        "count": 0,
        "none": [],
        "inputs": ["x"],
        "optional": True,
    }
    expected = ["-s", "t", "--out-folder", "o", "--yes", "--set", "a", "--set", "b", "--rate", "1.5", "--count", "0"]
    assert arguments(step, table) == expected


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_a_config_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    text = (
        'run = "r"\nwhere = "~/scans"\n[last]\nsource = "{where}"\nsmoke = "{release} {run}"\n[first]\nsource = "~/x"\n'
    )
    pipeline = read_pipeline(write(tmp_path, text), FAKES)
    assert pipeline.run == Path("r")
    assert [task.name for task in pipeline.tasks] == ["first", "last"]  # in the order of the steps
    assert pipeline.tasks[1].arguments == ("/home/someone/scans", "--smoke", "{release} r")
    assert pipeline.tasks[0].reads == (Path("/home/someone/x"),)


def test_the_bases_of_a_trainings_config_are_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('base = "first.toml"')
    (tmp_path / "first.toml").write_text("seed = 1")
    (tmp_path / "train.toml").write_text('base = "base.toml"')
    text = f'run = "r"\n[train]\nconfig = "{tmp_path}/train.toml"\ndata = "d"\nout = "o"\ninputs = ["more"]\n'
    (task,) = read_pipeline(write(tmp_path, text), STEPS).tasks
    names = [path.name for path in task.reads]
    assert names == ["train.toml", "d", "base.toml", "first.toml", "more"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("run = ", "run "), "is not TOML"),
        (('run = "run"\n', ""), "expected `run ="),
        (("[last]", "[lst]"), "'lst' is unknown; .*changing, first, last, second"),
        (('run = "run"', 'run = "run"\nthreads = 2'), "'threads' is unknown"),
        (("[last]", "optional = 1\n[last]"), "optional is 1; expected true or false"),
        (("[last]", 'inputs = "a"\n[last]'), "inputs is 'a'; expected a list"),
        (("[last]", "when = 2026-01-01\n[last]"), r"\[second\]: when is datetime"),
        (('"input"', '"."'), r"\[first\]: it reads \., which holds the run's own run"),
        (('"input"', '"{run}"'), r"\[first\]: it reads run, which holds"),
    ],
)
def test_configs_that_are_wrong(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in CONFIG
    with pytest.raises(Failure, match=said):
        read_pipeline(write(tmp_path, CONFIG.replace(*change)), FAKES)


def test_arguments_without_a_name_need_those_before_them(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="'source' is missing, which comes before 'catalog'"):
        read_pipeline(write(tmp_path, 'run = "r"\n[index]\ncatalog = "c"\n'), STEPS)


def test_the_example_is_sound_and_names_no_account() -> None:
    pipeline = read_pipeline(EXAMPLE, STEPS)
    names = [task.name for task in pipeline.tasks]
    for name in ("download", "prepare", "train", "export", "evaluate", "quantize", "calibrate", "compile", "index"):
        assert name in names
    made = {Path(path) for task in pipeline.tasks for path in task.writes}
    for task in pipeline.tasks:
        for path in task.reads:
            assert path.exists() or any(path.is_relative_to(each) for each in made), f"{task.name}: {path}"
    assert "arn:aws" not in EXAMPLE.read_text() and not any(len(word) == 12 and word.isdigit() for word in names)


@pytest.fixture
def package(tmp_path: Path) -> dict[str, Path]:
    """`top` with commands that import each other in every way there is."""
    folder = tmp_path / "top"
    (folder / "sub").mkdir(parents=True)
    texts = {
        "__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from top.lazy import Lazy\n",
        "command.py": "import numpy\nfrom top import Lazy\nfrom top.used import thing\ndef f():\n    import top.late\n",
        "used.py": "import typing\nif typing.TYPE_CHECKING:\n    import top.typed\n",
        "lazy.py": "from top import _native\n",
        "late.py": "from top import sub\n",
        "typed.py": "",
        "unused.py": "",
        "sub/__init__.py": "",
        "sub/command.py": "",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "_native.cpython-311.so").write_bytes(b"\x7fELF")
    (folder / "used.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import top.typed\n")
    return {"top": folder}


def test_the_modules_behind_a_command_are_found(package: dict[str, Path]) -> None:
    found = files_behind("top.command", package)
    assert set(found) == {"top", "top.command", "top.used", "top.lazy", "top._native", "top.late", "top.sub"}
    assert set(files_behind("top.sub", package)) == {"top", "top.sub", "top.sub.command"}


@pytest.mark.parametrize(
    ("name", "counts"),
    [("used.py", True), ("late.py", True), ("lazy.py", True), ("_native.cpython-311.so", True), ("unused.py", False),
     ("typed.py", False)],
)  # fmt: skip
def test_the_version_is_that_of_what_is_used(package: dict[str, Path], name: str, counts: bool) -> None:
    before = code_version("top.command", package)
    assert code_version("top.command", package) == before
    path = package["top"] / name
    path.write_bytes(path.read_bytes() + b"#")
    assert (code_version("top.command", package) != before) == counts


def test_the_code_of_every_step_here_is_found() -> None:
    """Modules of the project's own; what others work on may not be there yet."""
    for module, imported in (("training.train", "training.losses"), ("cardrec.cli_index", "cardrec._search")):
        assert imported in files_behind(module)


def test_only_what_may_have_changed_is_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    monkeypatch.setattr(hashes, "SETTLED_NS", 0)
    files = Files(tmp_path / "cache.json")
    assert files.digest(path) == hashlib.sha256(b"one").hexdigest()
    files.save()

    def refuse(*_: object) -> None:
        raise AssertionError("hashed again")

    again = Files(tmp_path / "cache.json")
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", refuse)
        assert again.digest(path) == files.digest(path)
    status = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert again.digest(path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_that_has_just_changed_is_hashed_again(tmp_path: Path) -> None:
    """A coarse clock gives a second change the time of the first."""
    path = tmp_path / "a"
    path.write_bytes(b"one")
    files = Files(tmp_path / "cache.json")
    files.digest(path)
    files.save()
    assert (tmp_path / "cache.json").read_text() == "{}"


def test_files_that_are_not_there_or_are_others_business(tmp_path: Path) -> None:
    files = Files(tmp_path / "cache.json")
    assert files.digest(tmp_path / "none") == "" == files.digest(tmp_path / "cache.json/none")
    assert list(listed(tmp_path / "none")) == []
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c").touch()
    (tmp_path / "a").symlink_to("b")
    (tmp_path / ".hidden").touch()
    assert list(listed(tmp_path)) == [tmp_path / "a/c", tmp_path / "b/c"]
    (tmp_path / "b/d").symlink_to("..")
    with pytest.raises(Failure, match="is a link to a folder that it lies in"):
        list(listed(tmp_path))


# The commands themselves


def help_of(step: Step) -> str:
    """What its command says of itself, one word after the other."""
    texts = []
    for more in ([], ["tcgdex"]) if step.name == "download" else ([],):
        done = subprocess.run(
            [sys.executable, "-m", *step.command, *more, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout)
    return " ".join(texts)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_names_what_its_command_takes(step: Step) -> None:
    if step.command[0] in ("training.train", "training.export", "training.evaluate"):
        pytest.importorskip("torch")
    said = help_of(step)
    options = {name for name in (*step.reads, *step.writes) if name not in step.positional}
    assert [name for name in sorted(options) if f"--{name.replace('_', '-')}" not in said] == []
    assert all(name in said.lower() for name in step.positional)
    assert step.resume is None or step.resume[0] in said
