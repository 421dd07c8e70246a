"""What the plugin's process does: build its inputs, call the plugin, write what it returned."""

from __future__ import annotations

import time

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.base_training import train_base
from benchmark.bringing import bring
from benchmark.building import build, build_classifier, load_weights
from benchmark.context import RunContext
from benchmark.contracts import ImageSet, Outcome, View
from benchmark.data import load_split
from benchmark.primitives.arithmetic import compute_exactly
from benchmark.sandbox.files import JobFolder, Request, Result, digest_back


def run_task(request: Request, folder: JobFolder) -> None:
    """Carry out the request and fill the outbox."""
    compute_exactly(request.threads)
    deadline = None if request.seconds is None else time.monotonic() + request.seconds
    run = RunContext(
        torch.device(request.device),
        request.seed,
        deadline,
        progress_file=folder.progress,
        series_file=folder.series,
    )
    started = time.monotonic()
    task = {"base": _base, "attack": _attack, "repair": _repair}[request.task]
    outcome = task(request, folder, run)
    seconds = time.monotonic() - started
    _write(outcome, folder, run, seconds)


def _base(request: Request, folder: JobFolder, run: RunContext) -> Outcome:
    assert request.recipe is not None
    with run.seeded("init"):
        model = build_classifier(request.model, request.info, request.mean, request.std)
    model = run.meter.attach(model.to(run.device))
    return Outcome([train_base(model, _train_images(request, run), request.recipe, run)])


def _attack(request: Request, folder: JobFolder, run: RunContext) -> Outcome:
    assert request.plugin is not None
    assert request.instance is not None
    model = _brought_model if request.instance.model else _given_model
    model = run.meter.attach(model(request, folder, run))
    attack = build(request.plugin)
    return Outcome([attack.attack(model, _train_images(request, run), request.instance, run)])


def _repair(request: Request, folder: JobFolder, run: RunContext) -> Outcome:
    assert request.plugin is not None
    granted: dict[str, object] = {}
    if (folder.inbox / "model.safetensors").exists():
        granted["model"] = run.meter.attach(_given_model(request, folder, run))
    if (folder.inbox / "clean.safetensors").exists():
        clean = load_file(folder.inbox / "clean.safetensors", device=str(run.device))
        granted["clean"] = ImageSet(clean["images"], clean["labels"])
    if request.trigger_size is not None:
        granted["trigger_size"] = request.trigger_size
    if request.target is not None:
        granted["target"] = request.target
    if request.trigger is not None:
        granted["trigger"] = torch.tensor(request.trigger, device=run.device)
    view = View(request.plugin.name, request.info, granted)
    outcome = build(request.plugin).repair(view, run)
    if not isinstance(outcome, Outcome):
        raise TypeError(f"repair() must return an Outcome, not {type(outcome).__name__}")
    return outcome


def _given_model(request: Request, folder: JobFolder, run: RunContext) -> nn.Module:
    model = build_classifier(request.model, request.info, request.mean, request.std)
    load_weights(model, folder.inbox / "model.safetensors")
    return model.to(run.device).eval()


def _brought_model(request: Request, _folder: JobFolder, run: RunContext) -> nn.Module:
    assert request.instance is not None
    assert request.instance.model is not None
    model = build_classifier(request.model, request.info, request.mean, request.std)
    return bring(model, request.instance.model).to(run.device).eval()


def _train_images(request: Request, run: RunContext) -> ImageSet:
    assert request.train is not None
    train = load_split(request.train, "train")
    return ImageSet(train.images.to(run.device), train.labels.to(run.device))


def _write(outcome: Outcome, folder: JobFolder, run: RunContext, seconds: float) -> None:
    """Write weights and triggers; `result.json` comes last."""
    models, digests = list(outcome.models), []
    for number, model in enumerate(models):
        if not isinstance(model, nn.Module):
            raise TypeError(f"Outcome.models holds a {type(model).__name__}, not a torch module")
        state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
        save_file(_unshared(state), folder.model(number))
        digests.append(digest_back(folder.model(number)))
    if outcome.triggers is not None:
        triggers = outcome.triggers.detach().float().cpu().contiguous()
        save_file({"triggers": triggers}, folder.outbox / "triggers.safetensors")
    peak = 0.0
    if run.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(run.device) / 2**20
    folder.write_result(
        Result(
            models=tuple(digests),
            target=None if outcome.target is None else int(outcome.target),
            seconds=seconds,
            device_memory_mib=peak,
            forward_images=run.meter.forward_images,
            backward_images=run.meter.backward_images,
        )
    )


def _unshared(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors that share memory: safetensors stores each by itself."""
    seen: set[int] = set()
    for name, tensor in state.items():
        if tensor.data_ptr() in seen:
            state[name] = tensor.clone()
        seen.add(tensor.data_ptr())
    return state
