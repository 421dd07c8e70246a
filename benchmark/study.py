"""Studies: what a paper measured and published, as data to run again and compare with.

One TOML file a study, in `benchmark/studies`. Rates are fractions in [0, 1]. No torch.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from benchmark.errors import UserError, unknown_name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(_Part):
    """What the paper says of one row on one grid; None where it does not say."""

    mean: float = Field(ge=0, le=1)
    worst: float | None = Field(None, ge=0, le=1)
    lowest: float | None = Field(None, ge=0, le=1)


class Grid(_Part):
    """A set of attacked models."""

    name: str
    title: str
    preset: str = Field(description="the preset that is the paper's own setting")
    attack: str
    instead: dict[str, str] = Field(
        default_factory=dict, description="smaller preset → the triggers of the grid to use there"
    )


class StudyRow(_Part):
    """A defense with its options."""

    label: str
    defense: str
    set: dict[str, str] = Field(default_factory=dict, description="as after `--set`")
    under: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="preset → what is set there on top of `set`"
    )
    ablation: bool = Field(False, description="run only where ablations were asked for")
    published: dict[str, Published] = Field(default_factory=dict, description="grid → figures")

    def sets(self, preset: str) -> dict[str, str]:
        """Return what is set for the row under a preset."""
        return {**self.set, **self.under.get(preset, {})}


class Claim(_Part):
    """Two rows whose difference the paper argues from."""

    text: str
    first: str
    second: str


class Study(_Part):
    """A paper's experiments."""

    name: str
    title: str
    source: str = Field(description="where the published figures were read")
    grid: tuple[Grid, ...]
    row: tuple[StudyRow, ...]
    claim: tuple[Claim, ...] = ()
    drawn_row: str = Field("", description="label of the row whose generated triggers are drawn")

    def grids(self, names: tuple[str, ...], preset: str | None) -> tuple[Grid, ...]:
        """Return the grids asked for, all by default: those that `preset` can stand in for.

        Raises `UserError` for a grid that does not exist or that `preset` has no part of.
        """
        known = {grid.name: grid for grid in self.grid}
        for name in names:
            if name not in known:
                raise unknown_name("grid", name, known)
        chosen = [known[name] for name in names] or list(self.grid)
        if preset is None:
            return tuple(chosen)
        fitting = [grid for grid in chosen if preset in (grid.preset, *grid.instead)]
        if len(fitting) < max(1, len(names)):
            having = sorted({p for grid in chosen for p in (grid.preset, *grid.instead)})
            raise UserError(
                f"preset {preset!r} cannot stand in for what {self.name} asks",
                f"say one of {', '.join(having)}",
            )
        return tuple(fitting)


def study_names() -> list[str]:
    """Return the names of all studies."""
    folder = resources.files("benchmark") / "studies"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name[-5:] == ".toml")


def load_study(name: str) -> Study:
    """Return a study; raises `UserError` for a name that is none."""
    names = study_names()
    if name not in names:
        raise unknown_name("study", name, names)
    text = (resources.files("benchmark") / "studies" / f"{name}.toml").read_text("utf-8")
    content: dict[str, Any] = tomllib.loads(text)
    return Study(name=name, **content)
