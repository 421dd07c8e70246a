"""The link g between the density that we want and the testing function: F = g(f)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Link:
    """A strictly increasing g from [0, 1] onto [0, 1], as Theorem 3 uses it.

    `forward` is g, `inverse` g⁻¹, `inverse_slope` (g⁻¹)′; all act element by element. The sum of
    the slopes of Theorem 3 tends to g⁻¹(β) - g⁻¹(0), which is f only because g(0) = 0.
    """

    name: str
    forward: Elementwise
    inverse: Elementwise
    inverse_slope: Elementwise


IDENTITY = Link("identity", lambda f: f, lambda b: b, torch.ones_like)
"""F is f itself, up to a factor: the weights of Theorem 3 are those of Theorem 2."""


def saturating(rate: float) -> Link:
    """Return g(f) = (1 - exp(-rate·f)) / (1 - exp(-rate)), `rate` > 0: steep first, then flat.

    So an attack's success depends on a trigger's strength: it cannot exceed 1. Its least slope is
    rate / (exp(rate) - 1), at f = 1.
    """
    if not rate > 0:
        raise ValueError(f"the rate of a saturating link must be positive, not {rate}")
    top = -math.expm1(-rate)
    return Link(
        f"saturating({rate:g})",
        lambda f: -torch.expm1(-rate * f) / top,
        lambda b: -torch.log1p(-top * b) / rate,
        lambda b: top / (rate * (1 - top * b)),
    )
