"""MESA as a whole, on a tiny classifier with a backdoor."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from bench_mesa.defense import Mesa, attack_rate
from bench_mesa.options import MesaOptions
from torch import Tensor

from benchmark.api import FineTune, Outcome, UndeclaredKnowledge
from benchmark.primitives import RunContext, frozen, stamp

NEEDS = ("model", "clean", "trigger_size", "target")
RETRAIN = FineTune(epochs=4, lr=0.02, batch_size=32, poison_ratio=0.3, placement="image")
FIT = {"noise": 8, "hidden": 32, "statistic_hidden": 32, "lr": 5e-3, "batch_size": 40}
OPTIONS = MesaOptions(**FIT, epochs=6, samples=(2, 1, 1), keep_triggers=20, retrain=RETRAIN)
QUICK = OPTIONS.model_copy(update={"epochs": 2, "retrain": FineTune(epochs=1, poison_ratio=0.2)})


@pytest.fixture(scope="module")
def repaired(tiny: Any) -> tuple[Outcome, RunContext]:
    run = tiny.context()
    with tiny.left_alone():
        return Mesa(OPTIONS).repair(tiny.view(*NEEDS), run), run


def test_the_backdoor_is_gone_and_the_rest_is_kept(
    tiny: Any, repaired: tuple[Outcome, RunContext]
) -> None:
    (model,) = repaired[0].models
    assert tiny.asr(tiny.model) > 0.95
    assert tiny.asr(model) < 0.05
    assert tiny.accuracy(model) > 0.95
    assert model is not tiny.model
    assert not model.training


def test_generated_triggers_are_kept_and_work_on_the_victim(
    tiny: Any, repaired: tuple[Outcome, RunContext]
) -> None:
    triggers = repaired[0].triggers
    assert triggers is not None
    assert triggers.shape == (3 * 20, 3, 3, 3)
    assert ((triggers >= 0) & (triggers <= 1)).all()
    assert len(triggers.unique(dim=0)) == len(triggers)
    rates = [tiny.asr(tiny.model, trigger) for trigger in triggers[::3]]
    noise = torch.rand(20, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    by_chance = [tiny.asr(tiny.model, trigger) for trigger in noise]
    assert sum(rates) / len(rates) > 0.7
    assert sum(by_chance) / len(by_chance) < 0.5


def test_each_level_and_epoch_leaves_its_diagnostics(
    repaired: tuple[Outcome, RunContext],
) -> None:
    rows = [row for row in repaired[1].series if row["series"] == "search"]
    expected = [(epoch, level) for epoch in range(6) for level in (0.9, 0.8, 0.5)]
    assert [(row["epoch"], row["level"]) for row in rows] == expected
    for row in rows:
        assert row.keys() >= {"hinge", "information", "asr", "saturated"}
        assert 0 <= float(row["asr"]) <= 1
        assert 0 <= float(row["saturated"]) <= 1
        assert 0 <= float(row["hinge"]) <= float(row["level"])
    for first, last in zip(rows[:3], rows[-3:], strict=True):
        assert last["asr"] > first["asr"]
        assert last["hinge"] < first["hinge"]
    assert [row["epoch"] for row in repaired[1].series if row["series"] == "retrain"] == [
        0,
        1,
        2,
        3,
    ]


def test_the_search_counts_its_images(repaired: tuple[Outcome, RunContext]) -> None:
    passes = 3 * 400 * 6  # levels, images less the one left over, epochs
    meter = repaired[1].meter
    assert meter.forward_images == passes + 401  # and once all, to remember their activations
    rows = [row for row in repaired[1].series if row["series"] == "search"]
    below = sum(400 * (1 - float(row["saturated"])) for row in rows)
    # Saturated samples go backward only where they are less than a tenth of a batch.
    assert 0.05 * passes < below <= meter.backward_images + 0.5
    assert meter.backward_images < 0.9 * passes


def test_a_single_pass_remembers_nothing(tiny: Any) -> None:
    """To remember is a pass of its own, which one epoch cannot earn back."""
    run = tiny.context()
    Mesa(QUICK.model_copy(update={"epochs": 1})).repair(tiny.view(*NEEDS), run)
    assert run.meter.forward_images == 3 * 400


def weights(outcome: Outcome) -> Tensor:
    assert outcome.triggers is not None
    state = [tensor.double().flatten() for tensor in outcome.models[0].state_dict().values()]
    return torch.cat([*state, outcome.triggers.double().flatten()])


def test_the_seed_decides_every_bit_and_the_global_generator_none(tiny: Any) -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))
        state = torch.get_rng_state()
        found.append(weights(Mesa(QUICK).repair(tiny.view(*NEEDS), tiny.context(seed))))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("samples", [(2, 1, 1), (0, 3, 0)])
def test_each_retraining_epoch_stamps_a_trigger_of_its_own(
    tiny: Any, samples: tuple[int, ...]
) -> None:
    """Hooks are copied with the model: one that listens sees what the retraining is fed."""
    batches: list[Tensor] = []
    model = copy.deepcopy(tiny.model)

    def listen(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            batches.append(inputs[0].clone())

    model.register_forward_pre_hook(listen)
    retrain = FineTune(epochs=sum(samples) + 1, batch_size=200, poison_ratio=1, lr=1e-4)
    options = QUICK.model_copy(update={"epochs": 1, "samples": samples, "retrain": retrain})
    Mesa(options).repair(tiny.view(*NEEDS, model=model), tiny.context())
    stamps = tiny.stamps_of(batches)
    first, second = stamps[::2], stamps[1::2]  # two batches an epoch, one trigger
    assert len(first) == retrain.epochs
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
    assert len(torch.stack(first).unique(dim=0)) == retrain.epochs


def test_a_trigger_that_is_not_square(tiny: Any) -> None:
    view = tiny.view(*NEEDS, trigger_size=(2, 4))
    triggers = Mesa(QUICK).repair(view, tiny.context()).triggers
    assert triggers is not None
    assert triggers.shape[1:] == (3, 2, 4)


@pytest.mark.parametrize("missing", NEEDS)
def test_it_reads_all_that_it_declares(tiny: Any, missing: str) -> None:
    granted = [name for name in NEEDS if name != missing]
    with pytest.raises(UndeclaredKnowledge):
        Mesa(QUICK).repair(tiny.view(*granted), tiny.context())


def test_the_attack_rate_is_each_triggers_softmax_on_the_same_images(tiny: Any) -> None:
    images = tiny.test.images[:5] / 255
    place = torch.tensor([[4, 7]])
    points = torch.rand(2, 5, 27, requires_grad=True)
    testing = attack_rate(frozen(tiny.model), images, place, 1, (3, 3))
    found = testing(points.flatten(0, 1)).unflatten(0, (2, 5))
    for level in range(2):
        for item in range(5):
            trigger = points[level, item].reshape(1, 3, 3, 3)
            logits = tiny.model(stamp(images[item : item + 1], trigger, place))
            torch.testing.assert_close(found[level, item], logits.softmax(dim=1)[0, 1])
    (gradient,) = torch.autograd.grad(found.sum(), points)
    assert (gradient.abs().sum(dim=2) > 0).any(dim=1).all()


def test_a_trigger_may_be_tried_on_several_images(tiny: Any) -> None:
    """Its rate is then the mean over them, which is what the hinge is taken of."""
    images = tiny.test.images[:6] / 255
    place = torch.tensor([[4, 7]])
    points = torch.rand(2, 2, 27)
    testing = attack_rate(frozen(tiny.model), images, place, 1, (3, 3), count=2)
    found = testing(points.flatten(0, 1)).unflatten(0, (2, 2))
    for level in range(2):
        for item, own in enumerate(images.split(3)):
            trigger = points[level, item].reshape(1, 3, 3, 3).expand(3, -1, -1, -1)
            logits = tiny.model(stamp(own, trigger, place.expand(3, 2)))
            torch.testing.assert_close(found[level, item], logits.softmax(dim=1)[:, 1].mean())


def test_the_search_tries_each_trigger_on_as_many_images_as_asked(tiny: Any) -> None:
    """Of a batch of 40 images, five triggers on seven each; five images are left out."""
    spent, rates = [], []
    for images in (1, 7):
        run = tiny.context()
        options = QUICK.model_copy(update={"epochs": 2, "images_a_trigger": images, "cache_mib": 0})
        Mesa(options).repair(tiny.view(*NEEDS), run)
        spent.append(run.meter.forward_images)
        rows = [row for row in run.series if row["series"] == "search"]
        assert {row["epoch"] for row in rows} == {0, 1}
        rates.append([row["asr"] for row in rows])
    assert 40 * spent[1] == 35 * spent[0]
    assert rates[0] != rates[1]


def test_a_search_without_a_step_is_refused(tiny: Any) -> None:
    """Its generators would be untrained, and the model retrained with what they give."""
    options = QUICK.model_copy(update={"batch_size": 4096, "images_a_trigger": 2048})
    with pytest.raises(ValueError, match="too few for a step of the search"):
        Mesa(options).repair(tiny.view(*NEEDS), tiny.context())
