"""The whole search against a textbook version: twenty steps, every number."""

from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from bench_mesa.defense import attack_rate
from bench_mesa.options import SearchOptions
from bench_mesa.stacked import StackedLinear
from bench_mesa.staircase import Staircase
from plain_search import Alone, plain_rate
from torch import Tensor, nn

from benchmark.builtin.networks import Classifier, ResNet
from benchmark.primitives import batch_indices, frozen, random_places

LEVELS, BATCH, TARGET = (0.6, 0.4, 0.2), 24, 1
OPTIONS = SearchOptions(noise=8, hidden=16, statistic_hidden=16, lr=2e-2, alpha=0.1)


@pytest.fixture(autouse=True)
def as_in_a_run() -> Iterator[None]:
    """Compute with 64 bits, so that two ways stay together; without the shape checks' code."""
    torch.set_default_dtype(torch.float64)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_default_dtype(torch.float32)


def network() -> nn.Module:
    torch.manual_seed(0)
    model = Classifier(ResNet(6, [(6, 1, 1), (8, 1, 2), (10, 1, 2)], 3), (0.5,) * 3, (0.1,) * 3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("mib", [0, 20])
def test_twenty_steps_equal_the_textbook(mib: int) -> None:
    """With a last batch that is smaller, at any place, remembered activations or none."""
    model, draws = network(), torch.Generator().manual_seed(4)
    data = torch.randint(0, 256, (61, 3, 16, 16), generator=draws, dtype=torch.uint8)
    classifier = frozen(model)
    classifier.remember(data, (3, 3), mib)
    torch.manual_seed(1)
    together = Staircase(27, LEVELS, OPTIONS, torch.Generator().manual_seed(0))
    apart = [Alone(together, number, OPTIONS) for number in range(3)]
    noises, shares = torch.Generator().manual_seed(0), []
    for _ in range(7):
        for index in batch_indices(61, BATCH, draws):
            place = random_places(1, (16, 16), (3, 3), draws)
            images, count = data[index] / 255, len(index)
            report = together.step(
                attack_rate(classifier, images, place, TARGET, (3, 3), index), count
            )
            noise, other = (torch.rand(3, count, 8, generator=noises) for _ in range(2))
            row, column = place[0].tolist()
            testing = plain_rate(model, images, (row, column), TARGET, (3, 3))
            expected = [alone.step(testing, noise[i], other[i]) for i, alone in enumerate(apart)]
            close(report.stacked(), torch.tensor(expected).T)
            shares.append(report.saturated)
    assert 0.1 < torch.stack(shares).mean() < 0.95  # some samples were left out backward
    for number, alone in enumerate(apart):
        mine = [layer.weight[number].T for layer in stacked(together)]
        close(flat(mine), flat([layer.weight for layer in alone.layers()]))


def close(found: Tensor, expected: Tensor) -> None:
    """Pixels become floats of 32 bits on the way into what is remembered."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def stacked(whole: Staircase) -> list[StackedLinear]:
    found = [*whole.generators.modules(), *whole.statistics.modules()]
    return [module for module in found if isinstance(module, StackedLinear)]


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
