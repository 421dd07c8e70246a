"""TensorBoard event files of a run: `bench run --tensorboard DIR`. Needs no torch, no TensorFlow.

Each trial is a TensorBoard run of its own, in a folder called after it: its progress while it runs,
the curves that the defense recorded and its numbers when it ends, and its settings for the HPARAMS
tab, which compares trials.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.events import RunEvent, RunResult, TrialEvent, TrialResult
from benchmark.hookspecs import hookimpl
from benchmark.records import EXAMPLES

try:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import plugin_data_pb2 as hparams
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
except ImportError as error:
    raise UserError(
        "--tensorboard needs the package tensorboard", "pip install tensorboard"
    ) from error

_COUNTERS = ("epoch", "step", "iteration", "batch")
"""What a recorded row calls its place on the horizontal axis."""
_FACTS = ("defense", "variant", "attack", "trigger", "target", "seed", "model", "dataset")


class TensorBoard:
    """Writes event files below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, EventFileWriter] = {}
        self._steps: dict[str, int] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}") from error

    @hookimpl
    def bench_trial_started(self, run: RunEvent, trial: TrialEvent) -> None:
        """Open the trial's file and note its settings."""
        if trial.trial in self._writers:
            self._writers[trial.trial].close()
        writer = EventFileWriter(str(self._folder / run.id / _label(trial)))
        self._writers[trial.trial] = writer
        self._steps[trial.trial] = 0
        _add(writer, _settings(trial), 0)

    @hookimpl
    def bench_trial_step(self, trial: TrialEvent, step: int, total: int, text: str) -> None:
        """Note how far the stage is, as a fraction."""
        at = self._steps[trial.trial] = self._steps[trial.trial] + 1
        writer = self._writers[trial.trial]
        _add(writer, _scalar(f"progress/{text}", step / total), at)
        writer.flush()

    @hookimpl
    def bench_trial_finished(self, trial: TrialEvent, result: TrialResult) -> None:
        """Note curves and numbers, and close the file."""
        writer = self._writers.pop(trial.trial)
        for tag, value, at in _curves(result.series):
            _add(writer, _scalar(tag, value), at)
        for tag, value in _numbers(result):
            _add(writer, _scalar(tag, value), 0)
        _add(writer, _end(done=result.status == "done"), 0)
        writer.close()

    @hookimpl
    def bench_run_finished(self, run: RunEvent, result: RunResult) -> None:
        """Close what an interrupted run left open."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


def _label(trial: TrialEvent) -> str:
    """Return a folder's name that a person recognises and no other trial has."""
    words = (trial.defense, trial.attack, trial.trigger, f"to{trial.target}", f"seed{trial.seed}")
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(words))[:150] + f"-{trial.trial[:8]}"


def _add(writer: EventFileWriter, summary: Summary, step: int) -> None:
    writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


def _scalar(tag: str, value: float) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def _numbers(result: TrialResult) -> Iterator[tuple[str, float]]:
    for name, after in result.metrics.items():
        if after is not None:
            yield f"after/{name}", after
    for name, before in result.before.items():
        yield f"before/{name}", before
    yield "cost/seconds", result.seconds
    yield "cost/peak_memory_mib", result.peak_memory_mib


def _curves(series: Any) -> Iterator[tuple[str, float, int]]:
    """Yield tag, value and step of each recorded number; rows without a counter are counted."""
    seen: dict[str, int] = {}
    for row in series:
        stage = str(row.get("series", ""))
        if stage == EXAMPLES:
            continue
        seen[stage] = seen.get(stage, -1) + 1
        counter = next((name for name in _COUNTERS if isinstance(row.get(name), int)), "")
        at = row[counter] if counter else seen[stage]
        for name, value in row.items():
            if name not in ("series", counter) and _number(value):
                yield f"{stage}/{name}", float(value), at


def _number(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def _settings(trial: TrialEvent) -> Summary:
    """Return the trial's settings in the form of the HPARAMS tab."""
    start = hparams.SessionStartInfo(group_name=trial.trial, start_time_secs=time.time())
    facts = {
        name: getattr(trial, name)
        for name in (
            "defense",
            "variant",
            "attack",
            "trigger",
            "target",
            "seed",
            "model",
            "dataset",
        )
    }
    for name, value in {**facts, **dict(_flat(trial.options))}.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, (int, float)):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    data = hparams.HParamsPluginData(session_start_info=start, version=0)
    return _plugin_summary("_hparams_/session_start_info", data)


def _end(*, done: bool) -> Summary:
    status = Status.Value("STATUS_SUCCESS" if done else "STATUS_FAILURE")
    end = hparams.SessionEndInfo(status=status, end_time_secs=time.time())
    data = hparams.HParamsPluginData(session_end_info=end, version=0)
    return _plugin_summary("_hparams_/session_end_info", data)


def _plugin_summary(tag: str, data: Any) -> Summary:
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString())
    metadata = SummaryMetadata(plugin_data=plugin)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata)])


def _flat(options: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
