"""A run of the tiny case with a component in it, resolved as any run is. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.config import Config, Request, resolve
from benchmark.kit import tiny
from benchmark.kit.subject import Subject, plugins_around

_ONE_TRIGGER = {"attack.triggers": "170"}


@dataclass(frozen=True)
class Asked:
    """What a check was asked to do besides naming its subject."""

    sets: Mapping[str, str]
    data_dir: Path | None
    timeout_s: float


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
            sets={**({} if kind == "attack" else _ONE_TRIGGER), **asked.sets},
        ),
        plugins_around(subject.origin),
    )
