"""Put triggers on images."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def random_places(
    count: int,
    image_size: tuple[int, int],
    trigger_size: tuple[int, int],
    generator: torch.Generator,
) -> Int64[Tensor, "count 2"]:
    """Draw `count` top-left corners (row, column), uniform over all places inside the image."""
    rows = image_size[0] - trigger_size[0] + 1
    columns = image_size[1] - trigger_size[1] + 1
    draw = torch.rand(count, 2, generator=generator, device=generator.device)
    # Numbers, not a tensor of them: that would make the host wait for a GPU.
    row = (draw[:, 0] * rows).long().clamp_max(rows - 1)
    column = (draw[:, 1] * columns).long().clamp_max(columns - 1)
    return torch.stack([row, column], dim=1)


def host_generator(generator: torch.Generator) -> torch.Generator:
    """Return what draws places that the host must know: one for a whole batch, say.

    On the CPU that is `generator` itself. Of a GPU's it is one on the CPU with the same seed: to
    read a place from the device makes the host wait for all that it has told it to do. Take it
    once, before the loop that draws: on a GPU each call starts from the seed again.
    """
    if generator.device.type == "cpu":
        return generator
    return torch.Generator("cpu").manual_seed(generator.initial_seed())


def stamp(
    images: Float[Tensor, "batch 3 height width"],
    trigger: Float[Tensor, "#batch channels patch_height patch_width"],
    places: Int64[Tensor, "#batch 2"],
) -> Float[Tensor, "batch 3 height width"]:
    """Return a copy of `images` with `trigger` on each at `places`; differentiable in `trigger`.

    A trigger has three channels, or four: the last is its opacity, 1 where it hides the image.

    `trigger` and `places` have one entry for the whole batch or one an image. Values in [0, 1].
    One place for the batch is a slice assignment and costs one copy of the batch; it may lie on the
    CPU, wherever the images are (see `host_generator`). One place an image costs an indexed write
    on top.
    """
    height, width = trigger.shape[-2:]
    if trigger.shape[1] == 4:
        return _blended(images, trigger.to(images.dtype), places)
    stamped = images.clone()
    if places.shape[0] == 1:
        row, column = places[0].tolist()
        stamped[:, :, row : row + height, column : column + width] = trigger.to(images.dtype)
        return stamped
    batch = images.shape[0]
    rows = places[:, 0, None, None] + torch.arange(height, device=images.device)[None, :, None]
    columns = places[:, 1, None, None] + torch.arange(width, device=images.device)[None, None, :]
    item = torch.arange(batch, device=images.device)[:, None, None]
    # Indexing around the channel slice moves channels last: (batch, rows, columns, 3).
    patch = trigger.to(images.dtype).expand(batch, -1, -1, -1).permute(0, 2, 3, 1)
    stamped[item, :, rows, columns] = patch
    return stamped


def _blended(
    images: Float[Tensor, "batch 3 height width"],
    trigger: Float[Tensor, "#batch 4 patch_height patch_width"],
    places: Int64[Tensor, "#batch 2"],
) -> Float[Tensor, "batch 3 height width"]:
    """Return the images with the trigger laid over them as thickly as its opacity says."""
    colour, opacity = trigger[:, :3], trigger[:, 3:].expand(-1, 3, -1, -1)
    thickness = stamp(torch.zeros_like(images), opacity, places)
    return images * (1 - thickness) + stamp(torch.zeros_like(images), colour, places) * thickness
