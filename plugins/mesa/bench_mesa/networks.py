"""Generators and statistic networks, one of each a sub-model, run as a stack (supplement, C 1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bench_mesa.options import SearchOptions
from bench_mesa.stacked import StackedBatchNorm, StackedLinear


class Generators(nn.Module):
    """Three-layer perceptrons from noise to points of [0, 1]^dimension.

    The paper names no output activation; a logistic function keeps every point a valid one.
    `generator` draws what `output_noise` adds.
    """

    def __init__(
        self, stack: int, dimension: int, options: SearchOptions, generator: torch.Generator
    ) -> None:
        super().__init__()
        hidden, slope = options.hidden, options.slope
        self._skip, self._deviation, self._generator = options.skip, options.output_noise, generator
        self.layers = nn.Sequential(
            StackedLinear(stack, options.noise, hidden),
            StackedBatchNorm(stack, hidden),
            nn.LeakyReLU(slope),
            StackedLinear(stack, hidden, hidden),
            StackedBatchNorm(stack, hidden),
            nn.LeakyReLU(slope),
            StackedLinear(stack, hidden, dimension),
        )

    def forward(
        self, noise: Float[Tensor, "stack batch noise"]
    ) -> Float[Tensor, "stack batch dimension"]:
        """Return generated points in (0, 1)."""
        first = self.layers[:3](noise)
        second = self.layers[3:6](first)
        return torch.sigmoid(self._noisy(self.layers[6](first + second if self._skip else second)))

    def _noisy(
        self, outputs: Float[Tensor, "stack batch dimension"]
    ) -> Float[Tensor, "stack batch dimension"]:
        if not self._deviation:
            return outputs
        drawn = torch.randn(outputs.shape, generator=self._generator, device=outputs.device)
        return outputs + self._deviation * drawn


class Statistics(nn.Module):
    """Statistic networks T(x, z) of the mutual-information estimate."""

    def __init__(self, stack: int, dimension: int, options: SearchOptions) -> None:
        super().__init__()
        hidden = options.statistic_hidden
        self.from_point = StackedLinear(stack, dimension, hidden)
        self.from_noise = StackedLinear(stack, options.noise, hidden, bias=False)
        self.head = nn.Sequential(
            nn.LeakyReLU(options.slope),
            StackedLinear(stack, hidden, hidden),
            nn.LeakyReLU(options.slope),
            StackedLinear(stack, hidden, 1),
            # The supplement: a leaky ReLU follows each linear layer, the last one too.
            nn.LeakyReLU(options.slope),
        )

    def forward(
        self,
        points: Float[Tensor, "stack batch dimension"],
        noise: Float[Tensor, "stack batch noise"],
    ) -> Float[Tensor, "stack batch"]:
        """Return one statistic for each pair of a point and a noise vector."""
        return self.head(self.from_point(points) + self.from_noise(noise)).squeeze(-1)
