"""Percentile bootstrap of a mean over models that share attacks and seeds with each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.identity import derive_seed

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

RESAMPLES = 2000
FEWEST = 3
"""Trials, and attacks or seeds, under which there is no interval."""
ENOUGH = 6
"""Attacks or seeds from which it is a chance below 5 % (2 · 0.5⁶) under a tie that all agree."""
_BLOCK = 1 << 22
"""Drawn models in memory at a time."""


@dataclass(frozen=True)
class Sample:
    """What a mean is taken over; one entry a model, in the order of their victims' identities."""

    sums: Floats
    """Sum of the values measured on the model."""
    counts: Floats
    """How many they are."""
    attacks: Codes
    """Models of one number were attacked with the same trigger and target."""
    seeds: Codes
    """Models of one number come from one base model and are scored on the same images."""

    @property
    def units(self) -> int:
        """Return how many different attacks there are, or seeds if these are more."""
        return max(len(np.unique(self.attacks)), len(np.unique(self.seeds)))


def intervals(rows: Sequence[Sample], level: float = 0.95) -> list[tuple[float, float] | None]:
    """Return the interval of each row's mean at `level` in (0, 1), or None where data is too thin.

    Models are not drawn one by one: three seeds of a trigger are not three attacks, and eight
    attacks on one base model are not eight base models. Attacks and seeds are drawn, each with
    replacement and apart from the other, and a model counts as often as its attack times as often
    as its seed was (the pigeonhole bootstrap; Owen, Annals of Applied Statistics 2007). With one
    seed that is the bootstrap over attacks, with one attack the one over seeds.
    """
    found: list[tuple[float, float] | None] = [None] * len(rows)
    alike: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        if row.counts.sum() >= FEWEST and row.units >= FEWEST:
            attacks, seeds = _numbered(row.attacks), _numbered(row.seeds)
            alike[attacks.tobytes(), seeds.tobytes()].append(at)
    tails = ((1 - level) / 2, (1 + level) / 2)
    for members in alike.values():
        for at, ends in zip(members, _tails([rows[i] for i in members], tails), strict=True):
            found[at] = ends
    return found


def _tails(rows: Sequence[Sample], tails: tuple[float, float]) -> list[tuple[float, float]]:
    """Return two quantiles of the resampled means of rows on the same attacks and seeds."""
    sums = np.stack([row.sums for row in rows], axis=1)
    counts = np.stack([row.counts for row in rows], axis=1)
    attacks, seeds = _numbered(rows[0].attacks), _numbered(rows[0].seeds)
    # Where not every attack has every seed, a resample may have drawn no model at all.
    weights = (w[w.any(axis=1)] for w in _weights(attacks, seeds))
    means = np.concatenate([(w @ sums) / (w @ counts) for w in weights])
    return [(float(low), float(high)) for low, high in np.quantile(means, tails, axis=0).T]


def _numbered(codes: Codes) -> Codes:
    """Number the different codes from 0, in the order in which they come."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order: Codes = np.argsort(np.argsort(first))
    return order[inverse].astype(np.int64)


def _weights(attacks: Codes, seeds: Codes) -> Iterator[Floats]:
    """Yield blocks of how often each model counts, together of shape (RESAMPLES, models)."""
    of_attacks = _drawn("bootstrap", len(np.unique(attacks)))
    of_seeds = _drawn("bootstrap seeds", len(np.unique(seeds)))
    block = max(1, _BLOCK // len(attacks))
    for start in range(0, RESAMPLES, block):
        rows = slice(start, start + block)
        yield of_attacks[rows][:, attacks] * of_seeds[rows][:, seeds]


def _drawn(axis: str, number: int) -> Floats:
    """Return how often each of `number` is drawn, shape (RESAMPLES, number).

    The seed knows only the axis and the number. So a row's interval depends on its own trials
    alone; the rows of a leaderboard, which share their victims, share the draws as well, and
    differ by their numbers, not by luck; and thousands of rows cost hardly more than one.
    """
    draw = np.random.default_rng(derive_seed(axis, number))
    drawn = draw.integers(0, number, size=(RESAMPLES, number), dtype=np.int64)
    drawn += np.arange(RESAMPLES)[:, None] * number
    counted = np.bincount(drawn.ravel(), minlength=RESAMPLES * number)
    return counted.reshape(RESAMPLES, number).astype(np.float64)
