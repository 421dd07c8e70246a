"""Drawing the triggers with which the model is retrained (supplement, A and C 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bench_mesa.approximator import weigh
from bench_mesa.options import MesaOptions
from bench_mesa.staircase import Staircase

AN_EPOCH = 512
"""New triggers an epoch where every stamped image gets its own."""

Sureness = Callable[[Float[Tensor, "count dimension"]], Float[Tensor, " count"]]
"""Points → how sure the backdoored model is of the target class, in [0, 1]."""


class Drawing:
    """Draws points of the fitted sub-models as the options say."""

    def __init__(self, staircase: Staircase, options: MesaOptions, sureness: Sureness) -> None:
        self._staircase, self._options, self._sureness = staircase, options, sureness
        self.shares = self._shares()

    def _shares(self) -> list[float]:
        """Return with which share each sub-model is drawn from; they sum to 1."""
        if self._options.shares == "entropy":
            ensemble = weigh(self._staircase, neighbour=self._options.neighbour)
            shares: list[float] = ensemble.shares.tolist()
            return shares
        samples = self._options.samples
        return [number / sum(samples) for number in samples]

    def of_epoch(self) -> Callable[[int], Float[Tensor, "*several dimension"]]:
        """Return what gives each retraining epoch its triggers: one, or one for each image.

        One an epoch: as many are drawn as there are epochs, so that a retraining of 3 has its
        share of every sub-model as the paper's of 10 has. Level by level, as 4, 3, 3 says.
        """
        if self._options.mixing == "image":
            return lambda _epoch: self._draw(apportion(AN_EPOCH, self.shares))
        drawn = self._draw(apportion(self._options.retrain.epochs, self.shares))
        return lambda epoch: drawn[epoch]

    def _draw(self, numbers: Sequence[int]) -> Float[Tensor, "count dimension"]:
        """Return `numbers` points of the sub-models, in the order of levels."""
        candidates = self._options.surest_of
        drawn = self._staircase.sample(max(numbers) * candidates)
        parts = zip(drawn, numbers, strict=True)
        return torch.cat([self._best(own[: n * candidates], n) for own, n in parts])

    def _best(
        self, points: Float[Tensor, "candidates dimension"], count: int
    ) -> Float[Tensor, "count dimension"]:
        """Return, of as many groups, the point of each that the model is surest of."""
        if len(points) == count:  # one candidate each, or none is wanted of this sub-model
            return points
        best = self._sureness(points).reshape(count, -1).argmax(dim=1)
        return points.reshape(count, -1, points.shape[1])[torch.arange(count), best]


def apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Divide `total` by `shares`, which sum to 1: whole numbers, the largest remainders first."""
    exact = [total * share for share in shares]
    numbers = [int(part + 1e-9) for part in exact]
    order = sorted(range(len(exact)), key=lambda i: numbers[i] - exact[i])
    for i in order[: total - sum(numbers)]:
        numbers[i] += 1
    return numbers
