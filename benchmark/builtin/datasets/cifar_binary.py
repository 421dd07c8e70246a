"""The official binary version: fixed-size records of label bytes and 3072 pixel bytes."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.builtin.datasets.cifar_layout import CifarLayout
from benchmark.builtin.datasets.files import stamp, unreadable, verify_md5
from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.contracts import ImageSet, LoadedDataset

_PIXELS = 3 * 32 * 32
_MOST_RECORDS = 50_000
Read = Callable[[str], bytes]
"""Returns the bytes of the file of that name; raises `UserError` if it is missing or too long."""


@dataclass(frozen=True)
class BinaryFolder:
    """The unpacked archive."""

    layout: CifarLayout
    folder: Path

    def key(self) -> str:
        """Return a key of all files. Raises `UserError` if one is missing."""
        return stamp(self.folder / name for name in _files(self.layout))

    def load(self, cache_dir: Path) -> LoadedDataset:
        """Decode. Raises `UserError` naming the first file that is not made of whole records."""
        return _decode(self.layout, str(self.folder), self._read)

    def _read(self, name: str) -> bytes:
        path = self.folder / name
        try:
            if path.stat().st_size > _most_bytes(self.layout):
                raise UserError(f"{path} is too long", "download it again")
            return path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from error


@dataclass(frozen=True)
class BinaryArchive:
    """The archive as downloaded; it is read without being unpacked."""

    layout: CifarLayout
    archive: Path

    def key(self) -> str:
        """Return a key of the archive. Raises `UserError` if it cannot be read."""
        return stamp([self.archive])

    def load(self, cache_dir: Path) -> LoadedDataset:
        """Decode. Raises `UserError` if the archive is not the official one."""
        verify_md5(self.archive, self.layout.binary_md5)
        try:
            with tarfile.open(self.archive, "r:gz") as tar:
                return _decode(self.layout, str(self.archive), lambda name: self._read(tar, name))
        except tarfile.TarError as error:
            raise UserError(f"{self.archive} is not a readable archive: {error}") from error

    def _read(self, tar: tarfile.TarFile, name: str) -> bytes:
        try:
            member = tar.getmember(f"{self.layout.binary_folder}/{name}")
        except KeyError:
            raise UserError(f"{self.archive} has no {name}", "download it again") from None
        content = tar.extractfile(member) if member.size <= _most_bytes(self.layout) else None
        if content is None:
            raise UserError(f"{name} in {self.archive} is no plain file, or too long")
        return content.read()


def _files(layout: CifarLayout) -> tuple[str, ...]:
    return layout.binary_train + layout.binary_test


def _most_bytes(layout: CifarLayout) -> int:
    return _MOST_RECORDS * (layout.record_labels + _PIXELS)


def _decode(layout: CifarLayout, where: str, read: Read) -> LoadedDataset:
    from benchmark.builtin.datasets.arrays import require_every_class
    from benchmark.contracts import LoadedDataset

    train, test = (
        _split(layout, where, {name: read(name) for name in names})
        for names in (layout.binary_train, layout.binary_test)
    )
    require_every_class(train, layout.class_names, f"the training split in {where}")
    require_every_class(test, layout.class_names, f"the test split in {where}")
    return LoadedDataset(train, test, layout.class_names)


def _split(layout: CifarLayout, where: str, files: dict[str, bytes]) -> ImageSet:
    import numpy as np

    from benchmark.builtin.datasets.arrays import image_set

    record = layout.record_labels + _PIXELS
    for name, content in files.items():
        if not content or len(content) % record:
            raise UserError(
                f"{name} in {where} is damaged: {len(content)} bytes are no whole number of "
                f"{layout.name} records",
                "download it again",
            )
    records = np.frombuffer(b"".join(files.values()), dtype=np.uint8).reshape(-1, record)
    labels = records[:, layout.record_labels - 1]
    highest = int(np.max(labels))
    if highest >= len(layout.class_names):
        raise UserError(
            f"{where} is damaged: class {highest} is not one of "
            f"{len(layout.class_names)} in {', '.join(files)}",
            "download it again",
        )
    return image_set(records[:, layout.record_labels :].reshape(-1, 3, 32, 32), labels)
