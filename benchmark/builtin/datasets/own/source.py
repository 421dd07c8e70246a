"""The data set `files`: which form the files have, told by looking; and its source. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmark.builtin.datasets.own.arrays import ArrayFile
from benchmark.builtin.datasets.own.folders import ClassFolders
from benchmark.builtin.datasets.own.options import FilesOptions
from benchmark.builtin.datasets.own.tables import Tables
from benchmark.errors import UserError
from benchmark.types import DatasetInfo

if TYPE_CHECKING:
    import numpy as np

    from benchmark.contracts import LoadedDataset

_EXAMPLE = "docs/bring-your-own.md shows what it may hold"


class Form(Protocol):
    """Images in one form, found but not yet decoded.

    Every method raises `UserError`, naming the file, for what cannot be read or makes no sense.
    """

    @property
    def where(self) -> Path:
        """The folder or file."""

    def key(self) -> str:
        """Return a cheap key of the files."""

    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes; numbers where there are no names."""

    def labels(self) -> dict[str, Sequence[int]]:
        """Return the class number of each image of each split: `train` and `test`, or `all`."""

    def first_size(self) -> tuple[int, int]:
        """Return height and width of the first image."""

    def images(self, split: str, size: tuple[int, int], scaled: bool) -> np.ndarray:
        """Return the images of a split, uint8 of shape (count, 3, height, width).

        They are `scaled` to `size`, or must have it already.
        """


def find_form(data_dir: Path | None) -> Form:
    """Return the form that is there; raises `UserError` if there is none."""
    if data_dir is None:
        raise UserError("the data set 'files' needs --data-dir", _EXAMPLE)
    if data_dir.suffix == ".npz" and data_dir.is_file():
        return ArrayFile(data_dir)
    if data_dir.suffix == ".parquet" and data_dir.is_file():
        return Tables(data_dir, (data_dir,))
    if data_dir.is_file():
        raise UserError(f"{data_dir} is neither an .npz nor a .parquet file", _EXAMPLE)
    if not data_dir.is_dir():
        raise UserError(f"there is no folder or file {data_dir}", "check --data-dir")
    tables = tuple(sorted(data_dir.glob("*.parquet")))
    if tables:
        return Tables(data_dir, tables)
    arrays = sorted(data_dir.glob("*.npz"))
    if len(arrays) == 1:
        return ArrayFile(arrays[0])
    return ClassFolders.found_in(data_dir, _EXAMPLE)


def look(options: FilesOptions, data_dir: Path | None) -> DatasetInfo:
    """Return what the files hold: the number of classes, and the size that images will have."""
    form = find_form(data_dir)
    return DatasetInfo(len(form.classes()), _size(form, options))


def _size(form: Form, options: FilesOptions) -> tuple[int, int]:
    return (options.size, options.size) if options.size else form.first_size()


@dataclass(frozen=True)
class Files:
    """Decodes a user's own images."""

    options: FilesOptions

    def fingerprint_inputs(self, data_dir: Path | None, cache_dir: Path) -> str:
        """Return a key of the files; raises `UserError` if there are none."""
        return find_form(data_dir).key()

    def load(self, data_dir: Path | None, cache_dir: Path) -> LoadedDataset:
        """Return the images. Raises `UserError`, naming the file, for whatever is wrong with it."""
        from benchmark.builtin.datasets.arrays import image_set
        from benchmark.builtin.datasets.own.splitting import split
        from benchmark.contracts import LoadedDataset

        form = find_form(data_dir)
        names, size = form.classes(), _size(form, self.options)
        parts: dict[str, Any] = {
            name: (form.images(name, size, self.options.size is not None), labels)
            for name, labels in form.labels().items()
        }
        train, test = split(parts, names, self.options, form.where)
        return LoadedDataset(image_set(*train), image_set(*test), names)
