"""Differential entropy of samples from distances to neighbours (Kozachenko and Leonenko, 1987)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_ROWS = 1024
"""Points whose distances to all others are held at once: bounds the memory."""

_TINY = 1e-12
"""Distance given to points that coincide, so that the entropy of a collapsed sample is finite."""


def neighbour_entropy(
    points: Float[Tensor, "stack batch dimension"], neighbour: int
) -> Float[Tensor, " stack"]:
    """Return the entropy in nats of each sample of a stack; differentiable in the points.

    h = ψ(n) - ψ(k) + log c + d · E[log r], where r is a point's distance to its k-th neighbour and
    c the volume of the unit ball. k is `neighbour`, or n - 1 in a smaller sample. Unlike a mutual
    information with the generator's noise, this has a finite limit for a deterministic generator.
    """
    _, batch, dimension = points.shape
    if batch < 2:
        raise ValueError(f"an entropy needs at least 2 points, not {batch}")
    k = min(neighbour, batch - 1)
    nearest = _nearest(points.detach(), k)
    index = nearest[..., None].expand(-1, -1, dimension)
    # Only the one distance that counts carries a gradient, not all n².
    squares = (points - points.gather(1, index)).square().sum(dim=2)
    logs = squares.clamp_min(_TINY**2).log() / 2
    ball = math.log(math.pi) * dimension / 2 - math.lgamma(dimension / 2 + 1)
    return dimension * logs.mean(dim=1) + (_digamma(batch) - _digamma(k) + ball)


def _nearest(
    points: Float[Tensor, "stack batch dimension"], k: int
) -> Int64[Tensor, "stack batch"]:
    """Return the index of each point's k-th neighbour; the point itself is none."""
    found = []
    for one in points:
        rows = []
        for start in range(0, len(one), _ROWS):
            part = one[start : start + _ROWS]
            distance = torch.cdist(part, one, compute_mode="donot_use_mm_for_euclid_dist")
            own = torch.arange(start, start + len(part), device=one.device)
            distance[torch.arange(len(part), device=one.device), own] = math.inf
            rows.append(distance.kthvalue(k, dim=1).indices)
        found.append(torch.cat(rows))
    return torch.stack(found)


def _digamma(count: int) -> float:
    return float(torch.digamma(torch.tensor(float(count), dtype=torch.float64)))
