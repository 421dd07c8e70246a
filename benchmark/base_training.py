"""Train the clean model that every attack starts from."""

from __future__ import annotations

import math

import torch
from torch import nn

from benchmark.context import RunContext
from benchmark.contracts import ImageSet
from benchmark.primitives.arithmetic import arithmetic
from benchmark.primitives.batches import Augment, batch_indices, normal_batch
from benchmark.primitives.convolutions import fast_convolutions
from benchmark.recipe import BaseRecipe


def train_base(model: nn.Module, data: ImageSet, recipe: BaseRecipe, run: RunContext) -> nn.Module:
    """Train `model` in place on uint8 images and labels, and return it in eval mode.

    Weights are initialised by the caller. Cost: one forward and backward pass an image and epoch.
    """
    generator = run.generator("base")
    model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        _decayed(model, recipe.weight_decay),
        recipe.lr,
        recipe.momentum,
        nesterov=recipe.momentum > 0,
    )
    count = data.images.shape[0]
    steps = -(-count // recipe.batch_size) * recipe.epochs
    warmup = recipe.warmup
    if warmup * steps == 1:  # OneCycleLR would divide by a warm-up that ends at step 0
        warmup = math.nextafter(warmup, 0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.lr, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    augment = Augment(recipe.padding, recipe.flip)
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    done = 0
    for epoch in range(recipe.epochs):
        model.train()
        total = torch.zeros((), device=run.device)
        for index in batch_indices(count, recipe.batch_size, generator):
            if len(index) > 1:  # batch norm cannot normalise a single image
                images = normal_batch(data.images, index, augment, generator)
                with arithmetic(run.device, recipe.precision), fast_convolutions(recipe.precision):
                    loss = loss_of(model(images), data.labels[index])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += loss.detach() * len(index)
            schedule.step()
            done += 1
            run.progress(done, steps, "base model")
        run.record("base", epoch=epoch, loss=float(total) / count)
    return model.eval()


def _decayed(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Split parameters so that biases and batch norm are not decayed."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
