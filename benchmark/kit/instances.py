"""The rules of an attack's grid, which a plan asks for without torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from benchmark.kit.findings import Book, Rule
from benchmark.kit.places import definition
from benchmark.specs import AttackSpec
from benchmark.types import AttackInstance, DatasetInfo


def judge_instances(spec: AttackSpec, options: BaseModel, info: DatasetInfo, book: Book) -> None:
    """Note whether an attack's `instances` answers a plan: instances, and always the same."""
    where = definition(spec.instances)
    try:
        found, again = (list(spec.instances(options, info)) for _ in range(2))
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        book.fail(
            Rule.CONTRACT,
            f"instances() raised {said}",
            where=where,
            mend=f"it must answer for {info.num_classes} classes and images of {info.image_size}",
        )
        return
    fault = next(_instance_faults(found, info), "")
    if fault:
        mend = "return a list of AttackInstance(Trigger(name, pixels), target)"
        book.fail(Rule.CONTRACT, f"instances(): {fault}", where=where, mend=mend)
    elif found != again:
        book.fail(
            Rule.DETERMINISM,
            "instances() answers differently when it is asked again",
            where=where,
            mend="draw from random.Random(derive_seed(...)), never from the global generator",
        )


def _instance_faults(found: list[Any], info: DatasetInfo) -> Iterator[str]:
    if not found:
        yield "it returns none"
    for one in found:
        if not isinstance(one, AttackInstance):
            yield f"it returns a {type(one).__name__}"
            return
        pixels = one.trigger.pixels
        sizes = {len(row) for plane in pixels for row in plane}
        even = len({len(plane) for plane in pixels}) == len(sizes) == 1
        if len(pixels) not in (3, 4) or not even:
            yield f"the pixels of trigger {one.trigger.name!r} are not of shape (3, height, width)"
            return
        if any(size > room for size, room in zip(one.trigger.size, info.image_size, strict=True)):
            yield f"trigger {one.trigger.name!r} is larger than an image of {info.image_size}"
        if not all(0 <= value <= 1 for plane in pixels for row in plane for value in row):
            yield f"trigger {one.trigger.name!r} has pixels outside [0, 1]"
        if not 0 <= one.target < info.num_classes:
            yield f"target {one.target} is no class: there are {info.num_classes}"
    names = [one.trigger.name for one in found]
    if len(set(names)) < len(names):
        yield "two of its triggers have the same name"
