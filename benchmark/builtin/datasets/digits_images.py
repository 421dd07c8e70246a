"""Handwritten digits blended over photographs: the MNIST-M recipe on scikit-learn's own samples.

The digits are 8 x 8 grey images, enlarged to 32 x 32; a photograph's patch P and a digit D give
the image |P - D|, channel by channel. Training and test images come from different digits. All
image work is Pillow's integer arithmetic, so that the same options give the same bytes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split

from benchmark.builtin.datasets.digits import DigitsOptions
from benchmark.contracts import ImageSet, LoadedDataset

SIDE = 32
BORDER = 2
TRAIN_FRACTION = 0.8
Pool = tuple[list[Image.Image], Int64[np.ndarray, " digits"]]


def make_digits(options: DigitsOptions) -> LoadedDataset:
    """Return the training and test images, uint8 of shape (count, 3, 32, 32), 10 classes."""
    train, test = _digit_pools(options.seed)
    return LoadedDataset(
        train=_blend(
            train, options.train_images, options, np.random.default_rng((options.seed, 0))
        ),
        test=_blend(test, options.test_images, options, np.random.default_rng((options.seed, 1))),
        class_names=tuple(str(digit) for digit in range(10)),
    )


def _blend(pool: Pool, count: int, options: DigitsOptions, rng: np.random.Generator) -> ImageSet:
    """Go through the pool as often as needed; from the second time on, digits are moved."""
    digits, labels = pool
    order = np.arange(count) % len(digits)
    foreground = np.stack([np.asarray(digits[i]) for i in order])
    for place in range(len(digits), count):
        foreground[place] = _moved(digits[order[place]], _move(options.jitter, rng))
    patches = _patches(count, options, rng)
    images = np.abs(patches.astype(np.int16) - foreground[..., None]).astype(np.uint8)
    return ImageSet(
        images=torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
        labels=torch.from_numpy(labels[order]),
    )


def _move(jitter: float, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return a random angle (radians), scale and shift right and down (pixels)."""
    angle, scale, right, down = rng.uniform(-1, 1, size=4) * jitter
    return math.radians(5) * angle, 1 + 0.05 * scale, right, down


def _digit_pools(seed: int) -> tuple[Pool, Pool]:
    """Return the digits of the training and the test images, in random order."""
    pixels, labels = load_digits(return_X_y=True)
    grey = np.rint(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(labels)),
        train_size=TRAIN_FRACTION,
        stratify=labels,
        random_state=np.random.RandomState(np.random.MT19937(seed)),
    )
    return _pool(grey[train], labels[train]), _pool(grey[test], labels[test])


def _pool(grey: UInt8[np.ndarray, "digits 8 8"], labels: Int64[np.ndarray, " digits"]) -> Pool:
    return [_framed(Image.fromarray(digit)) for digit in grey], labels.astype(np.int64)


def _framed(digit: Image.Image) -> Image.Image:
    """Enlarge a digit and leave a border, so that a shift does not cut it off."""
    side = SIDE - 2 * BORDER
    framed = Image.new("L", (SIDE, SIDE))
    framed.paste(digit.resize((side, side), Image.Resampling.BICUBIC), (BORDER, BORDER))
    return framed


def _moved(digit: Image.Image, move: tuple[float, float, float, float]) -> Image.Image:
    """Turn, scale and shift a digit about the middle of its image."""
    angle, scale, right, down = move
    middle = SIDE / 2
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    x, y = middle + right, middle + down  # where the middle goes; Pillow asks for the way back
    matrix = (cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y)
    transform, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return digit.transform((SIDE, SIDE), transform, matrix, resample=bilinear)


def _patches(
    count: int, options: DigitsOptions, rng: np.random.Generator
) -> UInt8[np.ndarray, "count 32 32 3"]:
    """Return random squares of the sample photographs, enlarged, of less contrast about grey."""
    photos = [Image.fromarray(_faded(p, options.contrast)) for p in load_sample_images().images]
    side = SIDE / options.patch_zoom
    which = rng.integers(len(photos), size=count)
    places = rng.uniform(size=(count, 2))
    patches = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
    for patch, photo, (across, down) in zip(patches, which, places, strict=True):
        width, height = photos[photo].size
        left, top = across * (width - side), down * (height - side)
        box = (left, top, left + side, top + side)
        patch[:] = photos[photo].resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
    return patches


def _faded(
    photo: UInt8[np.ndarray, "height width 3"], contrast: float
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a photograph with its values drawn toward the middle grey."""
    levels = np.rint(127.5 + contrast * (np.arange(256) - 127.5)).astype(np.uint8)
    return levels[photo]
