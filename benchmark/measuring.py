"""The steps of `benchmark.steps`: what is measured on what a plugin wrote, and what it is given.

Each function takes a `Task` and returns its answer, both as JSON. Runs beside no plugin code but
models and metrics.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import nn

from benchmark import scoring
from benchmark.builtin.metrics import rate
from benchmark.errors import JobFault
from benchmark.jobs import BaseJob, Setup, TrialJob, VictimJob
from benchmark.primitives import predict
from benchmark.primitives.arithmetic import compute_exactly
from benchmark.sandbox.files import JobFolder, Result, read_back
from benchmark.steps import Task
from benchmark.store.artifacts import ArtifactStore


def write_clean_images(text: str) -> str:
    """Carry out `benchmark.steps.write_clean_images`."""
    task = _task(text)
    assert isinstance(task.job, TrialJob)
    clean = scoring.defense_images(task.job.setup.dataset, task.job.split)
    save_file(
        {"images": clean.images.contiguous(), "labels": clean.labels.contiguous()},
        task.folder.inbox / "clean.safetensors",
    )
    return json.dumps(None)


def device_name(text: str) -> str:
    """Carry out `benchmark.steps.device_name`."""
    return json.dumps(torch.cuda.get_device_name(_task(text).job.setup.device))


def measure(text: str) -> str:
    """Carry out `benchmark.steps.measure`."""
    task = _task(text)
    assert task.result is not None
    match task.job:
        case BaseJob():
            found = _measure_base(task.job, _Written(task.folder, task.result))
        case VictimJob():
            found = _measure_victim(task.job, _Written(task.folder, task.result))
        case TrialJob():
            before = scoring.Answers.from_lists(*(task.victim_answers or _ask_victim(task.job)))
            written = _Written(task.folder, task.result)
            found = _measure_trial(task.job, written, before)
    return json.dumps(found)


def _task(text: str) -> Task:
    task = Task.model_validate_json(text)
    compute_exactly(task.job.setup.threads)
    return task


@dataclass
class _Written:
    """What a plugin's process wrote, each file read once: what is scored is what is kept."""

    folder: JobFolder
    result: Result
    contents: dict[int, bytes] = field(default_factory=dict)
    """Number → the file of a repaired model, where it is to be kept."""

    def open(self, setup: Setup, number: int, *, keep: bool) -> nn.Module:
        """Return repaired model `number`."""

        def read(most: int) -> bytes:
            content = self.folder.read_model(number, self.result, most)
            if keep:
                self.contents[number] = content
            return content

        return scoring.open_model(setup, read)

    def keep(self, setup: Setup) -> list[str]:
        """Put the opened models that are to be kept into the results; return their names."""
        artifacts = ArtifactStore(Path(setup.out))
        return [artifacts.add(content) for content in self.contents.values()]

    def triggers(self, setup: Setup) -> bytes | None:
        """Return the file of the triggers that the defense recovered, if it wrote one."""
        path = self.folder.outbox / "triggers.safetensors"
        if not os.path.lexists(path):
            return None
        try:
            return read_back(path, 2**20 * (setup.disk_mib or _MOST_MIB))
        except OSError as error:
            raise JobFault(f"{_UNREADABLE}: {error.strerror or error}") from error


_UNREADABLE = "the recovered triggers cannot be read"
_MOST_MIB = 4096
"""Of recovered triggers, where a job has no limit on what it writes."""


def _measure_base(job: BaseJob, written: _Written) -> dict[str, Any]:
    """Keep the base model; its accuracy is on all test images."""
    model = written.open(job.setup, 0, keep=True)
    test = scoring.test_images(job.setup.dataset)
    answers = predict(model, test.images.to(job.setup.device)).cpu()
    accuracy = rate(answers == test.labels)
    return {"artifacts": written.keep(job.setup), "before": {"clean_accuracy": accuracy}}


def _measure_victim(job: VictimJob, written: _Written) -> dict[str, Any]:
    model = written.open(job.setup, 0, keep=True)
    labels = scoring.scoring_images(job.setup.dataset, job.split).labels
    found = scoring.answers(model, job.setup, job.split, job.instance)
    numbers = scoring.victim_numbers(found, labels, job.instance.target)
    return {
        "artifacts": written.keep(job.setup),
        "before": numbers,
        "victim_answers": found.as_lists(),
    }


def _ask_victim(job: TrialJob) -> tuple[list[int], list[int]]:
    artifacts = ArtifactStore(Path(job.setup.out))
    # Checked again: hours may lie between the defense's copy and this.
    victim = scoring.open_model(job.setup, lambda _most: artifacts.read(job.artifact))
    return scoring.answers(victim, job.setup, job.split, job.instance).as_lists()


def _measure_trial(job: TrialJob, written: _Written, before: scoring.Answers) -> dict[str, Any]:
    """Score each repaired model as reloaded from its file, beside the victim's answers."""
    setup, split, instance = job.setup, job.split, job.instance
    labels = scoring.scoring_images(setup.dataset, split).labels
    result = written.result
    after = [
        scoring.answers(written.open(setup, number, keep=setup.keep_models), setup, split, instance)
        for number in range(len(result.models))
    ]
    triggers = written.triggers(setup)
    found = None if triggers is None else _triggers(triggers)
    recovered = scoring.Recovered(found, result.target)
    scored = scoring.score(
        job.metrics, before, after, labels, instance.target, recovered, backdoored=job.backdoored
    )
    written.keep(setup)
    kept = {}
    if triggers is not None:
        kept["triggers_artifact"] = ArtifactStore(Path(setup.out)).add(triggers)
    return {
        "artifacts": result.models,
        "before": scoring.victim_numbers(before, labels, instance.target),
        "metrics": scored.metrics,
        "spread": scored.spread,
        "empty": scored.empty,
        "examples": scoring.examples(setup, split, instance, before, after[0]),
        "recovered_target": result.target,
        "victim_answers": before.as_lists(),
        **kept,
    }


def _triggers(content: bytes) -> torch.Tensor:
    """Return the triggers of a safetensors file; `JobFault` if they are no triggers."""
    try:
        triggers = load(content)["triggers"]
    except (SafetensorError, KeyError) as error:
        raise JobFault(f"{_UNREADABLE}: {error}") from error
    if triggers.ndim != 4 or triggers.shape[1] != 3:
        raise JobFault(f"recovered triggers have shape {tuple(triggers.shape)}, not (n, 3, h, w)")
    if not bool(torch.isfinite(triggers).all()):
        raise JobFault("recovered triggers hold values that are not finite")
    return triggers
