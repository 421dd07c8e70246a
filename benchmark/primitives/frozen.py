"""A classifier frozen for optimising its inputs."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from benchmark.context import Meter


def frozen(model: nn.Module, meter: Meter | None = None) -> nn.Module:
    """Return an eval-mode copy of `model` that keeps no weight gradients, for input gradients.

    Batch norm is folded into the convolutions where the model can be traced (exact up to float
    rounding); a model that cannot be traced is frozen unfolded. Convolutions are channels-last.
    A `meter` counts the images that go through the copy.
    """
    source = copy.deepcopy(model).eval()
    source._forward_hooks.clear()  # the copy's own meter counts; tracing must not see hooks
    try:
        folded: nn.Module = fuse(source, inplace=True)
    except (torch.fx.proxy.TraceError, TypeError, ValueError, NotImplementedError):
        folded = source
    folded.requires_grad_(False)
    folded.to(memory_format=torch.channels_last)
    return meter.attach(folded) if meter else folded
