"""What each layer has to compute for a stamp at one place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from benchmark.primitives.local.boxes import Box
from benchmark.primitives.local.program import Add, Conv, Layer, NotLocal, Program, sources

DENSE_FROM = 0.75
"""Share of an output from which on all of it is computed: a little more arithmetic, no pasting."""


@dataclass(frozen=True)
class Layout:
    """Boxes for a stamp at one place, one entry a value."""

    images: tuple[Box, ...]
    """The whole of each value."""
    changed: tuple[Box, ...]
    """What is computed for stamped images; the rest is as it is for clean ones."""
    pasted: tuple[Box | None, ...]
    """A box around the clean pixels that are pasted around what changed; None: there are none."""
    clean: tuple[Box | None, ...]
    """What has to be computed for clean images; None: nothing."""


def lay_out(
    program: Program,
    image: tuple[int, int],
    stamp: Box,
    remembered: Collection[int] = (),
) -> Layout:
    """Return what a stamp on pixels `stamp` of images of size `image` makes necessary.

    Clean values that are `remembered` need nothing before them. Raises `NotLocal` if of images of
    this size values of different sizes are added.
    """
    images, changed = _changed(program, image, stamp)
    pasted = _pasted(program, images, changed)
    clean = _clean(program, images, pasted, remembered)
    return Layout(tuple(images), tuple(changed), tuple(pasted), tuple(clean))


def lay_out_clean(program: Program, image: tuple[int, int], values: Collection[int]) -> Layout:
    """Return what it takes to compute the whole of some clean values."""
    images, changed = _changed(program, image, Box.whole(image))
    wanted = [whole if number in values else None for number, whole in enumerate(images)]
    clean = _clean(program, images, wanted, ())
    return Layout(tuple(images), tuple(changed), tuple(wanted), tuple(clean))


def _changed(program: Program, image: tuple[int, int], stamp: Box) -> tuple[list[Box], list[Box]]:
    """Return, for each value, the whole of it and what is computed of it."""
    images, changed = [Box.whole(image)], [stamp]
    for layer in program.layers:
        whole, box = images[layer.source], changed[layer.source]
        pastes = True
        match layer:
            case Conv():
                whole = Box.whole(layer.sliding.output_size(whole.size))
                box = layer.sliding.reached(box) & whole
            case Add():
                if images[layer.other] != whole:
                    raise NotLocal("it adds values of different sizes")
                box = box | changed[layer.other]
            case _:  # takes what changed as it is, also if that is a stamp on most of the image
                pastes = False
        dense = pastes and (box.area == 0 or box.area >= DENSE_FROM * whole.area)
        images.append(whole)
        changed.append(whole if dense else box)
    return images, changed


def _pasted(program: Program, images: list[Box], changed: list[Box]) -> list[Box | None]:
    """Return what the layers look at beyond what changed."""
    needed: list[Box | None] = [None] * len(images)
    for number, layer in enumerate(program.layers, start=1):
        for source in sources(layer):
            box = looked_at(layer, changed[number], images[source])
            if not changed[source].covers(box):
                needed[source] = _around(needed[source], box)
    if not changed[-1].covers(images[-1]):  # the rest of the network sees all of the last value
        needed[-1] = images[-1]
    return needed


def _clean(
    program: Program,
    images: list[Box],
    pasted: list[Box | None],
    remembered: Collection[int],
) -> list[Box | None]:
    """Return what is pasted, and what that is computed from."""
    needed = list(pasted)
    for number, layer in reversed(list(enumerate(program.layers, start=1))):
        own = needed[number]
        if own is not None and number not in remembered:
            for source in sources(layer):
                box = looked_at(layer, own, images[source])
                needed[source] = _around(needed[source], box)
    return needed


def _around(one: Box | None, other: Box) -> Box:
    return other if one is None else one | other


def looked_at(layer: Layer, outputs: Box, image: Box) -> Box:
    """Return the pixels of an input, of size `image`, from which a layer computes `outputs`."""
    return layer.sliding.seen(outputs) & image if isinstance(layer, Conv) else outputs
