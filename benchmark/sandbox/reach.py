"""What a sandboxed process needs to open: system, interpreter, packages, its own folders."""

from __future__ import annotations

import contextlib
import importlib.machinery
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

from benchmark.sandbox.seal import Reach, around

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/nix", "/gnu")
_KERNEL = ("/sys", "/run")
_SITE = ("site-packages", "dist-packages")
_SUFFIXES = tuple(importlib.machinery.all_suffixes())


def readable(
    secret: Iterable[Path], own: Iterable[Path] = (), extra: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return what a plugin may read, without what is `secret` or lies in a secret folder.

    `own` is what belongs to it. The `extra` ones are a person's wish and come as they are.
    """
    own = tuple(own)
    needed = [Path(os.path.realpath(path)) for path in [*_packages(), *own]]
    hidden = [part for path in secret for part in _without(Path(os.path.realpath(path)), needed)]
    places = around((*_places(), *own), hidden)
    return (*places, *(os.path.realpath(path) for path in extra))


def _without(secret: Path, needed: Sequence[Path]) -> list[Path]:
    """Return a secret place, or its parts without what is needed.

    Whoever names the current folder as that of the results, or of the data, may have the packages
    of Python in it.
    """
    inside = [path for path in needed if path.is_relative_to(secret)]
    if not inside:
        return [secret]
    if secret in inside:
        return []
    with contextlib.suppress(OSError):
        return [part for entry in secret.iterdir() for part in _without(entry, inside)]
    return []


def _packages() -> list[Path]:
    """Return the folders of the interpreter and of installed packages."""
    found = map(Path, (sys.prefix, sys.base_prefix, *sys.path))
    return [path for at, path in enumerate(found) if at < 2 or path.name in _SITE]


@lru_cache(maxsize=1)
def _places() -> tuple[Path, ...]:
    """Return the system's folders, the interpreter's, and those of importable packages."""
    places = [Path(name) for name in (*_SYSTEM, *_KERNEL, sys.prefix, sys.base_prefix)]
    places += [Path(name) for name in os.environ.get("LD_LIBRARY_PATH", "").split(":") if name]
    prefixes = [os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)]
    roots = {os.path.realpath(path) for path in (*sys.path, *_editable()) if path}
    for root in sorted(roots):
        if Path(root).name in _SITE:
            places.append(Path(root))
        elif not any(Path(root).is_relative_to(prefix) for prefix in prefixes):
            places += _importable(Path(root))
    return tuple(places)


def sources(module: Path, *, is_package: bool) -> list[Path]:
    """Return what lies beside a plugin's module: the rest of its package, if it is in one.

    Of a file that a person named, only what Python can import: the folder may be a whole project's,
    with results and data in it.
    """
    folder = module.parent
    if not (folder / "__init__.py").exists():
        return []
    return [folder] if is_package else _importable(folder)


def _editable() -> Iterator[str]:
    """Yield the source folders of packages that were installed with `pip install -e`."""
    for distribution in distributions():
        try:
            url = json.loads(distribution.read_text("direct_url.json") or "{}")
        except (OSError, ValueError):
            continue
        if url.get("dir_info", {}).get("editable"):
            folder = unquote(urlsplit(url["url"]).path)
            yield from (folder, f"{folder}/src")


def _importable(root: Path) -> list[Path]:
    """Return what Python can import from a folder of sources, which may hold anything else."""
    try:
        return [path for path in root.iterdir() if _is_importable(path)]
    except OSError:
        return [root] if root.is_file() else []  # a zip file is on the path, or nothing


def _is_importable(path: Path, depth: int = 2) -> bool:
    if not path.is_dir():
        return path.name.endswith(_SUFFIXES)
    if path.suffix in (".dist-info", ".egg-info", ".libs"):
        return True
    if not path.name.isidentifier() or not depth:
        return False
    try:
        return any(_is_importable(child, depth - 1) for child in path.iterdir())
    except OSError:
        return False


def own_reach(read: Iterable[str], folders: Iterable[Path], *, network: bool) -> Reach:
    """Return the reach of this process: `read`, its own folders, devices, and itself in /proc.

    Other processes are seen in /proc by their numbers only: a command line may name triggers.
    """
    return Reach(
        read=(*read, *_kernel_facts()),
        use=("/dev", f"/proc/{os.getpid()}"),
        write=("/dev/shm", *map(str, folders)),
        listed=("/proc",),
        network=network,
    )


def _kernel_facts() -> list[str]:
    try:
        return [str(path) for path in Path("/proc").iterdir() if not path.name.isdigit()]
    except OSError:
        return []
