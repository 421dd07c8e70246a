"""The ensemble on known testing functions: weights, samples, density."""

from __future__ import annotations

import math

import pytest
import torch
from bench_mesa.approximator import Ensemble, fit, log_weights, weigh
from bench_mesa.density import Grid
from bench_mesa.links import IDENTITY, saturating
from bench_mesa.options import SearchOptions
from bench_mesa.staircase import Staircase
from torch import Tensor

LEVELS = (0.25, 0.5, 0.75)
SMALL = SearchOptions(
    noise=4, hidden=32, statistic_hidden=32, lr=3e-3, alpha=0.01, entropy="neighbours"
)


def tent(points: Tensor) -> Tensor:
    """A tent: the level set of β has length 1 - β."""
    return 1 - 2 * (points[:, 0] - 0.5).abs()


@pytest.fixture(scope="module")
def fitted() -> tuple[Staircase, list[int]]:
    calls = []

    def counted(points: Tensor) -> Tensor:
        calls.append(len(points))
        return tent(points)

    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    staircase = fit(counted, 1, LEVELS, SMALL, generator, steps=250, batch=64)
    assert torch.equal(torch.get_rng_state(), state)
    return staircase, calls


def test_all_sub_models_share_each_pass_over_the_testing_function(
    fitted: tuple[Staircase, list[int]],
) -> None:
    assert fitted[1] == [3 * 64] * 250


def test_weights_are_the_volumes_of_the_level_sets(fitted: tuple[Staircase, list[int]]) -> None:
    """Theorem 2: γ = exp(h), and h is the level set's log-volume."""
    ensemble = weigh(fitted[0])
    assert ensemble.log_weights.exp().tolist() == pytest.approx([0.75, 0.5, 0.25], rel=0.25)
    assert ensemble.shares.tolist() == pytest.approx([0.5, 1 / 3, 1 / 6], abs=0.05)


def test_the_density_climbs_the_stairs(fitted: tuple[Staircase, list[int]]) -> None:
    """Three equal steps: 1/4, 2/4, 3/4 of the tent, normalised to 2/3, 4/3, 2."""
    ensemble = weigh(fitted[0])
    found = ensemble.density(Grid(1, 16), 20_000)
    assert found.mean().item() == pytest.approx(1)
    steps = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 2, 2, 1, 1, 0, 0]) * 2 / 3
    assert (found - steps).abs().mean() < 0.2
    drawn = ensemble.sample(20_000, torch.Generator().manual_seed(1))
    assert (Grid(1, 16).density(drawn[None])[0] - found).abs().mean() < 0.1


def two_boxes(shares: list[float]) -> Ensemble:
    """An ensemble whose sub-models are known: the first lies below 0.5, the second above."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = Staircase(1, (0.5, 0.9), SMALL, torch.Generator().manual_seed(0))
    last = whole.generators.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([-2.0, 2.0])[:, None, None])
    return Ensemble(whole, torch.tensor(shares).log())


def test_samples_come_from_sub_models_in_proportion_to_their_weights() -> None:
    for shares in ([0.2, 0.8], [0.0, 5.0]):  # a level set without volume weighs nothing
        drawn = two_boxes(shares).sample(4000, torch.Generator().manual_seed(0))
        expected = shares[1] / sum(shares)
        assert (drawn > 0.5).double().mean().item() == pytest.approx(expected, abs=0.02)


def test_theorem_3_multiplies_by_the_slope_of_the_inverse_link() -> None:
    entropies, levels = torch.tensor([0.0, -1.0, -math.inf]), torch.tensor([0.2, 0.5, 1.0])
    assert log_weights(entropies, levels).tolist() == [0.0, -1.0, -math.inf]
    link = saturating(2.0)
    found = log_weights(entropies, levels, link).exp().tolist()
    top = 1 - math.exp(-2)
    expected = [top / 2 / (1 - 0.2 * top), top / 2 / (1 - 0.5 * top) / math.e, 0]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("link", [IDENTITY, saturating(0.5), saturating(4.0)])
def test_links_are_what_they_say(link: object) -> None:
    assert isinstance(link, type(IDENTITY))
    f = torch.linspace(0, 1, 50, dtype=torch.float64)
    b = link.forward(f)
    torch.testing.assert_close(link.inverse(b), f)
    assert b[0] == 0
    assert b[-1].item() == pytest.approx(1)
    b = b.clone().requires_grad_()
    (slope,) = torch.autograd.grad(link.inverse(b).sum(), b)
    torch.testing.assert_close(link.inverse_slope(b.detach()), slope)


def test_a_grid_counts_each_point_in_its_cell() -> None:
    grid = Grid(2, 4)
    centres = grid.centres()
    assert grid.cell_of(centres).tolist() == list(range(16))
    assert grid.cell_of(torch.tensor([[1.0, 0.0]])).tolist() == [12]
    points = torch.cat([centres[3:4].expand(3, 2), centres[8:9]])
    found = grid.density(points[None].float())[0]
    assert found.nonzero().flatten().tolist() == [3, 8]
    assert found[[3, 8]].tolist() == [12.0, 4.0]


def test_too_many_dimensions_for_a_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 3 dimensions, not 27"):
        Grid(27, 2)


def test_a_link_that_does_not_rise_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive, not 0"):
        saturating(0)


def test_a_grid_of_another_dimension_is_refused(fitted: tuple[Staircase, list[int]]) -> None:
    with pytest.raises(ValueError, match="2 dimensions for points of 1"):
        weigh(fitted[0]).density(Grid(2, 4), 100)
