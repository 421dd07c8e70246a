"""A trial's models and triggers as files under plain names, for other programs and other people."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import JobFault, UserError
from benchmark.records import ModelRecord, TrialRecord
from benchmark.report.escape import printable
from benchmark.report.setting import parts_of, shipped_preset
from benchmark.settings import SplitOptions, as_text
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.faults import disk_error

NOT_KEPT = "scored, not kept: --set run.keep_models=true keeps those of trials that are run"
"""What is said of a repaired model that a run scored and threw away."""
_VICTIM = "victim"


def save_trial(
    trial: TrialRecord,
    victim: ModelRecord | None,
    base: ModelRecord | None,
    artifacts: ArtifactStore,
    folder: Path,
) -> Iterator[str]:
    """Write what is kept of a trial into a new `folder`; yield a line about each file.

    `victim.safetensors` and `victim.toml` are the backdoored model as `bench run --attack-file`
    takes it; `repaired-N.safetensors` the models that the defense wrote; `triggers.safetensors` the
    triggers that it found, a tensor `triggers` of shape (n, 3, height, width) in [0, 1]. Raises
    `UserError` if the folder holds files, if a file of the trial is damaged, and if none is kept.
    """
    try:
        files = list(_named(trial, victim, base, artifacts))
    except JobFault as fault:
        raise UserError(str(fault)) from fault
    if not files:
        raise UserError(f"no weights of trial {trial.trial} are kept in {artifacts.folder}")
    _make(folder)
    try:
        for name, what, content in files:
            (folder / name).write_bytes(content)
            yield f"{folder / name}  {what}"
    except OSError as error:
        raise disk_error(error, folder) from error
    lost = [name for name in trial.artifacts if not artifacts.path(name).exists()]
    if lost:
        yield f"repaired model: {NOT_KEPT}"


def _named(
    trial: TrialRecord,
    victim: ModelRecord | None,
    base: ModelRecord | None,
    artifacts: ArtifactStore,
) -> Iterator[tuple[str, str, bytes]]:
    """Yield of each file its name, what it is, and its content; `JobFault` for a damaged one."""
    if victim is not None and victim.artifact and artifacts.path(victim.artifact).exists():
        what = "the model before the defense"
        yield f"{_VICTIM}.safetensors", what, artifacts.read(victim.artifact)
        if trial.backdoored:
            text = attack_file(victim, base, trial.setting)
            yield f"{_VICTIM}.toml", "for --attack-file", text.encode()
    for number, name in enumerate(trial.artifacts):
        if artifacts.path(name).exists():
            what = "a model that the defense wrote"
            yield f"repaired-{number}.safetensors", what, artifacts.read(name)
    if trial.triggers_artifact and artifacts.path(trial.triggers_artifact).exists():
        what = "the triggers that the defense found"
        yield "triggers.safetensors", what, artifacts.read(trial.triggers_artifact)


def attack_file(victim: ModelRecord, base: ModelRecord | None, setting: str = "") -> str:
    """Return the TOML that describes a stored victim, whose weights lie beside it.

    `setting` is that of a trial on it. A comment says how it is run where it was: on the same
    images, cut and stamped as they were, under the same preset if that is a shipped one.
    """
    payload = victim.payload
    planes: Any = payload["trigger"]
    place = payload.get("place")
    colours = zip(*planes[:3], strict=True)
    lines = [
        printable(f"# {victim.attack} on {victim.dataset}, seed {victim.seed}"),
        printable(f"# bench run {shlex.join(_options(victim, base, setting))} --attack-file ..."),
        f'model = "{_VICTIM}.safetensors"',
        f"target = {payload['target']}",
        f"name = {_text(victim.trigger)}",
        "",
        "[trigger]",
        f"pixels = {_rows(zip(*row, strict=True) for row in colours)}",
        *([f"mask = {_rows(planes[3])}"] if len(planes) > 3 else []),
        f"place = {_text('random') if place is None else list(place)}",
    ]
    return "\n".join(lines) + "\n"


def _options(victim: ModelRecord, base: ModelRecord | None, setting: str) -> list[str]:
    """Return the options by which `bench run` has the images and the network of these weights.

    The seed's number decides which images are scored, and where they are stamped.
    """
    parts = parts_of([setting])
    preset = shipped_preset(parts)
    model = (base.payload if base else victim.payload).get("model", {})
    sets = [
        *_settings("model", model.get("options", {})),
        *(part for part in parts if part.startswith("dataset.")),
        *_cut(victim.payload.get("split", {})),
    ]
    return [
        *(["--preset", preset] if preset else []),
        *("--dataset", victim.dataset),
        *(["--first-seed", str(victim.seed)] if victim.seed else []),
        *("--model", victim.model),
        *(word for one in sets for word in ("--set", one)),
    ]


def _settings(namespace: str, options: Mapping[str, Any]) -> Iterator[str]:
    """Yield options as they are written after `--set`, groups opened."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _settings(f"{namespace}.{name}", value)
        else:
            yield f"{namespace}.{name}={as_text(value)}"


def _cut(split: Mapping[str, Any]) -> list[str]:
    """Return how the test images were divided, where that is not the default."""
    usual = SplitOptions().model_dump(mode="json")
    changed = {name: value for name, value in split.items() if usual.get(name) != value}
    return list(_settings("split", changed))


def _text(text: str) -> str:
    """Return a TOML string: JSON's, whose escapes of pairs and of DEL TOML does not know."""
    return json.dumps(printable(text), ensure_ascii=False)


def _rows(rows: Any) -> str:
    """Return rows of numbers as a TOML array, a row a line, to the last digit."""
    return "[\n" + "".join(f"  {json.dumps(list(row))},\n" for row in rows) + "]"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = next(folder.iterdir(), None)
    except OSError as error:
        raise disk_error(error, folder) from error
    if taken is not None:
        raise UserError(f"--save {folder}: {taken.name} is there", "name a folder that is empty")
