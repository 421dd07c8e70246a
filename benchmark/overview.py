"""What can be used, what could be installed and what is broken: the rows of `bench plugins`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel

from benchmark.catalogue import BUILT_IN, Entry
from benchmark.plugins import KINDS, Kind, Origin, Plugins, Registered
from benchmark.types import Knowledge, Output

Status = Literal["installed", "not installed", "broken", "collides"]


@dataclass(frozen=True)
class Row:
    """One component, loaded or only known."""

    kind: Kind
    name: str
    version: str
    status: Status
    install: str
    """The command that would install it; empty if it is installed."""
    knowledge: tuple[str, ...]
    gives: tuple[str, ...]
    origin: str
    summary: str
    paper: str
    options: dict[str, Any]
    """JSON schema of its options; empty if it is not loaded."""


def overview(plugins: Plugins, catalogue: Sequence[Entry]) -> list[Row]:
    """Return a row for everything that is loaded, and for what the catalogue knows besides."""
    colliding = {(collision.kind, collision.name) for collision in plugins.collisions}
    rows = [_loaded(kind, offer, colliding) for kind, offer in plugins.offers()]
    loaded = {(row.kind, row.name) for row in rows}
    broken = {_distribution(fault.origin) for fault in plugins.faults}
    rows += [_known(e, broken) for e in catalogue if (e.kind, e.name) not in loaded]
    kinds = list(KINDS)
    return sorted(rows, key=lambda row: (kinds.index(row.kind), row.name, row.origin))


def opened(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the dotted key of every option in a row's `options`, with its own schema."""
    groups = schema.get("$defs", {})

    def under(model: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Any]:
        for name, option in model.get("properties", {}).items():
            own = {**option, "default": given[name]} if name in given else option
            group = groups.get(str(own.get("$ref", "")).removeprefix("#/$defs/"), {})
            if group.get("type") == "object":
                for key, inner in under(group, own.get("default", {})):
                    yield f"{name}.{key}", inner
            else:
                yield name, own

    return under(schema, {})


def as_json(rows: Iterable[Row], plugins: Plugins) -> dict[str, Any]:
    """Return everything that `bench plugins` knows, as plain data."""
    return {
        "plugins": [asdict(row) for row in rows],
        "faults": [asdict(fault) for fault in plugins.faults],
        "collisions": [
            {"kind": c.kind, "name": c.name, "where": [offer.where for offer in c.offers]}
            for c in plugins.collisions
        ],
    }


def _words(vocabulary: type[StrEnum], chosen: Container[StrEnum]) -> tuple[str, ...]:
    """Return the chosen words in the vocabulary's own order, from little to much."""
    return tuple(word.value for word in vocabulary if word in chosen)


def _distribution(origin: Origin) -> str:
    return BUILT_IN if origin.kind == "builtin" else origin.distribution


def _schema(options: type[BaseModel]) -> dict[str, Any]:
    try:
        return options.model_json_schema()
    except Exception:  # a type that JSON does not have, or a plugin's code; it works all the same
        return {}


def _loaded(kind: Kind, offer: Registered[Any], colliding: set[tuple[Kind, str]]) -> Row:
    spec = offer.spec
    return Row(
        kind=kind,
        name=spec.name,
        version=spec.version,
        status="collides" if (kind, spec.name) in colliding else "installed",
        install="",
        knowledge=_words(Knowledge, getattr(spec, "needs", ())),
        gives=_words(Output, getattr(spec, "gives", ())),
        origin=str(offer.origin),
        summary=spec.summary,
        paper=spec.paper or "",
        options=_schema(spec.options),
    )


def _known(entry: Entry, broken: set[str]) -> Row:
    failed = entry.distribution in broken
    return Row(
        kind=entry.kind,
        name=entry.name,
        version="",
        status="broken" if failed else "not installed",
        install="" if failed else entry.install,
        knowledge=_words(Knowledge, entry.needs),
        gives=_words(Output, entry.gives),
        origin=entry.distribution,
        summary=entry.summary,
        paper=str(entry.paper or ""),
        options={},
    )
