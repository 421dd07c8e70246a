"""Which class a backdoor answers with, or that there is none: a short search for all at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from bench_mesa.options import DetectOptions
from bench_mesa.staircase import Staircase, Testing
from benchmark.api import ImageSet, Precision, View
from benchmark.primitives import (
    Frozen,
    RunContext,
    batch_indices,
    frozen,
    host_generator,
    random_places,
    stamp,
    to_unit,
)


@dataclass(frozen=True)
class Detection:
    """What the search found."""

    rates: Float[Tensor, " classes"]
    """For each class, the attack success rate of its generator's triggers; in [0, 1]."""
    threshold: float

    @property
    def target(self) -> int | None:
        """Return the class with the highest rate, or None if no rate reaches the threshold."""
        best = int(self.rates.argmax())
        return best if float(self.rates[best]) >= self.threshold else None


def detect(view: View, run: RunContext, options: DetectOptions, precision: Precision) -> Detection:
    """Fit one generator a class, all in one batched pass over the classifier a step.

    Without a backdoor no small patch makes a model answer one class wherever it lies; with one,
    the target class stands out. Cost: classes × `batch_size` × `steps` images forward and backward,
    classes × `images` forward.
    """
    classes, size = view.info.num_classes, view.trigger_size
    classifier = frozen(view.model, run.meter, precision)
    generator = run.generator("detect")
    with run.seeded("detect", "weights"):  # apart from the noise's numbers
        generators = Staircase(3 * size[0] * size[1], [options.level] * classes, options, generator)
    _search(generators, classifier, view, run, options, generator)
    rates = _rates(generators, classifier, view, options.images, generator)
    found = Detection(rates, options.threshold)
    for number, rate in enumerate(rates.tolist()):
        run.record("detection", number=number, rate=rate, named=int(number == found.target))
    return found


def _search(
    generators: Staircase,
    classifier: Frozen,
    view: View,
    run: RunContext,
    options: DetectOptions,
    generator: torch.Generator,
) -> None:
    """Take `steps` steps; every class's triggers are stamped on the same images at one place."""
    count, step = view.clean.images.shape[0], 0
    corners = host_generator(generator)
    while step < options.steps and count > 1:  # batch norm cannot normalise a single point
        for index in batch_indices(count, min(options.batch_size, count), generator):
            if len(index) < 2 or step == options.steps:
                continue
            place = random_places(1, view.info.image_size, view.trigger_size, corners)
            images = to_unit(view.clean.images[index])
            testing = class_rates(classifier, images, place, view.trigger_size)
            generators.step(testing, len(index))
            step += 1
            run.progress(step, options.steps, "detect")


def class_rates(
    classifier: Frozen,
    images: Float[Tensor, "batch 3 height width"],
    place: Int64[Tensor, "1 2"],
    size: tuple[int, int],
    rows: Int64[Tensor, " batch"] | None = None,
) -> Testing:
    """Return F: the softmax probability of class i for the i-th of equal parts of the points.

    `rows`: the images' numbers in what the classifier remembers.
    """

    def testing(points: Float[Tensor, "points dimension"]) -> Float[Tensor, " points"]:
        triggers = points.reshape(-1, len(images), 3, *size)
        logits = classifier.stamped(images, triggers, place, rows)
        # (stack, batch, classes): the i-th generator is asked for class i.
        return logits.softmax(dim=2).diagonal(dim1=0, dim2=2).T.flatten()

    return testing


@torch.no_grad()
def _rates(
    generators: Staircase,
    classifier: Frozen,
    view: View,
    count: int,
    generator: torch.Generator,
) -> Float[Tensor, " classes"]:
    """Return how often each class's triggers, one an image at its own place, bring that class.

    Counted on images of other classes; a class that has all drawn images has rate 0.
    """
    images, labels = _drawn(view.clean, count, generator)
    triggers = generators.sample(len(images))
    size, rates = view.trigger_size, []
    for wanted, own in enumerate(triggers):
        places = random_places(len(images), view.info.image_size, size, generator)
        answers = classifier(stamp(images, own.reshape(-1, 3, *size), places)).argmax(dim=1)
        others = labels != wanted
        rates.append(((answers == wanted) & others).sum().double() / others.sum().clamp_min(1))
    return torch.stack(rates)


def _drawn(
    clean: ImageSet, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "batch 3 height width"], Int64[Tensor, " batch"]]:
    index = next(batch_indices(len(clean.labels), count, generator))
    return to_unit(clean.images[index]), clean.labels[index]
