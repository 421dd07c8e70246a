"""Batched prediction."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from benchmark.primitives.batches import to_unit
from benchmark.primitives.stamp import stamp

EVAL_BATCH = 250
"""Small enough for the caches of a CPU core, large enough to keep a GPU busy."""


@torch.no_grad()
def predict(
    model: nn.Module,
    images: UInt8[Tensor, "count 3 height width"],
    trigger: Float[Tensor, "channels patch_height patch_width"] | None = None,
    places: Int64[Tensor, "count 2"] | None = None,
) -> Int64[Tensor, " count"]:
    """Return the class that `model` answers for each image, stamped if a trigger is given.

    `places` are the stamp's top-left corners, one an image. Leaves the model in eval mode; costs
    one forward pass. Raises `ValueError` for a trigger without places, or places without one.
    """
    if (trigger is None) != (places is None):
        raise ValueError("predict needs a trigger and its places, or neither")
    model.eval()
    answers = []
    for start in range(0, images.shape[0], EVAL_BATCH):
        chunk = slice(start, start + EVAL_BATCH)
        batch = to_unit(images[chunk])
        if trigger is not None and places is not None:
            batch = stamp(batch, trigger[None], places[chunk])
        answers.append(model(batch).argmax(dim=1))
    return torch.cat(answers)
