"""Presets: named sets of defaults, one TOML file each beside this module."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from benchmark.errors import unknown_name


class Estimate(BaseModel):
    """Seconds a job takes on two CPU cores, until this machine's own jobs tell better."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: float
    victim: float
    trial: float


class Preset(BaseModel):
    """What a run does unless its command says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    summary: str
    differences: str = Field(description="how the settings differ from the paper's; empty: not")
    dataset: str
    model: str
    attacks: tuple[str, ...]
    controls: tuple[str, ...] = Field(
        description="defenses that run beside the ones asked for, as floor, control and ceiling"
    )
    estimate: Estimate
    settings: dict[str, Any] = Field(default_factory=dict, description="dotted key → value")
    defenses: tuple[str, ...] = Field((), description="run if none is asked for; empty: all")
    seeds: int = Field(1, ge=1, le=10_000, description="independent victims of each attack")
    extends: str = Field("", description="the shipped preset that somebody's own file changes")
    own: dict[str, Any] = Field(default_factory=dict, description="those settings that it changes")

    @property
    def shipped(self) -> str:
        """The name under which plugins know this preset: its own, or of the one it extends."""
        return self.extends or self.name


def preset_names() -> list[str]:
    """Return the names of all presets, the default first."""
    folder = resources.files("benchmark") / "presets"
    names = sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name[-5:] == ".toml")
    return sorted(names, key=lambda name: name != "quick")


def load_preset(name: str) -> Preset:
    """Return a preset: a shipped one, or that of a file of somebody's own, if it ends in `.toml`.

    Raises `UserError` for a name that is none, and for a file with a fault.
    """
    if name.endswith(".toml"):
        from benchmark.preset_file import read_preset

        return read_preset(Path(name))
    names = preset_names()
    if name not in names:
        raise unknown_name("preset", name, names)
    text = (resources.files("benchmark") / "presets" / f"{name}.toml").read_text("utf-8")
    return Preset(name=name, **tomllib.loads(text))
