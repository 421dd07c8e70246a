"""Recovered triggers in the plane, as the paper draws them: its Figures 3 and 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.report.html.patches import Patches, evenly

Method = Literal["components", "tsne"]
SAMPLES: dict[Method, int] = {"components": 128, "tsne": 2000}
"""Triggers in a figure (supplement, C 3); all that were kept if there are fewer."""
FEWEST = 8
"""Samples below which a map shows nothing that the triggers themselves do not."""
_CLOSEST = 6e-3
"""Squared distance between two thumbnails, as a part of the unit square (supplement, C 3).

The supplement gives the number without a unit. It is taken as in the scikit-learn example on
which such figures are commonly based: a squared distance after scaling each axis to [0, 1].
"""


@dataclass(frozen=True)
class Plane:
    """Triggers as points of the unit square, and which of them are drawn as thumbnails."""

    patches: Patches
    points: NDArray[np.float64]
    """Shape (count, 2), each axis from 0 to 1."""
    drawn: NDArray[np.intp]
    """Numbers of the triggers that are far enough from those drawn before."""


def embed(patches: Patches, method: Method) -> Plane:
    """Place up to `SAMPLES[method]` triggers; deterministic. Needs at least `FEWEST`."""
    chosen = evenly(patches, SAMPLES[method])
    flat = chosen.reshape(len(chosen), -1) / 255
    points = _unit(_components(flat) if method == "components" else _tsne(flat))
    return Plane(chosen, points, _apart(points))


def _components(flat: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.decomposition import TruncatedSVD

    return np.asarray(TruncatedSVD(n_components=2, random_state=0).fit_transform(flat))


def _tsne(flat: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    # Its default perplexity, 30, must stay below the number of samples.
    perplexity = min(30.0, (len(flat) - 1) / 3)
    tsne = TSNE(n_components=2, init="pca", random_state=0, perplexity=perplexity)
    return np.asarray(tsne.fit_transform(flat.astype(np.float32)), dtype=np.float64)


def _unit(points: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / np.where(high > low, high - low, 1)


def _apart(points: NDArray[np.float64]) -> NDArray[np.intp]:
    drawn: list[int] = []
    for at, point in enumerate(points):
        if not drawn or ((points[drawn] - point) ** 2).sum(axis=1).min() >= _CLOSEST:
            drawn.append(at)
    return np.array(drawn, dtype=np.intp)
