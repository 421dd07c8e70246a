"""A preset of somebody's own: one TOML file that says what a run is, on top of a shipped preset."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.errors import UserError
from benchmark.preset import Preset, load_preset, preset_names


class PresetFile(BaseModel):
    """What such a file may say; whatever it leaves out is as in the preset that it extends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extends: str = "quick"
    dataset: str | None = None
    model: str | None = None
    attacks: tuple[str, ...] | None = Field(None, min_length=1)
    controls: tuple[str, ...] | None = None
    defenses: tuple[str, ...] | None = None
    seeds: int | None = Field(None, ge=1, le=10_000)
    settings: dict[str, Any] = Field(default_factory=dict)


def read_preset(path: Path) -> Preset:
    """Return the preset of a file, called by the file's name without its ending.

    Raises `UserError`, which names the file, if it cannot be read or says what no preset says.
    """
    told = _read(path)
    if told.extends not in preset_names():
        fault = f"{path}: extends = {told.extends!r} is no shipped preset"
        raise UserError(fault, f"known: {', '.join(preset_names())}")
    if path.stem in preset_names():
        # It heads leaderboards, and stands in commands for others, who would run the shipped one.
        fault = f"{path}: {path.stem} is what a shipped preset is called"
        raise UserError(fault, "rename the file")
    base = load_preset(told.extends)
    settings = dict(_flat(told.settings))
    for key in settings:
        if "." not in key:
            fault = f"{path}: settings: {key}: a setting is of the form namespace.option"
            raise UserError(fault, "as after --set")
    changes = told.model_dump(exclude_none=True, exclude={"extends", "settings"})
    told_apart = {key: changes[key] for key in _OF_THE_STUDY if key in changes}
    named = [f"{key} = {_said(value)}" for key, value in {**told_apart, **settings}.items()]
    return base.model_copy(
        update={
            **changes,
            "name": path.stem,
            "extends": told.extends,
            "settings": {**base.settings, **settings},
            "own": settings,
            "differences": "; ".join(part for part in (base.differences, *named) if part),
        }
    )


_OF_THE_STUDY = ("dataset", "model", "attacks")
"""What a file may change beside settings that makes a run another one than the paper's."""


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _read(path: Path) -> PresetFile:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
        return PresetFile.model_validate(found)
    except OSError as error:
        raise UserError(f"--preset {path}: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML file: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(PresetFile.model_fields)
        raise UserError(f"{path}: {key}: {first['msg'].lower()}", f"known: {known}") from error


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys with their values, of `"mesa.epochs" = 5` and of tables alike."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
