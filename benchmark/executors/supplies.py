"""What a node of a cluster keeps of other machines' files, beside its prepared data sets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.data import PreparedDataset
from benchmark.data_cache import FILES, SPLITS, cache_dir, publish, read_meta, staging
from benchmark.executors.parcel import ARTIFACT, DATA, FILE, digest
from benchmark.store import ArtifactStore

_MOST_BYTES = 8 * 2**30
_IN_USE_S = 24 * 3600.0
"""What was used in this time is kept, however much it is."""

Given = Mapping[str, Callable[[], Any]]
"""A wanted name → the function that fetches its bytes, an array of uint8."""


class Supplies:
    """The files of one node; names are those of `benchmark.executors.parcel`."""

    def __init__(self, given: Given) -> None:
        self.root = cache_dir().absolute() / "cluster"
        self.artifacts = ArtifactStore(self.root)
        self.wants: list[str] = []
        """What is neither here nor given."""
        self._given = given

    def artifact(self, name: str) -> None:
        """See to it that the artifact is in the node's store, whole."""
        if not self.artifacts.verify(name):
            content = self._fetch(ARTIFACT + name, name)
            if content is not None:
                _prune(self.artifacts.folder)
                self.artifacts.sweep(_IN_USE_S)  # others of this node write there too
                self.artifacts.add(bytes(content))
        with contextlib.suppress(OSError):
            os.utime(self.artifacts.path(name))

    def file(self, path: str, sha256: str) -> str:
        """Return where a file of the driver's machine lies here, under the same name."""
        for here in (Path(path), self.root / "files" / sha256 / Path(path).name):
            with contextlib.suppress(OSError):
                if digest(str(here)) == sha256:
                    return str(here)
        content = self._fetch(FILE + path, sha256)
        if content is not None:
            with staging(here.parent) as scratch:
                (scratch / here.name).write_bytes(content)
                publish(scratch, here.parent, lambda: digest(str(here)) == sha256)
        return str(here)

    def dataset(self, wanted: PreparedDataset) -> Path:
        """Return the folder in which the prepared data set lies here."""
        own = self.root.parent / "datasets" / wanted.folder.name
        for folder in (wanted.folder, own):
            if _is_whole(folder, wanted.fingerprint):
                return folder
        contents = {name: self._fetch(DATA + name) for name in FILES}
        if all(content is not None for content in contents.values()):
            with staging(own) as scratch:
                for name, content in contents.items():
                    (scratch / name).write_bytes(content)
                if _is_sound(scratch, wanted.fingerprint):
                    publish(scratch, own, lambda: _is_sound(own, wanted.fingerprint))
                else:
                    self.wants += [DATA + name for name in FILES]
            _is_whole.cache_clear()
        return own

    def _fetch(self, name: str, sha256: str = "") -> Any:
        """Return what is given under a name, if it has this hash; what is not is wanted (again)."""
        if name in self._given:
            content = self._given[name]()
            if not sha256 or hashlib.sha256(content).hexdigest() == sha256:
                return content
        self.wants.append(name)
        return None


@lru_cache(maxsize=64)
def _is_whole(folder: Path, fingerprint: str) -> bool:
    """Look once: hashing a data set takes longer than some trials; each read checks it again."""
    return _is_sound(folder, fingerprint)


def _is_sound(folder: Path, fingerprint: str) -> bool:
    meta = read_meta(folder, SPLITS)
    return meta is not None and meta.get("fingerprint") == fingerprint


def _prune(folder: Path) -> None:
    """Remove the artifacts that were not used for longest, once there are too many."""
    found = []
    for path in folder.glob("*/*.safetensors"):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in found)
    for used, size, path in sorted(found):
        if total <= _MOST_BYTES or time.time() - used < _IN_USE_S:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
