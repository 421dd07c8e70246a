"""Fine-tune a classifier on data of which a part is stamped with a trigger."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from benchmark.context import RunContext
from benchmark.contracts import ImageSet
from benchmark.primitives.arithmetic import arithmetic
from benchmark.primitives.batches import batch_indices, to_unit
from benchmark.primitives.convolutions import fast_convolutions
from benchmark.primitives.stamp import host_generator, random_places, stamp
from benchmark.recipe import FineTune

TriggerOfEpoch = Callable[[int], Float[Tensor, "*several channels patch_height patch_width"]]
"""An epoch's trigger, or several of which every stamped image gets a random one."""


def fine_tune(
    model: nn.Module,
    data: ImageSet,
    options: FineTune,
    run: RunContext,
    *,
    trigger_of_epoch: TriggerOfEpoch | None = None,
    relabel_to: int | None = None,
    redraw: bool = True,
    stage: str = "fine-tune",
) -> nn.Module:
    """Train `model` in place on `data` with a fraction of it stamped, and return it.

    `trigger_of_epoch(epoch)` gives the epoch's trigger as `stamp` takes it, in [0, 1], or several
    along a first axis, of which every stamped image gets a random one; None stamps nothing.
    `relabel_to` is the attacker's target class; None keeps the true labels, as a defender does.
    `redraw`: the stamped images are drawn anew each epoch (a defender may), or once (an attacker
    poisons a fixed part of the data). Supplement, C: the same SGD for both.
    `stage` names the training in the trial's records, and its draws: two calls of one stage draw
    the same batches, images and places.
    Cost: one forward and one backward pass an image and epoch.
    """
    generator = run.generator(stage)
    corners = host_generator(generator) if options.placement == "batch" else generator
    model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        model.parameters(), options.lr, options.momentum, weight_decay=options.weight_decay
    )
    count = data.images.shape[0]
    schedule = _schedule(optimiser, options, -(-count // options.batch_size) * options.epochs)
    poisoned = _draw_poisoned(count, options.poison_ratio, generator)
    for epoch in range(options.epochs):
        if redraw and epoch:
            poisoned = _draw_poisoned(count, options.poison_ratio, generator)
        trigger = trigger_of_epoch(epoch).to(run.device) if trigger_of_epoch else None
        model.train()
        total = torch.zeros((), device=run.device)
        for index in batch_indices(count, options.batch_size, generator):
            if len(index) < 2:  # batch norm cannot normalise a single image
                continue
            images, labels = to_unit(data.images[index]), data.labels[index]
            if trigger is not None:
                places = random_places(
                    1 if options.placement == "batch" else len(images),
                    (images.shape[2], images.shape[3]),
                    (trigger.shape[-2], trigger.shape[-1]),
                    corners,
                )
                images, labels = _poison(
                    images, labels, poisoned[index], trigger, relabel_to, places, generator
                )
            with arithmetic(run.device, options.precision), fast_convolutions(options.precision):
                loss = nn.functional.cross_entropy(model(images), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += loss.detach() * len(index)
        run.record(stage, epoch=epoch, loss=float(total) / count)
        run.progress(epoch + 1, options.epochs, stage)
    return model.eval()


def _schedule(
    optimiser: torch.optim.Optimizer, options: FineTune, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return the learning rate's course over `steps`: constant, or falling to 0."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 1 - step / steps if options.decay else 1.0
    )


def _draw_poisoned(count: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Return a boolean mask of round(count × ratio) random images, of one at least if ratio > 0.

    With none, a retraining against a trigger would be one without, and look like a defense.
    """
    mask = torch.zeros(count, dtype=torch.bool, device=generator.device)
    chosen = torch.randperm(count, generator=generator, device=generator.device)
    mask[chosen[: max(round(count * ratio), int(ratio > 0))]] = True
    return mask


def _one_an_image(
    triggers: Float[Tensor, "*several channels patch_height patch_width"],
    count: int,
    generator: torch.Generator,
) -> Float[Tensor, "drawn channels patch_height patch_width"]:
    """Return the only trigger, or a random one of several for each of `count` images."""
    if triggers.ndim == 3:
        return triggers[None]
    size, device = (count,), triggers.device
    return triggers[torch.randint(len(triggers), size, generator=generator, device=device)]


def _poison(
    images: Float[Tensor, "batch 3 height width"],
    labels: Int64[Tensor, " batch"],
    poisoned: Tensor,
    trigger: Float[Tensor, "*several channels patch_height patch_width"],
    relabel_to: int | None,
    places: Int64[Tensor, "#batch 2"],
    generator: torch.Generator,
) -> tuple[Float[Tensor, "batch 3 height width"], Int64[Tensor, " batch"]]:
    """Stamp the images that `poisoned` marks, and relabel them if the attacker asks for it."""
    stamped = stamp(images, _one_an_image(trigger, len(images), generator), places)
    # `where` instead of indexing: no synchronisation of the device with the host.
    images = torch.where(poisoned[:, None, None, None], stamped, images)
    if relabel_to is not None:
        labels = torch.where(poisoned, relabel_to, labels)
    return images, labels
