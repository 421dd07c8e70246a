"""Batches from a whole data set that is resident on the device as one uint8 tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


def batch_indices(
    count: int, batch_size: int, generator: torch.Generator
) -> Iterator[Int64[Tensor, " batch"]]:
    """Yield the indices 0 to `count`-1 in random order, `batch_size` at a time, the rest last."""
    order = torch.randperm(count, generator=generator, device=generator.device)
    yield from torch.split(order, batch_size)


def to_unit(
    images: UInt8[Tensor, "batch 3 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Return pixels 0 to 255 as floats in [0, 1], channels-last in memory (faster convolutions)."""
    return images.to(torch.float32, memory_format=torch.channels_last).mul_(1 / 255)


@dataclass(frozen=True)
class Augment:
    """Random crops after reflecting `padding` pixels at each side, and horizontal flips."""

    padding: int = 0
    flip: bool = False

    def __call__(
        self, images: UInt8[Tensor, "batch 3 height width"], generator: torch.Generator
    ) -> UInt8[Tensor, "batch 3 height width"]:
        """Return augmented images; each image has its own crop and its own flip."""
        if not self.padding and not self.flip:
            return images
        batch, _, height, width = images.shape
        shifts, mirrored = self._draw(batch, generator)
        rows = _reflect(shifts[:, 0, None] + torch.arange(height, device=images.device), height)
        columns = _reflect(shifts[:, 1, None] + torch.arange(width, device=images.device), width)
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
        item = torch.arange(batch, device=images.device)[:, None, None]
        pixels = images.permute(0, 2, 3, 1)[item, rows[:, :, None], columns[:, None, :]]
        return pixels.permute(0, 3, 1, 2)

    def _draw(
        self, batch: int, generator: torch.Generator
    ) -> tuple[Int64[Tensor, "batch 2"], Tensor]:
        draw = torch.rand(batch, 3, generator=generator, device=generator.device)
        shifts = (draw[:, :2] * (2 * self.padding + 1)).long() - self.padding
        mirrored = (draw[:, 2] < 0.5) if self.flip else torch.zeros_like(draw[:, 2]).bool()
        return shifts, mirrored


def _reflect(index: Int64[Tensor, "batch size"], size: int) -> Int64[Tensor, "batch size"]:
    """Fold indices outside 0 to `size`-1 back in, without repeating the border."""
    if size == 1:
        return torch.zeros_like(index)
    index = index.abs() % (2 * (size - 1))  # a wide padding of a small image folds several times
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def normal_batch(
    images: UInt8[Tensor, "count 3 height width"],
    index: Int64[Tensor, " batch"],
    augment: Augment,
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 height width"]:
    """Return one augmented batch as floats in [0, 1]."""
    return to_unit(augment(images[index], generator))
