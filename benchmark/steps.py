"""The steps of a job that need torch, for a worker that does without. No torch.

Each is carried out by the function of its name in `benchmark.measuring`, in a process of its own
that no plugin shares, and may raise `UserError` (the disk is full, say) or `JobFault`.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from benchmark.errors import JobFault
from benchmark.identity import identity
from benchmark.jobs import Job, Message, TrialJob, VictimJob
from benchmark.sandbox.files import JobFolder, Result
from benchmark.sandbox.trusted import carry_out_step


class Task(Message):
    """What a step is asked."""

    job: Annotated[Job, Field(discriminator="kind")]
    folder: JobFolder
    result: Result | None = None
    """Of the plugin, for measuring."""
    victim_answers: tuple[list[int], list[int]] | None = None
    """The victim's answers to the scoring images, clean and stamped, where they are known."""


def write_clean_images(job: Job, folder: JobFolder) -> None:
    """Write the clean images of the defense's split in the inbox of a trial."""
    _carry_out("write_clean_images", Task(job=job, folder=folder))


def measure(job: Job, folder: JobFolder, result: Result) -> dict[str, Any]:
    """Reload and measure what the plugin wrote, and keep it; returns fields of a `Report`.

    Those of a trial hold `examples` besides, rows for its `series`. A victim that a worker has
    measured is not asked again for each defense that repairs it.
    """
    known = _victims.get(_victim_key(job, job.artifact)) if isinstance(job, TrialJob) else None
    task = Task(job=job, folder=folder, result=result, victim_answers=known)
    # Whoever gives defenses a minute does not mean that a large model is scored in one.
    limit = None if job.setup.timeout_s is None else max(_MEASURING_S, job.setup.timeout_s)
    found = _carry_out("measure", task, limit)
    assert isinstance(found, dict)
    if isinstance(job, VictimJob):
        _remember(_victim_key(job, found["artifacts"][0]), found.pop("victim_answers"))
    elif isinstance(job, TrialJob):
        _remember(_victim_key(job, job.artifact), found.pop("victim_answers"))
    return found


_MEASURING_S = 3600.0
"""What measuring may take at least: a metric or a model that never ends must not hold a run."""
_KEPT = 8
_victims: dict[str, tuple[list[int], list[int]]] = {}
"""Answers of the victims that this worker measured last."""


def _remember(key: str, answers: tuple[list[int], list[int]]) -> None:
    """Keep a victim's answers; of more than `_KEPT` victims, forget the first."""
    _victims[key] = answers
    while len(_victims) > _KEPT:
        del _victims[next(iter(_victims))]


def _victim_key(job: VictimJob | TrialJob, artifact: str) -> str:
    """Return the identity of all that decides a victim's answers, to the rounding."""
    setup = job.setup
    decides = {
        "artifact": artifact,
        "model": setup.model.model_dump(mode="json"),
        "data": setup.dataset.fingerprint,
        "computed": [setup.device, setup.threads],
        "split": job.split.model_dump(),
        "instance": asdict(job.instance),
    }
    return identity("answers", decides)


_device_names: dict[str, str] = {}


def device_name(job: Job, folder: JobFolder) -> str:
    """Return the name of the job's device; empty for the CPU, and where it cannot be asked."""
    device = job.setup.device
    if device.startswith("cuda") and device not in _device_names:
        with contextlib.suppress(JobFault):
            _device_names[device] = str(_carry_out("device_name", Task(job=job, folder=folder)))
    return _device_names.get(device, "")


def _carry_out(step: str, task: Task, limit: float | None = None) -> Any:
    threads, home = task.job.setup.plugin_threads, task.folder.root.parent
    text = task.model_dump_json()
    return json.loads(carry_out_step(f"benchmark.measuring:{step}", text, threads, home, limit))
