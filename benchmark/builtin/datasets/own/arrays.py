"""An `.npz` file with arrays of images and labels, under the names that are usual."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.builtin.datasets.files import stamp
from benchmark.builtin.datasets.own.numbers import names_of
from benchmark.errors import UserError

if TYPE_CHECKING:
    import numpy as np

_IMAGES = ("images", "x", "data", "arr_0")
_LABELS = ("labels", "y", "targets", "arr_1")
_TEST = ("test", "val")


@dataclass(frozen=True)
class ArrayFile:
    """The file; its arrays are read when they are asked for, and never as pickles."""

    where: Path

    def key(self) -> str:
        """Return a key of the file."""
        return stamp([self.where])

    def classes(self) -> tuple[str, ...]:
        """Return the class numbers as texts."""
        return names_of([label for part in self._labels.values() for label in part], self.where)

    def labels(self) -> dict[str, Sequence[int]]:
        """Return the class numbers of each split."""
        return dict(self._labels)

    def first_size(self) -> tuple[int, int]:
        """Return height and width of the images."""
        name = next(iter(self._names.values()))[0]
        return self._layout(name, self._shape(name))[:2]

    def images(self, split: str, size: tuple[int, int], scaled: bool) -> np.ndarray:
        """Return the images of a split."""
        import numpy as np
        from PIL import Image

        from benchmark.builtin.datasets.own.decoding import fit

        pixels = self._pixels(split)
        count = len(self._labels[split])
        if len(pixels) != count:
            raise UserError(f"{self.where}: {len(pixels)} {split} images and {count} labels")
        if pixels.shape[1:3] != size:
            found = (Image.fromarray(one) for one in pixels)
            pixels = np.stack([fit(one, str(self.where), size, scaled) for one in found])
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))

    @cached_property
    def _names(self) -> Mapping[str, tuple[str, str]]:
        """Split → the names of its images and its labels."""
        with self._readable(), zipfile.ZipFile(self.where) as file:
            names = [name.removesuffix(".npy") for name in file.namelist()]
        held = {name.lower(): name for name in names}
        for test in _TEST:
            parts = {"train": _pair(held, "train"), "test": _pair(held, test)}
            if all(parts.values()):
                return {split: pair for split, pair in parts.items() if pair}
        whole = _pair(held, "")
        if whole is None:
            raise UserError(
                f"{self.where} holds {', '.join(held) or 'nothing'}",
                "wanted: x_train, y_train, x_test, y_test; or images, labels",
            )
        return {"all": whole}

    @cached_property
    def _labels(self) -> Mapping[str, list[int]]:
        import numpy as np

        found = {}
        for split, (_, name) in self._names.items():
            labels = self._array(name)
            if labels.ndim == 2 and labels.shape[1] == 1:
                labels = labels[:, 0]
            if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or not len(labels):
                raise UserError(
                    f"{self.where}: {name} is {labels.dtype} of shape {labels.shape}, not one "
                    "class number an image"
                )
            found[split] = labels.astype(np.int64).tolist()
        return found

    def _pixels(self, split: str) -> np.ndarray:
        """Return a split's images as uint8 of shape (count, height, width, 3)."""
        import numpy as np

        name = self._names[split][0]
        pixels = self._array(name)
        height, width, channels = self._layout(name, pixels.shape)
        if pixels.ndim == 4 and pixels.shape[1:] == (channels, height, width):
            pixels = pixels.transpose(0, 2, 3, 1)
        levels = self._levels(name, pixels.reshape(-1, height, width, channels))
        return np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:3], 3)))

    def _layout(self, name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return height, width and channels; these come last, or after the count."""
        if 0 not in shape:
            if len(shape) == 3:
                return shape[1], shape[2], 1
            if len(shape) == 4 and shape[3] in (1, 3):
                return shape[1], shape[2], shape[3]
            if len(shape) == 4 and shape[1] in (1, 3):
                return shape[2], shape[3], shape[1]
        raise UserError(
            f"{self.where}: {name} has shape {shape}, not (count, height, width) with 1 or 3 "
            "channels at the end or after the count"
        )

    def _levels(self, name: str, pixels: np.ndarray) -> np.ndarray:
        """Return uint8 as it is, and floats in [0, 1] as the nearest of 256 levels."""
        import numpy as np

        if pixels.dtype == np.uint8:
            return pixels
        if np.issubdtype(pixels.dtype, np.floating) and pixels.min() >= 0 and pixels.max() <= 1:
            levels: np.ndarray = np.rint(pixels * 255).astype(np.uint8)
            return levels
        raise UserError(
            f"{self.where}: {name} is {pixels.dtype} from {pixels.min():g} to {pixels.max():g}",
            "save uint8 from 0 to 255, or floats from 0 to 1",
        )

    def _shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape without reading the array."""
        from numpy.lib import format as npy

        with (
            self._readable(),
            zipfile.ZipFile(self.where) as file,
            file.open(f"{name}.npy") as part,
        ):
            version = npy.read_magic(part)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            return tuple(header(part)[0])

    def _array(self, name: str) -> np.ndarray:
        import numpy as np

        with self._readable(), np.load(self.where, allow_pickle=False) as file:
            array: np.ndarray = file[name]
        return array

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            reason = str(error).splitlines()[0][:100] if str(error) else "damaged"
            raise UserError(f"{self.where} is no readable .npz file: {reason}") from error


def _pair(held: Mapping[str, str], split: str) -> tuple[str, str] | None:
    """Return the names of images and labels of a split, or of all if `split` is empty."""
    found = []
    for words in (_IMAGES, _LABELS):
        names = [f"{word}_{split}" for word in words] + [f"{split}_{word}" for word in words]
        known = names if split else words
        found.append(next((held[name] for name in known if name in held), None))
    images, labels = found
    return (images, labels) if images and labels else None
