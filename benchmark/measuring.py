"""The steps of `benchmark.steps`: what is measured on what a plugin wrote, and what it is given.

Each function takes a `Task` and returns its answer, both as JSON. Runs beside no plugin code but
models and metrics.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from benchmark import scoring
from benchmark.builtin.metrics import rate
from benchmark.errors import JobFault
from benchmark.jobs import BaseJob, Setup, TrialJob, VictimJob
from benchmark.primitives import predict
from benchmark.primitives.arithmetic import compute_exactly
from benchmark.sandbox.files import JobFolder, Result, open_plain
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
            found = _measure_base(task.job, task.folder)
        case VictimJob():
            found = _measure_victim(task.job, task.folder)
        case TrialJob():
            before = scoring.Answers.from_lists(*(task.victim_answers or _ask_victim(task.job)))
            found = _measure_trial(task.job, task.folder, task.result, before)
    return json.dumps(found)


def _task(text: str) -> Task:
    task = Task.model_validate_json(text)
    compute_exactly(task.job.setup.threads)
    return task


def _measure_base(job: BaseJob, folder: JobFolder) -> dict[str, Any]:
    """Keep the base model; its accuracy is on all test images."""
    model = scoring.open_model(job.setup, folder.model(0))
    test = scoring.test_images(job.setup.dataset)
    answers = predict(model, test.images.to(job.setup.device)).cpu()
    accuracy = rate(answers == test.labels)
    return {"artifacts": [_keep(job.setup, folder)], "before": {"clean_accuracy": accuracy}}


def _measure_victim(job: VictimJob, folder: JobFolder) -> dict[str, Any]:
    model = scoring.open_model(job.setup, folder.model(0))
    labels = scoring.scoring_images(job.setup.dataset, job.split).labels
    found = scoring.answers(model, job.setup, job.split, job.instance)
    numbers = scoring.victim_numbers(found, labels, job.instance.target)
    return {
        "artifacts": [_keep(job.setup, folder)],
        "before": numbers,
        "victim_answers": found.as_lists(),
    }


def _ask_victim(job: TrialJob) -> tuple[list[int], list[int]]:
    artifacts = ArtifactStore(Path(job.setup.out))
    artifacts.read(job.artifact)  # checked again: hours may lie between the defense's copy and this
    victim = scoring.open_model(job.setup, artifacts.path(job.artifact))
    return scoring.answers(victim, job.setup, job.split, job.instance).as_lists()


def _measure_trial(
    job: TrialJob, folder: JobFolder, result: Result, before: scoring.Answers
) -> dict[str, Any]:
    """Score each repaired model as reloaded from its file, beside the victim's answers."""
    setup, split, instance = job.setup, job.split, job.instance
    labels = scoring.scoring_images(setup.dataset, split).labels
    paths = [folder.model(number) for number in range(len(result.models))]
    after = [
        scoring.answers(scoring.open_model(setup, path), setup, split, instance) for path in paths
    ]
    recovered = scoring.Recovered(_triggers(folder), result.target)
    scored = scoring.score(
        job.metrics, before, after, labels, instance.target, recovered, backdoored=job.backdoored
    )
    kept = {}
    if recovered.triggers is not None:
        artifacts = ArtifactStore(Path(setup.out))
        kept["triggers_artifact"] = artifacts.add(folder.outbox / "triggers.safetensors")
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


def _triggers(folder: JobFolder) -> torch.Tensor | None:
    """Return the triggers that the defense recovered; `JobFault` if they are no triggers."""
    path = folder.outbox / "triggers.safetensors"
    if not os.path.lexists(path):
        return None
    try:
        open_plain(path).close()
        triggers = load_file(path)["triggers"]
    except (SafetensorError, OSError, KeyError) as error:
        raise JobFault(f"the recovered triggers cannot be read: {error}") from error
    if triggers.ndim != 4 or triggers.shape[1] != 3:
        raise JobFault(f"recovered triggers have shape {tuple(triggers.shape)}, not (n, 3, h, w)")
    if not bool(torch.isfinite(triggers).all()):
        raise JobFault("recovered triggers hold values that are not finite")
    return triggers


def _keep(setup: Setup, folder: JobFolder) -> str:
    return ArtifactStore(Path(setup.out)).add(folder.model(0))
