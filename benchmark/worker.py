"""Carry out one job in a trusted process: start the sandbox, reload and score what it wrote."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from benchmark import scoring
from benchmark.builtin.metrics import rate
from benchmark.environment import hardware
from benchmark.errors import JobFault
from benchmark.jobs import BaseJob, Cost, Job, Report, Setup, TrialJob, VictimJob, parse_job
from benchmark.primitives import predict
from benchmark.records import EXAMPLES
from benchmark.sandbox.child import die_with, end_family
from benchmark.sandbox.files import JobFolder, Request, Result, open_plain
from benchmark.sandbox.launch import Exit, Limits, launch
from benchmark.sandbox.reach import readable, sources
from benchmark.sandbox.seal import keep_from_siblings
from benchmark.sandbox.watch import adopt_orphans
from benchmark.store.artifacts import ArtifactStore
from benchmark.types import Knowledge


def start_worker(driver: int) -> None:
    """Prepare a process for `perform`: ignore the terminal's Ctrl-C, end with the driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: end_family())
    die_with(driver)
    adopt_orphans()
    keep_from_siblings()


def perform(text: str, progress: str) -> str:
    """Carry out the job of a JSON text and return its report as JSON.

    `progress` is the file in which the driver looks for the job's latest step. The job's own files
    lie beside it, where the driver removes them if this process is killed.
    """
    job = parse_job(text)
    torch.set_num_threads(job.setup.threads)
    link = Path(progress)
    with tempfile.TemporaryDirectory(
        prefix="job-", dir=link.parent, ignore_cleanup_errors=True
    ) as root:
        folder = JobFolder(Path(root))
        folder.create()
        link.write_text(str(folder.progress), encoding="utf-8")
        try:
            report = _carry_out(job, folder)
        finally:
            link.unlink(missing_ok=True)
    return report.model_dump_json()


def _carry_out(job: Job, folder: JobFolder) -> Report:
    """Run the job's plugin and turn every fault of it into a failed report.

    A `UserError` is not the job's: a full disk, say, ends the whole run.
    """
    exit_: Exit | None = None
    cost = Cost()
    try:
        _fill_inbox(job, folder)
        started = time.monotonic()
        setup = job.setup
        limits = Limits(setup.timeout_s, setup.memory_mib, setup.disk_mib)
        exit_ = launch(folder, setup.threads, limits)
        cost = Cost(seconds=time.monotonic() - started, peak_memory_mib=exit_.peak_memory_mib)
        result = _result(folder, exit_)
        folder.check_models(result)
        cost = _cost(result, exit_)
        found = _measure(job, folder, result)
        status, error = "done", ""
    except JobFault as fault:
        status, error, found = "failed", str(fault), {}
    return Report.model_validate(
        {
            "id": job.id,
            "status": status,
            "error": error,
            "cost": cost,
            "log": exit_.log if exit_ else "",
            "series": folder.read_series(),
            "environment": hardware(job.setup.device, job.setup.threads) | _sealed(job, folder),
            **found,
        }
    )


def _fill_inbox(job: Job, folder: JobFolder) -> None:
    """Write what the plugin is given, and nothing else."""
    setup, artifacts = job.setup, ArtifactStore(Path(job.setup.out))
    shared: dict[str, Any] = {
        "info": setup.dataset.info,
        "mean": setup.dataset.mean,
        "std": setup.dataset.std,
        "model": setup.model,
        "device": setup.device,
        "threads": setup.threads,
        "seed": job.seed,
        "seconds": setup.timeout_s,
        "disk_mib": setup.disk_mib,
        "readable": _readable(job, folder),
    }
    match job:
        case BaseJob():
            request = Request(task="base", recipe=job.recipe, train=setup.dataset, **shared)
        case VictimJob():
            if job.base:
                _give_model(job.artifact, artifacts, folder)
            request = Request(
                task="attack",
                plugin=job.attack,
                instance=job.instance,
                train=setup.dataset,
                **shared,
            )
        case TrialJob():
            request = Request(
                task="repair", plugin=job.defense, **shared, **_granted(job, artifacts, folder)
            )
    (folder.inbox / "request.json").write_text(request.model_dump_json(), encoding="utf-8")


def _readable(job: Job, folder: JobFolder) -> tuple[str, ...] | None:
    """Return what the plugin may read besides its inbox; None where it is not sealed."""
    setup = job.setup
    if not setup.seal:
        return None
    plugins, needed = [setup.model], list(setup.readable)
    match job:
        case TrialJob():
            plugins.append(job.defense)
        case VictimJob():
            plugins.append(job.attack)
            needed.append(str(setup.dataset.folder))
            needed += [job.instance.model.path] if job.instance.model else []
        case BaseJob():
            needed.append(str(setup.dataset.folder))
    needed += [sources(plugin.origin["path"]) for plugin in plugins if plugin.origin["path"]]
    return readable((Path(setup.out), setup.dataset.folder, folder.root.parent), needed)


def _sealed(job: Job, folder: JobFolder) -> dict[str, str]:
    """Return for the record what closed the plugin off, and how many folders were opened."""
    by = folder.read_sealed()
    if not by:
        return {"sealed_by": "nothing: " + ("no Landlock here" if job.setup.seal else "run.seal")}
    opened = len(job.setup.readable)
    return {"sealed_by": f"{by}, {opened} paths opened" if opened else by}


def _granted(job: TrialJob, artifacts: ArtifactStore, folder: JobFolder) -> dict[str, Any]:
    """Return, and write, exactly what the defense declared that it needs."""
    needs = set(job.needs)
    fields: dict[str, Any] = {}
    if Knowledge.WEIGHTS in needs:
        _give_model(job.artifact, artifacts, folder)
    if Knowledge.CLEAN_IMAGES in needs:
        clean = scoring.defense_images(job.setup.dataset, job.split)
        save_file(
            {"images": clean.images.contiguous(), "labels": clean.labels.contiguous()},
            folder.inbox / "clean.safetensors",
        )
    if Knowledge.TRIGGER_SIZE in needs:
        fields["trigger_size"] = job.instance.trigger.size
    if Knowledge.TARGET_CLASS in needs:
        fields["target"] = job.instance.target
    if Knowledge.TRIGGER_PIXELS in needs:
        fields["trigger"] = job.instance.trigger.told(job.setup.dataset.info.image_size)
    return fields


def _give_model(name: str, artifacts: ArtifactStore, folder: JobFolder) -> None:
    (folder.inbox / "model.safetensors").write_bytes(artifacts.read(name))


def _result(folder: JobFolder, exit_: Exit) -> Result:
    """Return the small part of the outcome, or raise `JobFault` with the reason that there is none.

    An exit status of 0 without a result is a plugin that ended the process itself.
    """
    reason = exit_.killed or folder.read_error() or exit_.reason
    if reason:
        raise JobFault(reason)
    result = folder.read_result()
    if not result.models:
        raise JobFault("the outcome holds no model")
    return result


def _cost(result: Result, exit_: Exit) -> Cost:
    return Cost(
        seconds=result.seconds,
        peak_memory_mib=max(exit_.peak_memory_mib, result.device_memory_mib),
        forward_images=result.forward_images,
        backward_images=result.backward_images,
    )


def _measure(job: Job, folder: JobFolder, result: Result) -> dict[str, Any]:
    match job:
        case BaseJob():
            return _measure_base(job, folder)
        case VictimJob():
            return _measure_victim(job, folder)
        case TrialJob():
            return _measure_trial(job, folder, result)


def _measure_base(job: BaseJob, folder: JobFolder) -> dict[str, Any]:
    """Keep the base model; its accuracy is on all test images."""
    model = scoring.open_model(job.setup, folder.model(0))
    test = scoring.test_images(job.setup.dataset)
    answers = predict(model, test.images.to(job.setup.device)).cpu()
    accuracy = rate(answers == test.labels)
    return {"artifacts": (_keep(job.setup, folder),), "before": {"clean_accuracy": accuracy}}


def _measure_victim(job: VictimJob, folder: JobFolder) -> dict[str, Any]:
    model = scoring.open_model(job.setup, folder.model(0))
    labels = scoring.scoring_images(job.setup.dataset, job.split).labels
    found = scoring.answers(model, job.setup, job.split, job.instance)
    numbers = scoring.victim_numbers(found, labels, job.instance.target)
    return {"artifacts": (_keep(job.setup, folder),), "before": numbers}


def _measure_trial(job: TrialJob, folder: JobFolder, result: Result) -> dict[str, Any]:
    """Score each repaired model as reloaded from its file, beside the victim."""
    setup, split, instance = job.setup, job.split, job.instance
    labels = scoring.scoring_images(setup.dataset, split).labels
    artifacts = ArtifactStore(Path(setup.out))
    artifacts.read(job.artifact)  # checked again: hours may lie between the defense's copy and this
    victim = scoring.open_model(setup, artifacts.path(job.artifact))
    before = scoring.answers(victim, setup, split, instance)
    paths = [folder.model(number) for number in range(len(result.models))]
    after = [
        scoring.answers(scoring.open_model(setup, path), setup, split, instance) for path in paths
    ]
    recovered = scoring.Recovered(_triggers(folder, instance.trigger.size), result.target)
    scored = scoring.score(
        job.metrics, before, after, labels, instance.target, recovered, backdoored=job.backdoored
    )
    kept = {}
    if recovered.triggers is not None:
        kept["triggers_artifact"] = artifacts.add(folder.outbox / "triggers.safetensors")
    return {
        "artifacts": result.models,
        "before": scoring.victim_numbers(before, labels, instance.target),
        "metrics": scored.metrics,
        "spread": scored.spread,
        "empty": scored.empty,
        "series": [
            *(row for row in folder.read_series() if row.get("series") != EXAMPLES),
            *scoring.examples(setup, split, instance, before, after[0]),
        ],
        "recovered_target": result.target,
        **kept,
    }


def _triggers(folder: JobFolder, size: tuple[int, int]) -> torch.Tensor | None:
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
