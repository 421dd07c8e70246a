"""The fitted ensemble: weights, samples and density (supplement, A). It knows nothing of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bench_mesa.density import Grid
from bench_mesa.entropy import neighbour_entropy
from bench_mesa.links import IDENTITY, Link
from bench_mesa.options import SearchOptions
from bench_mesa.staircase import Staircase, Testing


def fit(
    testing: Testing,
    dimension: int,
    levels: Sequence[float],
    options: SearchOptions,
    generator: torch.Generator,
    *,
    steps: int,
    batch: int,
) -> Staircase:
    """Fit one sub-model a level to `testing`, all in one pass over it a step.

    `testing` maps points of [0, 1]^dimension, shape (points, dimension), to values in [0, 1],
    shape (points,), and is differentiable. `batch` points a step and level. Networks are
    initialised, and noise is drawn, from `generator` alone.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    devices = [generator.device] if generator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        staircase = Staircase(dimension, levels, options, generator)
    for _ in range(steps):
        staircase.step(testing, batch)
    return staircase


def log_weights(
    entropies: Float[Tensor, " levels"], levels: Float[Tensor, " levels"], link: Link = IDENTITY
) -> Float[Tensor, " levels"]:
    """Return log γ of each sub-model: Theorem 3's weights; with the identity, Theorem 2's.

    γᵢ = (g⁻¹)′(βᵢ) · exp(hᵢ). An entropy of -inf (a level set without volume) weighs nothing.
    """
    return link.inverse_slope(levels.to(entropies)).log() + entropies


def staircase_value(
    values: Float[Tensor, " points"], levels: Float[Tensor, " levels"], link: Link = IDENTITY
) -> Float[Tensor, " points"]:
    """Return Σ γᵢ·pᵢ / N where every sub-model is exact, at points with testing values `values`.

    By Lemma 1 pᵢ is 1/V inside its level set and γᵢ·pᵢ the slope of g⁻¹, so that volumes and
    entropies cancel: the density (up to its factor) can be told in any dimension.
    """
    slopes = link.inverse_slope(levels.to(values)) / len(levels)
    inside = values[:, None] >= levels.to(values)
    return (inside * slopes).sum(dim=1)


@dataclass(frozen=True)
class Ensemble:
    """Fitted sub-models with the weights of Theorem 2 or 3."""

    staircase: Staircase
    log_weights: Float[Tensor, " levels"]

    @property
    def shares(self) -> Float[Tensor, " levels"]:
        """Return the probability with which a sample comes from each sub-model; they sum to 1."""
        return self.log_weights.softmax(dim=0)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count dimension"]:
        """Draw points of the ensemble: `generator` chooses the sub-model of each."""
        drawn = self.staircase.sample(count)
        chosen = torch.multinomial(self.shares, count, replacement=True, generator=generator)
        return drawn[chosen, torch.arange(count, device=drawn.device)]

    def density(self, grid: Grid, count: int) -> Float[Tensor, " cells"]:
        """Return the normalised density in each cell of `grid`, from `count` draws a sub-model.

        Raises `ValueError` for a grid of another dimension than the points'. A generator maps 64
        noises to fewer outputs and has no density in closed form.
        """
        if grid.dimension != self.staircase.dimension:
            raise ValueError(
                f"a grid of {grid.dimension} dimensions for points of {self.staircase.dimension}"
            )
        return self.shares.cpu().double() @ grid.density(self.staircase.sample(count).cpu())


def weigh(
    staircase: Staircase, link: Link = IDENTITY, *, count: int = 2048, neighbour: int = 3
) -> Ensemble:
    """Estimate the sub-models' entropies from `count` draws of each, and weigh them by these.

    The entropies are those of neighbours' distances: a mutual information with the noise knows
    neither an entropy's scale nor its zero (see the README).
    """
    entropies = neighbour_entropy(staircase.sample(count), neighbour)
    return Ensemble(staircase, log_weights(entropies, staircase.levels, link))
