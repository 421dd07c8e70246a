"""MESA's search as a textbook writes it: the slow reference of tests and benchmarks.

One sub-model after another, each with its own pass through a classifier in the layout it came in,
that is not told to keep no gradients of its weights; no stack, no logarithms, no folding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from bench_mesa.options import SearchOptions
from bench_mesa.stacked import StackedLinear
from bench_mesa.staircase import Staircase
from torch import Tensor, nn


def plain(layer: StackedLinear, number: int) -> nn.Linear:
    """Return one slice of a stacked layer as a layer of its own."""
    _, inputs, outputs = layer.weight.shape
    alone = nn.Linear(inputs, outputs, bias=layer.bias is not None)
    with torch.no_grad():
        alone.weight.copy_(layer.weight[number].T)
        if layer.bias is not None:
            alone.bias.copy_(layer.bias[number, 0])
    return alone


class Alone:
    """One sub-model of the staircase, started with the same weights."""

    def __init__(self, whole: Staircase, number: int, options: SearchOptions) -> None:
        first, _, _, second, _, _, last = whole.generators.layers
        hidden, slope = options.hidden, options.slope
        self.generator = nn.Sequential(
            *(plain(first, number), nn.BatchNorm1d(hidden), nn.LeakyReLU(slope)),
            *(plain(second, number), nn.BatchNorm1d(hidden), nn.LeakyReLU(slope)),
            *(plain(last, number), nn.Sigmoid()),
        )
        self.from_point = plain(whole.statistics.from_point, number)
        self.from_noise = plain(whole.statistics.from_noise, number)
        relu, (_, middle, _, end, _) = nn.LeakyReLU(slope), whole.statistics.head
        self.head = nn.Sequential(relu, plain(middle, number), relu, plain(end, number), relu)
        self.level = float(whole.levels[number])
        self.options, self.average = options, None
        modules = (self.generator, self.from_point, self.from_noise, self.head)
        self.parameters = [p for module in modules for p in module.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, options.lr)

    def layers(self) -> list[nn.Linear]:
        """Return the linear layers in the order of the stacked ones."""
        generator = [self.generator[0], self.generator[3], self.generator[6]]
        return [*generator, self.from_point, self.from_noise, self.head[1], self.head[3]]

    def statistic(self, points: Tensor, noise: Tensor) -> Tensor:
        return self.head(self.from_point(points) + self.from_noise(noise))

    def step(
        self, testing: Callable[[Tensor], Tensor], noise: Tensor, other: Tensor
    ) -> list[float]:
        """Take one step; return hinge, information, mean value, share of saturated samples."""
        points = self.generator(noise)
        values = testing(points)
        hinge = torch.clamp(self.level - values, min=0).mean()
        joint, marginal = self.statistic(points, noise).mean(), self.statistic(points, other).exp()
        mean, rate = marginal.mean().detach(), self.options.mean_rate
        self.average = mean if self.average is None else (1 - rate) * self.average + rate * mean
        information = joint - marginal.mean() / self.average
        self.optimiser.zero_grad()
        (hinge - self.options.alpha * information).backward()
        self.optimiser.step()
        estimate = joint - mean.log()
        share = (values >= self.level).double().mean()
        return [number.item() for number in (hinge, estimate, values.mean(), share)]


def plain_rate(
    model: nn.Module, images: Tensor, corner: tuple[int, int], target: int, size: tuple[int, int]
) -> Callable[[Tensor], Tensor]:
    """Return F: points to the target's probability, every image stamped at `corner`."""
    (top, left), (height, width) = corner, size

    def testing(points: Tensor) -> Tensor:
        stamped = images.clone()
        patch = points.reshape(-1, 3, height, width)
        stamped[:, :, top : top + height, left : left + width] = patch
        return model(stamped).softmax(dim=1)[:, target]

    return testing
