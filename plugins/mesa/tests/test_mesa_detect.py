"""The target class, found or not, on a tiny classifier with and without a backdoor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bench_mesa.defense import Mesa
from bench_mesa.detect import Detection, class_rates, detect
from bench_mesa.options import DetectOptions, MesaOptions
from bench_mesa.plugin import bench_defenses
from torch import nn

from benchmark.api import FineTune, ImageSet, Knowledge, Output
from benchmark.primitives import RunContext, fine_tune, frozen, stamp

TOLD = ("model", "clean", "trigger_size")
SEARCH = DetectOptions(noise=8, hidden=32, statistic_hidden=32, steps=80, images=100)
OPTIONS = MesaOptions(
    noise=8,
    hidden=32,
    statistic_hidden=32,
    lr=5e-3,
    batch_size=40,
    epochs=6,
    samples=(2, 1, 1),
    target="detect",
    detect=SEARCH,
    retrain=FineTune(epochs=4, lr=0.02, batch_size=32, poison_ratio=0.3, placement="image"),
)


@pytest.fixture(scope="module")
def innocent(tiny: Any) -> nn.Module:
    """The tiny classifier's like, trained on the clean images and never attacked."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(
            *(nn.Conv2d(3, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
            *(nn.Conv2d(12, 24, 3, stride=2, bias=False), nn.BatchNorm2d(24), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 3)),
        )
    options = FineTune(epochs=4, lr=0.05, batch_size=32)
    fine_tune(model, tiny.clean, options, RunContext(torch.device("cpu"), 0))
    assert tiny.accuracy(model) > 0.95
    return model


def test_the_target_is_found_and_the_backdoor_removed_without_being_told(tiny: Any) -> None:
    run = tiny.context()
    with tiny.left_alone():
        outcome = Mesa(OPTIONS).repair(tiny.view(*TOLD), run)
    assert outcome.target == tiny.target
    assert tiny.asr(outcome.models[0]) < 0.05
    rows = [row for row in run.series if row["series"] == "detection"]
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert [row["named"] for row in rows] == [1, 0, 0]
    assert float(rows[0]["rate"]) > 0.7
    assert max(float(row["rate"]) for row in rows[1:]) < 0.5


def test_a_model_without_a_backdoor_is_returned_as_it_is(tiny: Any, innocent: nn.Module) -> None:
    run = tiny.context()
    outcome = Mesa(OPTIONS).repair(tiny.view(*TOLD, model=innocent), run)
    assert outcome.target is None
    assert outcome.triggers is None
    (model,) = outcome.models
    assert model is not innocent
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, innocent.state_dict()[name]), name
    assert {row["series"] for row in run.series} == {"detection"}


def test_detection_costs_what_it_says(tiny: Any) -> None:
    run = tiny.context()
    options = SEARCH.model_copy(update={"steps": 30, "batch_size": 10, "images": 50})
    detect(tiny.view(*TOLD), run, options, "float32")
    assert 0 < run.meter.backward_images < 3 * 10 * 30  # saturated samples stay behind
    assert run.meter.forward_images == 3 * 10 * 30 + 3 * 50


@pytest.mark.parametrize("count", [5, 1])
def test_fewer_images_than_a_batch_are_enough(tiny: Any, count: int) -> None:
    """A single image cannot be normalised over its batch: nothing is learnt, and it ends."""
    few = ImageSet(tiny.clean.images[:count], tiny.clean.labels[:count])
    options = SEARCH.model_copy(update={"steps": 2})
    found = detect(tiny.view(*TOLD, clean=few), tiny.context(), options, "float32")
    assert found.rates.shape == (3,)


@pytest.mark.parametrize(("threshold", "target"), [(0.6, 1), (0.7, 1), (0.71, None)])
def test_the_threshold_decides(threshold: float, target: int | None) -> None:
    rates = torch.tensor([0.2, 0.7, 0.5], dtype=torch.float64)
    assert Detection(rates, threshold).target == target


def test_a_rate_that_is_the_threshold_reaches_it(tiny: Any) -> None:
    """Counted rates are 64-bit numbers: 0.7 in 32 bits lies below 0.7."""
    found = detect(tiny.view(*TOLD), tiny.context(), SEARCH, "float32")
    assert found.rates.dtype == torch.float64


def test_each_class_has_its_own_part_of_the_points(tiny: Any) -> None:
    images, place = tiny.test.images[:4] / 255, torch.tensor([[2, 5]])
    points = torch.rand(12, 27)
    found = class_rates(frozen(tiny.model), images, place, (3, 3))(points)
    for wanted in range(3):
        for item in range(4):
            trigger = points[4 * wanted + item].reshape(1, 3, 3, 3)
            logits = tiny.model(stamp(images[item : item + 1], trigger, place))
            expected = logits.softmax(dim=1)[0, wanted]
            torch.testing.assert_close(found[4 * wanted + item], expected)


def test_what_mesa_is_told_and_gives_follows_from_its_options() -> None:
    spec, _ = bench_defenses()
    assert spec.under(MesaOptions()).needs == spec.needs
    assert spec.under(MesaOptions()).gives == spec.gives
    assert Knowledge.TARGET_CLASS in spec.needs
    assert Output.TARGET not in spec.gives
    detecting = spec.under(MesaOptions(target="detect"))
    assert detecting.needs == spec.needs - {Knowledge.TARGET_CLASS}
    assert detecting.gives == spec.gives | {Output.TARGET}
