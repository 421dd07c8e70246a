"""Shapes in the signatures are checked while the tests run: a wrong one raises at the call."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from benchmark.builtin.networks import Classifier, ResNet
from benchmark.primitives import Augment, predict, stamp
from benchmark.scoring import Answers

IMAGES = torch.rand(2, 3, 8, 8)
TRIGGER = torch.rand(1, 3, 3, 3)
PLACES = torch.zeros(2, 2, dtype=torch.int64)


def test_the_right_shapes_pass() -> None:
    assert stamp(IMAGES, TRIGGER, PLACES).shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    ("images", "trigger", "places"),
    [
        pytest.param(IMAGES[:, :1], TRIGGER, PLACES, id="grey images"),
        pytest.param(IMAGES, TRIGGER[0], PLACES, id="a trigger without its batch dimension"),
        pytest.param(IMAGES, TRIGGER.expand(3, -1, -1, -1), PLACES, id="a trigger too many"),
        pytest.param(IMAGES, TRIGGER, PLACES.expand(3, 2, 2)[:, 0], id="a place too many"),
        pytest.param(IMAGES, TRIGGER, PLACES.float(), id="places that are no integers"),
        pytest.param((IMAGES * 255).byte(), TRIGGER, PLACES, id="bytes instead of floats"),
    ],
)
def test_a_wrong_shape_raises(
    images: torch.Tensor, trigger: torch.Tensor, places: torch.Tensor
) -> None:
    with pytest.raises(TypeCheckError):
        stamp(images, trigger, places)


def test_methods_and_networks_are_checked_too() -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(TypeCheckError):
        Augment(2)(IMAGES, generator)
    network = Classifier(ResNet(4, [(4, 1, 1)], 2), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(TypeCheckError):
        network(IMAGES[0])
    with pytest.raises(TypeCheckError):
        predict(network, IMAGES)


def test_fields_of_dataclasses_are_checked_too() -> None:
    with pytest.raises(TypeCheckError):
        Answers(clean=torch.zeros(3), stamped=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(TypeCheckError):
        Answers(clean=torch.zeros(2).long(), stamped=torch.zeros(3).long())
