"""The `digits` data set: shapes, determinism, disjoint digits, options."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from benchmark.builtin.datasets import DATASETS
from benchmark.builtin.datasets.digits import Digits, DigitsOptions
from benchmark.builtin.datasets.digits_images import _digit_pools, make_digits
from benchmark.errors import UserError

SMALL = DigitsOptions(train_images=300, test_images=100)


def test_shapes_types_and_classes():
    data = make_digits(SMALL)
    assert data.train.images.shape == (300, 3, 32, 32)
    assert data.test.images.shape == (100, 3, 32, 32)
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    assert data.class_names == tuple("0123456789")
    assert set(data.train.labels.tolist()) == set(data.test.labels.tolist()) == set(range(10))


def test_same_options_same_bytes():
    first, second = make_digits(SMALL), make_digits(SMALL)
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.test.images, second.test.images)
    assert torch.equal(first.train.labels, second.train.labels)


@pytest.mark.parametrize("change", [{"seed": 1}, {"patch_zoom": 1.0}])
def test_options_that_decide_the_pixels(change):
    changed = make_digits(SMALL.model_copy(update=change))
    assert not torch.equal(changed.train.images, make_digits(SMALL).train.images)


def test_a_split_does_not_depend_on_the_size_of_the_other():
    bigger = make_digits(SMALL.model_copy(update={"train_images": 400}))
    assert torch.equal(bigger.test.images, make_digits(SMALL).test.images)


def test_training_and_test_digits_are_disjoint_and_complete():
    train, test = _digit_pools(0)
    assert (len(train[0]), len(test[0])) == (1437, 360)
    counts = np.bincount(train[1]) + np.bincount(test[1])
    assert counts.tolist() == np.bincount(load_digits().target).tolist()
    shapes = {digit.tobytes() for digit in train[0]}
    assert not shapes & {digit.tobytes() for digit in test[0]}


def test_digits_used_again_are_moved():
    options = DigitsOptions(train_images=100, test_images=720)
    still = make_digits(options.model_copy(update={"jitter": 0.0})).test
    moved = make_digits(options).test
    assert torch.equal(still.labels[:360], still.labels[360:])
    assert torch.equal(still.labels, moved.labels)
    assert not torch.equal(still.images[360:], moved.images[360:])


def test_zoom_makes_the_photograph_smoother():
    def roughness(zoom: float) -> float:
        images = make_digits(SMALL.model_copy(update={"patch_zoom": zoom})).train.images.float()
        return float((images[..., :, 1:3] - images[..., :, :2]).abs().mean())  # beside the digits

    assert roughness(1.0) > 2 * roughness(4.0)


def test_digits_are_legible():
    """Nearest neighbours by the grey levels' distance from the border's colour read most."""

    def features(images: torch.Tensor) -> np.ndarray:
        pixels = images.float() / 255
        edge = torch.cat([pixels[..., :2], pixels[..., -2:]], -1).mean((-1, -2), keepdim=True)
        grey = (pixels - edge).abs().mean(1, keepdim=True)
        return torch.nn.functional.avg_pool2d(grey, 4).flatten(1).numpy()

    data = make_digits(DigitsOptions(train_images=1437, test_images=360))
    model = KNeighborsClassifier(3)
    model.fit(features(data.train.images), data.train.labels.numpy())
    assert model.score(features(data.test.images), data.test.labels.numpy()) > 0.8


def test_default_size_is_made_in_seconds():
    """Of this process alone: what else the machine has to do does not count."""
    start = time.process_time()
    data = make_digits(DigitsOptions())
    assert len(data.train.labels) == 6000
    assert len(data.test.labels) == 2000
    assert time.process_time() - start < 10


def test_a_data_dir_is_refused_rather_than_ignored(tmp_path):
    with pytest.raises(UserError, match=r"'digits' is built in.*leave --data-dir out"):
        Digits(DigitsOptions()).fingerprint_inputs(tmp_path, tmp_path)


@pytest.mark.parametrize("wrong", [{"train_images": 5}, {"patch_zoom": 0.5}, {"colour": "red"}])
def test_wrong_options(wrong):
    with pytest.raises(ValidationError):
        DigitsOptions(**wrong)


def test_specs_and_keys_do_not_import_torch(tmp_path):
    code = (
        "import sys, pathlib, benchmark.data; from benchmark.builtin.datasets import DATASETS;"
        "spec = DATASETS[0]; source = spec.factory(spec.options());"
        "source.fingerprint_inputs(None, pathlib.Path('.')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert [spec.name for spec in DATASETS] == ["digits", "cifar10", "cifar100", "files"]
