"""MESA as a defense: fit the staircase to the backdoor, retrain with samples of it."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from bench_mesa.detect import detect
from bench_mesa.drawing import Drawing, Sureness
from bench_mesa.options import MesaOptions
from bench_mesa.staircase import Staircase, Testing
from benchmark.api import Outcome, View
from benchmark.primitives import (
    Frozen,
    RunContext,
    batch_indices,
    fine_tune,
    frozen,
    host_generator,
    random_places,
    to_unit,
)

_SURE_IMAGES = 16
"""Images on which draws are compared."""
_SURE_TRIGGERS = 64
"""Draws in one pass: the classifier keeps a fifth of a MiB and more for each stamped image."""


class Mesa:
    """The defense (supplement, C 1 and 2)."""

    def __init__(self, options: MesaOptions) -> None:
        self.options = options

    def repair(self, view: View, run: RunContext) -> Outcome:
        """Search the trigger distribution, then retrain with one drawn trigger an epoch.

        If the target class is to be detected and none is found, the model is returned as it is:
        retraining could only cost accuracy.
        """
        detecting = self.options.target == "detect"
        target = self._detected(view, run) if detecting else view.target
        if target is None:
            return Outcome([copy.deepcopy(view.model)])
        size = view.trigger_size
        classifier = frozen(view.model, run.meter, self.options.precision)
        staircase = self._search(classifier, view, run, target)
        sureness = self._sureness(classifier, view, run, target)
        points_of = Drawing(staircase, self.options, sureness).of_epoch()
        model = fine_tune(
            copy.deepcopy(view.model),
            view.clean,
            self.options.retrain,
            run,
            trigger_of_epoch=lambda epoch: _triggers(points_of(epoch), size),
            stage="retrain",
        )
        kept = staircase.sample(self.options.keep_triggers).reshape(-1, 3, *size)
        return Outcome([model], triggers=kept, target=target if detecting else None)

    def _detected(self, view: View, run: RunContext) -> int | None:
        """Return the class that stands out, or None."""
        return detect(view, run, self.options.detect, self.options.precision).target

    def _sureness(self, classifier: Frozen, view: View, run: RunContext, target: int) -> Sureness:
        """Return what tells the target's mean probability on some images, all at one new place."""
        generator, size = run.generator("surest"), view.trigger_size
        corners = host_generator(generator)

        @torch.no_grad()
        def sureness(points: Float[Tensor, "count dimension"]) -> Float[Tensor, " count"]:
            index = next(batch_indices(len(view.clean.labels), _SURE_IMAGES, generator))
            place = random_places(1, view.info.image_size, size, corners)
            images, rates = to_unit(view.clean.images[index]), []
            for part in torch.split(points.reshape(-1, 1, 3, *size), _SURE_TRIGGERS):
                logits = classifier.stamped(images, part, place, index)
                rates.append(logits.softmax(dim=2)[:, :, target].mean(dim=1))
            return torch.cat(rates)

        return sureness

    def _search(self, classifier: Frozen, view: View, run: RunContext, target: int) -> Staircase:
        """Fit one sub-model a level, all in one pass over the frozen classifier."""
        options = self.options
        height, width = view.trigger_size
        if options.epochs > 1:  # it costs a pass over the images, and saves some of each
            classifier.remember(view.clean.images, (height, width), options.cache_mib)
        with run.seeded("staircase"):
            staircase = Staircase(
                3 * height * width, options.levels, options, run.generator("noise")
            )
        order = run.generator("search")
        corners = host_generator(order)
        count = view.clean.images.shape[0]
        for epoch in range(options.epochs):
            sums, seen = torch.zeros(4, len(options.levels), device=run.device), 0
            for batch in batch_indices(count, options.batch_size, order):
                points = len(batch) // options.images_a_trigger
                if points < 2:  # batch norm cannot normalise a single point
                    continue
                index = batch[: points * options.images_a_trigger]
                place = random_places(1, view.info.image_size, (height, width), corners)
                images = to_unit(view.clean.images[index])
                rate = attack_rate(
                    classifier, images, place, target, (height, width), index, points
                )
                sums += staircase.step(rate, points).stacked() * points
                seen += points
            if not seen:
                raise ValueError(
                    f"{count} clean images are too few for a step of the search, which takes two "
                    f"triggers of images_a_trigger={options.images_a_trigger} images each"
                )
            means = sums / seen
            self._record(run, epoch, means)
            run.progress(epoch + 1, options.epochs, "search")
            if float(means[0].max()) < options.stop_below:
                break
        classifier.forget()  # the retraining needs the memory
        return staircase

    def _record(self, run: RunContext, epoch: int, means: Float[Tensor, "4 stack"]) -> None:
        """Keep the epoch's diagnostics, one row a sub-model."""
        for level, column in zip(self.options.levels, means.T.tolist(), strict=True):
            names = ("hinge", "information", "asr", "saturated")
            run.record("search", epoch=epoch, level=level, **dict(zip(names, column, strict=True)))


def _triggers(
    points: Float[Tensor, "*several dimension"], size: tuple[int, int]
) -> Float[Tensor, "*several 3 height width"]:
    """Return points as patches of pixels."""
    return points.reshape(*points.shape[:-1], 3, *size)


def attack_rate(
    classifier: Frozen,
    images: Float[Tensor, "batch 3 height width"],
    place: Int64[Tensor, "1 2"],
    target: int,
    size: tuple[int, int],
    rows: Int64[Tensor, " batch"] | None = None,
    count: int | None = None,
) -> Testing:
    """Return F: the target's softmax probability, the mean over the images that carry a trigger.

    Every sub-model has `count` triggers, by default one an image, and all are stamped on the same
    images at the same place, each trigger on as many: `count` divides the batch. `rows`: the
    images' numbers in what the classifier remembers.
    """
    count = count or len(images)
    each = len(images) // count

    def testing(points: Float[Tensor, "points dimension"]) -> Float[Tensor, " points"]:
        triggers = points.reshape(-1, count, 3, *size).repeat_interleave(each, dim=1)
        logits = classifier.stamped(images, triggers, place, rows)
        rates = logits.softmax(dim=2)[:, :, target]
        return rates.reshape(-1, count, each).mean(dim=2).flatten()

    return testing
