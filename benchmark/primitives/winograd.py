"""3×3 convolutions by a quarter of the multiplications: Winograd's minimal filtering.

A tile of 4×4 outputs is computed from 36 products a pair of channels instead of 144 (F(4×4, 3×3) of
Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, arXiv 1509.09308): tiles
of inputs and the filters are taken to 36 points, multiplied there, and the products taken back.
Equal to a convolution up to float rounding (some 1e-5 of the largest output in float32). Between
the points lie products of matrices, so it pays where there are many channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

TILE, POINTS = 4, 6
"""Outputs of a tile along an axis, and points that they are computed from."""
FEWEST_CHANNELS = 128
"""In and out, from which on it was measured to pay."""
_DENSEST = 0.4
"""Share of a convolution's multiplications up to which it pays, there and back included."""
_FEWEST_TILES, _MOST_TILES = 16, 128
"""At once: fewer do not pay for reading the filters, four times as large at the points; more leave
the processor's caches between one step and the next."""

# Interpolation at 0, 1, -1, 2, -2 and infinity.
_ANALYSIS = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_SYNTHESIS = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
_FILTERS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def suits(weight: Float[Tensor, "outputs inputs height width"]) -> bool:
    """Say whether convolutions of stride 1 with these filters may be faster this way.

    That is on a CPU, and in no half precision: the way to the points would cost its digits.
    """
    multiplies = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    here = weight.device.type == "cpu" and multiplies
    many = min(weight.shape[:2]) >= FEWEST_CHANNELS
    exact = weight.dtype in (torch.float32, torch.float64)
    return many and here and weight.shape[2:] == (3, 3) and exact


def pays(images: torch.Size, outputs: int, padding: tuple[int, int]) -> bool:
    """Say whether it pays for images of this shape; `outputs` are the filters', which suit."""
    count, inputs, height, width = images
    rows, columns = height + 2 * padding[0] - 2, width + 2 * padding[1] - 2
    if min(rows, columns) < 1:
        return False
    tiles = -(-rows // TILE) * -(-columns // TILE)
    taken = inputs * outputs + height * width * inputs + rows * columns * outputs
    share = POINTS**2 * tiles * taken / (9 * rows * columns * inputs * outputs)
    return share <= _DENSEST and count * tiles >= _FEWEST_TILES


def at_points(
    weight: Float[Tensor, "outputs inputs 3 3"],
) -> Float[Tensor, "points inputs outputs"]:
    """Return filters as `convolved` takes them; a view of points, outputs, inputs."""
    outputs, inputs = weight.shape[:2]
    taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
    return (_filters(weight.dtype) @ taps).view(-1, outputs, inputs).transpose(1, 2)


def convolved(
    images: Float[Tensor, "count inputs height width"],
    filters: Float[Tensor, "points inputs outputs"],
    bias: Float[Tensor, " outputs"] | None = None,
    padding: tuple[int, int] = (0, 0),
) -> Float[Tensor, "count outputs rows columns"]:
    """Return the convolution of stride 1 with filters `at_points`, channels-last."""
    tiling = _tiling(images.shape[2], images.shape[3], padding, images.dtype)
    outputs = filters.shape[2]
    found = torch.empty(
        (len(images), outputs, *tiling.outputs),
        dtype=images.dtype,
        memory_format=torch.channels_last,
    )
    for part in _parts(len(images), tiling.tiles):
        points = _to_points(images[part], tiling.analysis)
        made = tiling.synthesis @ torch.bmm(points, filters).view(len(tiling.synthesis.T), -1)
        laid = made.view(*tiling.outputs, -1, outputs)
        found[part] = (laid if bias is None else laid.add_(bias)).permute(2, 3, 0, 1)
    return found


def weight_gradient(
    images: Float[Tensor, "count inputs height width"],
    gradient: Float[Tensor, "count outputs rows columns"],
    padding: tuple[int, int],
) -> Float[Tensor, "outputs inputs 3 3"]:
    """Return the gradient in the filters, given that in the outputs of stride 1."""
    tiling = _tiling(images.shape[2], images.shape[3], padding, images.dtype)
    total = images.new_zeros(POINTS**2, gradient.shape[1], images.shape[1])
    for part in _parts(len(images), tiling.tiles):
        points = _to_points(images[part], tiling.analysis)
        back = _to_points(gradient[part], tiling.synthesis.T)
        total.baddbmm_(back.transpose(1, 2), points)
    taps = _filters(images.dtype).T @ total.flatten(1)
    return taps.view(3, 3, *total.shape[1:]).permute(2, 3, 0, 1)


@lru_cache
def _filters(dtype: torch.dtype) -> Float[Tensor, "points taps"]:
    """Return what takes the nine taps of a filter to its points."""
    with torch.inference_mode(False):  # kept: later calls may be of another mode
        along = torch.tensor(_FILTERS, dtype=dtype)
        return torch.kron(along, along)


@dataclass(frozen=True)
class _Tiling:
    """What is done with images of one size."""

    tiles: int
    outputs: tuple[int, int]
    analysis: Float[Tensor, "points*tiles height*width"]
    """From pixels to the points of all tiles; zeros around the image are left out."""
    synthesis: Float[Tensor, "rows*columns points*tiles"]


@lru_cache(maxsize=512)
def _tiling(height: int, width: int, padding: tuple[int, int], dtype: torch.dtype) -> _Tiling:
    with torch.inference_mode(False):
        (by_rows, to_rows), (by_columns, to_columns) = (
            _axis(size, around, dtype)
            for size, around in zip((height, width), padding, strict=True)
        )
        tiles, outputs = (len(by_rows), len(by_columns)), (len(to_rows), len(to_columns))
        # Points first, then tiles: each point's tiles are then one matrix.
        analysis = torch.einsum("tah,ubw->abtuhw", by_rows, by_columns)
        synthesis = torch.einsum("hta,wub->hwabtu", to_rows, to_columns)
    return _Tiling(
        tiles[0] * tiles[1],
        outputs,
        analysis.reshape(-1, height * width),
        synthesis.reshape(outputs[0] * outputs[1], -1),
    )


def _axis(
    size: int, padding: int, dtype: torch.dtype
) -> tuple[Float[Tensor, "tiles points size"], Float[Tensor, "outputs tiles points"]]:
    """Return analysis and synthesis along one axis."""
    outputs = size + 2 * padding - 2
    tiles = -(-outputs // TILE)
    analysis = torch.zeros(tiles, POINTS, size, dtype=dtype)
    synthesis = torch.zeros(outputs, tiles, POINTS, dtype=dtype)
    taken, made = (torch.tensor(one, dtype=dtype) for one in (_ANALYSIS, _SYNTHESIS))
    for tile in range(tiles):
        first = TILE * tile - padding
        inside = range(max(0, first), min(size, first + POINTS))
        analysis[tile, :, inside.start : inside.stop] = taken[:, [at - first for at in inside]]
        mine = synthesis[TILE * tile : TILE * (tile + 1), tile]
        mine.copy_(made[: len(mine)])
    return analysis, synthesis


def _parts(count: int, tiles: int) -> Iterator[slice]:
    """Yield the images to be taken together."""
    step = max(1, _MOST_TILES // tiles)
    return (slice(start, start + step) for start in range(0, count, step))


def _to_points(
    pixels: Float[Tensor, "count channels height width"],
    analysis: Float[Tensor, "points*tiles height*width"],
) -> Float[Tensor, "points tiles channels"]:
    """Return the tiles of images at the 36 points; `tiles` are those of all images."""
    # Rows, columns, images, channels: then it is one product of matrices.
    laid = pixels.permute(2, 3, 0, 1).reshape(analysis.shape[1], -1)
    return (analysis @ laid).view(POINTS**2, -1, pixels.shape[1])
