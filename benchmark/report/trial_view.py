"""Everything about one trial, for reading on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.records import ModelRecord, TrialRecord
from benchmark.report.escape import printable
from benchmark.report.flatten import Payloads, all_options
from benchmark.report.trial_files import NOT_KEPT
from benchmark.store.artifacts import ArtifactStore

Section = tuple[str, list[tuple[str, str]]]

LOG_LINES = 20
"""Lines shown of the end of a log."""


def trial_view(
    trial: TrialRecord,
    victim: ModelRecord | None,
    base: ModelRecord | None,
    artifacts: ArtifactStore,
) -> Iterator[str]:
    """Yield the lines that tell all about `trial`, its `victim` and where its files lie.

    `base`: the clean model from which the victim was made.
    """
    sections: list[Section] = [
        *trial_sections(trial, {victim.id: victim.payload} if victim else {}),
        ("backdoored model", _victim(trial, victim, artifacts)),
        ("artifacts", _files(trial, artifacts)),
        ("environment", list(leaves(trial.environment))),
    ]
    for title, fields in sections:
        if fields:
            yield from ("", title, *_aligned(fields))
    whose, text = log_of(trial, victim, base)
    log = log_lines(text)
    if log:
        shown = log[-LOG_LINES:]
        more = "" if len(shown) == len(log) else " (all that is kept: --log)"
        yield from ("", f"log{whose}, last {len(shown)} of {len(log)} lines{more}")
        yield from (f"  {line}" for line in shown)


def log_of(
    trial: TrialRecord, victim: ModelRecord | None, base: ModelRecord | None
) -> tuple[str, str]:
    """Return whose log tells what became of a trial, and the log as far as it was kept.

    That is its own, whose name is empty, but of a trial that never started because its attack or
    its base model failed, theirs.
    """
    for whose, model in ((" of the base model", base), (" of the attack", victim)):
        if model is not None and model.status == "failed" and model.log and not trial.log:
            return whose, model.log
    return "", trial.log


def log_lines(text: str) -> list[str]:
    """Return a log in lines that a terminal can be given."""
    return [printable(line.expandtabs()) for line in text.splitlines()]


def trial_sections(trial: TrialRecord, models: Payloads) -> list[Section]:
    """Return what is told of a trial wherever it is shown: titles, names and texts.

    `models` (identity → payload) adds the options of the attack and of the base model.
    """
    options = all_options(trial, models)
    return [
        (f"trial {trial.trial}", _what(trial)),
        ("numbers", _numbers(trial)),
        ("costs", _costs(trial)),
        ("options", [(name.removeprefix("option."), str(v)) for name, v in options.items()]),
    ]


def _aligned(fields: list[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in fields)
    return (f"  {printable(name):<{width}}  {printable(text)}".rstrip() for name, text in fields)


def _what(trial: TrialRecord) -> list[tuple[str, str]]:
    found = [
        ("status", trial.status),
        ("error", trial.error),
        ("data set", trial.dataset),
        ("model", trial.model),
        ("attack", f"{trial.attack}, trigger {trial.trigger}, target class {trial.target}"),
        ("defense", f"{trial.defense} {trial.version} ({trial.role})"),
        ("variant", trial.variant),
        ("told", ", ".join(trial.knowledge) or "nothing"),
        ("setting", trial.setting),
        ("seed", str(trial.seed)),
        ("run", trial.run),
        ("finished", trial.finished),
    ]
    return [(name, text) for name, text in found if text]


def _numbers(trial: TrialRecord) -> list[tuple[str, str]]:
    before = {
        "asr": trial.asr_before,
        "clean_accuracy": trial.clean_accuracy_before,
        "robust_accuracy": trial.robust_accuracy_before,
    }
    names = dict.fromkeys([*before, *trial.metrics, *trial.empty])
    found = [(name, _change(trial, name, before)) for name in names]
    least = trial.min_asr or 0.0
    if trial.asr_before is not None and trial.asr_before < least:
        found.append(("", f"the attack did not take: ASR below {_value(least)}"))
    if trial.base_clean_accuracy is not None:
        found.append(("clean_accuracy of the base model", _value(trial.base_clean_accuracy)))
    if trial.recovered_target is not None:
        found.append(("recovered target", str(trial.recovered_target)))
    return found


def _change(trial: TrialRecord, name: str, before: Mapping[str, float | None]) -> str:
    after = _value(trial.metrics.get(name))
    text = f"{_value(before[name])} before, {after} after" if name in before else after
    if name in trial.spread:
        over = ", ".join(f"{key} {_value(v)}" for key, v in trial.spread[name].items())
        text += f" (mean of {trial.repeats} models: {over})"
    return f"{text} ({trial.empty[name]})" if name in trial.empty else text


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _costs(trial: TrialRecord) -> list[tuple[str, str]]:
    return [
        ("seconds", f"{trial.seconds:.1f}"),
        ("peak memory", f"{trial.peak_memory_mib:.0f} MiB"),
        ("images forward", f"{trial.forward_images:,}"),
        ("images backward", f"{trial.backward_images:,}"),
    ]


def _victim(
    trial: TrialRecord, victim: ModelRecord | None, artifacts: ArtifactStore
) -> list[tuple[str, str]]:
    if victim is None:
        return [("id", trial.victim)]
    found = [("id", victim.id), ("status", victim.status)]
    found += [("error", victim.error)] if victim.error else []
    return found + ([("weights", _file(victim.artifact, artifacts))] if victim.artifact else [])


def _files(trial: TrialRecord, artifacts: ArtifactStore) -> list[tuple[str, str]]:
    found = [("repaired model", _repaired(name, artifacts)) for name in trial.artifacts]
    if trial.triggers_artifact:
        found.append(("triggers", _file(trial.triggers_artifact, artifacts)))
    return found


def _repaired(name: str, artifacts: ArtifactStore) -> str:
    """Return the file of a repaired model, which a run keeps only if it is asked to."""
    if artifacts.path(name).exists():
        return _file(name, artifacts)
    return f"SHA-256 {name} ({NOT_KEPT})"


def _file(name: str, artifacts: ArtifactStore) -> str:
    path = artifacts.path(name)
    if not path.exists():
        return f"{path} (missing)"
    return str(path) if artifacts.verify(name) else f"{path} (damaged)"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value in nested mappings under its dotted path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)
