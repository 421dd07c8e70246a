"""Values on boxes: pasting what a stamp changed into what it did not, convolving windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.primitives import winograd
from benchmark.primitives.local.boxes import Box


@dataclass(frozen=True)
class Filters:
    """A convolution's weights as they are used."""

    weight: Float[Tensor, "outputs inputs height width"]
    bias: Float[Tensor, " outputs"] | None
    stride: tuple[int, int]

    @cached_property
    def suit(self) -> bool:
        """Whether the faster way may be taken (see `winograd`)."""
        return self.stride == (1, 1) and winograd.suits(self.weight)

    @cached_property
    def at_points(self) -> Float[Tensor, "points inputs outputs"]:
        """The weights as that way takes them, four times as large; made when first needed."""
        return winograd.at_points(self.weight)


@dataclass(frozen=True)
class Region:
    """The pixels of a box; zero beyond it."""

    pixels: Float[Tensor, "count channels height width"]
    box: Box

    def cut(self, box: Box) -> Float[Tensor, "count channels h w"]:
        """Return the pixels of a box inside this one; a view."""
        rows, columns = box.within(self.box)
        return self.pixels[:, :, rows, columns]

    def padded(self, window: Box) -> Float[Tensor, "count channels h w"]:
        """Return the pixels of a window that may reach beyond the box, with zeros there."""
        if self.box == window:
            return self.pixels
        if self.box.covers(window):
            return self.cut(window).contiguous(memory_format=torch.channels_last)
        canvas = _canvas(self.pixels, len(self.pixels), window.size)
        common = self.box & window
        if not common.area:  # strides may leave the last rows and columns of an image unseen
            return canvas.zero_()
        rows, columns = common.within(window)
        for beyond in (slice(rows.start), slice(rows.stop, None)):
            canvas[:, :, beyond] = 0
        for beyond in (slice(columns.start), slice(columns.stop, None)):
            canvas[:, :, rows, beyond] = 0
        canvas[:, :, rows, columns] = self.cut(common)
        return canvas


def pasted(
    changed: Region, clean: Region | None, window: Box, image: Box
) -> Float[Tensor, "stamped channels h w"]:
    """Return the window of stamped values: `changed` where it reaches, else `clean`, else zero.

    `changed` holds a multiple of the images of `clean`, image after image; `clean` is needed where
    `changed` does not cover the part of the window that lies in the image.
    """
    if changed.box.covers(window & image) or clean is None:
        return changed.padded(window)
    stamped, images = len(changed.pixels), len(clean.pixels)
    canvas = _canvas(changed.pixels, stamped, window.size)
    around = clean.padded(window) if not clean.box.covers(window) else clean.cut(window)
    canvas.view(stamped // images, images, *canvas.shape[1:]).copy_(around)
    common = changed.box & window
    if common.area:
        rows, columns = common.within(window)
        canvas[:, :, rows, columns] = changed.cut(common)
    return canvas


def convolved(region: Region, window: Box, filters: Filters) -> Float[Tensor, "count channels h w"]:
    """Return the convolution of a window, zero beyond the region, without further padding."""
    weight, bias, stride = filters.weight, filters.bias, filters.stride
    padding = _own_padding(region.box, window, (weight.shape[2], weight.shape[3]), stride)
    pixels = region.pixels if padding is not None else region.padded(window)
    around = padding or (0, 0)
    if filters.suit and winograd.pays(pixels.shape, len(weight), around):
        return winograd.convolved(pixels, filters.at_points, bias, around)
    return nn.functional.conv2d(pixels, weight, bias, stride, around)


def _own_padding(
    box: Box, window: Box, kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int] | None:
    """Return the padding at both sides with which a convolution of `box` is one of `window`."""
    before = box.top - window.top, box.left - window.left
    after = window.bottom - box.bottom, window.right - box.right
    for axis in (0, 1):
        outputs = (window.size[axis] - kernel[axis]) // stride[axis]
        padded = (box.size[axis] + 2 * before[axis] - kernel[axis]) // stride[axis]
        # Strides may leave the last rows and columns unused: then it may have more at the end.
        if not 0 <= after[axis] <= before[axis] or outputs != padded:
            return None
    return before


def _canvas(like: Tensor, count: int, size: tuple[int, int]) -> Tensor:
    """Return an uninitialised channels-last tensor."""
    shape = (count, like.shape[1], *size)
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )
