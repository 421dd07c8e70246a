"""Clean activations of a data set, kept so that no search step computes them again."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from benchmark.primitives.batches import to_unit
from benchmark.primitives.local.boxes import Box
from benchmark.primitives.local.layout import lay_out, lay_out_clean
from benchmark.primitives.local.program import Conv, Program
from benchmark.primitives.local.regions import Region
from benchmark.primitives.local.trunk import Trunk

_CHUNK = 250
"""Images at a time, at most."""
_WORKING_BYTES = 2**30
"""What the activations of one such chunk may take; a large network's are tens of MiB an image."""


def activations(
    trunk: Trunk,
    program: Program,
    images: UInt8[Tensor, "count 3 height width"],
    stamp: tuple[int, int],
    room: int,
) -> dict[int, Tensor]:
    """Return clean values of all images, as many as fit in `room` bytes, the last ones first.

    Those are candidates that a stamp of size `stamp` in the middle of an image is pasted into. The
    last ones first, because what is computed only for them need not be computed either.
    """
    trunk.remember({})
    size = (images.shape[2], images.shape[3])
    chosen, cost = _fitting(trunk, program, images, _candidates(program, size, stamp), room)
    chunk = max(1, min(_CHUNK, _WORKING_BYTES // max(1, cost)))
    kept: dict[int, Tensor] = {}
    for start in range(0, len(images) if chosen else 0, chunk):
        whole = _whole(trunk, program, images[start : start + chunk], chosen)
        for number in chosen:
            pixels = whole[number].pixels.permute(0, 2, 3, 1)
            if number not in kept:
                kept[number] = pixels.new_empty((len(images), *pixels.shape[1:]))
            kept[number][start : start + chunk] = pixels
    return kept


def _candidates(program: Program, size: tuple[int, int], stamp: tuple[int, int]) -> list[int]:
    """Return the values to be pasted from, the last first; what no convolution made is cheap."""
    top, left = (size[0] - stamp[0]) // 2, (size[1] - stamp[1]) // 2
    layout = lay_out(program, size, Box(top, left, top + stamp[0], left + stamp[1]))
    kinds = [isinstance(layer, Conv) for layer in program.layers]
    first = kinds.index(True) + 1
    return [n for n in reversed(range(first, len(kinds) + 1)) if layout.pasted[n] is not None]


def _fitting(
    trunk: Trunk, program: Program, images: Tensor, candidates: list[int], room: int
) -> tuple[set[int], int]:
    """Return the first of the candidates, as many as fit, and the bytes of one image's pass."""
    whole = _whole(trunk, program, images[:1], set(candidates))
    chosen, left = set(), room
    for number in sorted(candidates, reverse=True):
        left -= whole[number].pixels.nbytes * len(images)
        if left < 0:
            break
        chosen.add(number)
    return chosen, sum(region.pixels.nbytes for region in whole.values())


@torch.no_grad()
def _whole(trunk: Trunk, program: Program, images: Tensor, numbers: set[int]) -> dict[int, Region]:
    """Return the whole of clean values, and whatever they are computed from."""
    layout = lay_out_clean(program, (images.shape[2], images.shape[3]), numbers)
    values = trunk.clean(to_unit(images), layout)
    return {number: region for number, region in enumerate(values) if region is not None}
