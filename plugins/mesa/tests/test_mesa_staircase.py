"""The staircase on testing functions that are known, in two dimensions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from bench_mesa.options import SearchOptions
from bench_mesa.stacked import StackedLinear
from bench_mesa.staircase import Staircase
from torch import Tensor, nn

LEVELS = (0.9, 0.8, 0.5)


def ridge(points: Tensor) -> Tensor:
    """A ridge along the second axis: {F ≥ β} is a band, the wider the lower β."""
    return torch.exp(-((points[..., 0] - 0.5) ** 2) / (2 * 0.15**2))


def staircase(
    options: SearchOptions, levels: tuple[float, ...] = LEVELS, seed: int = 0
) -> Staircase:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Staircase(2, levels, options, torch.Generator().manual_seed(seed))


def samples(alpha: float) -> Tensor:
    """Fit the three levels of the ridge, and draw from them."""
    options = SearchOptions(noise=4, hidden=32, statistic_hidden=64, lr=3e-3, alpha=alpha)
    found = staircase(options)
    for _ in range(200):
        found.step(ridge, 128)
    return found.sample(2000)


def inside(points: Tensor) -> Tensor:
    return (ridge(points) >= torch.tensor(LEVELS)[:, None]).float().mean(dim=1)


@pytest.fixture(scope="module")
def spread() -> Tensor:
    return samples(alpha=0.1)


def test_samples_fill_the_level_set_and_stay_in_it(spread: Tensor) -> None:
    assert (inside(spread) > 0.8).all()
    # Entropy is highest where the band is filled evenly: each fifth of its length has its share.
    for along in spread[..., 1]:
        shares = torch.histc(along, bins=5, min=0, max=1) / len(along)
        assert shares.min() > 0.1
        assert shares.max() < 0.4
    across = spread[..., 0].std(dim=1)
    assert across[2] > 1.5 * across[0]  # a lower level is a wider band


def test_without_information_samples_collapse(spread: Tensor) -> None:
    collapsed = samples(alpha=0.0)
    assert (inside(collapsed) > 0.95).all()
    assert (collapsed[..., 1].std(dim=1) < spread[..., 1].std(dim=1) / 2).all()


@pytest.fixture
def sixty_four_bits() -> Iterator[None]:
    """Compute with 64 bits, so that two ways of one computation stay together."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def plain(layer: StackedLinear, number: int) -> nn.Linear:
    _, inputs, outputs = layer.weight.shape
    alone = nn.Linear(inputs, outputs, bias=layer.bias is not None)
    with torch.no_grad():
        alone.weight.copy_(layer.weight[number].T)
        if layer.bias is not None:
            alone.bias.copy_(layer.bias[number, 0])
    return alone


class Alone:
    """One sub-model of the staircase, as a textbook writes it: no stack, no logarithms."""

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
        self.level, self.options, self.average = LEVELS[number], options, None
        modules = (self.generator, self.from_point, self.from_noise, self.head)
        self.parameters = [p for module in modules for p in module.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, options.lr)

    def statistic(self, points: Tensor, noise: Tensor) -> Tensor:
        return self.head(self.from_point(points) + self.from_noise(noise))

    def step(self, noise: Tensor, other: Tensor) -> list[float]:
        points = self.generator(noise)
        values = ridge(points)
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


@pytest.mark.usefixtures("sixty_four_bits")
def test_sub_models_fitted_together_are_those_fitted_alone() -> None:
    options = SearchOptions(
        noise=4, hidden=6, statistic_hidden=5, lr=5e-3, alpha=0.3, mean_rate=0.2
    )
    together = staircase(options)
    apart = [Alone(together, number, options) for number in range(3)]
    draws = torch.Generator().manual_seed(0)
    for _ in range(8):
        report = together.step(ridge, 10)
        noise, other = (torch.rand(3, 10, 4, generator=draws) for _ in range(2))
        expected = [alone.step(noise[i], other[i]) for i, alone in enumerate(apart)]
        torch.testing.assert_close(report.stacked(), torch.tensor(expected).T)
    for number, alone in enumerate(apart):
        mine = torch.cat([p[number].flatten() for p in _linear_weights(together)])
        layers = [alone.generator[0], alone.generator[3], alone.generator[6]]
        layers += [alone.from_point, alone.from_noise, alone.head[1], alone.head[3]]
        theirs = [
            tensor.flatten()
            for layer in layers
            for tensor in (layer.weight.T, *([layer.bias] if layer.bias is not None else []))
        ]
        torch.testing.assert_close(mine, torch.cat(theirs))
    noise = torch.rand(3, 5, 4, generator=draws)
    drawn = together.sample(5)  # drawn from the same stream, with running means
    for number, alone in enumerate(apart):
        torch.testing.assert_close(drawn[number], alone.generator.eval()(noise[number]))


def _linear_weights(whole: Staircase) -> list[Tensor]:
    layers = [
        module
        for network in (whole.generators, whole.statistics)
        for module in network.modules()
        if isinstance(module, StackedLinear)
    ]
    return [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]


def test_sampling_needs_no_batch_and_changes_nothing() -> None:
    options = SearchOptions(noise=4, hidden=6, statistic_hidden=5)
    found, twin = staircase(options), staircase(options)
    for one in (found, twin):
        one.step(ridge, 10)
    before = {name: t.clone() for name, t in found.generators.state_dict().items()}
    first, second = found.sample(1), found.sample(1)
    assert first.shape == (3, 1, 2)
    assert ((first > 0) & (first < 1)).all()
    assert not torch.equal(first, second)
    assert not first.requires_grad
    assert torch.equal(twin.sample(1), first)
    for name, tensor in found.generators.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_value_above_the_level_is_no_loss() -> None:
    """A point that is inside is pushed by information alone."""
    options = SearchOptions(noise=4, hidden=6, statistic_hidden=5, alpha=0.0)
    found = staircase(options)
    before = [p.clone() for p in found.generators.parameters()]
    report = found.step(lambda points: points.sum(dim=-1) * 0 + 0.95, 10)
    assert report.hinge.tolist() == [0, 0, 0]
    assert report.saturated.tolist() == [1, 1, 1]
    assert report.value.tolist() == pytest.approx([0.95] * 3)
    now = list(found.generators.parameters())
    assert all(torch.equal(p, old) for p, old in zip(now, before, strict=True))
