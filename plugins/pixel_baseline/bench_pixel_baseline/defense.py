"""Pixel-space trigger inversion (supplement of Qiao, Yang, Li, NeurIPS 2019, C 3)."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from bench_pixel_baseline.plugin import PixelOptions
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


class PixelBaseline:
    """Search several single patterns, retrain one model with each."""

    def __init__(self, options: PixelOptions) -> None:
        self.options = options

    def repair(self, view: View, run: RunContext) -> Outcome:
        """Return one repaired model a pattern."""
        patterns = self._search(view, run)
        models = [
            self._retrain(view, run, pattern, f"retrain {number}")
            for number, pattern in enumerate(patterns, start=1)
        ]
        return Outcome(models, triggers=patterns)

    def _retrain(
        self, view: View, run: RunContext, pattern: Float[Tensor, "3 height width"], stage: str
    ) -> nn.Module:
        """Return a copy of the backdoored model, retrained with one pattern in every epoch."""
        return fine_tune(
            copy.deepcopy(view.model),
            view.clean,
            self.options.retrain,
            run,
            trigger_of_epoch=lambda _epoch: pattern,
            stage=stage,
        )

    def _search(self, view: View, run: RunContext) -> Float[Tensor, "patterns 3 height width"]:
        """Search all patterns in one pass: each step is one batch through one frozen classifier.

        The patterns' losses are added, so each has the gradient that it would have alone. Unless
        `clip` is off, pixels are clipped to [0, 1] after every step, since an image can hold
        nothing else.
        """
        options, (height, width) = self.options, view.trigger_size
        classifier = frozen(view.model, run.meter, options.precision)
        if options.epochs > 1:  # it costs a pass over the images, and saves some of each
            classifier.remember(view.clean.images, (height, width), options.cache_mib)
        order = run.generator("search")
        corners = host_generator(order)
        shape = (options.patterns, 3, height, width)
        patterns = torch.rand(shape, generator=order, device=run.device).requires_grad_()
        optimiser = torch.optim.SGD([patterns], options.lr, options.momentum)
        count = view.clean.images.shape[0]
        for epoch in range(options.epochs):
            total = torch.zeros(options.patterns, device=run.device)
            for index in batch_indices(count, options.batch_size, order):
                place = random_places(1, view.info.image_size, (height, width), corners)
                images = to_unit(view.clean.images[index])
                losses = target_losses(classifier, images, patterns, place, view.target, index)
                optimiser.zero_grad(set_to_none=True)
                losses.sum().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                if options.clip:
                    with torch.no_grad():
                        patterns.clamp_(0, 1)
                total += losses.detach() * len(index)
            for number, loss in enumerate((total / count).tolist()):
                run.record("search", epoch=epoch, pattern=number, loss=loss)
            run.progress(epoch + 1, options.epochs, "search")
        return patterns.detach()


def target_losses(
    classifier: Frozen,
    images: Float[Tensor, "batch 3 height width"],
    patterns: Float[Tensor, "patterns 3 patch_height patch_width"],
    place: Int64[Tensor, "1 2"],
    target: int,
    rows: Int64[Tensor, " batch"] | None = None,
) -> Float[Tensor, " patterns"]:
    """Return each pattern's mean cross entropy toward `target` on the same stamped images.

    `rows`: the images' numbers in what the classifier remembers.
    """
    logits = classifier.stamped(images, patterns[:, None], place, rows)
    return (logits.logsumexp(dim=2) - logits[:, :, target]).mean(dim=1)
