"""One parquet shard: what it must hold, and its images decoded."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64, UInt8
from PIL import Image

from benchmark.builtin.datasets.cifar_layout import CIFAR10, CIFAR100, CifarLayout
from benchmark.errors import UserError

_IMAGE_COLUMNS = ("img", "image")
_FORMATS = ("PNG", "WEBP", "JPEG")
_AGAIN = "download it again"
_TOLD_APART = (CIFAR100, CIFAR10)
"""Looked for in this order: some shards of CIFAR-100 have the other's column as well."""


def check_shard(layout: CifarLayout, path: Path) -> None:
    """Raise `UserError` unless the file is a parquet file with the columns of this data set."""
    with _readable(path), pq.ParquetFile(path) as shard:
        _columns(layout, path, shard.schema_arrow)


def read_shard(
    layout: CifarLayout, path: Path
) -> tuple[UInt8[np.ndarray, "count 3 32 32"], Int64[np.ndarray, " count"]]:
    """Return the images and labels in the order of the rows.

    Raises `UserError`, naming the file and the row, if anything in it is damaged or out of range.
    """
    with _readable(path), pq.ParquetFile(path, page_checksum_verification=True) as shard:
        image, label = _columns(layout, path, shard.schema_arrow)
        table = shard.read([image, label])
    labels = _labels(layout, path, table.column(label))
    return _decode_all(path, table.column(image).to_pylist()), labels


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # a column's name
        reason = str(error).splitlines()[0][:120]
        raise UserError(f"{path} is no readable parquet file: {reason}", _AGAIN) from error


def _columns(layout: CifarLayout, path: Path, schema: pa.Schema) -> tuple[str, str]:
    """Return the names of the image and the label column, having checked their types."""
    held = next((known for known in _TOLD_APART if known.label_column in schema.names), layout)
    if held.name != layout.name:
        raise UserError(
            f"{path} holds {held.name}, not {layout.name}", f"run with --dataset {held.name}"
        )
    image = next((name for name in _IMAGE_COLUMNS if name in schema.names), None)
    if image is None or not _holds_bytes(schema.field(image).type):
        raise UserError(f"{path} has no column 'img' or 'image' with the bytes of image files")
    label = layout.label_column
    if label not in schema.names or not pa.types.is_integer(schema.field(label).type):
        raise UserError(f"{path} has no column {label!r} with whole numbers")
    _require_class_names(layout, path, schema)
    return image, label


def _holds_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(field.name == "bytes" for field in kind)


def _require_class_names(layout: CifarLayout, path: Path, schema: pa.Schema) -> None:
    """Raise `UserError` if the metadata that hubs add name other classes; a typo is forgiven."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])
        names = list(told["info"]["features"][layout.label_column]["names"])
    except (KeyError, TypeError, ValueError):
        return
    same = sum(a == b for a, b in zip(names, layout.class_names, strict=False))
    if same < 0.9 * max(len(names), len(layout.class_names)):
        some = ", ".join(map(str, names[:3]))
        raise UserError(f"{path} is not {layout.name}: its {len(names)} classes are {some} ...")


def _labels(
    layout: CifarLayout, path: Path, column: pa.ChunkedArray
) -> Int64[np.ndarray, " count"]:
    if column.null_count:
        raise UserError(f"{path} has {column.null_count} rows without a label", _AGAIN)
    labels: np.ndarray = column.to_numpy().astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(layout.class_names)))
    if len(wrong):
        raise UserError(
            f"{path}: row {wrong[0]} has label {labels[wrong[0]]}, which is not in 0 to "
            f"{len(layout.class_names) - 1}",
            f"is it {layout.name}?",
        )
    return labels


def _decode_all(path: Path, cells: list[Any]) -> UInt8[np.ndarray, "count 3 32 32"]:
    images = np.empty((len(cells), 32, 32, 3), dtype=np.uint8)

    def decode(rows: range) -> None:
        for row in rows:
            images[row] = _decode(path, row, cells[row])

    blocks = [range(at, min(at + 256, len(cells))) for at in range(0, len(cells), 256)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(decode, blocks):
            pass
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _decode(path: Path, row: int, cell: Any) -> UInt8[np.ndarray, "32 32 3"]:
    if not cell or not cell["bytes"]:
        raise UserError(f"{path}: row {row} has no image", _AGAIN)
    try:
        with Image.open(io.BytesIO(cell["bytes"]), formats=_FORMATS) as image:
            if image.size != (32, 32) or image.mode != "RGB":
                width, height = image.size
                raise UserError(
                    f"{path}: the image in row {row} is {width} x {height} {image.mode}, "
                    "not 32 x 32 RGB"
                )
            return np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: the image in row {row} is damaged", _AGAIN) from error
