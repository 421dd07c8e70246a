"""Percentile bootstrap of a mean over trials that come in clusters, one cluster a victim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.identity import derive_seed

Floats = NDArray[np.float64]
Clusters = tuple[Floats, Floats]
"""For each victim, in the order of their identities: sum of its values, number of its values."""

RESAMPLES = 2000
FEWEST = 3
"""Trials, and victims, under which there is no interval."""
_BLOCK = 1 << 22
"""Drawn victims in memory at a time."""


def intervals(rows: Sequence[Clusters], level: float = 0.95) -> list[tuple[float, float] | None]:
    """Return the interval of each row's mean at `level` in (0, 1), or None where data is too thin.

    Victims are drawn, not trials: the trials on one victim are not independent of each other.
    """
    found: list[tuple[float, float] | None] = [None] * len(rows)
    by_victims: dict[int, list[int]] = defaultdict(list)
    for at, (_, counts) in enumerate(rows):
        if len(counts) >= FEWEST and counts.sum() >= FEWEST:
            by_victims[len(counts)].append(at)
    tails = ((1 - level) / 2, (1 + level) / 2)
    for victims, members in by_victims.items():
        means = _resampled_means(victims, [rows[at] for at in members])
        lows, highs = np.quantile(means, tails, axis=0)
        for at, low, high in zip(members, lows, highs, strict=True):
            found[at] = (float(low), float(high))
    return found


def _resampled_means(victims: int, rows: Sequence[Clusters]) -> Floats:
    """Return the resampled means, shape (RESAMPLES, rows)."""
    sums = np.stack([row[0] for row in rows], axis=1)
    counts = np.stack([row[1] for row in rows], axis=1)
    return np.concatenate([(w @ sums) / (w @ counts) for w in _weights(victims)])


def _weights(victims: int) -> Iterator[Floats]:
    """Yield blocks of how often each victim is drawn, together of shape (RESAMPLES, victims).

    The seed knows only the number of victims. So a row's interval depends on its own trials
    alone; the rows of a leaderboard, which share their victims, share the draws as well, and
    differ by their numbers, not by luck; and thousands of rows cost hardly more than one.
    """
    draw = np.random.default_rng(derive_seed("bootstrap", victims))
    block = max(1, _BLOCK // victims)
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        drawn = draw.integers(0, victims, size=(size, victims), dtype=np.int64)
        drawn += np.arange(size)[:, None] * victims
        counted = np.bincount(drawn.ravel(), minlength=size * victims)
        yield counted.reshape(size, victims).astype(np.float64)
