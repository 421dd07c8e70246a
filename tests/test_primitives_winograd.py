"""3×3 convolutions by fewer multiplications: the same numbers as torch's own, both ways."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from local_evaluation import agree, random, resnet
from torch import Tensor, nn

from benchmark.api import FineTune, ImageSet
from benchmark.builtin.networks import ResNet
from benchmark.primitives import RunContext, fast_convolutions, fine_tune, winograd

SIZES = st.integers(1, 17)
pytestmark = [
    pytest.mark.usefixtures("as_in_a_run"),
    pytest.mark.skipif(
        not torch.backends.mkl.is_available(), reason="only there with MKL's products of matrices"
    ),
]


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Take the faster way wherever it is possible, paying or not; the list counts how often."""
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 1)
    monkeypatch.setattr(winograd, "_DENSEST", float("inf"))
    monkeypatch.setattr(winograd, "_FEWEST_TILES", 1)
    taken: list[int] = []
    convolved = winograd.convolved

    def counted(images: Tensor, *rest: object) -> Tensor:
        taken.append(len(images))
        return convolved(images, *rest)

    monkeypatch.setattr(winograd, "convolved", counted)
    return taken


@given(
    count=st.integers(1, 9),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(SIZES, SIZES),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    biased=st.booleans(),
)
def test_of_every_size_and_padding_it_is_the_convolution_and_its_gradients(
    count, channels, size, padding, biased
):
    if any(one + 2 * around < 3 for one, around in zip(size, padding, strict=True)):
        return  # torch refuses an image that is smaller than the filter
    inputs, outputs = channels
    generator = torch.Generator().manual_seed(count)
    images, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((count, inputs, *size), (outputs, inputs, 3, 3), (outputs,))
    )
    expected = torch.conv2d(images, weight, bias if biased else None, 1, padding)
    slope = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    of_images, of_weight = torch.autograd.grad(expected, (images, weight), slope)
    with torch.no_grad():
        found = winograd.convolved(
            images, winograd.at_points(weight), bias if biased else None, padding
        )
        back = winograd.at_points(weight.flip(2, 3).transpose(0, 1))
        beyond = 2 - padding[0], 2 - padding[1]
        exactly = {"rtol": 1e-10, "atol": 1e-11}
        torch.testing.assert_close(found, expected, **exactly)
        torch.testing.assert_close(
            winograd.convolved(slope, back, None, beyond), of_images, **exactly
        )
        torch.testing.assert_close(
            winograd.weight_gradient(images, slope, padding), of_weight, **exactly
        )


def test_in_float32_it_is_a_few_roundings_away() -> None:
    """On the shapes for which it is there; what a library's own way is away is a tenth of it."""
    for channels, size in ((512, 4), (256, 8), (128, 4)):
        generator = torch.Generator().manual_seed(size)
        images = torch.randn(16, channels, size, size, generator=generator).relu()
        weight = torch.randn(channels, channels, 3, 3, generator=generator) / channels
        exact = torch.conv2d(images.double(), weight.double(), None, 1, 1)
        assert winograd.suits(weight)
        assert winograd.pays(images.shape, channels, (1, 1))
        found = winograd.convolved(images, winograd.at_points(weight), None, (1, 1))
        assert (found - exact).abs().max() < 5e-5 * exact.abs().max()


def test_many_images_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    images, weight = random(11, 2, 9, 6), random(3, 2, 3, 3)
    at_once = winograd.convolved(images, winograd.at_points(weight), None, (1, 1))
    slope = torch.ones_like(at_once)
    of_weight = winograd.weight_gradient(images, slope, (1, 1))
    monkeypatch.setattr(winograd, "_MOST_TILES", 13)  # 6 tiles an image: two images, then one
    in_parts = winograd.convolved(images, winograd.at_points(weight), None, (1, 1))
    torch.testing.assert_close(in_parts, at_once)
    assert [part.stop - part.start for part in winograd._parts(11, 6)] == [2] * 6
    torch.testing.assert_close(winograd.weight_gradient(images, slope, (1, 1)), of_weight)


@pytest.mark.parametrize("corner", [(0, 0), (2, 9), (13, 13), (6, 6)])
def test_stamped_images_go_the_faster_way_with_the_same_logits_and_gradients(
    everywhere: list[int], corner: tuple[int, int]
) -> None:
    agree(resnet(), random(3, 3, 16, 16), random(2, 3, 3, 3, 3), corner)
    assert everywhere


def test_a_network_is_trained_the_same(everywhere: list[int]) -> None:
    def network() -> nn.Module:
        torch.manual_seed(1)
        return ResNet(4, [(4, 1, 1), (6, 1, 2)], 3).double()

    plain, fast = network(), network()
    images = random(6, 3, 8, 8)

    def step(model: nn.Module) -> Tensor:
        loss = nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 0, 1, 2]))
        loss.backward()
        return loss

    expected = step(plain)
    with fast_convolutions():
        assert not everywhere
        torch.testing.assert_close(step(fast), expected)
    assert len(everywhere) > 4
    for one, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)


def test_fine_tuning_takes_it(everywhere: list[int]) -> None:
    data = ImageSet(torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8), torch.arange(8) % 3)

    def trained(precision: str) -> int:
        everywhere.clear()
        options = FineTune(epochs=1, batch_size=4, precision=precision)
        model = ResNet(4, [(4, 1, 1)], 3)
        fine_tune(model, data, options, RunContext(torch.device("cpu"), 0))
        return len(everywhere)

    assert trained("float32") > 0
    assert trained("bfloat16") == 0  # there the library's way is the faster one


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(2, 3, 3, padding="same"),
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 3, 3, dilation=2),
        nn.Conv2d(2, 3, 3, padding=3),
        nn.Conv2d(2, 3, 5, padding=2),
        nn.Conv2d(2, 3, 1),
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
    ],
    ids=str,
)
def test_other_convolutions_are_as_they_were(everywhere: list[int], convolution: nn.Conv2d) -> None:
    images = torch.rand(2, 2, 9, 9)
    expected = convolution(images)
    with fast_convolutions():
        found = convolution(images)
        single = convolution(images[0])  # without an axis of images
        # What reflects at its border has padded itself, and is then a plain convolution.
        assert bool(everywhere) == (convolution.padding_mode == "reflect")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(single, expected[0])


def test_a_network_with_an_autocast_of_its_own_is_convolved_as_usual(everywhere: list) -> None:
    torch.manual_seed(0)
    images = torch.rand(32, 128, 8, 8).to(memory_format=torch.channels_last)
    convolution = nn.Conv2d(128, 128, 3, padding=1)

    def answer() -> tuple[torch.Tensor, torch.Tensor]:
        convolution.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            found = convolution(images)
        found.float().square().sum().backward()
        return found.detach(), convolution.weight.grad.clone()

    expected = answer()
    with fast_convolutions():
        found = answer()
    assert found[0].dtype == torch.bfloat16
    assert not everywhere
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_few_channels_small_images_and_single_images_do_not_pay() -> None:
    assert not winograd.suits(torch.rand(512, 64, 3, 3))
    assert not winograd.suits(torch.rand(512, 512, 1, 1))
    for half in (torch.bfloat16, torch.float16):
        assert not winograd.suits(torch.rand(512, 512, 3, 3).to(half))
    assert winograd.pays(torch.Size((128, 512, 4, 4)), 512, (1, 1))
    assert not winograd.pays(torch.Size((1, 512, 4, 4)), 512, (1, 1))
    assert not winograd.pays(torch.Size((128, 512, 2, 2)), 512, (1, 1))  # mostly beyond the image
    assert not winograd.pays(torch.Size((128, 512, 2, 2)), 512, (0, 0))  # no output
    assert not winograd.pays(torch.Size((128, 128, 16, 16)), 128, (1, 1))
