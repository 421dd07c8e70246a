"""Triggers from an attack file: patterns or images with their masks, as numbers. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from benchmark.errors import UserError
from benchmark.types import Pixels, Plane, Trigger

Value = Annotated[float, Field(ge=0, le=1)]
Grid = tuple[tuple[Value, ...], ...]
"""Rows of numbers from 0 to 1."""
Pattern = tuple[tuple[Value | tuple[Value, Value, Value], ...], ...]
"""Rows of grey values, or of red, green and blue, from 0 to 1."""


@dataclass(frozen=True)
class Patch:
    """Pixels of shape (3, height, width), or (4, height, width) where some are transparent."""

    pixels: Pixels

    def cropped(self, trigger: Trigger) -> Trigger:
        """Return a trigger with a fixed place without the rows and columns that hide nothing."""
        if len(self.pixels) == 3 or trigger.place is None:
            return trigger
        opacity = self.pixels[3]
        rows = [at for at, row in enumerate(opacity) if any(row)]
        columns = [at for at, column in enumerate(zip(*opacity, strict=True)) if any(column)]
        (top, bottom), (left, right) = (rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)
        inside = tuple(tuple(row[left:right] for row in plane[top:bottom]) for plane in self.pixels)
        place = (trigger.place[0] + top, trigger.place[1] + left)
        return replace(trigger, pixels=_without_opacity(inside), place=place)


def read_patch(source: Pattern | str, mask: Grid | str | None, told_in: Path) -> Patch:
    """Return a pattern, or the image file `source`, with its mask.

    Files lie relative to the file `told_in`. An image's own transparency counts if there is no
    mask. Raises `UserError` for rows of several lengths, for a file that is no image, and for a
    mask that is of another size or hides nothing.
    """
    planes = _image(source, told_in) if isinstance(source, str) else _pattern(source, told_in)
    if mask is not None:
        opacity = _mask_image(mask, told_in) if isinstance(mask, str) else _even(mask, told_in)
        if _size(opacity) != _size(planes[0]):
            sizes = " and ".join("{} x {}".format(*_size(one)) for one in (opacity, planes[0]))
            raise UserError(f"{told_in}: trigger: mask and pixels differ in size: {sizes}")
        planes = (*planes[:3], opacity)
    if len(planes) > 3 and not any(map(any, planes[3])):
        raise UserError(f"{told_in}: trigger: all of it is transparent")
    return Patch(_without_opacity(planes))


def _without_opacity(planes: Pixels) -> Pixels:
    """Return the colours alone if nothing is transparent: an ordinary patch."""
    opaque = len(planes) < 4 or all(value == 1 for row in planes[3] for value in row)
    return planes[:3] if opaque else planes


def _pattern(pattern: Pattern, told_in: Path) -> Pixels:
    rows = _even(pattern, told_in)
    colours = [[cell if isinstance(cell, tuple) else (cell,) * 3 for cell in row] for row in rows]
    return tuple(
        tuple(tuple(float(cell[channel]) for cell in row) for row in colours)
        for channel in range(3)
    )


def _even(rows: Sequence[Sequence[object]], told_in: Path) -> tuple[tuple, ...]:
    if not rows or not rows[0] or len({len(row) for row in rows}) > 1:
        raise UserError(f"{told_in}: trigger: its rows are empty or of several lengths")
    return tuple(map(tuple, rows))


def _size(plane: Plane) -> tuple[int, int]:
    return len(plane), len(plane[0])


def _image(name: str, told_in: Path) -> Pixels:
    return _planes(name, told_in, "RGBA")


def _mask_image(name: str, told_in: Path) -> Plane:
    return _planes(name, told_in, "L")[0]


def _planes(name: str, told_in: Path, mode: str) -> Pixels:
    """Return each channel of an image file, 0 to 1."""
    import numpy as np
    from PIL import Image

    from benchmark.builtin.datasets.own.decoding import eight_bits

    path = told_in.parent / expanded(name)
    try:
        with Image.open(path) as image:
            levels = np.asarray(eight_bits(image).convert(mode), dtype=np.float64) / 255
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "it is no image that can be read"
        raise UserError(f"{told_in}: trigger: cannot read {path}: {reason.lower()}") from error
    channels = levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)
    return tuple(tuple(map(tuple, plane.tolist())) for plane in channels)


def expanded(name: str) -> Path:
    """Return a path with `~` read as a home folder; as it is where nobody has that name."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)
