"""Layers that hold several networks of one shape and run them in one batched product."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class StackedLinear(nn.Module):
    """`stack` independent linear layers; initialised as `torch.nn.Linear` is."""

    def __init__(self, stack: int, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(stack, inputs, outputs).uniform_(-bound, bound))
        self.bias = (
            nn.Parameter(torch.empty(stack, 1, outputs).uniform_(-bound, bound)) if bias else None
        )

    def forward(
        self, x: Float[Tensor, "stack batch inputs"]
    ) -> Float[Tensor, "stack batch outputs"]:
        """Apply each layer to its own slice."""
        return x @ self.weight if self.bias is None else torch.baddbmm(self.bias, x, self.weight)


class StackedBatchNorm(nn.Module):
    """Batch norm over the batch of each network apart."""

    def __init__(self, stack: int, features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(stack * features)

    def forward(
        self, x: Float[Tensor, "stack batch features"]
    ) -> Float[Tensor, "stack batch features"]:
        """Normalise every feature of every network over its own batch."""
        stack, batch, features = x.shape
        flat = x.transpose(0, 1).reshape(batch, stack * features)
        return self.norm(flat).reshape(batch, stack, features).transpose(0, 1)
