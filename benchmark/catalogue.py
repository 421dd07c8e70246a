"""The catalogue of known plugins, installed or not: `registry.toml`, read and checked."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.errors import UserError
from benchmark.loading.origin import Kind
from benchmark.types import Knowledge, Output

BUILT_IN = "built in"
"""The distribution of what comes with the harness."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_min_length=1)


class Paper(_Table):
    """Where a component was published."""

    title: str
    venue: str
    arxiv: str | None = Field(None, pattern=r"^\d{4}\.\d{4,5}$")

    def __str__(self) -> str:
        """Cite it in one line."""
        return f"{self.title}, {self.venue}" + (f", arXiv {self.arxiv}" if self.arxiv else "")


class Entry(_Table):
    """One component of one plugin. The fields are described at the head of `registry.toml`."""

    name: str
    kind: Kind
    distribution: str
    source: str
    summary: str
    needs: tuple[Knowledge, ...] = ()
    gives: tuple[Output, ...] = ()
    paper: Paper | None = None

    @model_validator(mode="after")
    def _defenses_say_what_they_need(self) -> Entry:
        if (self.kind == "defense") != bool(self.needs and self.gives):
            raise ValueError("a defense, and nothing else, has needs and gives")
        return self

    @property
    def install(self) -> str:
        """Return the command that installs it; empty for what is built in."""
        return "" if self.distribution == BUILT_IN else f"pip install {self.source}"


class _Catalogue(_Table):
    plugin: tuple[Entry, ...]

    @model_validator(mode="after")
    def _listed_once(self) -> _Catalogue:
        listed = [(entry.kind, entry.name) for entry in self.plugin]
        for kind, name in listed:
            if listed.count((kind, name)) > 1:
                raise ValueError(f"{kind} {name!r} is listed twice")
        return self


def catalogue_path() -> Path:
    """Return the file inside the installed package, or that at the root of a source tree."""
    package = Path(__file__).parent
    inside = package / "registry.toml"
    return inside if inside.is_file() else package.parent / "registry.toml"


def read_catalogue(path: Path | None = None) -> tuple[Entry, ...]:
    """Return the catalogue, or raise `UserError` that says what is wrong with the file."""
    path = path or catalogue_path()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return _Catalogue.model_validate(tables).plugin
    except ValidationError as error:
        raise UserError(f"catalogue {path}: {_first_fault(error)}") from None
    except (OSError, ValueError) as error:  # not there, not UTF-8, not TOML
        raise UserError(f"catalogue {path} cannot be read: {error}") from None


def shipped_packages() -> frozenset[str]:
    """Return the names of the packages whose code is in this repository."""
    return frozenset(e.distribution for e in read_catalogue() if e.source.startswith("./"))


def find_entry(kind: Kind, name: str) -> Entry | None:
    """Return the catalogue's entry for a component, or None."""
    entries = (e for e in read_catalogue() if (e.kind, e.name) == (kind, name))
    return next(entries, None)


def _first_fault(error: ValidationError) -> str:
    """Name the place as `plugin 3, needs`, counting tables from 1 as a reader does."""
    first = error.errors()[0]
    place = [str(part + 1) if isinstance(part, int) else part for part in first["loc"]]
    named = ", ".join([" ".join(place[:2]), *place[2:]]).strip(", ")
    return f"{named}: {first['msg']}" if named else first["msg"]
