"""The official archive for Python, read by torchvision after the official checksums have passed.

Its files are pickles. Nothing here unpickles: torchvision does, and only bytes of official MD5.
Torchvision imports torch, so it is left to the process that decodes.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.builtin.datasets.cifar_layout import CifarLayout
from benchmark.builtin.datasets.files import stamp, unreadable, verify_md5
from benchmark.data_cache import staging
from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.contracts import LoadedDataset

_LARGEST_ARCHIVE = 400 * 2**20
"""Bytes that an unpacked archive may have; the official ones have less than half."""


@dataclass(frozen=True)
class PythonFolder:
    """The unpacked archive."""

    layout: CifarLayout
    folder: Path

    def key(self) -> str:
        """Return a key of all files. Raises `UserError` if one is missing."""
        return stamp(self.folder / name for name, _ in self.layout.python_files)

    def load(self, cache_dir: Path) -> LoadedDataset:
        """Decode. Raises `UserError` naming the first file without its official checksum."""
        from benchmark.contracts import LoadedDataset

        for name, md5 in self.layout.python_files:
            verify_md5(self.folder / name, md5)
        train, test = (self._split(train) for train in (True, False))
        return LoadedDataset(train, test, self.layout.class_names)

    def _split(self, train: bool) -> Any:
        from benchmark.builtin.datasets.arrays import image_set

        split = _torchvision(self.layout)(self.folder.parent, train=train)
        return image_set(split.data.transpose(0, 3, 1, 2), split.targets)


@dataclass(frozen=True)
class PythonArchive:
    """The archive as downloaded; it is unpacked for the time of reading."""

    layout: CifarLayout
    archive: Path

    def key(self) -> str:
        """Return a key of the archive. Raises `UserError` if it cannot be read."""
        return stamp([self.archive])

    def load(self, cache_dir: Path) -> LoadedDataset:
        """Decode. Raises `UserError` if the archive is not the official one."""
        verify_md5(self.archive, self.layout.python_md5)
        with staging(cache_dir / "unpacked") as scratch:
            _unpack(self.archive, self.layout.python_folder, scratch)
            return PythonFolder(self.layout, scratch / self.layout.python_folder).load(cache_dir)


@dataclass(frozen=True)
class Download:
    """The archive that is not there yet; torchvision fetches it."""

    layout: CifarLayout

    def key(self) -> str:
        """Return the official checksum, so that a prepared copy is found without internet."""
        return f"official:{self.layout.python_md5}"

    def load(self, cache_dir: Path) -> LoadedDataset:
        """Download and decode. Raises `UserError` if there is no internet."""
        from benchmark.builtin.datasets.download import fetch

        with staging(cache_dir / "unpacked") as scratch:
            fetch(_torchvision(self.layout), self.layout.name, scratch)
            return PythonFolder(self.layout, scratch / self.layout.python_folder).load(cache_dir)


def _torchvision(layout: CifarLayout) -> Any:
    import torchvision

    return getattr(torchvision.datasets, layout.torchvision_class)


def _unpack(archive: Path, folder: str, target: Path) -> None:
    """Unpack a verified archive: plain files in `folder` only, of reasonable size in all."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = tar.getmembers()
            strange = [m.name for m in members if not _plain(m, folder)]
            if strange or sum(m.size for m in members) > _LARGEST_ARCHIVE:
                raise UserError(f"{archive} holds more than {folder}: {strange[:3]}")
            tar.extractall(target, members, filter="data")
    except tarfile.TarError as error:
        raise UserError(f"{archive} is not a readable archive: {error}") from error
    except OSError as error:
        raise unreadable(archive, error) from error


def _plain(member: tarfile.TarInfo, folder: str) -> bool:
    parts = Path(member.name).parts
    return (member.isfile() or member.isdir()) and parts[:1] == (folder,) and ".." not in parts
