"""Finding and importing plugins: the built-in one, installed packages, plain files."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import shlex
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType

import benchmark
from benchmark.errors import PluginChanged, UserError
from benchmark.hookspecs import PROJECT
from benchmark.loading.origin import Origin

BUILTIN = Origin(
    "builtin",
    "benchmark.builtin.plugin",
    distribution="backdoor-bench",
    distribution_version=benchmark.__version__,
)


def installed_origins() -> list[Origin]:
    """Return the plugins that installed packages declare, in the order of their names."""
    found = [_package_origin(point) for point in entry_points(group=PROJECT)]
    return sorted(found, key=lambda origin: (origin.distribution, origin.module))


def _package_origin(point: EntryPoint) -> Origin:
    """Read the metadata only; metadata that cannot be read must not hide the other packages."""
    try:
        name, version = point.dist.name, point.dist.version  # type: ignore[union-attr]
    except Exception:
        name, version = point.name, "unknown"
    return Origin("package", point.value, "", name or point.name, version or "unknown")


def file_origins(files: Sequence[Path]) -> list[Origin]:
    """Return the origin of each plugin file, once even if two paths lead to it."""
    return list(dict.fromkeys(_file_origin(file) for file in files))


def _file_origin(file: Path) -> Origin:
    try:
        path = file.expanduser().resolve()
        kind = _instead_of_a_file(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: symlinks in a circle, no home
        raise UserError(f"plugin file {file} cannot be read: {error}") from None
    if kind:
        raise UserError(f"plugin file {file} is {kind}", "give the path of a Python file")
    if file.suffix != ".py":
        raise UserError(f"plugin file {file} is not a Python file", "its name must end in .py")
    return Origin("file", module_name(path), str(path))


def _instead_of_a_file(path: Path) -> str:
    """Return what the path is, "" for a file; `OSError` if it cannot be told.

    `Path.is_file` would take what cannot be told for nothing: since Python 3.13 `resolve` lets a
    symlink to itself pass.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "not there"
    return "a folder" if stat.S_ISDIR(mode) else "" if stat.S_ISREG(mode) else "not a file"


def module_name(path: Path) -> str:
    """Return the name under which a plugin file is imported: the same in every process."""
    digest = hashlib.sha256(str(path).encode(errors="surrogateescape")).hexdigest()[:12]
    return f"bench_file_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}_{digest}"


def import_plugin(origin: Origin) -> tuple[object, Origin]:
    """Import one plugin and return it, and its origin with path and digest filled in.

    Raises `PluginChanged` for a file that is not the one of the origin's digest.
    """
    if origin.kind == "file":
        return _import_file(origin)
    plugin = EntryPoint(origin.module, origin.module, PROJECT).load()
    module = sys.modules[origin.module.partition(":")[0].strip()]
    return plugin, replace(origin, path=getattr(module, "__file__", None) or "")


class _Uncached(SourceFileLoader):
    """Compiles the source each time: a user's folder gets no `__pycache__`, and none is trusted."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(origin.module, origin.path)
        self.origin = origin

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        source = _source(self.origin)
        # Of the very bytes that are compiled: the file may be another one a moment later.
        self.origin = replace(self.origin, digest=hashlib.sha256(source).hexdigest())
        return self.source_to_code(source, path)


def refuse_changed(origin: Origin) -> None:
    """Raise `PluginChanged` if the origin's file is not the one of its digest, without running it.

    For a look at it in time; what is certain is the import, which compiles what it compares.
    """
    if origin.digest:
        _source(origin)


def _source(origin: Origin) -> bytes:
    """Return the bytes of the origin's file; `PluginChanged` if they do not fit its digest."""
    try:
        source = Path(origin.path).read_bytes()
    except OSError:
        if not origin.digest:
            raise
        source = b""
    if origin.digest and hashlib.sha256(source).hexdigest() != origin.digest:
        raise PluginChanged(
            f"plugin file {origin.path} changed since the run was planned; start again"
        )
    return source


def hint_beside(error: BaseException, file: str) -> str:
    """Return what to do about a module that is not found though it lies beside a plugin file.

    Empty if that is not what went wrong. A plugin file is imported by its path; its folder is not
    on Python's, as a script's is: it may hold a `random.py` that nobody means.
    """
    folder = Path(file).parent
    with contextlib.suppress(Exception):  # a plugin's own error may be of any sort
        if isinstance(error, ModuleNotFoundError) and error.name:
            modules = folder / f"{error.name}.py", folder / error.name / "__init__.py"
            if any(module.is_file() and module != Path(file) for module in modules):
                return (
                    f"it lies beside the plugin file: say PYTHONPATH={shlex.quote(str(folder))}, "
                    "or make a package of both with `bench new`"
                )
    return ""


def _import_file(origin: Origin) -> tuple[ModuleType, Origin]:
    loader = _Uncached(origin)
    spec = importlib.util.spec_from_file_location(origin.module, origin.path, loader=loader)
    if spec is None:
        raise ImportError(f"Python cannot import {origin.path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[origin.module] = module  # dataclasses and pickle look it up there
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(origin.module, None)
        raise
    return module, loader.origin
