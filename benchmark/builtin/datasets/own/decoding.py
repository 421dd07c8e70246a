"""Image files of users, decoded to one size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from benchmark.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_LYING = (5, 6, 7, 8)
"""Orientations noted in a photograph for which height and width change places."""
_BLOCK = 256
Opened = tuple[Path | io.BytesIO, str]
"""What Pillow opens, and its name in messages."""


def size_of(source: Path | io.BytesIO, name: str) -> tuple[int, int]:
    """Return height and width of an image, turned upright; raises `UserError` if it is none."""
    try:
        with Image.open(source, formats=FORMATS) as image:
            lying = image.getexif().get(ExifTags.Base.Orientation) in _LYING
            return (image.width, image.height) if lying else (image.height, image.width)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _damaged(name) from error


def decode_all(
    count: int, open_: Callable[[int], Opened], size: tuple[int, int], scaled: bool
) -> np.ndarray:
    """Return `count` images as uint8 of shape (count, 3, height, width), decoded in threads.

    Grey ones become RGB. Raises `UserError` that names the first one that is damaged, or that is
    not of `size` where images are not to be `scaled`.
    """
    images = np.empty((count, *size, 3), dtype=np.uint8)

    def decode(numbers: range) -> None:
        for number in numbers:
            images[number] = _decode(*open_(number), size, scaled)

    blocks: Sequence[range] = [range(at, min(at + _BLOCK, count)) for at in range(0, count, _BLOCK)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(decode, blocks):
            pass
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _decode(
    source: Path | io.BytesIO, name: str, size: tuple[int, int], scaled: bool
) -> np.ndarray:
    try:
        with Image.open(source, formats=FORMATS) as image:
            found = eight_bits(ImageOps.exif_transpose(image)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _damaged(name) from error
    return fit(found, name, size, scaled)


def eight_bits(image: Image.Image) -> Image.Image:
    """Return an image of 16-bit grey with the upper 8, as Pillow reads 16-bit colours.

    Pillow's own conversion cuts everything above 255 off, which leaves white. Others stay.
    """
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))


def fit(image: Image.Image, name: str, size: tuple[int, int], scaled: bool) -> np.ndarray:
    """Return an image as uint8 of shape (height, width, 3): cropped in the middle and scaled."""
    height, width = size
    if image.size == (width, height):
        return np.asarray(image)
    if not scaled:
        raise UserError(
            f"{name} is {image.width} x {image.height}, the first image {width} x {height}",
            "--set dataset.size=32 scales all to one size",
        )
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))


def _damaged(name: str) -> UserError:
    return UserError(f"{name} is damaged, or no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image")
