"""Trained generators against the theorems: how far they fall short, and where."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bench_mesa.approximator import fit, log_weights
from bench_mesa.entropy import neighbour_entropy
from bench_mesa.links import IDENTITY
from bench_mesa.options import SearchOptions
from bench_mesa.staircase import Staircase
from bench_mesa.theory.exact import softened
from bench_mesa.theory.measure import COUNTS, Canvas, levels_of, total_variation, within_last

Row = dict[str, Any]

NETWORKS: dict[str, Any] = {"noise": 8, "hidden": 64, "statistic_hidden": 64, "lr": 3e-3}
"""Smaller and quicker to train than the paper's: these have two outputs, not 27."""

SEARCHES = {
    "information": SearchOptions(**NETWORKS, alpha=0.1),
    "neighbours": SearchOptions(**NETWORKS, alpha=0.1, entropy="neighbours"),
    "neighbours-0.01": SearchOptions(**NETWORKS, alpha=0.01, entropy="neighbours"),
}
"""The paper's loss; the same with another entropy; and that with less of it."""

STEPS, BATCH = 400, 128
DRAWS, ENTROPY_DRAWS = 40_000, 1500


def trained_rows(
    canvas: Canvas, name: str, seed: int = 0, steps: int = STEPS
) -> tuple[list[Row], list[Row]]:
    """Fit the 16 levels of a case at once; return a row for each N and weights, and each level."""
    options, levels = SEARCHES[name], levels_of(COUNTS[-1])
    generator = torch.Generator().manual_seed(seed)
    case = canvas.case
    staircase = fit(
        case.testing,
        case.dimension,
        levels.tolist(),
        options,
        generator,
        steps=steps,
        batch=BATCH,
    )
    drawn = staircase.sample(DRAWS)
    densities = canvas.grid.density(drawn)
    entropies = _entropies(staircase, canvas, levels, options)
    inside = case.testing(drawn.flatten(0, 1)).reshape(drawn.shape[:2]) >= levels[:, None].float()
    ensembles = [{"models": name} | row for row in _ensembles(canvas, densities, entropies, levels)]
    rows = _levels(canvas, densities, entropies, levels, options.alpha)
    shares = inside.double().mean(dim=1).tolist()
    each = [
        {"models": name, "inside": share} | row for share, row in zip(shares, rows, strict=True)
    ]
    return ensembles, each


def _entropies(
    staircase: Staircase, canvas: Canvas, levels: Float[Tensor, " levels"], options: SearchOptions
) -> dict[str, Float[Tensor, " levels"]]:
    """Return log-volumes of the level sets, and what the estimators take for them; in nats."""
    found = {"exact": canvas.volumes(levels).log()}
    points = staircase.sample(ENTROPY_DRAWS)
    found["neighbours"] = neighbour_entropy(points, options.neighbour).double()
    if options.entropy == "information":
        found["information"] = staircase.information(DRAWS).double()
    return found


def _ensembles(
    canvas: Canvas,
    densities: Float[Tensor, "levels cells"],
    entropies: dict[str, Float[Tensor, " levels"]],
    levels: Float[Tensor, " levels"],
) -> list[Row]:
    f, testing = canvas.in_cells(canvas.f), canvas.in_cells(canvas.testing)
    rows: list[Row] = []
    for weights, entropy in entropies.items():
        for count in COUNTS:
            chosen = within_last(count)
            plain = log_weights(entropy[chosen], levels[chosen], IDENTITY).exp()
            linked = log_weights(entropy[chosen], levels[chosen], canvas.case.link).exp()
            error = (plain @ densities[chosen] / count - testing).abs()
            row = {
                "weights": weights,
                "n": count,
                "distance": total_variation(linked @ densities[chosen], f).item(),
            }
            if weights != "information":  # which has no scale
                row["largest_error_F"] = error.max().item()
                row["mean_error_F"] = error.mean().item()
            rows.append(row)
    return rows


def _levels(
    canvas: Canvas,
    densities: Float[Tensor, "levels cells"],
    entropies: dict[str, Float[Tensor, " levels"]],
    levels: Float[Tensor, " levels"],
    alpha: float,
) -> list[Row]:
    """Return Lemma 1's two halves, and the best that the loss allows at this α, for each level."""
    sets = canvas.level_sets(levels)
    best = softened(canvas, levels, alpha)
    best_inside = (best * (canvas.testing >= levels[:, None])).mean(dim=1)
    best_entropy = -(best * best.clamp_min(1e-300).log()).mean(dim=1)
    in_cells = torch.stack([canvas.in_cells(one) for one in best])
    columns = {
        "level": levels,
        "volume": entropies["exact"].exp(),
        "best_inside": best_inside,
        "distance_to_uniform": total_variation(densities, sets),
        "best_distance_to_uniform": total_variation(in_cells, sets),
        "log_volume": entropies["exact"],
        "best_entropy": best_entropy,
        "entropy_neighbours": entropies["neighbours"],
    }
    if "information" in entropies:
        columns["information"] = entropies["information"]
    table = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in table]
