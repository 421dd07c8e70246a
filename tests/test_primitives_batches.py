"""Batches and augmentation against torch's own padding and slicing."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from benchmark.primitives import Augment, batch_indices, normal_batch, to_unit


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(count: int, height: int = 8, width: int = 8) -> Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=seeded())


def all_crops(image: Tensor, padding: int, flip: bool) -> Tensor:
    """Every result that augmenting one image may have: each crop, then each crop mirrored."""
    height, width = image.shape[1:]
    padded = pad(image[None].float(), [padding] * 4, mode="reflect")[0].byte()
    crops = [
        padded[:, row : row + height, column : column + width]
        for row in range(2 * padding + 1)
        for column in range(2 * padding + 1)
    ]
    return torch.stack([*crops, *(crop.flip(2) for crop in crops)] if flip else crops)


@pytest.mark.parametrize(
    ("padding", "flip", "size"),
    [(2, True, (8, 8)), (3, False, (6, 9)), (0, True, (5, 4)), (4, False, (6, 6))],
)
def test_augmenting_draws_uniformly_from_reflected_crops_and_flips(
    padding: int, flip: bool, size: tuple[int, int]
) -> None:
    image = some_images(1, *size)[0]
    expected = all_crops(image, padding, flip)
    times = 60 * len(expected)
    results = Augment(padding, flip)(image.expand(times, -1, -1, -1), seeded())
    matches = (results[:, None] == expected[None]).flatten(2).all(dim=2)
    assert (matches.sum(dim=1) == 1).all(), "a result is no crop of the reflected image"
    counts = matches.sum(dim=0).double()
    assert counts.min() > 0.4 * 60
    assert counts.max() < 1.7 * 60


@pytest.mark.parametrize("size", [(1, 3), (2, 5), (3, 4)])
def test_a_padding_wider_than_the_image_reflects_more_than_once(size: tuple[int, int]) -> None:
    """As numpy does; the shipped data sets have wider images than that."""
    image = some_images(1, *size)[0]
    wide = np.pad(image.numpy(), [(0, 0), (7, 7), (7, 7)], mode="reflect")
    windows = [
        wide[:, row : row + size[0], column : column + size[1]].tobytes()
        for row in range(15)
        for column in range(15)
    ]
    results = Augment(7, False)(image.expand(500, -1, -1, -1), seeded())
    assert {result.numpy().tobytes() for result in results} <= {*windows}


def test_each_image_has_its_own_crop_of_itself() -> None:
    images = some_images(64)
    results = Augment(2, True)(images, seeded())
    chosen = set()
    for image, result in zip(images, results, strict=True):
        matches = (all_crops(image, 2, True) == result).flatten(1).all(dim=1)
        chosen.add(int(matches.nonzero().item()))
    assert len(chosen) > 25  # of 50


def test_no_augmentation_is_the_identity_and_draws_nothing() -> None:
    images, generator = some_images(3), seeded()
    state = generator.get_state()
    assert torch.equal(Augment()(images, generator), images)
    assert torch.equal(generator.get_state(), state)


def test_augmenting_leaves_its_input_and_follows_its_generator() -> None:
    images = some_images(8)
    before = images.clone()
    first, again, other = (Augment(2, True)(images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(images, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@given(st.integers(1, 300), st.integers(1, 70), st.integers(0, 2**32))
@settings(deadline=None)
def test_batches_cover_everything_once(count: int, batch_size: int, seed: int) -> None:
    batches = [index.tolist() for index in batch_indices(count, batch_size, seeded(seed))]
    assert sorted(chain.from_iterable(batches)) == list(range(count))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches[-1]) == (count - 1) % batch_size + 1


def test_batches_are_shuffled_anew_by_the_generator() -> None:
    generator = seeded()
    first, second = (torch.cat(list(batch_indices(100, 32, generator))) for _ in range(2))
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.arange(100))
    assert torch.equal(first, torch.cat(list(batch_indices(100, 7, seeded()))))


def test_pixels_become_unit_floats_exactly_at_both_ends() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).expand(3, -1).reshape(1, 3, 16, 16)
    unit = to_unit(pixels)
    assert unit.dtype == torch.float32
    assert unit.min() == 0.0
    assert unit.max() == 1.0
    torch.testing.assert_close(unit, pixels.float() / 255, rtol=0, atol=1e-7)
    assert unit.is_contiguous(memory_format=torch.channels_last)
    assert pixels.dtype == torch.uint8


def test_a_normal_batch_is_its_images_augmented() -> None:
    images, index = some_images(9), torch.tensor([4, 0, 8])
    expected = to_unit(Augment(1, True)(images[index], seeded(3)))
    assert torch.equal(normal_batch(images, index, Augment(1, True), seeded(3)), expected)
