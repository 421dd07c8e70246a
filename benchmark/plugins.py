"""All plugins that a command sees: loaded one by one, with their faults and collisions.

Loading imports no torch: hooks return light specs, and a spec's factory imports the heavy code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from benchmark.catalogue import find_entry
from benchmark.errors import UserError, unknown_name
from benchmark.loading.faults import Fault, in_words
from benchmark.loading.importing import BUILTIN, file_origins, installed_origins
from benchmark.loading.origin import KINDS, Kind, Observer, Origin, Registered
from benchmark.loading.reading import Reading, read_plugin
from benchmark.specs import AttackSpec, DatasetSpec, DefenseSpec, MetricSpec, ModelSpec, Spec

__all__ = [
    "KINDS",
    "Collision",
    "Fault",
    "Kind",
    "Origin",
    "Plugins",
    "Registered",
    "load_origin",
    "load_plugins",
    "load_spec",
]


@dataclass(frozen=True)
class Collision:
    """Several plugins offer one name of one kind, so nobody can say which is meant."""

    kind: Kind
    name: str
    offers: tuple[Registered[Any], ...]

    def __str__(self) -> str:
        """Name the component and every plugin that offers it."""
        places = " and ".join(offer.where for offer in self.offers)
        return f"two plugins offer the {self.kind} {self.name!r}: {places}"


def _empty() -> dict[Kind, dict[str, Registered[Any]]]:
    return {kind: {} for kind in KINDS}


@dataclass(frozen=True)
class Plugins:
    """What was loaded. A name on which plugins collide is in `collisions` only."""

    tables: Mapping[Kind, Mapping[str, Registered[Any]]] = field(default_factory=_empty)
    faults: Sequence[Fault] = ()
    collisions: Sequence[Collision] = ()
    observers: Sequence[Observer] = ()

    @property
    def defenses(self) -> Mapping[str, Registered[DefenseSpec]]:
        """Name → defense."""
        return self.tables["defense"]

    @property
    def attacks(self) -> Mapping[str, Registered[AttackSpec]]:
        """Name → attack grid."""
        return self.tables["attack"]

    @property
    def metrics(self) -> Mapping[str, Registered[MetricSpec]]:
        """Name → metric."""
        return self.tables["metric"]

    @property
    def datasets(self) -> Mapping[str, Registered[DatasetSpec]]:
        """Name → data set."""
        return self.tables["dataset"]

    @property
    def models(self) -> Mapping[str, Registered[ModelSpec]]:
        """Name → model architecture."""
        return self.tables["model"]

    def get(self, kind: Kind, name: str) -> Registered[Any]:
        """Return the component, or raise `UserError`: unknown, or offered by two plugins."""
        if name in self.tables[kind]:
            return self.tables[kind][name]
        for collision in self.collisions:
            if (collision.kind, collision.name) == (kind, name):
                raise UserError(str(collision))
        raise self._unknown(kind, name)

    def require_sound(self) -> None:
        """Raise `UserError` if two plugins offer one name, whether it is used or not."""
        for collision in self.collisions:
            raise UserError(str(collision))

    def offers(self) -> Iterator[tuple[Kind, Registered[Any]]]:
        """Yield everything that was loaded, colliding or not."""
        for kind, table in self.tables.items():
            yield from ((kind, offer) for offer in table.values())
        for collision in self.collisions:
            yield from ((collision.kind, offer) for offer in collision.offers)

    def _unknown(self, kind: Kind, name: str) -> UserError:
        text = str(unknown_name(kind, name, self.tables[kind]))
        entry = find_entry(kind, name)
        if entry and entry.install:
            text = f"{kind} {name!r} is not installed ({entry.install})"
        broken = dict.fromkeys(str(fault.origin) for fault in self.faults)
        if broken:
            text += f"; not loaded: {', '.join(broken)}; see `bench plugins`"
        return UserError(text)


def load_plugins(files: Sequence[Path] = ()) -> Plugins:
    """Load the built-in plugin, every installed one, and the given files.

    A broken package becomes a fault and everything else goes on; a broken file raises `UserError`,
    because it was asked for by name.
    """
    asked = file_origins(files)
    readings = [read_plugin(origin) for origin in (BUILTIN, *installed_origins())]
    for origin in asked:
        reading = read_plugin(origin)
        _refuse_faults(reading)
        readings.append(reading)
    return _gather(readings)


def load_origin(origin: Origin) -> list[Spec]:
    """Load one plugin again, and no other; raise `UserError` if nothing of it can be loaded."""
    reading = read_plugin(origin)
    if not reading.offers:
        _refuse_faults(reading)
    return [offer.spec for _, offer in reading.offers]


def load_spec(origin: Origin, kind: Kind, name: str) -> Spec:
    """Load one plugin again, and no other, and return one of its components."""
    for spec in load_origin(origin):
        if isinstance(spec, KINDS[kind][1]) and spec.name == name:
            return cast(Spec, spec)
    raise UserError(f"{origin} no longer offers the {kind} {name!r}")


def _refuse_faults(reading: Reading) -> None:
    for fault in reading.faults:
        raise UserError(f"{in_words(fault.origin)}: {fault.error}")


def _gather(readings: Sequence[Reading]) -> Plugins:
    groups: dict[tuple[Kind, str], list[Registered[Any]]] = {}
    faults: list[Fault] = []
    for reading in readings:
        faults.extend(reading.faults)
        for kind, offer in reading.offers:
            groups.setdefault((kind, offer.spec.name), []).append(offer)
    tables, collisions = _empty(), []
    for (kind, name), offers in groups.items():
        if len(offers) == 1:
            tables[kind][name] = offers[0]
        else:
            collisions.append(Collision(kind, name, tuple(offers)))
    observers = tuple(observer for reading in readings for observer in reading.observers)
    return Plugins(tables, tuple(faults), tuple(collisions), observers)
