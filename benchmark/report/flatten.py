"""A trial as one flat line of named values, for files that others read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.records import TrialRecord

_METRICS = {
    "asr": "asr_after",
    "clean_accuracy": "clean_accuracy_after",
    "robust_accuracy": "robust_accuracy_after",
}
_FIRST = (
    *("trial", "status", "error", "dataset", "model", "attack", "trigger", "target", "defense"),
    *("version", "variant", "setting", "role", "knowledge", "seed", "asr_before"),
)
_LAST = (
    *("repeats", "base_clean_accuracy", "robust_accuracy_before", "min_asr", "recovered_target"),
    *("seconds", "peak_memory_mib", "forward_images", "backward_images", "group", "variant_id"),
    *("victim", "run", "finished", "environment"),
)


Payloads = Mapping[str, Mapping[str, Any]]
"""Identity of a model → its payload."""


def flatten(record: TrialRecord, models: Payloads | None = None) -> dict[str, Any]:
    """Return `record` without its log and diagnostics; rates in [0, 1], no value as None.

    Metrics of plugins become `metric.NAME`; options become `option.PATH`, with those of the
    attack and of the base model if `models` holds their payloads.
    """
    fields = vars(record)
    spread = record.spread.get("asr", {})
    flat = {name: fields[name] for name in _FIRST}
    flat["asr_after"] = record.metrics.get("asr")
    flat |= {f"asr_after_{name}": spread.get(name) for name in ("std", "min", "max")}
    flat["clean_accuracy_before"] = record.clean_accuracy_before
    flat |= {column: record.metrics.get(name) for name, column in _METRICS.items()}
    flat["der"] = record.metrics.get("der")
    flat |= {name: fields[name] for name in _LAST}
    flat["knowledge"] = list(record.knowledge)
    flat["artifacts"] = list(record.artifacts)
    for name, value in sorted(record.metrics.items()):
        if name not in _METRICS and name != "der":
            flat[f"metric.{name}"] = value
    return flat | all_options(record, models or {})


def all_options(record: TrialRecord, models: Payloads) -> dict[str, Any]:
    """Return the options that made the base model, the attack and the defense of `record`."""
    victim = models.get(record.victim, {})
    base = models.get(str(victim.get("base", "")), {})
    return {**dict(options(record.payload)), **dict(options(victim)), **dict(options(base))}


def options(payload: Mapping[str, Any], path: str = "option") -> Iterator[tuple[str, Any]]:
    """Yield each option in `payload` under its dotted path, without the word `options` in it.

    An option lies in a mapping called `options`: `{"defense": {"options": {"epochs": 5}}}` gives
    `option.defense.epochs`.
    """
    for key, value in payload.items():
        if key == "options" and isinstance(value, Mapping):
            yield from ((f"{path}.{name}", option) for name, option in value.items())
        elif isinstance(value, Mapping):
            yield from options(value, f"{path}.{key}")
