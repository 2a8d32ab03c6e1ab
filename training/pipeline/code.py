"""The version of the code behind a step: a hash of the files of this project that its command may import.

Imports are followed through `training` and `cardrec`, also those within functions; native modules count by their
bytes. The libraries of others don't count: an update of one of them must not train for hours again. `--force` does.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import cardrec
import training

__all__ = ["code_version", "files_behind"]

PACKAGES = {"cardrec": Path(cardrec.__path__[0]), "training": Path(training.__path__[0])}


def code_version(module: str, packages: Mapping[str, Path] = PACKAGES) -> str:
    """SHA-256 (hex) of all files behind ``python -m MODULE``."""
    whole = hashlib.sha256()
    for name, path in sorted(files_behind(module, packages).items()):
        whole.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def files_behind(module: str, packages: Mapping[str, Path] = PACKAGES) -> dict[str, Path]:
    """The modules that a module may import, itself among them, and their files. A package is all of its modules."""
    found: dict[str, Path] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = _file(name, packages)
        if path is None or name in found:
            continue
        found[name] = path
        if path.suffix == ".py":
            todo += _imported(name, path, packages)
        if name == module and path.name == "__init__.py":  # its commands may be imported by their names
            todo += [f"{name}.{each.stem}" for each in path.parent.glob("*.py") if each != path]
        if "." in name:
            todo.append(name.rpartition(".")[0])
    return found


def _file(name: str, packages: Mapping[str, Path]) -> Path | None:
    """The file of a module, if it is one of the project's."""
    top, *rest = name.split(".")
    if top not in packages:
        return None
    place = packages[top].joinpath(*rest)
    candidates = [place / "__init__.py", place.parent / f"{place.name}.py", *place.parent.glob(f"{place.name}.*.so")]
    return next((path for path in candidates if path.is_file()), None)


def _imported(module: str, path: Path, packages: Mapping[str, Path]) -> Iterator[str]:
    """What a file imports; of ``from package import name`` also ``package.name``, or what gives it its name."""
    for source, name in _imports(path.read_bytes(), with_types=False):
        yield source
        if name is None:
            continue
        yield f"{source}.{name}"
        origin = _file(source, packages)
        if origin is not None and origin.name == "__init__.py" and source != module:
            yield from (inner for inner, given in _imports(origin.read_bytes(), with_types=True) if given == name)


@cache
def _imports(code: bytes, *, with_types: bool) -> list[tuple[str, str | None]]:
    """(module, name or None) of each import; those for types alone, by which lazy packages list theirs, if asked."""
    made: list[tuple[str, str | None]] = []
    todo: list[ast.AST] = [ast.parse(code)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            made += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            made += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not with_types:
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)
    return made
