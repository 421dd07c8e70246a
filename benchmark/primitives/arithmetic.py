"""Half precision where it was asked for."""

from __future__ import annotations

import torch

from benchmark.precision import Precision


def arithmetic(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context in which convolutions and products run in `precision`.

    `precision` is `float32` or `bfloat16`; batch norm, losses and weights stay float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
