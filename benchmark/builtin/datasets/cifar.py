"""CIFAR-10 and CIFAR-100: which of their published forms is there, told by looking. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmark.builtin.datasets.cifar_binary import BinaryArchive, BinaryFolder
from benchmark.builtin.datasets.cifar_layout import LAYOUTS, CifarLayout
from benchmark.builtin.datasets.cifar_python import Download, PythonArchive, PythonFolder
from benchmark.builtin.datasets.parquet import ParquetShards, find_shards
from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.contracts import LoadedDataset


class CifarFiles(Protocol):
    """One published form of the data set, found but not yet read."""

    def key(self) -> str:
        """Return a cheap key of the files. Raises `UserError` if one cannot be read."""

    def load(self, cache_dir: Path) -> LoadedDataset:
        """Verify and decode. Raises `UserError`, naming the file, if something is damaged."""


@dataclass(frozen=True)
class Cifar:
    """Finds, verifies and decodes CIFAR-10 or CIFAR-100: 32 x 32 RGB.

    Without `data_dir` the official archive is downloaded into `cache_dir`. A `data_dir` may hold
    the official archive (for Python, or binary), its unpacked folder, or parquet shards.
    """

    layout: CifarLayout

    def fingerprint_inputs(self, data_dir: Path | None, cache_dir: Path) -> str:
        """Return a key of the files, without reading them through.

        Raises `UserError` if `data_dir` holds no form of this data set, or not all of it.
        """
        return self._files(data_dir).key()

    def load(self, data_dir: Path | None, cache_dir: Path) -> LoadedDataset:
        """Return the images, uint8 of shape (count, 3, 32, 32), in the order of the files.

        Raises `UserError`, naming the file, if something is missing, damaged or of another set.
        """
        return self._files(data_dir).load(cache_dir)

    def _files(self, data_dir: Path | None) -> CifarFiles:
        if data_dir is None:
            return Download(self.layout)
        _require_folder(data_dir)
        found = _official(self.layout, data_dir) or _parquet(self.layout, data_dir)
        if found is not None:
            return found
        for other in LAYOUTS:
            if other.name != self.layout.name and _official(other, data_dir):
                raise UserError(
                    f"{data_dir} holds {other.name}, not {self.layout.name}",
                    f"run with --dataset {other.name}",
                )
        raise UserError(
            f"no {self.layout.name} in {data_dir}: looked for {self.layout.python_archive}, "
            f"{self.layout.binary_archive} and {{train,test}}-*-of-*.parquet",
            "point --data-dir at the folder that holds them",
        )


def _require_folder(data_dir: Path) -> None:
    if data_dir.is_file():
        raise UserError(f"{data_dir} is a file", "point --data-dir at the folder that holds it")
    if not data_dir.is_dir():
        raise UserError(f"there is no folder {data_dir}", "check --data-dir")


def _official(layout: CifarLayout, data_dir: Path) -> CifarFiles | None:
    """Return the official form that is in the folder, or that the folder itself is."""
    python = _folder(data_dir, layout.python_folder)
    if python.is_dir():
        return PythonFolder(layout, python)
    if (data_dir / layout.python_archive).is_file():
        return PythonArchive(layout, data_dir / layout.python_archive)
    binary = _folder(data_dir, layout.binary_folder)
    if binary.is_dir():
        return BinaryFolder(layout, binary)
    if (data_dir / layout.binary_archive).is_file():
        return BinaryArchive(layout, data_dir / layout.binary_archive)
    return None


def _folder(data_dir: Path, name: str) -> Path:
    absolute = data_dir.absolute()
    return absolute if absolute.name == name else absolute / name


def _parquet(layout: CifarLayout, data_dir: Path) -> ParquetShards | None:
    shards = find_shards(data_dir, layout.name)
    return ParquetShards(layout, shards) if shards else None
