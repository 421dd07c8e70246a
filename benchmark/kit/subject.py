"""What is to be checked: components by name, or everything in a plugin file. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, unknown_name
from benchmark.kit import tiny
from benchmark.kit.findings import Finding, Report, Rule
from benchmark.loading.importing import BUILTIN, file_origins
from benchmark.loading.origin import KINDS, Kind, Origin, Registered
from benchmark.loading.reading import Reading, read_plugin
from benchmark.plugins import Collision, Plugins, load_plugins
from benchmark.settings import option_keys

_Offer = tuple[Kind, Registered[Any]]


@dataclass(frozen=True)
class Subject:
    """One component, in plain data that the checking process finds it by."""

    kind: Kind
    name: str
    origin: Origin
    where: str
    collision: str = ""
    """Which plugins offer a component of this kind and name, if several do."""
    keys: tuple[str, ...] = ()
    """The keys of its options, without the namespace."""


def find_subjects(target: str | Path) -> tuple[list[Subject], list[Report]]:
    """Return what a name or a file stands for, and a report on what cannot be loaded of a file.

    Raises `UserError` for a name that nothing has, and for a path that is no Python file.
    """
    text = str(target)
    if isinstance(target, Path) or text.endswith(".py") or os.sep in text:
        return _in_file(Path(target))
    plugins = load_plugins()
    offers = list(plugins.offers())
    found = [_subject(kind, offer, offers) for kind, offer in offers if offer.spec.name == text]
    if not found:
        raise _unknown(text, plugins)
    return found, []


def _in_file(path: Path) -> tuple[list[Subject], list[Report]]:
    [origin] = file_origins([path])
    reading = read_plugin(origin)
    offers = [*reading.offers, *_elsewhere(origin.path)]
    subjects = [_subject(kind, offer, offers) for kind, offer in reading.offers]
    findings = tuple(
        Finding(
            Rule.CONTRACT,
            "failed",
            fault.error,
            origin.path,
            "mend the line that it names; benchmark/hookspecs.py and benchmark/specs.py say what "
            "a hook returns",
        )
        for fault in reading.faults
    )
    reports = [Report("plugin", path.name, str(origin), findings)] if findings else []
    if not subjects and not reports:
        raise UserError(f"{path} offers nothing to check", "observers have no rules to keep")
    return subjects, reports


def _subject(kind: Kind, offer: Registered[Any], offers: Sequence[_Offer]) -> Subject:
    """Return what one offer stands for, among all `offers` that a run would see."""
    spec = offer.spec
    keys = tuple(option_keys(spec.options))
    collision = _collision(kind, spec.name, offers)
    return Subject(kind, spec.name, offer.origin, offer.where, collision, keys)


def _elsewhere(path: str) -> list[_Offer]:
    """Return what is loaded in every run, but for that of an installed package's file `path`."""
    return [one for one in load_plugins().offers() if os.path.realpath(one[1].origin.path) != path]


def _collision(kind: Kind, name: str, offers: Sequence[_Offer]) -> str:
    found = [offer for its, offer in offers if (its, offer.spec.name) == (kind, name)]
    return str(Collision(kind, name, tuple(found))) if len(found) > 1 else ""


def _unknown(name: str, plugins: Plugins) -> UserError:
    text = str(unknown_name("plugin", name, {offer.spec.name for _, offer in plugins.offers()}))
    broken = dict.fromkeys(f"{fault.origin}: {fault.error}" for fault in plugins.faults)
    return UserError(text + (f"; not loaded: {', '.join(broken)}" if broken else ""))


def plugins_around(origin: Origin) -> Plugins:
    """Return the built-in components, the tiny case's and those of one plugin, and no others."""
    tables: Mapping[Kind, dict[str, Registered[Any]]] = {kind: {} for kind in KINDS}
    for each in dict.fromkeys((BUILTIN, tiny.ORIGIN, origin)):
        reading: Reading = read_plugin(each)
        for kind, offer in reading.offers:
            tables[kind][offer.spec.name] = offer
    return Plugins(tables)
