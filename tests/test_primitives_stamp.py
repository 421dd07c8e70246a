"""Stamps against a pixel-by-pixel reference; places uniform over everything that fits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.primitives import host_generator, random_places, stamp


def slowly(images: Tensor, triggers: Tensor, places: Tensor) -> Tensor:
    """Stamp pixel by pixel, with one trigger and one place for each image or for all."""
    result = images.clone()
    for item in range(len(images)):
        trigger = triggers[item if len(triggers) > 1 else 0]
        top, left = places[item if len(places) > 1 else 0].tolist()
        for row in range(trigger.shape[1]):
            for column in range(trigger.shape[2]):
                result[item, :, top + row, left + column] = trigger[:, row, column]
    return result


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Images of any size, triggers up to that size, anywhere inside, one or one an image."""
    batch, height, width = (draw(st.integers(1, high)) for high in (3, 7, 7))
    patch_height, patch_width = draw(st.integers(1, height)), draw(st.integers(1, width))
    corner = st.tuples(st.integers(0, height - patch_height), st.integers(0, width - patch_width))
    places = draw(
        st.lists(corner, min_size=1, max_size=1) | st.lists(corner, min_size=batch, max_size=batch)
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    triggers = draw(st.sampled_from([1, batch]))
    return (
        torch.rand(batch, 3, height, width, generator=generator),
        torch.rand(triggers, 3, patch_height, patch_width, generator=generator),
        torch.tensor(places),
    )


@given(cases())
@settings(max_examples=150, deadline=None)
def test_stamp_equals_the_slow_reference_and_leaves_its_input(
    case: tuple[Tensor, Tensor, Tensor],
) -> None:
    images, trigger, places = case
    before = images.clone(), trigger.clone(), places.clone()
    assert torch.equal(stamp(images, trigger, places), slowly(images, trigger, places))
    assert all(torch.equal(now, then) for now, then in zip(case, before, strict=True))


@pytest.mark.parametrize("one_place", [True, False], ids=["place a batch", "place an image"])
def test_every_place_down_to_the_last_corner(one_place: bool) -> None:
    images = torch.rand(2, 3, 6, 5)
    trigger = torch.rand(1, 3, 3, 2)
    for row in range(4):
        for column in range(4):
            places = torch.tensor([[row, column]] if one_place else [[row, column], [3 - row, 0]])
            assert torch.equal(stamp(images, trigger, places), slowly(images, trigger, places))


@pytest.mark.parametrize("place", [(-1, 0), (0, 4), (4, 0)])
def test_a_single_place_outside_the_image_is_an_error(place: tuple[int, int]) -> None:
    with pytest.raises(RuntimeError):
        stamp(torch.rand(2, 3, 6, 6), torch.rand(1, 3, 3, 3), torch.tensor([place]))


@given(cases())
@settings(max_examples=60, deadline=None)
def test_gradients_reach_the_trigger_and_the_pixels_it_leaves(
    case: tuple[Tensor, Tensor, Tensor],
) -> None:
    images, trigger, places = case
    weights = torch.rand(images.shape)
    gradients = []
    for function in (stamp, slowly):
        pixels, patch = images.clone().requires_grad_(), trigger.clone().requires_grad_()
        loss = (function(pixels, patch, places) * weights).sum()
        gradients.append(torch.autograd.grad(loss, (pixels, patch)))
    for ours, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("places", [[[1, 2]], [[1, 2], [0, 0], [5, 5]]])
def test_a_shared_trigger_has_the_sum_of_the_images_gradients(places: list[list[int]]) -> None:
    images, trigger = torch.rand(3, 3, 8, 8), torch.rand(1, 3, 3, 3)
    weights = torch.rand(images.shape)
    shared = trigger.clone().requires_grad_()
    (stamp(images, shared, torch.tensor(places)) * weights).sum().backward()
    own = trigger.repeat(3, 1, 1, 1).requires_grad_()
    (stamp(images, own, torch.tensor(places)) * weights).sum().backward()
    assert shared.grad is not None
    assert own.grad is not None
    torch.testing.assert_close(shared.grad[0], own.grad.sum(dim=0))


def test_memory_stays_channels_last() -> None:
    images = torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    for places in (torch.zeros(1, 2).long(), torch.zeros(2, 2).long()):
        stamped = stamp(images, torch.rand(1, 3, 3, 3), places)
        assert stamped.is_contiguous(memory_format=torch.channels_last)


def test_places_are_uniform_over_all_900() -> None:
    draws = 90_000
    generator = torch.Generator().manual_seed(7)
    places = random_places(draws, (32, 32), (3, 3), generator)
    assert places.min() == 0
    assert places.max() == 29
    counts = torch.bincount(places[:, 0] * 30 + places[:, 1], minlength=900).double()
    assert counts.shape == (900,)
    expected = draws / 900
    chi_squared = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_squared < 1063  # 899 degrees of freedom: exceeded once in 10,000 by chance


@given(
    st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)
)
@settings(deadline=None)
def test_places_keep_the_trigger_inside(
    count: int, height: int, width: int, patch_height: int, patch_width: int
) -> None:
    size = (max(height, patch_height), max(width, patch_width))
    generator = torch.Generator().manual_seed(height)
    places = random_places(count, size, (patch_height, patch_width), generator)
    assert places.shape == (count, 2)
    assert (places >= 0).all()
    assert (places[:, 0] + patch_height <= size[0]).all()
    assert (places[:, 1] + patch_width <= size[1]).all()


def test_rows_and_columns_have_their_own_ranges() -> None:
    places = random_places(500, (4, 9), (3, 2), torch.Generator().manual_seed(0))
    assert set(places[:, 0].tolist()) == set(range(2))
    assert set(places[:, 1].tolist()) == set(range(8))


def test_a_fourth_channel_is_opacity() -> None:
    images = torch.full((3, 3, 5, 4), 0.25)
    trigger = torch.ones(1, 4, 2, 2)
    trigger[0, 3] = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    for places in (torch.tensor([[2, 1]]), torch.tensor([[2, 1]] * 3)):
        stamped = stamp(images, trigger, places)
        assert torch.equal(stamped[1, 0, 2:4, 1:3], torch.tensor([[1.0, 0.25], [0.625, 1.0]]))
        stamped[:, :, 2:4, 1:3] = 0.25
        assert torch.equal(stamped, images)


def test_on_the_cpu_places_for_the_host_come_out_of_the_same_stream() -> None:
    generator = torch.Generator().manual_seed(3)
    assert host_generator(generator) is generator


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_gpu_places_for_the_host_lie_there_and_have_the_seed() -> None:
    generator = torch.Generator("cuda").manual_seed(3)
    place = random_places(1, (32, 32), (3, 3), host_generator(generator))
    again = random_places(1, (32, 32), (3, 3), torch.Generator().manual_seed(3))
    assert place.device.type == "cpu"
    assert torch.equal(place, again)
    images = torch.rand(4, 3, 32, 32, device="cuda")
    trigger = torch.rand(1, 3, 3, 3, device="cuda")
    assert torch.equal(stamp(images, trigger, place), stamp(images, trigger, place.cuda()))
