"""What travels between the driver and a node of a cluster, and what a node must have for a job.

A job is plain data that names files of the driver's machine: weights by their hash, a prepared data
set, plugin files, models that a person brings. A node first looks for each of them on its own; what
it lacks, it asks for by one of the names made here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmark.jobs import Component, Job, TrialJob, VictimJob, components_of
from benchmark.types import ModelFile

ARTIFACT, DATA, FILE = "artifact:", "data:", "file:"
"""What the rest of a wanted name is: a hash, a file's name in the data set's folder, a path."""


@dataclass(frozen=True)
class Proof:
    """A file in the results folder; who finds its text there sees the same folder."""

    path: str
    text: str

    def holds(self) -> bool:
        """Say whether this process sees the file as it was written."""
        try:
            return Path(self.path).read_text("utf-8") == self.text
        except (OSError, UnicodeDecodeError):
            return False


@dataclass(frozen=True)
class Parcel:
    """A job on its way to a node."""

    job: str
    progress: str
    """The driver's progress file; a node that does not see its folder uses one of its own."""
    proof: Proof
    software: Mapping[str, Any]
    """The driver's versions: another one might compute other numbers."""
    digests: Mapping[str, str]
    """Path of a file that the job names → SHA-256."""
    offers: Mapping[str, list[Any]] = field(default_factory=dict)
    """What the node asked for → a list with the reference to its bytes. Ray would fetch a reference
    that is an argument itself before the task starts, needed or not."""


@dataclass(frozen=True)
class Answer:
    """What comes back: a report, or why there is none."""

    report: str = ""
    files: Mapping[str, Any] = field(default_factory=dict)
    """Hash → bytes of the artifacts that only the node has."""
    wants: tuple[str, ...] = ()
    """What the node lacks; nothing was done."""
    lost: str = ""
    """The process that carried out the job died."""
    refused: str = ""
    """Why this node can run no job of this run; it ends with that."""


def named_files(job: Job) -> Iterator[str]:
    """Yield the paths of the plugin and model files that a job names."""
    for component in components_of(job):
        if component.origin["kind"] == "file":
            yield component.origin["path"]
    model = _model(job)
    if model is not None:
        yield model.path


def moved(job: Job, places: Mapping[str, str], **setup: Any) -> Job:
    """Return the job with other paths for the files that it names, and another setup."""

    def there(component: Component) -> Component:
        path = component.origin["path"]
        if component.origin["kind"] != "file" or path not in places:
            return component
        return component.model_copy(update={"origin": component.origin | {"path": places[path]}})

    changes: dict[str, Any] = {
        "setup": job.setup.model_copy(update={"model": there(job.setup.model), **setup})
    }
    match job:
        case VictimJob():
            changes["attack"] = there(job.attack)
        case TrialJob():
            changes["defense"] = there(job.defense)
            changes["metrics"] = tuple(map(there, job.metrics))
    model = _model(job)
    if isinstance(job, VictimJob) and model is not None and model.path in places:
        there_model = replace(model, path=places[model.path])
        changes["instance"] = replace(job.instance, model=there_model)
    return job.model_copy(update=changes)


def _model(job: Job) -> ModelFile | None:
    return job.instance.model if isinstance(job, VictimJob) else None


def digest(path: str) -> str:
    """Return the SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
