"""A case on a grid of cells, and the distances that the theorems speak of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bench_mesa.density import Grid
from bench_mesa.theory.cases import Case

COUNTS = (1, 2, 4, 8, 16)
"""N: how many levels a staircase has. Each count divides the last, so its levels are among those
of the last, and one fit serves all."""

_SIDE = {1: 80, 2: 32}
_FINER = {1: 64, 2: 12}
"""Points along each axis of a cell: means and volumes are sums over these."""


def levels_of(count: int) -> Float[Tensor, " levels"]:
    """Return βᵢ = i/N in 64 bits."""
    return torch.arange(1, count + 1, dtype=torch.float64) / count


def within_last(count: int) -> list[int]:
    """Return where the levels of a staircase of `count` are among those of the largest."""
    every = COUNTS[-1] // count
    return [every * number - 1 for number in range(1, count + 1)]


def total_variation(
    first: Float[Tensor, "*stack cells"], second: Float[Tensor, "*stack cells"]
) -> Float[Tensor, "*stack"]:
    """Return half the L1 distance of two densities on equal cells, after normalising; in [0, 1].

    A function that is 0 everywhere stands for all mass on a point, which is at distance 1 from
    every density: so is the staircase of N = 1, whose only level set is the summit.
    """
    sums = first.sum(dim=-1, keepdim=True), second.sum(dim=-1, keepdim=True)
    either = (sums[0] > 0) & (sums[1] > 0)
    shares = [
        one / total.clamp_min(1e-300) for one, total in zip((first, second), sums, strict=True)
    ]
    return torch.where(either[..., 0], (shares[0] - shares[1]).abs().sum(dim=-1) / 2, 1.0)


@dataclass(frozen=True)
class Canvas:
    """f, F and the level sets of a case, in 64 bits, at points that fill every cell evenly."""

    case: Case
    grid: Grid
    f: Float[Tensor, " points"]
    testing: Float[Tensor, " points"]
    cell: Tensor

    @classmethod
    def of(cls, case: Case) -> Canvas:
        """Evaluate a case."""
        side, finer = _SIDE[case.dimension], _FINER[case.dimension]
        grid = Grid(case.dimension, side)
        points = Grid(case.dimension, side * finer).centres()
        f = case.shape(points)
        return cls(case, grid, f, case.link.forward(f), grid.cell_of(points))

    def in_cells(self, values: Float[Tensor, " points"]) -> Float[Tensor, " cells"]:
        """Return the mean in each cell."""
        sums = torch.zeros(self.grid.cells, dtype=torch.float64)
        sums.index_add_(0, self.cell, values.double())
        return sums * self.grid.cells / len(values)

    def volumes(self, levels: Float[Tensor, " levels"]) -> Float[Tensor, " levels"]:
        """Return the volume of each level set {F ≥ β}; the cube's is 1."""
        return torch.stack([(self.testing >= level).double().mean() for level in levels])

    def level_sets(self, levels: Float[Tensor, " levels"]) -> Float[Tensor, "levels cells"]:
        """Return the part of each cell that lies in each level set."""
        return torch.stack([self.in_cells(self.testing >= level) for level in levels])
