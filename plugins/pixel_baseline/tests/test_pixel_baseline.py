"""The pixel-space baseline: its search against one pattern at a time, and its repair."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from bench_pixel_baseline.defense import PixelBaseline, target_losses
from bench_pixel_baseline.plugin import PixelOptions
from jaxtyping import TypeCheckError
from torch import Tensor, nn

from benchmark.api import FineTune, Outcome, UndeclaredKnowledge
from benchmark.primitives import (
    RunContext,
    batch_indices,
    frozen,
    random_places,
    stamp,
    to_unit,
)

NEEDS = ("model", "clean", "trigger_size", "target")
RETRAIN = FineTune(epochs=3, lr=0.02, batch_size=32, poison_ratio=0.3, placement="image")
OPTIONS = PixelOptions(patterns=3, epochs=3, batch_size=40, retrain=RETRAIN)
QUICK = PixelOptions(patterns=2, epochs=1, batch_size=150, retrain=FineTune(epochs=1))


@pytest.fixture(scope="module")
def repaired(tiny: Any) -> tuple[Outcome, RunContext]:
    run = tiny.context()
    with tiny.left_alone():
        return PixelBaseline(OPTIONS).repair(tiny.view(*NEEDS), run), run


def test_every_pattern_has_a_model_without_the_backdoor(
    tiny: Any, repaired: tuple[Outcome, RunContext]
) -> None:
    models = repaired[0].models
    assert len({id(model) for model in [*models, tiny.model]}) == 4
    assert tiny.asr(tiny.model) > 0.95
    for model in models:
        assert tiny.asr(model) < 0.2
        assert tiny.accuracy(model) > 0.95
        assert not model.training
    last_layers = [model.state_dict()["8.weight"] for model in models]
    assert not torch.equal(last_layers[0], last_layers[1])


def test_the_patterns_are_triggers_of_the_victim(
    tiny: Any, repaired: tuple[Outcome, RunContext]
) -> None:
    patterns = repaired[0].triggers
    assert patterns is not None
    assert patterns.shape == (3, 3, 3, 3)
    assert patterns.min() == 0  # some pixels were pushed to the ends, and none beyond
    assert patterns.max() == 1
    assert not patterns.requires_grad
    assert all(tiny.asr(tiny.model, pattern) > 0.8 for pattern in patterns)


def test_each_pattern_and_epoch_leaves_its_loss(repaired: tuple[Outcome, RunContext]) -> None:
    rows = [row for row in repaired[1].series if row["series"] == "search"]
    expected = [(epoch, pattern) for epoch in range(3) for pattern in range(3)]
    assert [(row["epoch"], row["pattern"]) for row in rows] == expected
    for first, last in zip(rows[:3], rows[-3:], strict=True):
        assert last["loss"] < first["loss"]


def test_the_search_counts_its_images(repaired: tuple[Outcome, RunContext]) -> None:
    passes = 3 * 401 * 3  # patterns, images, epochs
    meter = repaired[1].meter
    assert meter.forward_images == passes + 401  # and once all, to remember their activations
    assert meter.backward_images == passes


@pytest.mark.parametrize("clip", [True, False])
def test_patterns_searched_together_are_those_searched_alone(tiny: Any, clip: bool) -> None:
    """The same images at the same places from the same start, one pattern at a time, by hand."""
    model = copy.deepcopy(tiny.model).double()
    options = PixelOptions(
        patterns=3, epochs=2, lr=0.05, clip=clip, batch_size=150, retrain=FineTune(epochs=1)
    )
    found = PixelBaseline(options).repair(tiny.view(*NEEDS), tiny.context()).triggers
    assert found is not None
    for number in range(3):
        draws = tiny.context().generator("search")
        starts = torch.rand(3, 3, 3, 3, generator=draws)
        pattern, velocity = starts[number].double(), torch.zeros(3, 3, 3).double()
        for _ in range(2):
            for index in batch_indices(401, 150, draws):
                (place,) = random_places(1, (16, 16), (3, 3), draws).tolist()
                images = to_unit(tiny.clean.images[index]).double()
                pattern.requires_grad_()
                top, left = place
                padding = (left, 13 - left, top, 13 - top)
                mask = nn.functional.pad(torch.ones(3, 3), padding)
                stamped = images * (1 - mask) + nn.functional.pad(pattern, padding)
                loss = -model(stamped).log_softmax(dim=1)[:, tiny.target].mean()
                (gradient,) = torch.autograd.grad(loss, pattern)
                velocity = 0.9 * velocity + gradient
                pattern = pattern.detach() - 0.05 * velocity
                pattern = pattern.clamp(0, 1) if clip else pattern
        assert (pattern - starts[number]).abs().max() > 0.02
        torch.testing.assert_close(found[number].double(), pattern, rtol=1e-3, atol=1e-4)
    assert clip == bool(((found >= 0) & (found <= 1)).all())


def test_losses_are_each_patterns_cross_entropy_on_the_same_images(tiny: Any) -> None:
    images, place = to_unit(tiny.test.images[:6]), torch.tensor([[2, 9]])
    patterns = torch.rand(4, 3, 3, 3, requires_grad=True)
    found = target_losses(frozen(tiny.model), images, patterns, place, 1)
    (gradient,) = torch.autograd.grad(found.sum(), patterns)
    for number in range(4):
        pattern = patterns[number : number + 1].detach().requires_grad_()
        logits = tiny.model(stamp(images, pattern, place))
        expected = nn.functional.cross_entropy(logits, torch.ones(6, dtype=torch.int64))
        torch.testing.assert_close(found[number], expected)
        (alone,) = torch.autograd.grad(expected, pattern)
        torch.testing.assert_close(gradient[number], alone[0])


def test_each_model_is_retrained_with_its_own_pattern_in_every_epoch(tiny: Any) -> None:
    """Hooks are copied with the model: one that listens sees what the retraining is fed."""
    batches: list[Tensor] = []
    model = copy.deepcopy(tiny.model)

    def listen(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            batches.append(inputs[0].clone())

    model.register_forward_pre_hook(listen)
    retrain = FineTune(epochs=2, batch_size=401, poison_ratio=1, lr=1e-4)
    options = QUICK.model_copy(update={"retrain": retrain})
    view = tiny.view(*NEEDS, model=model)
    patterns = PixelBaseline(options).repair(view, tiny.context()).triggers
    assert patterns is not None
    stamps = tiny.stamps_of(batches)
    assert len(stamps) == 4
    for number, stamped in enumerate(stamps):
        assert torch.equal(stamped, patterns[number // 2])


def test_the_seed_decides_every_bit(tiny: Any) -> None:
    def weights(seed: int) -> Tensor:
        outcome = PixelBaseline(QUICK).repair(tiny.view(*NEEDS), tiny.context(seed))
        state = [t.double().flatten() for m in outcome.models for t in m.state_dict().values()]
        assert outcome.triggers is not None
        return torch.cat([*state, outcome.triggers.double().flatten()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("missing", NEEDS)
def test_it_reads_all_that_it_declares(tiny: Any, missing: str) -> None:
    granted = [name for name in NEEDS if name != missing]
    with pytest.raises(UndeclaredKnowledge):
        PixelBaseline(QUICK).repair(tiny.view(*granted), tiny.context())


def test_a_wrong_shape_raises(tiny: Any) -> None:
    images = to_unit(tiny.test.images[:2])
    with pytest.raises(TypeCheckError):
        target_losses(frozen(tiny.model), images, torch.rand(3, 3, 3), torch.tensor([[0, 0]]), 0)
