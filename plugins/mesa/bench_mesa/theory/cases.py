"""Known densities on the unit interval and square, and the testing functions made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bench_mesa.links import IDENTITY, Link, saturating

Shape = Callable[[Float[Tensor, "points dimension"]], Float[Tensor, " points"]]


@dataclass(frozen=True)
class Case:
    """A density f, of which only the shape matters, and the link to the testing function."""

    name: str
    dimension: int
    shape: Shape
    """f divided by its largest value: in (0, 1]."""
    link: Link

    def testing(self, points: Float[Tensor, "points dimension"]) -> Float[Tensor, " points"]:
        """Return F = g(f)."""
        return self.link.forward(self.shape(points))


def bells(centres: list[list[float]], heights: list[float], width: float) -> Shape:
    """Return a sum of Gaussian bells of standard deviation `width`."""

    def shape(points: Float[Tensor, "points dimension"]) -> Float[Tensor, " points"]:
        where = torch.tensor(centres, dtype=points.dtype)
        squares = (points[:, None] - where).square().sum(dim=2)
        return (torch.exp(-squares / (2 * width**2)) * torch.tensor(heights).to(points)).sum(dim=1)

    return shape


def banana(points: Float[Tensor, "points 2"]) -> Float[Tensor, " points"]:
    """Return a Gaussian bell bent along a parabola; bending keeps every level set's area."""
    along, across = points[:, 0] - 0.5, points[:, 1] - 0.25
    bent = across - 3.5 * along**2
    return torch.exp(-((along / 0.15) ** 2 + (bent / 0.06) ** 2) / 2)


MODES_1D = bells([[0.15], [0.5], [0.85]], [1.0, 0.7, 0.4], 0.04)
MODES_2D = bells([[0.2, 0.25], [0.75, 0.3], [0.45, 0.75]], [1.0, 0.8, 0.6], 0.07)

CASES = (
    Case("gaussian", 1, bells([[0.5]], [1.0], 0.12), IDENTITY),
    Case("gaussian", 1, bells([[0.5]], [1.0], 0.12), saturating(2.0)),
    Case("modes", 1, MODES_1D, IDENTITY),
    Case("modes", 2, MODES_2D, IDENTITY),
    Case("banana", 2, banana, IDENTITY),
    Case("banana", 2, banana, saturating(2.0)),
)
"""What the figure shows; the modes lie so far apart that their level sets do not touch."""
