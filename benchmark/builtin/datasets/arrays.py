"""From numpy arrays to an `ImageSet`, with the checks that every CIFAR form has to pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from benchmark.contracts import ImageSet
from benchmark.errors import UserError


def image_set(
    pixels: UInt8[np.ndarray, "count 3 height width"], labels: Sequence[int] | np.ndarray
) -> ImageSet:
    """Return the arrays as tensors: contiguous uint8 images, int64 labels."""
    images: Any = np.ascontiguousarray(pixels)
    return ImageSet(torch.from_numpy(images), torch.from_numpy(np.array(labels, dtype=np.int64)))


def require_every_class(split: ImageSet, names: Sequence[str], where: str) -> None:
    """Raise `UserError` if a class has no image in `where`; labels are in range already."""
    counts = torch.bincount(split.labels, minlength=len(names))
    empty = [name for name, count in zip(names, counts.tolist(), strict=True) if not count]
    if empty:
        raise UserError(
            f"{where} has no image of class {', '.join(empty[:3])}{' ...' if empty[3:] else ''}",
            "its files are incomplete; download them again",
        )
