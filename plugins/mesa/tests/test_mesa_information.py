"""The mutual-information estimate against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from bench_mesa.information import DonskerVaradhan
from bench_mesa.theory.gaussians import closed_form, estimates

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 5])
def test_it_finds_the_information_of_gaussians(size: int) -> None:
    """Learn from small batches, measure on many fresh points: the bound lies just below."""
    correlations = (0.0, 0.5, 0.9)
    found, _ = estimates(correlations, size, steps=250, batch=256)
    assert found[0] == pytest.approx(0, abs=0.03)
    for estimate, rho in zip(found[1:], correlations[1:], strict=True):
        truth = -size / 2 * math.log(1 - rho**2)
        assert closed_form(rho, size) == pytest.approx(truth)
        assert 0.75 * truth < estimate < 1.04 * truth


def test_it_saturates_where_there_is_much_information() -> None:
    """20 pairs of coordinates hold 39 and 62 nats; no batch of 128 shows that many."""
    found, _ = estimates((0.99, 0.999), 20, steps=150)
    assert closed_form(0.99, 20) == pytest.approx(39.2, abs=0.1)
    assert closed_form(0.999, 20) == pytest.approx(62.1, abs=0.1)
    assert max(found) < 0.4 * 39.2


def test_the_gradient_is_corrected_by_the_moving_average() -> None:
    """∇ = E[∇T] - E[∇T′ exp T′] / average, with the average moving by `rate` a batch."""
    rate, generator = 0.3, torch.Generator().manual_seed(1)
    information = DonskerVaradhan(2, rate, CPU)
    average = None
    for _ in range(4):
        joint, marginal = (
            torch.randn(2, 6, generator=generator, requires_grad=True) for _ in range(2)
        )
        surrogate, estimate = information(joint, marginal)
        found = torch.autograd.grad(surrogate.sum(), (joint, marginal))
        mean = marginal.detach().exp().mean(dim=1)
        average = mean if average is None else (1 - rate) * average + rate * mean
        torch.testing.assert_close(found[0], torch.full((2, 6), 1 / 6))
        torch.testing.assert_close(found[1], -marginal.detach().exp() / 6 / average[:, None])
        torch.testing.assert_close(estimate, joint.detach().mean(dim=1) - mean.log())
        assert not estimate.requires_grad


def test_a_rate_of_1_is_the_uncorrected_gradient() -> None:
    information = DonskerVaradhan(1, 1.0, CPU)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        joint = torch.randn(1, 6, generator=generator)
        marginal = torch.randn(1, 6, generator=generator, requires_grad=True)
        surrogate, _ = information(joint, marginal)
        (found,) = torch.autograd.grad(surrogate.sum(), marginal)
        torch.testing.assert_close(found, -marginal.detach().softmax(dim=1))


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_statistics_do_not_overflow(size: float) -> None:
    information = DonskerVaradhan(2, 0.01, CPU)
    information(torch.zeros(2, 5), torch.zeros(2, 5))
    joint = torch.full((2, 5), size, requires_grad=True)
    marginal = torch.full((2, 5), size, requires_grad=True)
    surrogate, estimate = information(joint, marginal)
    surrogate.sum().backward()
    assert torch.isfinite(surrogate).all()
    assert estimate.tolist() == pytest.approx([0, 0], abs=1e-2)
    assert joint.grad is not None
    assert marginal.grad is not None
    assert torch.isfinite(joint.grad).all()
    assert torch.isfinite(marginal.grad).all()


def test_networks_of_a_stack_do_not_mix() -> None:
    generator = torch.Generator().manual_seed(2)
    batches = [[torch.randn(3, 8, generator=generator) for _ in range(2)] for _ in range(3)]
    together = DonskerVaradhan(3, 0.1, CPU)
    apart = [DonskerVaradhan(1, 0.1, CPU) for _ in range(3)]
    for joint, marginal in batches:
        found = together(joint, marginal)
        for number, alone in enumerate(apart):
            part = slice(number, number + 1)
            expected = alone(joint[part], marginal[part])
            torch.testing.assert_close(found[0][part], expected[0])
            torch.testing.assert_close(found[1][part], expected[1])
