"""The staircase with exact sub-models: what the theorems say, by quadrature."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bench_mesa.approximator import staircase_value
from bench_mesa.links import IDENTITY
from bench_mesa.theory.measure import COUNTS, Canvas, levels_of, total_variation

Row = dict[str, Any]


def exact_rows(canvas: Canvas) -> list[Row]:
    """Return one row for each N: Theorem 2 about F, Theorem 3 about f.

    `bound` is 1/N for F. For f it is 1/(ω·N), ω being g's least slope: where g is concave, both
    the height of a step of f and the error of the sum of slopes lie between 0 and it, with opposite
    signs.
    """
    rows = []
    for count in COUNTS:
        levels = levels_of(count)
        values = staircase_value(canvas.testing, levels, IDENTITY)
        density = staircase_value(canvas.testing, levels, canvas.case.link)
        steepest = float(canvas.case.link.inverse_slope(torch.ones((), dtype=torch.float64)))
        rows.append(
            {
                "models": "exact",
                "weights": "exact",
                "n": count,
                "largest_error_F": (values - canvas.testing).abs().max().item(),
                "bound_F": 1 / count,
                "mean_error_F": (values - canvas.testing).abs().mean().item(),
                "largest_error_f": (density - canvas.f).abs().max().item(),
                "bound_f": steepest / count,
                "distance": total_variation(density, canvas.f).item(),
            }
        )
    return rows


def softened(
    canvas: Canvas, levels: Float[Tensor, " levels"], alpha: float
) -> Float[Tensor, "levels points"]:
    """Return the densities that minimise E[max(0, β - F)] - α·h: the loss with exact entropy.

    They are Gibbs densities, proportional to exp(-max(0, β - F) / α): uniform inside the level
    set, as Lemma 1 says, but with a border outside that vanishes only as α does.
    """
    hinge = (levels[:, None] - canvas.testing).clamp_min(0)
    density = torch.exp(-hinge / alpha)
    return density / density.mean(dim=1, keepdim=True)
