"""The attack `imported`: backdoored models from elsewhere, each described in a TOML file. No torch.

The file names the weights, the target class and the trigger; what it says is checked here, the
weights are looked into when a run is about to use them (`benchmark.bringing`).
"""

from __future__ import annotations

import hashlib
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from benchmark.builtin.patches import Grid, Pattern, expanded, read_patch
from benchmark.errors import UserError
from benchmark.specs import CHOOSES, Options
from benchmark.types import AttackInstance, DatasetInfo, ModelFile, Trigger

Channels = tuple[float, float, float]
Corner = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
Place = Corner | Literal["random", "top left", "top right", "bottom left", "bottom right"]


class ImportedOptions(Options):
    """Options of `imported`: the files that describe the models."""

    files: tuple[str, ...] = Field(
        (), description="files that describe one model each", json_schema_extra=CHOOSES
    )


class Normalisation(Options):
    """What the model expects to be done to images in [0, 1] before its first layer."""

    mean: Channels = Field(description="taken from each channel")
    std: Channels = Field(description="what each channel is divided by then")

    @field_validator("std")
    @classmethod
    def _positive(cls, std: Channels) -> Channels:
        if min(std) <= 0:
            raise ValueError("a deviation must be above 0")
        return std


class TriggerTable(Options):
    """The table `[trigger]`: what is stamped, and where."""

    pixels: Pattern | None = Field(None, description="rows of grey values or of [red, green, blue]")
    image: str | None = Field(None, description="an image file in place of `pixels`")
    mask: Grid | str | None = Field(
        None, description="opacity, as rows or as a grey image file: 1 hides the picture's pixel"
    )
    place: Place = Field(description="`random`, a corner's name, or [row, column]")


class AttackFile(Options):
    """A backdoored model that was trained elsewhere, as its TOML file describes it."""

    model: str = Field(description="the weights: a safetensors file, or a state dict in a .pt file")
    target: int = Field(ge=0, description="the class that the trigger shall produce")
    name: str = Field("", description="what tables call the trigger; default: the file's name")
    trigger: TriggerTable
    normalisation: Normalisation | None = None
    rename: dict[str, str] = Field(
        {}, description="starts of the weights' names, and what the architecture calls them"
    )


def imported_instances(options: ImportedOptions, info: DatasetInfo) -> list[AttackInstance]:
    """Return one instance for each file.

    Raises `UserError` that names the file and what is wrong in it.
    """
    if not options.files:
        raise UserError("the attack 'imported' has no files", "name them with --attack-file FILE")
    return [_instance(Path(file), info) for file in options.files]


def telling_files(path: Path) -> list[Path]:
    """Return an attack file and the image files in it, which tell the trigger too."""
    table = _read(path).trigger
    images = [name for name in (table.image, table.mask) if isinstance(name, str)]
    return [path, *(path.parent / expanded(name) for name in images)]


def _instance(path: Path, info: DatasetInfo) -> AttackInstance:
    told = _read(path)
    table = told.trigger
    if (table.pixels is None) == (table.image is None):
        raise UserError(f"{path}: trigger: give either pixels or image, and not both")
    patch = read_patch(table.pixels or str(table.image), table.mask, path)
    height, width = len(patch.pixels[0]), len(patch.pixels[0][0])
    place = _place(table.place, (height, width), info.image_size)
    trigger = Trigger(told.name or path.stem, patch.pixels, place)
    if place is not None:
        trigger = patch.cropped(trigger)
    weights = path.parent / expanded(told.model)
    given = told.normalisation
    return AttackInstance(
        trigger,
        told.target,
        ModelFile(
            path=str(weights.absolute()),
            sha256=_digest(weights, path),
            mean=given.mean if given else None,
            std=given.std if given else None,
            rename=tuple(told.rename.items()),
        ),
    )


def _read(path: Path) -> AttackFile:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the attack file {path}: {error.strerror}") from error
    except ValueError as error:  # bad TOML, or no UTF-8
        raise UserError(f"the attack file {path} is no TOML file: {error}") from error
    try:
        return AttackFile.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if str(part) in _KEYS)
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {key or first['loc'][0]}: {message}", _HINT) from error


_KEYS = {*AttackFile.model_fields, *TriggerTable.model_fields, *Normalisation.model_fields}
_HINT = "docs/bring-your-own.md has an example"


def _place(place: Place, size: tuple[int, int], image: tuple[int, int]) -> tuple[int, int] | None:
    if place == "random":
        return None
    if not isinstance(place, str):
        return place
    # A trigger that is larger than the image is refused later, with the words for it.
    down, right = (max(0, whole - part) for part, whole in zip(size, image, strict=True))
    return (down if "bottom" in place else 0, right if "right" in place else 0)


def _digest(weights: Path, told_in: Path) -> str:
    try:
        found = weights.stat()
        return _digest_of(weights, found.st_size, found.st_mtime_ns)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{told_in}: model: cannot read {weights}: {reason}") from error


@lru_cache(maxsize=256)
def _digest_of(path: Path, _size: int, _changed: int) -> str:
    """Return the SHA-256 of a file; a plan asks for it several times."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
