"""Batched prediction equals predicting one image after the other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark.primitives import predict, random_places, stamp, to_unit
from benchmark.primitives.predict import EVAL_BATCH


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(108), nn.Dropout(0.5), nn.Linear(108, 7))


def some_images(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 6, 6), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("count", [1, EVAL_BATCH, EVAL_BATCH + 7])
@pytest.mark.parametrize("stamped", [False, True])
def test_predict_equals_the_naive_loop(count: int, stamped: bool) -> None:
    images, model = some_images(count), network()
    trigger = torch.rand(3, 3, 3) if stamped else None
    places = random_places(count, (6, 6), (3, 3), torch.Generator().manual_seed(2))
    answers = predict(model, images, trigger, places if stamped else None)
    model.eval()
    expected = []
    for item in range(count):
        image = to_unit(images[item : item + 1])
        if trigger is not None:
            image = stamp(image, trigger[None], places[item : item + 1])
        expected.append(int(model(image).argmax()))
    assert answers.dtype == torch.int64
    assert answers.tolist() == expected
    assert len(set(expected)) > 1 or count == 1


def test_predict_changes_no_weight_and_no_statistic() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    answers = predict(model, some_images(20))
    assert not answers.requires_grad
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_trigger_needs_its_places_and_they_need_it() -> None:
    """To leave one out measured clean images, as if the trigger did nothing."""
    places = random_places(5, (6, 6), (3, 3), torch.Generator().manual_seed(2))
    for given in ({"trigger": torch.ones(3, 3, 3)}, {"places": places}):
        with pytest.raises(ValueError, match="a trigger and its places, or neither"):
            predict(network(), some_images(5), **given)


def test_answers_can_be_learnt_from() -> None:
    student, images = network(), some_images(9)
    answers = predict(network(), images)
    nn.functional.cross_entropy(student(to_unit(images)), answers).backward()
    answers[answers == 3] = 2
