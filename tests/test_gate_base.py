"""Which commit the latency gate compares with, what is built of it and of the working tree, and who accepts what."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_repository import NEEDS_GIT, Repository

from benchmarks import gate_base
from benchmarks.gate_base import Base, NothingToCompare, find_base
from training.failure import Failure

pytestmark = NEEDS_GIT


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Two commits on main."""
    made = Repository(tmp_path / "repository")
    made.commit("first", **{"setup.py": "1"})
    made.commit("second", **{"setup.py": "2"})
    return made


def clone(repository: Repository, *options: str) -> Repository:
    folder = repository.folder.parent / "clone"
    repository.git("clone", "--quiet", *options, f"file://{repository.folder}", str(folder))
    return Repository(folder)


def found(repository: Repository, named: str | None = None, **environment: str) -> Base:
    return find_base(repository.folder, named, environment)


def test_a_candidate_is_compared_with_the_last_commit_of_main(repository: Repository) -> None:
    main = repository.git("rev-parse", "main")
    repository.git("switch", "--quiet", "--create", "change")
    repository.commit("third")
    repository.commit("fourth")
    assert found(repository) == Base(main, "the last commit of main")
    repository.git("switch", "--quiet", "--detach")
    assert found(repository) == Base(main, "the last commit of main")


def test_so_is_a_merge_of_it_into_main(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "change", "HEAD^")
    repository.commit("beside", **{"README.md": "more"})
    main = repository.git("rev-parse", "main")
    repository.git("switch", "--quiet", "--detach", "main")
    repository.git("merge", "--quiet", "--no-edit", "change")
    assert found(repository) == Base(main, "the last commit of main")


def test_of_a_clone_the_main_of_its_origin_counts(repository: Repository) -> None:
    main = repository.git("rev-parse", "main")
    copy = clone(repository)
    copy.commit("third")
    assert found(copy) == Base(main, "the last commit of origin/main")


def test_what_main_has_done_since_is_no_change_of_a_branch(repository: Repository) -> None:
    parted = repository.git("rev-parse", "main")
    repository.git("switch", "--quiet", "--create", "change")
    repository.commit("mine")
    repository.git("switch", "--quiet", "main")
    repository.commit("theirs")
    repository.git("switch", "--quiet", "change")
    assert found(repository) == Base(parted, "HEAD left main there")


def test_on_main_it_is_the_commit_before(repository: Repository) -> None:
    before = repository.git("rev-parse", "HEAD^")
    assert found(repository).commit == before
    assert found(clone(repository)).commit == before


def test_on_main_with_changes_it_is_head(repository: Repository) -> None:
    repository.write(**{"notes.txt": "not built"})
    assert found(repository).commit == repository.git("rev-parse", "HEAD^")
    repository.write(**{"csrc/new.cpp": "built"})
    assert found(repository).commit == repository.git("rev-parse", "HEAD")


def test_an_old_commit_is_compared_with_the_one_before_it(repository: Repository) -> None:
    repository.commit("third")
    repository.git("switch", "--quiet", "--detach", "HEAD^")
    assert found(repository).commit == repository.git("rev-parse", "HEAD^")


def test_what_is_named_goes_first(repository: Repository) -> None:
    first, second = repository.git("rev-parse", "HEAD^"), repository.git("rev-parse", "HEAD")
    assert found(repository, "HEAD^", CARDREC_BASE="HEAD") == Base(first, "as --base says")
    assert found(repository, CARDREC_BASE="HEAD") == Base(second, "as CARDREC_BASE says")
    assert found(repository, CARDREC_BASE="").commit == first


@pytest.mark.parametrize("name", ["no-such-branch", "--all", "HEAD~99"])
def test_a_commit_that_is_not_there_is_refused(repository: Repository, name: str) -> None:
    with pytest.raises(Failure, match=r"--base .*: no such commit here; expected .*git fetch"):
        found(repository, name)
    with pytest.raises(Failure, match=r"CARDREC_BASE .*: no such commit here"):
        found(repository, CARDREC_BASE=name)


def test_a_shallow_clone_has_nothing_to_compare_with(repository: Repository) -> None:
    with pytest.raises(NothingToCompare, match="unshallow"):
        found(clone(repository, "--depth", "1"))


def test_a_shallow_candidate_is_compared_with_main_all_the_same(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "change")
    repository.commit("third")
    copy = clone(repository, "--depth", "1", "--no-single-branch")
    assert found(copy) == Base(repository.git("rev-parse", "main"), "the last commit of origin/main")


def test_neither_has_a_folder_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NothingToCompare, match="not a git repository"):
        find_base(tmp_path, None, {})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NothingToCompare, match="git is not installed"):
        find_base(tmp_path, None, {})


def test_both_sides_are_written_as_they_would_be_built(repository: Repository, tmp_path: Path) -> None:
    repository.commit("third", **{".gitignore": "*.so\n", "cardrec/a.py": "a", "cardrec/b.py": "b"})
    base, head = tmp_path / "base", tmp_path / "head"
    gate_base.export_base(repository.folder, "HEAD", base)
    gate_base.export_head(repository.folder, head)
    assert gate_base.contents(base) == gate_base.contents(head)

    repository.write(**{"cardrec/a.py": "changed", "cardrec/new.py": "new", "cardrec/old.so": "built", "docs/a.md": ""})
    (repository.folder / "cardrec" / "b.py").unlink()
    changed = tmp_path / "changed"
    gate_base.export_head(repository.folder, changed)
    assert sorted(path.name for path in (changed / "cardrec").iterdir()) == ["a.py", "new.py"]
    assert (changed / "cardrec" / "a.py").read_text() == "changed" and not (changed / "docs").exists()
    assert gate_base.contents(changed) != gate_base.contents(head)


def test_only_what_changes_a_build_makes_trees_differ(tmp_path: Path) -> None:
    def tree(name: str, pyproject: str, setup: str = "1") -> str:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "pyproject.toml").write_text(pyproject)
        (folder / "setup.py").write_text(setup)
        return gate_base.contents(folder)

    plain = tree("plain", '[build-system]\nrequires = ["setuptools"]\n')
    assert tree("linted", '[build-system]\nrequires = ["setuptools"]\n[tool.ruff]\nline-length = 120\n') == plain
    assert tree("other build", '[build-system]\nrequires = ["setuptools", "cython"]\n') != plain
    assert tree("other setup", '[build-system]\nrequires = ["setuptools"]\n', "2") != plain


def test_commits_after_base_accept_what_is_slower(repository: Repository) -> None:
    repository.commit("base\n\nAccept-Slower: open - before base, no longer read")
    base = repository.git("rev-parse", "HEAD")
    one = repository.commit("one\n\nAccept-Slower: encode, identify - a larger network\n  that is right more often")[:7]
    two = repository.commit(
        "two\n\nIt is so.\n\nAccept-Slower: detect \u2014 sharper\nAccept-Slower: stream - all of it"
    )[:7]
    reasons, wrong = gate_base.accepted(repository.folder, base, ["encode", "identify", "detect", "stream", "open"])
    larger = f"a larger network that is right more often ({one})"
    assert reasons == {
        "encode": larger,
        "identify": larger,
        "detect": f"sharper ({two})",
        "stream": f"all of it ({two})",
    }
    assert wrong == []


@pytest.mark.parametrize("value", ["encode", "encode - ", "everything - it is late", "- a reason", "encode because"])
def test_a_line_without_stage_or_reason_accepts_nothing(repository: Repository, value: str) -> None:
    base = repository.git("rev-parse", "HEAD")
    repository.commit(f"third\n\nAccept-Slower: {value}")
    reasons, wrong = gate_base.accepted(repository.folder, base, ["encode"])
    assert reasons == {} and len(wrong) == 1 and "'Accept-Slower: STAGE ... - reason'" in wrong[0]


def test_a_word_in_the_middle_of_a_message_accepts_nothing(repository: Repository) -> None:
    base = repository.git("rev-parse", "HEAD")
    repository.commit("third\n\nAccept-Slower: encode - was the line that I did not want.\n\nSo there is none.")
    assert gate_base.accepted(repository.folder, base, ["encode"]) == ({}, [])
