"""A run of the tiny case with a component in it, resolved as any run is. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark.config import SHARED, Config, Request, resolve
from benchmark.errors import UserError
from benchmark.kit import tiny
from benchmark.kit.subject import Subject, plugins_around
from benchmark.loading.origin import Kind
from benchmark.settings import check_namespaces

_ONE_TRIGGER = {"attack.triggers": "170"}
_MEANT: Mapping[str, Kind] = {
    "dataset": "dataset",
    "model": "model",
    "attack": "attack",
    "retrain": "defense",
}
"""Shared namespace → for whom its options are, if such a component is checked."""


@dataclass(frozen=True)
class Asked:
    """What a check was asked to do besides naming its subjects."""

    sets: Mapping[str, str]
    """Of all that is checked: each subject gets its own of them."""
    data_dir: Path | None
    timeout_s: float
    known: Mapping[Kind, Collection[str]] = field(default_factory=dict)
    """Kind of what is checked → every option that something of this kind has."""


def refuse_sets(subjects: Sequence[Subject], asked: Asked) -> None:
    """Raise `UserError` for options that are wrong where the plugins are not.

    They are for nothing that is checked, or a subject with them cannot be run and without can.
    """
    defenses = [subject.name for subject in subjects if subject.kind == "defense"]
    check_namespaces(asked.sets, [*SHARED, *defenses])
    for key in asked.sets:
        # Others a run refuses by itself; these its controls may know.
        if key.startswith("retrain.") and key not in asked.known.get("defense", [key]):
            raise UserError(f"--set {key}: no defense that is checked has this option")
    for subject in subjects:
        if not _own_sets(subject, asked):
            continue
        try:
            configure(subject, asked)
        except UserError:
            if _can_be_run(subject, replace(asked, sets={})):
                raise


def _can_be_run(subject: Subject, asked: Asked) -> bool:
    try:
        configure(subject, asked)
    except UserError:
        return False
    return True


def _own_sets(subject: Subject, asked: Asked) -> dict[str, str]:
    """Return the options that are for a subject; those of its neighbours it need not know."""

    def is_own(key: str) -> bool:
        namespace, _, option = key.partition(".")
        meant = _MEANT.get(namespace)
        if meant is not None and meant in asked.known:
            option = key if meant == "defense" else option
            # What nothing of this kind has is wrong for each of them.
            takes = option in subject.keys or option not in asked.known[meant]
            return subject.kind == meant and takes
        return namespace in SHARED or (subject.kind, subject.name) == ("defense", namespace)

    return {key: value for key, value in asked.sets.items() if is_own(key)}


def configure(subject: Subject, asked: Asked) -> Config:
    """Resolve a run of the tiny case with the subject in it, as `bench run` would."""
    kind, name = subject.kind, subject.name
    return resolve(
        Request(
            preset="quick",
            defenses=(name,) if kind == "defense" else ("none",),
            attacks=(name,) if kind == "attack" else (),
            dataset=name if kind == "dataset" else tiny.DATASET,
            model=name if kind == "model" else tiny.MODEL,
            data_dir=asked.data_dir if kind == "dataset" else None,
            sets={**({} if kind == "attack" else _ONE_TRIGGER), **_own_sets(subject, asked)},
        ),
        plugins_around(subject.origin),
    )
