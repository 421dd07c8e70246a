"""What a plugin is given for its job, and nothing else, written in its inbox. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.jobs import BaseJob, Job, TrialJob, VictimJob, refuse_changed_files
from benchmark.sandbox.files import JobFolder, Request
from benchmark.sandbox.reach import readable, sources
from benchmark.steps import write_clean_images
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.schema import CONTENTS
from benchmark.types import Knowledge


def fill_inbox(job: Job, folder: JobFolder) -> None:
    """Write what the plugin is given; `JobFault` if its model is gone or damaged.

    Raises `PluginChanged` if a plugin file was edited since the run was planned: the job's identity
    is that of the file as it was.
    """
    refuse_changed_files(job)
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
    own: list[Path] = []
    for origin in (plugin.origin for plugin in plugins if plugin.origin["path"]):
        needed.append(origin["path"])
        own += sources(Path(origin["path"]), is_package=origin["kind"] != "file")
    out = Path(setup.out)
    secret = [out, *(out / name for name in CONTENTS), setup.dataset.folder, folder.root.parent]
    if isinstance(job, TrialJob):
        brought = job.instance.model
        secret += map(Path, (*setup.secret, *([brought.path] if brought else [])))
    return readable(secret, own, needed)


def _granted(job: TrialJob, artifacts: ArtifactStore, folder: JobFolder) -> dict[str, Any]:
    """Return, and write, exactly what the defense declared that it needs."""
    needs = set(job.needs)
    fields: dict[str, Any] = {}
    if Knowledge.WEIGHTS in needs:
        _give_model(job.artifact, artifacts, folder)
    if Knowledge.CLEAN_IMAGES in needs:
        write_clean_images(job, folder)
    if Knowledge.TRIGGER_SIZE in needs:
        fields["trigger_size"] = job.instance.trigger.size
    if Knowledge.TARGET_CLASS in needs:
        fields["target"] = job.instance.target
    if Knowledge.TRIGGER_PIXELS in needs:
        fields["trigger"] = job.instance.trigger.told(job.setup.dataset.info.image_size)
    return fields


def _give_model(name: str, artifacts: ArtifactStore, folder: JobFolder) -> None:
    (folder.inbox / "model.safetensors").write_bytes(artifacts.read(name))
