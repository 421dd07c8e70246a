"""Parquet files with a column of encoded images and one of labels, as dataset hubs publish them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.builtin.datasets.files import stamp
from benchmark.builtin.datasets.own.numbers import names_of
from benchmark.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from benchmark.builtin.datasets.own.decoding import Opened

_IMAGES = ("image", "img", "images")
_LABELS = ("label", "labels", "fine_label", "class", "target", "y")


@dataclass(frozen=True)
class Tables:
    """The files; those with `train` and `test` (or `val`) in their names are the two splits."""

    where: Path
    files: tuple[Path, ...]

    def key(self) -> str:
        """Return a key of the files."""
        return stamp(self.files)

    def classes(self) -> tuple[str, ...]:
        """Return the names in the metadata that hubs add; or the labels, sorted."""
        if self._told:
            return self._told
        values = {value for column in self._labels.values() for value in column}
        if all(isinstance(value, int) for value in values):
            return names_of(values, self.where)
        return tuple(sorted(map(str, values)))

    def labels(self) -> dict[str, Sequence[int]]:
        """Return the class numbers of each split."""
        names = self.classes()
        numbers = {name: number for number, name in enumerate(names)}
        found: dict[str, Sequence[int]] = {}
        for split, column in self._labels.items():
            coded = [one if isinstance(one, int) else numbers[str(one)] for one in column]
            if min(coded) < 0 or max(coded) >= len(names):
                odd = min(coded) if min(coded) < 0 else max(coded)
                raise UserError(f"{self.where}: there is a label {odd}, and {len(names)} classes")
            found[split] = coded
        return found

    def first_size(self) -> tuple[int, int]:
        """Return height and width of the first image."""
        from benchmark.builtin.datasets.own.decoding import size_of

        path = next(iter(self._splits.values()))[0]
        return size_of(*_opened(next(self._cells(path)), path, 0))

    def images(self, split: str, size: tuple[int, int], scaled: bool) -> np.ndarray:
        """Return the images of a split, decoded."""
        from benchmark.builtin.datasets.own.decoding import decode_all

        paths = self._splits[split]
        cells = [(cell, path, at) for path in paths for at, cell in enumerate(self._cells(path))]
        return decode_all(len(cells), lambda number: _opened(*cells[number]), size, scaled)

    @cached_property
    def _splits(self) -> Mapping[str, Sequence[Path]]:
        train = [path for path in self.files if "train" in path.name]
        # Where both are there, images were held back for validation: they are no test images.
        test = [path for path in self.files if "test" in path.name]
        test = test or [path for path in self.files if "val" in path.name]
        both = set(train) & set(test) or not (train and test)
        return {"all": self.files} if both else {"train": train, "test": test}

    @cached_property
    def _columns(self) -> tuple[str, str]:
        """Return the names of the image and the label column of the first file."""
        import pyarrow as pa

        schema = self._schema
        images = [n for n in _IMAGES if n in schema.names and _holds_files(schema.field(n).type)]
        kinds = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
        labels = [
            name
            for name in _LABELS
            if name in schema.names and any(kind(schema.field(name).type) for kind in kinds)
        ]
        if not images or not labels:
            raise UserError(
                f"{self.files[0]} has the columns {', '.join(schema.names)}",
                "wanted: image (the bytes of image files) and label (numbers or texts)",
            )
        return images[0], labels[0]

    @cached_property
    def _schema(self) -> Any:
        import pyarrow.parquet as pq

        with _readable(self.files[0]), pq.ParquetFile(self.files[0]) as file:
            _ = file.schema_arrow.names  # decoded here, where damage is named
            return file.schema_arrow

    @cached_property
    def _told(self) -> tuple[str, ...]:
        try:
            told = json.loads((self._schema.metadata or {})[b"huggingface"])
            return tuple(map(str, told["info"]["features"][self._columns[1]]["names"]))
        except (KeyError, TypeError, ValueError):
            return ()

    @cached_property
    def _labels(self) -> Mapping[str, list[Any]]:
        name = self._columns[1]
        found = {}
        for split, paths in self._splits.items():
            column = [value for path in paths for value in _column(path, name).to_pylist()]
            if not column or None in column:
                raise UserError(f"{self.where}: a {split} row has no {name}, or there are no rows")
            found[split] = column
        return found

    def _cells(self, path: Path) -> Iterator[Any]:
        return iter(_column(path, self._columns[0]).to_pylist())


def _holds_files(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _column(path: Path, name: str) -> Any:
    import pyarrow.parquet as pq

    with _readable(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        if name not in file.schema_arrow.names:
            raise UserError(f"{path} has no column {name!r}, as the first file has")
        return file.read([name]).column(name)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # a column's name
        reason = str(error).splitlines()[0][:120]
        raise UserError(f"{path} is no readable parquet file: {reason}") from error


def _opened(cell: Any, path: Path, row: int) -> Opened:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not content:
        raise UserError(f"{path}: row {row} has no image")
    return io.BytesIO(content), f"{path}: the image in row {row}"
