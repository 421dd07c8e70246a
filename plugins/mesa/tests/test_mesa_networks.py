"""Stacked layers and networks equal separate torch modules, forward and backward."""

from __future__ import annotations

import math

import pytest
import torch
from bench_mesa.networks import Generators, Statistics
from bench_mesa.options import MesaOptions, SearchOptions
from bench_mesa.stacked import StackedBatchNorm, StackedLinear
from jaxtyping import TypeCheckError
from torch import Tensor, nn

STACK = 3
SMALL = SearchOptions(noise=4, hidden=6, statistic_hidden=5, slope=0.3)


def linear(layer: StackedLinear, number: int) -> nn.Linear:
    """Return one layer of a stack as torch's own."""
    _, inputs, outputs = layer.weight.shape
    alone = nn.Linear(inputs, outputs, bias=layer.bias is not None)
    with torch.no_grad():
        alone.weight.copy_(layer.weight[number].T)
        if layer.bias is not None:
            alone.bias.copy_(layer.bias[number, 0])
    return alone


def gradients(result: Tensor, weights: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad((result * weights).sum(), inputs))


@pytest.mark.parametrize("bias", [True, False])
def test_stacked_linear_equals_separate_layers(bias: bool) -> None:
    layer = StackedLinear(STACK, 4, 7, bias=bias)
    x = torch.randn(STACK, 5, 4, requires_grad=True)
    weights = torch.randn(STACK, 5, 7)
    result = layer(x)
    parameters = [layer.weight, *([layer.bias] if layer.bias is not None else [])]
    found = gradients(result, weights, [x, *parameters])
    for number in range(STACK):
        alone, own = linear(layer, number), x[number].detach().requires_grad_()
        expected = alone(own)
        torch.testing.assert_close(result[number], expected)
        wanted = gradients(expected, weights[number], [own, *alone.parameters()])
        torch.testing.assert_close(found[0][number], wanted[0])
        torch.testing.assert_close(found[1][number], wanted[1].T)
        if bias:
            torch.testing.assert_close(found[2][number, 0], wanted[2])


def test_stacked_linear_is_initialised_as_torchs() -> None:
    torch.manual_seed(0)
    layer = StackedLinear(2, 64, 512)
    reference = nn.Linear(64, 512)
    bound = 1 / math.sqrt(64)
    for tensor in (layer.weight, layer.bias, reference.weight, reference.bias):
        assert tensor.abs().max() <= bound
        assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert not torch.equal(layer.weight[0], layer.weight[1])


def test_stacked_batch_norm_equals_separate_ones_in_training_and_after() -> None:
    stacked, apart = StackedBatchNorm(STACK, 6), [nn.BatchNorm1d(6) for _ in range(STACK)]
    nn.init.uniform_(stacked.norm.weight, 0.5, 2)
    nn.init.uniform_(stacked.norm.bias)
    for number, norm in enumerate(apart):
        part = slice(6 * number, 6 * (number + 1))
        with torch.no_grad():
            norm.weight.copy_(stacked.norm.weight[part])
            norm.bias.copy_(stacked.norm.bias[part])
    for mode in (True, True, False):
        stacked.train(mode)
        scale = torch.arange(1.0, STACK + 1)[:, None, None]
        x = (torch.randn(STACK, 9, 6) * scale + scale).requires_grad_()
        weights = torch.randn(STACK, 9, 6)
        result = stacked(x)
        found = gradients(result, weights, [x, stacked.norm.weight, stacked.norm.bias])
        for number, norm in enumerate(apart):
            norm.train(mode)
            part = slice(6 * number, 6 * (number + 1))
            own = x[number].detach().requires_grad_()
            expected = norm(own)
            torch.testing.assert_close(result[number], expected)
            wanted = gradients(expected, weights[number], [own, norm.weight, norm.bias])
            torch.testing.assert_close(found[0][number], wanted[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found[1][part], wanted[1], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found[2][part], wanted[2], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(stacked.norm.running_mean[part], norm.running_mean)
            torch.testing.assert_close(stacked.norm.running_var[part], norm.running_var)


@pytest.mark.parametrize("training", [True, False])
def test_each_generator_is_the_papers_perceptron(training: bool) -> None:
    stack = Generators(STACK, 2, SMALL, torch.Generator()).train(training)
    first, _, _, second, _, _, last = stack.layers
    noise = torch.rand(STACK, 8, 4)
    points = stack(noise)
    for number in range(STACK):
        alone = nn.Sequential(
            *(linear(first, number), nn.BatchNorm1d(6), nn.LeakyReLU(0.3)),
            *(linear(second, number), nn.BatchNorm1d(6), nn.LeakyReLU(0.3)),
            *(linear(last, number), nn.Sigmoid()),
        ).train(training)
        torch.testing.assert_close(points[number], alone(noise[number]))


def test_skipping_adds_the_first_hidden_layer_to_the_second() -> None:
    options = SMALL.model_copy(update={"skip": True})
    stack = Generators(STACK, 2, options, torch.Generator()).train()
    first, _, _, second, _, _, last = stack.layers
    noise = torch.rand(STACK, 8, 4)
    points = stack(noise)
    for number in range(STACK):
        outer = nn.Sequential(linear(first, number), nn.BatchNorm1d(6), nn.LeakyReLU(0.3))
        inner = nn.Sequential(linear(second, number), nn.BatchNorm1d(6), nn.LeakyReLU(0.3))
        hidden = outer(noise[number])
        expected = linear(last, number)(hidden + inner(hidden)).sigmoid()
        torch.testing.assert_close(points[number], expected)


def test_output_noise_has_its_deviation_and_is_drawn_from_the_generator_alone() -> None:
    options = SMALL.model_copy(update={"output_noise": 0.5})
    torch.manual_seed(0)
    noisy = Generators(STACK, 2, options, torch.Generator().manual_seed(1)).eval()
    torch.manual_seed(0)
    plain = Generators(STACK, 2, SMALL, torch.Generator()).eval()
    noise, state = torch.rand(STACK, 4000, 4), torch.random.get_rng_state()
    added = noisy(noise).logit() - plain(noise).logit()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert added.mean().item() == pytest.approx(0, abs=0.02)
    assert added.std().item() == pytest.approx(0.5, rel=0.02)
    assert not torch.equal(noisy(noise), noisy(noise))  # fresh noise in every pass


def test_each_statistic_network_is_the_papers() -> None:
    stack = Statistics(STACK, 2, SMALL)
    _, second, _, last, _ = stack.head
    points, noise = torch.randn(STACK, 8, 2), torch.rand(STACK, 8, 4)
    found = stack(points, noise)
    relu = nn.LeakyReLU(0.3)
    for number in range(STACK):
        sides = linear(stack.from_point, number)(points[number])
        sides = sides + linear(stack.from_noise, number)(noise[number])
        hidden = relu(linear(second, number)(relu(sides)))
        expected = relu(linear(last, number)(hidden))
        torch.testing.assert_close(found[number], expected.squeeze(1))


def test_the_default_widths_are_the_papers() -> None:
    options = MesaOptions()
    generators = Generators(3, 27, options, torch.Generator())
    statistics = Statistics(3, 27, options)

    def widths(module: nn.Module) -> list[tuple[int, ...]]:
        return [
            tuple(layer.weight.shape)
            for layer in module.modules()
            if isinstance(layer, StackedLinear)
        ]

    assert widths(generators) == [(3, 64, 512), (3, 512, 512), (3, 512, 27)]
    assert widths(statistics) == [(3, 27, 512), (3, 64, 512), (3, 512, 512), (3, 512, 1)]
    slopes = [
        layer.negative_slope
        for network in (generators, statistics)
        for layer in network.modules()
        if isinstance(layer, nn.LeakyReLU)
    ]
    assert slopes == [0.2] * 5


def test_a_wrong_shape_raises() -> None:
    with pytest.raises(TypeCheckError):
        StackedLinear(STACK, 4, 7)(torch.randn(5, 4))
    with pytest.raises(TypeCheckError):
        Statistics(STACK, 2, SMALL)(torch.randn(STACK, 8, 2), torch.rand(STACK, 7, 4))
