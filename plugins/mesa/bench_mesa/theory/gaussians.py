"""The mutual-information estimate on Gaussians, where it is known in closed form."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bench_mesa.information import DonskerVaradhan
from bench_mesa.networks import Statistics
from bench_mesa.options import SearchOptions

CORRELATIONS = (0.0, 0.3, 0.6, 0.9, 0.99, 0.999)
DIMENSIONS = (1, 2, 5, 20)
STEPS, BATCH, FRESH = 500, 128, 20_000


def closed_form(correlation: float, dimension: int) -> float:
    """Return I(x; y) in nats of pairs of coordinates with this correlation."""
    return -dimension / 2 * math.log(1 - correlation**2)


def estimates(
    correlations: tuple[float, ...],
    dimension: int,
    *,
    steps: int = STEPS,
    batch: int = BATCH,
    fresh: int = FRESH,
    seed: int = 0,
) -> tuple[list[float], list[float]]:
    """Train one statistic network a correlation; return the estimates on `fresh` and on `batch`.

    The first is measured on many points that the networks have not seen, the second is the mean
    over the last quarter of the training batches, which is what a search sees.
    """
    generator = torch.Generator().manual_seed(seed)
    options = SearchOptions(noise=dimension, statistic_hidden=64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        statistics = Statistics(len(correlations), dimension, options)
    bound = DonskerVaradhan(len(correlations), options.mean_rate, torch.device("cpu"))
    optimiser = torch.optim.Adam(statistics.parameters(), 2e-3)
    seen = []
    for step in range(steps):
        x, y, other = _pairs(correlations, batch, dimension, generator)
        surrogate, estimate = bound(statistics(x, y), statistics(x, other))
        optimiser.zero_grad()
        (-surrogate.sum()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if 4 * step >= 3 * steps:
            seen.append(estimate)
    x, y, other = _pairs(correlations, fresh, dimension, generator)
    with torch.no_grad():
        found = bound.estimate(statistics(x, y), statistics(x, other))
    return found.tolist(), torch.stack(seen).mean(dim=0).tolist()


def _pairs(
    correlations: tuple[float, ...], count: int, dimension: int, generator: torch.Generator
) -> tuple[
    Float[Tensor, "stack count dimension"],
    Float[Tensor, "stack count dimension"],
    Float[Tensor, "stack count dimension"],
]:
    """Return x, a y correlated with it, and a y that knows nothing of it; one set a correlation."""
    rho = torch.tensor(correlations)[:, None, None]
    shape = (len(correlations), count, dimension)
    x, own, other = (torch.randn(shape, generator=generator) for _ in range(3))
    return x, rho * x + (1 - rho**2).sqrt() * own, other


def gaussian_rows() -> list[dict[str, Any]]:
    """Return one row for each dimension and correlation."""
    rows = []
    for dimension in DIMENSIONS:
        fresh, seen = estimates(CORRELATIONS, dimension)
        for number, correlation in enumerate(CORRELATIONS):
            rows.append(
                {
                    "dimension": dimension,
                    "correlation": correlation,
                    "truth": closed_form(correlation, dimension),
                    "estimate": fresh[number],
                    "estimate_on_training_batches": seen[number],
                }
            )
    return rows
