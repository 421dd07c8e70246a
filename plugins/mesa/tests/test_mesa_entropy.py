"""The entropy by neighbours' distances, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from bench_mesa.entropy import neighbour_entropy


@pytest.mark.parametrize(("dimension", "tolerance"), [(1, 0.06), (2, 0.06), (5, 0.2)])
def test_it_finds_the_entropy_of_gaussians(dimension: int, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([0.1, 1.0, 3.0])
    points = torch.randn(3, 1500, dimension, generator=generator) * scales[:, None, None]
    found = neighbour_entropy(points, 3).tolist()
    for estimate, scale in zip(found, scales.tolist(), strict=True):
        truth = dimension / 2 * math.log(2 * math.pi * math.e * scale**2)
        assert estimate == pytest.approx(truth, abs=tolerance)


@pytest.mark.parametrize("neighbour", [1, 5])
def test_it_finds_the_volume_of_a_uniform_sample(neighbour: int) -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(1, 2000, 2, generator=generator) * torch.tensor([0.5, 0.02])
    found = neighbour_entropy(points, neighbour).exp().item()
    assert found == pytest.approx(0.01, rel=0.15)


def test_stretching_adds_the_logarithm_for_each_dimension() -> None:
    points = torch.rand(1, 40, 3, generator=torch.Generator().manual_seed(2))
    more = neighbour_entropy(7 * points, 2) - neighbour_entropy(points, 2)
    assert more.item() == pytest.approx(3 * math.log(7), abs=1e-4)


def test_its_gradient_is_that_of_the_value() -> None:
    points = torch.rand(2, 7, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    points.requires_grad_()
    assert torch.autograd.gradcheck(lambda one: neighbour_entropy(one, 2), (points,))


def test_points_that_coincide_have_a_very_low_finite_entropy_and_gradient() -> None:
    points = torch.full((1, 5, 2), 0.5, requires_grad=True)
    found = neighbour_entropy(points, 1)
    (gradient,) = torch.autograd.grad(found.sum(), points)
    assert -100 < found.item() < -40
    assert torch.isfinite(gradient).all()


def test_a_sample_smaller_than_the_neighbours_takes_the_farthest_and_one_point_is_refused() -> None:
    pair = torch.tensor([[[0.0], [0.5]]])
    assert neighbour_entropy(pair, 3).item() == neighbour_entropy(pair, 1).item()
    with pytest.raises(ValueError, match="at least 2 points, not 1"):
        neighbour_entropy(pair[:, :1], 3)
