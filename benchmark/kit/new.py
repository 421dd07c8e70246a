"""Start a plugin: a package that works at once, or a single file. No torch."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template

from benchmark import api
from benchmark.catalogue import read_catalogue
from benchmark.errors import UserError, unknown_name
from benchmark.loading.contract import name_fault
from benchmark.loading.origin import KINDS
from benchmark.plugins import load_plugins

TRY_IT: Mapping[str, str] = {
    "defense": "bench run --defense $name",
    "attack": "bench run --attack $name --defense fine_tuning",
    "metric": "bench run --defense fine_tuning && bench leaderboard --format json",
    "dataset": "bench run --dataset $name --defense fine_tuning",
    "model": "bench run --model $name --defense fine_tuning",
}
"""Kind → a command that uses the component, of `$name`."""


_TAKEN = frozenset({*api.__all__, *keyword.kwlist, "Field", "Path", "RunContext"})
"""What no class of a template may be called: it uses these words itself."""
_ANOTHER = "choose another name"


def new_package(kind: str, name: str, folder: Path | None = None) -> tuple[Path, str]:
    """Write a package; return its folder, by default one of its name, and a command to try it.

    Raises `UserError` for a name that cannot be one, and if there is something already.
    """
    words = _words(kind, name)
    folder = folder or Path(words["dist"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already", "name another folder, or remove it")
    package = folder / words["package"]
    files = {
        folder / "pyproject.toml": "pyproject.toml",
        folder / "README.md": "README.md",
        package / "__init__.py": "init.py",
        package / "plugin.py": f"{kind}.py",
        folder / "tests" / f"test_{words['module']}.py": f"{kind}_test.py",
    }
    for path, template in files.items():
        _write(path, _filled(template, words))
    return folder, words["run"]


def new_file(kind: str, name: str, folder: Path | None = None) -> tuple[Path, str]:
    """Write a single plugin file in `folder` (default: here); return its path and a command.

    Raises `UserError` for a name that cannot be one, and if the file is there already.
    """
    words = _words(kind, name)
    path = (folder or Path()) / f"{words['module']}.py"
    if path.exists():
        raise UserError(f"{path} is there already", "name another folder, or remove it")
    _write(path, _filled(f"{kind}.py", words))
    return path, words["run"]


def _words(kind: str, name: str) -> dict[str, str]:
    """Return what the templates' placeholders stand for."""
    specs: dict[str, type] = {known: spec for known, (_, spec) in KINDS.items()}
    if kind not in specs:
        raise unknown_name("kind of component", kind, specs)
    fault = name_fault(specs[kind], name)
    if fault:
        raise UserError(f"a {kind} cannot be called {name!r}: {fault}")
    _refuse_taken(kind, name)
    parts = [part for part in name.replace("-", "_").split("_") if part]
    module = "_".join(parts)
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        raise UserError(f"{name!r} is a word of Python's own", _ANOTHER)
    words = {
        "kind": "data set" if kind == "dataset" else kind,
        "name": name,
        "module": module,
        "package": f"bench_{module}",
        "dist": f"bench-{'-'.join(parts)}",
        "cls": _class_name(kind, parts),
    }
    return {**words, "run": Template(TRY_IT[kind]).substitute(name=name)}


def _refuse_taken(kind: str, name: str) -> None:
    """Raise `UserError` for a name that somebody has: with two of one name no run starts."""
    for its_kind, offer in load_plugins().offers():
        if (its_kind, offer.spec.name) == (kind, name):
            raise UserError(f"another {kind} is called {name!r}: {offer.where}", _ANOTHER)
    for entry in read_catalogue():
        if (entry.kind, entry.name) == (kind, name):
            where = f"package {entry.distribution} of the catalogue"
            raise UserError(f"another {kind} is called {name!r}: {where}", _ANOTHER)


def _class_name(kind: str, parts: Sequence[str]) -> str:
    """Return what the component's class is called; its options are called that and `Options`."""
    name = "".join(part.capitalize() for part in parts)
    return name + kind.capitalize() if {name, f"{name}Options"} & _TAKEN else name


def _filled(template: str, words: Mapping[str, str]) -> str:
    source = resources.files("benchmark.kit") / "templates" / f"{template}.tmpl"
    return Template(source.read_text("utf-8")).substitute(words)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
