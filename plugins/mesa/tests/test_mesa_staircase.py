"""The staircase on testing functions that are known, in two dimensions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from bench_mesa.options import SearchOptions
from bench_mesa.stacked import StackedLinear
from bench_mesa.staircase import Staircase
from plain_search import Alone
from torch import Tensor

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


def test_without_its_weight_the_information_is_estimated_all_the_same() -> None:
    """F is flat above the level: nothing moves the generator away from its first, spread state."""
    options = SearchOptions(noise=2, hidden=32, statistic_hidden=64, lr=3e-3, alpha=0.0)
    found = staircase(options, levels=(0.9,))
    before = [one.clone() for one in found.generators.parameters()]
    reports = [found.step(lambda points: points[:, 0] * 0 + 1, 256) for _ in range(150)]
    assert all(map(torch.equal, before, found.generators.parameters()))
    assert abs(float(reports[0].information)) < 0.1
    assert float(reports[-1].information) > 0.5


@pytest.fixture
def sixty_four_bits() -> Iterator[None]:
    """Compute with 64 bits, so that two ways of one computation stay together."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


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
        expected = [alone.step(ridge, noise[i], other[i]) for i, alone in enumerate(apart)]
        torch.testing.assert_close(report.stacked(), torch.tensor(expected).T)
    for number, alone in enumerate(apart):
        mine = torch.cat([p[number].flatten() for p in _linear_weights(together)])
        theirs = [
            tensor.flatten()
            for layer in alone.layers()
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
