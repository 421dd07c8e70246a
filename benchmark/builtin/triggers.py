"""The trigger sets of the attack grids, and the options that choose from them. No torch."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from benchmark.errors import UserError
from benchmark.identity import derive_seed
from benchmark.specs import CHOOSES, Options
from benchmark.types import AttackInstance, DatasetInfo, Trigger

Pattern = tuple[int, ...]
"""The nine bits of a pattern, row by row: 0 is black, 1 is white."""


def _pattern(number: int) -> Pattern:
    """Return the pattern whose bits, read like a text, are `number` in binary."""
    return tuple(number >> shift & 1 for shift in range(8, -1, -1))


def _number(pattern: Pattern) -> int:
    return int("".join(map(str, pattern)), 2)


def _rotated(pattern: Pattern) -> Pattern:
    return tuple(pattern[3 * (2 - column) + row] for row in range(3) for column in range(3))


def _reflected(pattern: Pattern) -> Pattern:
    return tuple(pattern[3 * row + 2 - column] for row in range(3) for column in range(3))


def _inverted(pattern: Pattern) -> Pattern:
    return tuple(1 - bit for bit in pattern)


GENERATORS: tuple[Callable[[Pattern], Pattern], ...] = (_rotated, _reflected, _inverted)
"""A quarter turn, a mirror and the exchange of black and white: they generate a group of 16."""


def orbit(number: int, generators: Sequence[Callable[[Pattern], Pattern]] = GENERATORS) -> set[int]:
    """Return every pattern that the generators make of the pattern `number`."""
    reached, frontier = {number}, [_pattern(number)]
    while frontier:
        images = {act(pattern) for pattern in frontier for act in generators}
        frontier = [image for image in images if _number(image) not in reached]
        reached.update(map(_number, frontier))
    return reached


@lru_cache(maxsize=1)
def black_white_numbers() -> tuple[int, ...]:
    """Return the smallest number of each orbit of the 512 patterns, in order."""
    return tuple(sorted({min(orbit(number)) for number in range(512)}))


def black_white_trigger(number: int) -> Trigger:
    """Return a 3×3 pattern as a trigger: 170 is the checkerboard, 0 the plain black square."""
    bits = [float(bit) for bit in _pattern(number)]
    plane = (tuple(bits[0:3]), tuple(bits[3:6]), tuple(bits[6:9]))
    return Trigger(str(number), (plane, plane, plane))


def black_white_triggers() -> list[Trigger]:
    """Return the 51 black-and-white 3×3 triggers, one for each orbit."""
    return [black_white_trigger(number) for number in black_white_numbers()]


def colour_trigger(seed: int, index: int) -> Trigger:
    """Return 3×3 pixels of independent uniform RGB colours."""
    draw = random.Random(derive_seed("rgb3x3", seed, index)).random
    pixels = tuple(tuple(tuple(draw() for _ in range(3)) for _ in range(3)) for _ in range(3))
    return Trigger(f"c{index}", pixels)


def colour_triggers(seed: int, count: int) -> list[Trigger]:
    """Return the first `count` colour triggers of `seed`; more of them change none."""
    return [colour_trigger(seed, index) for index in range(count)]


def random_target(seed: int, index: int, num_classes: int) -> int:
    """Return the target class of the grid's trigger number `index`, uniform over the classes."""
    return derive_seed("target", seed, index) % num_classes


def _names(value: Any) -> Any:
    """Read `"0,170"`, `170`, `[0, 170]` and `["0", "170"]` as the same kind of thing."""
    if isinstance(value, str):
        value = value.split(",")
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, (list, tuple)):
        return tuple(str(item).strip() for item in value)
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class GridOptions(Options):
    """Which instances of a grid to attack with."""

    triggers: Names | None = Field(
        None,
        description="names of the triggers, such as 0,170,27, or `all`; default: the whole grid",
        json_schema_extra=CHOOSES,
    )
    target: Annotated[int, Field(ge=0)] | Literal["random"] = Field(
        0,
        description="target class, or `random`: one drawn for each trigger",
        json_schema_extra=CHOOSES,
    )
    grid_seed: int = Field(
        0, description="seed of everything random about the grid", json_schema_extra=CHOOSES
    )

    @field_validator("triggers", mode="before")
    @classmethod
    def _whole_grid(cls, value: object) -> object:
        """Let a command ask for all triggers where its preset names some."""
        return None if value == "all" else value

    @field_validator("triggers")
    @classmethod
    def _some_and_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and not any(names):
            raise ValueError("no trigger is named")
        for name in names or ():
            if names and names.count(name) > 1:
                raise ValueError(f"trigger {name!r} is named twice")
        return names


class BlackWhiteOptions(GridOptions):
    """Options of the grid `bw3x3`."""

    @field_validator("triggers")
    @classmethod
    def _known(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        known = [str(number) for number in black_white_numbers()]
        for name in names or ():
            if name not in known and name.isdecimal() and int(name) < 512:
                same = min(orbit(int(name)))
                raise ValueError(
                    f"trigger {name!r} is {same} turned, mirrored or inverted: say {same}"
                )
            _require_known(name, known)
        return names


class ColourOptions(GridOptions):
    """Options of the grid `rgb3x3`."""

    count: int = Field(
        10, ge=1, le=1000, description="triggers in the whole grid", json_schema_extra=CHOOSES
    )

    @model_validator(mode="after")
    def _known(self) -> ColourOptions:
        for name in self.triggers or ():
            _require_known(name, [f"c{index}" for index in range(self.count)])
        return self


def _require_known(name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    raise ValueError(f"unknown trigger {name!r} ({hint})")


def bw3x3_instances(options: BlackWhiteOptions, info: DatasetInfo) -> list[AttackInstance]:
    """Return the chosen instances of the grid of black-and-white triggers."""
    return _instances(black_white_triggers(), options, info)


def rgb3x3_instances(options: ColourOptions, info: DatasetInfo) -> list[AttackInstance]:
    """Return the chosen instances of the grid of random colours."""
    return _instances(colour_triggers(options.grid_seed, options.count), options, info)


def _instances(
    grid: Sequence[Trigger], options: GridOptions, info: DatasetInfo
) -> list[AttackInstance]:
    """Give each trigger its target, and then choose: a subset is a part of the whole grid."""
    whole = {
        trigger.name: AttackInstance(trigger, _target(options, index, info))
        for index, trigger in enumerate(grid)
    }
    return [whole[name] for name in options.triggers or whole]


def _target(options: GridOptions, index: int, info: DatasetInfo) -> int:
    if options.target == "random":
        return random_target(options.grid_seed, index, info.num_classes)
    if options.target >= info.num_classes:
        last = info.num_classes - 1
        raise UserError(f"attack target {options.target} is no class", f"classes: 0 to {last}")
    return options.target
