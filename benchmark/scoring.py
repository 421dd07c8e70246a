"""Reload what a defense wrote and measure it. Runs beside no plugin code but models and metrics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from benchmark.building import build, build_classifier, load_weights
from benchmark.builtin.metrics import attack_success_rate, rate
from benchmark.contracts import Evidence, ImageSet
from benchmark.data import PreparedDataset, load_split, split_test
from benchmark.errors import JobFault, PluginChanged
from benchmark.jobs import Component, Setup, Split
from benchmark.primitives import predict, random_places
from benchmark.records import EXAMPLES
from benchmark.types import AttackInstance

Given = Int64[Tensor, " given"]
Held = Int64[Tensor, " held"]
_HEADER = 2**20
"""Bytes that the names and shapes of weights may take in their file, and more than they do."""
_EXAMPLES = 6
"""Images of which a trial keeps the answers one by one."""


@lru_cache(maxsize=2)
def test_images(dataset: PreparedDataset) -> ImageSet:
    """Return the test images; read once in a process."""
    return load_split(dataset, "test")


def defense_images(dataset: PreparedDataset, split: Split) -> ImageSet:
    """Return the clean images that a defense is given."""
    return _part(dataset, split, 0)


def scoring_images(dataset: PreparedDataset, split: Split) -> ImageSet:
    """Return the images that only the harness sees."""
    return _part(dataset, split, 1)


def _part(dataset: PreparedDataset, split: Split, part: int) -> ImageSet:
    test, index = test_images(dataset), _numbers(dataset, split)[part]
    return ImageSet(test.images[index], test.labels[index])


def _numbers(dataset: PreparedDataset, split: Split) -> tuple[Given, Held]:
    """Return which of the test images a defense is given, and which are for scoring."""
    return split_test(dataset.test_count, split.seed, split.defense_fraction)


def open_model(setup: Setup, read: Callable[[int], bytes]) -> nn.Module:
    """Return the classifier with the weights of a safetensors file, on the run's device.

    `read` returns the file's content, given the most bytes that it may have.
    """
    dataset = setup.dataset
    model = build_classifier(setup.model, dataset.info, dataset.mean, dataset.std)
    own = sum(tensor.nbytes for tensor in model.state_dict().values())
    return load_weights(model, read(2 * own + _HEADER)).to(torch.device(setup.device)).eval()


@dataclass(frozen=True)
class Answers:
    """A model's predictions on the scoring images."""

    clean: Int64[Tensor, " count"]
    stamped: Int64[Tensor, " count"]

    def as_lists(self) -> tuple[list[int], list[int]]:
        """Return both as plain numbers, to travel between processes."""
        return self.clean.tolist(), self.stamped.tolist()

    @staticmethod
    def from_lists(clean: list[int], stamped: list[int]) -> Answers:
        """Return what `as_lists` gave."""
        return Answers(torch.tensor(clean), torch.tensor(stamped))


def answers(model: nn.Module, setup: Setup, split: Split, instance: AttackInstance) -> Answers:
    """Predict every scoring image, clean and stamped: at its own seeded place, or the trigger's.

    The seeded places depend on the data set and the seed only: all models of a seed are measured
    at the same ones.
    """
    device = torch.device(setup.device)
    images = scoring_images(setup.dataset, split).images
    places = _places(len(images), setup, split, instance).to(device)
    trigger = torch.tensor(instance.trigger.pixels, device=device)
    images = images.to(device)
    clean, stamped = predict(model, images), predict(model, images, trigger, places)
    return Answers(clean.cpu(), stamped.cpu())


def _places(
    count: int, setup: Setup, split: Split, instance: AttackInstance
) -> Int64[Tensor, "count 2"]:
    if instance.trigger.place is not None:
        return torch.tensor([instance.trigger.place]).expand(count, 2)
    generator = torch.Generator("cpu").manual_seed(split.places_seed)
    return random_places(count, setup.dataset.info.image_size, instance.trigger.size, generator)


def examples(
    setup: Setup, split: Split, instance: AttackInstance, before: Answers, after: Answers
) -> list[dict[str, Any]]:
    """Return the first few scoring images not of the target class as rows called `EXAMPLES`."""
    numbers = _numbers(setup.dataset, split)[1]
    labels = test_images(setup.dataset).labels[numbers]
    places = _places(len(numbers), setup, split, instance)
    return [
        {
            "series": EXAMPLES,
            "image": int(numbers[at]),
            "row": int(places[at, 0]),
            "column": int(places[at, 1]),
            "label": int(labels[at]),
            "clean_before": int(before.clean[at]),
            "stamped_before": int(before.stamped[at]),
            "clean_after": int(after.clean[at]),
            "stamped_after": int(after.stamped[at]),
        }
        for at in torch.nonzero(labels != instance.target).flatten()[:_EXAMPLES].tolist()
    ]


def victim_numbers(
    found: Answers, labels: Int64[Tensor, " count"], target: int
) -> dict[str, float]:
    """Return what is said of a model before any defense; fractions.

    Raises `JobFault` if every scoring image is of the target class, which leaves nothing to count.
    """
    if bool((labels == target).all()):
        raise JobFault(
            f"no scoring image is of another class than the target ({target}), so there is no "
            f"attack success rate; they are {len(labels)} in all"
        )
    return {
        "asr": attack_success_rate(found.stamped, labels, target),
        "clean_accuracy": rate(found.clean == labels),
        "robust_accuracy": rate(found.stamped == labels, labels != target),
    }


@dataclass(frozen=True)
class Recovered:
    """What a defense says that it found; None where it says nothing."""

    triggers: Float[Tensor, "count 3 height width"] | None = None
    target: int | None = None


@dataclass(frozen=True)
class Score:
    """A trial's metrics: means over the repaired models, their spread, reasons for gaps."""

    metrics: dict[str, float | None]
    spread: dict[str, dict[str, float]]
    empty: dict[str, str]


def score(
    metrics: tuple[Component, ...],
    before: Answers,
    after: list[Answers],
    labels: Int64[Tensor, " count"],
    target: int,
    recovered: Recovered,
    *,
    backdoored: bool = True,
) -> Score:
    """Run every metric on every repaired model; a metric that fails leaves its cell empty.

    Raises `PluginChanged` for a metric whose file was edited since the run was planned.
    """
    result = Score({}, {}, {})
    for component in metrics:
        try:
            metric = build(component)
            values = [
                metric.compute(_evidence(labels, target, before, one, recovered, backdoored))
                for one in after
            ]
            _note(result, component.name, [float(value) for value in values])
        except PluginChanged:  # not the metric's fault: no value may be kept for it
            raise
        except (Exception, SystemExit) as error:  # a plugin: its fault must not cost the trial
            result.metrics[component.name] = None
            result.empty[component.name] = f"{type(error).__name__}: {error}"
    return result


def _evidence(
    labels: Int64[Tensor, " count"],
    target: int,
    before: Answers,
    after: Answers,
    recovered: Recovered,
    backdoored: bool,
) -> Evidence:
    """Return what a metric is given, as copies: what it writes into them is its own affair."""
    return Evidence(
        labels.clone(),
        target,
        before.clean.clone(),
        before.stamped.clone(),
        after.clean.clone(),
        after.stamped.clone(),
        None if recovered.triggers is None else recovered.triggers.clone(),
        recovered.target,
        backdoored,
    )


def _note(result: Score, name: str, values: list[float]) -> None:
    if not all(math.isfinite(value) for value in values):
        result.metrics[name] = None
        result.empty[name] = "does not apply"
        return
    result.metrics[name] = statistics.fmean(values)
    if len(values) > 1:
        result.spread[name] = {
            "std": statistics.stdev(values),
            "min": min(values),
            "max": max(values),
        }
