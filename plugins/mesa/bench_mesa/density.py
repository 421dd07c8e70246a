"""Densities of samples in the unit cube, where a grid of cells can hold them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

LARGEST_DIMENSION = 3
"""Above it, cells are too many to be filled by samples: a trigger has 27 dimensions."""


class Grid:
    """Equal cells of [0, 1]^dimension, `side` along each axis."""

    def __init__(self, dimension: int, side: int) -> None:
        if not 1 <= dimension <= LARGEST_DIMENSION:
            raise ValueError(
                f"a density on a grid needs 1 to {LARGEST_DIMENSION} dimensions, not {dimension}"
            )
        self.dimension, self.side = dimension, side
        self.cells = side**dimension

    def centres(self) -> Float[Tensor, "cells dimension"]:
        """Return the cells' middles in 64 bits, the last axis fastest."""
        along = (torch.arange(self.side, dtype=torch.float64) + 0.5) / self.side
        axes = torch.meshgrid(*[along] * self.dimension, indexing="ij")
        return torch.stack([axis.flatten() for axis in axes], dim=1)

    def cell_of(self, points: Float[Tensor, "*many dimension"]) -> Int64[Tensor, "*many"]:
        """Return the number of each point's cell, in the order of `centres`."""
        index = (points * self.side).long().clamp(0, self.side - 1)
        powers = [self.side**power for power in reversed(range(self.dimension))]
        return (index * torch.tensor(powers, device=points.device)).sum(dim=-1)

    def density(
        self, points: Float[Tensor, "stack count dimension"]
    ) -> Float[Tensor, "stack cells"]:
        """Return each sample's mean density in each cell; it integrates to 1."""
        counts = [torch.bincount(one, minlength=self.cells) for one in self.cell_of(points)]
        return torch.stack(counts).double() * (self.cells / points.shape[1])
