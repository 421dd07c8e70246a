"""How the results and the report were made."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmark import __version__
from benchmark.records import TrialRecord
from benchmark.report.boards import Board
from benchmark.report.escape import printable
from benchmark.report.html.contents import Contents
from benchmark.report.setting import chosen_triggers, parts_of, shipped_preset
from benchmark.report.trial_view import leaves

Pairs = list[tuple[str, str]]
_HARDWARE = ("device", "gpu", "processor", "cores", "threads", "memory_mib", "system")


@dataclass(frozen=True)
class Provenance:
    """Names and texts, in the order in which they are shown."""

    report: Pairs
    software: Pairs
    hardware: Pairs
    runs: list[dict[str, str]]


def provenance(contents: Contents, command: str) -> Provenance:
    """Say what was measured when, on what, with which versions; counts where trials differ."""
    trials = contents.trials
    return Provenance(
        report=[
            ("made by", command),
            ("made with", f"backdoor-bench {__version__}"),
            ("made at", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
            ("trials", _counted(trial.status for trial in trials)),
        ],
        software=_differing(trials, ("python", "packages", "git_revision", "plugin")),
        hardware=_differing(trials, _HARDWARE),
        runs=_runs(trials),
    )


def board_facts(contents: Contents, board: Board) -> Pairs:
    """Return where the numbers of one leaderboard come from: data, seeds, a command like its own.

    The command is put together from what is stored: it may name more than was typed, and has none
    of what was set for one defense, nor a user's own files. Where it would have to guess the
    preset, there is none, but the place where the commands of the runs are.
    """
    group = board.rows[0].group
    trials = [trial for trial in contents.trials if trial.group == group]
    prints = {contents.data_of(contents.models.get(trial.victim)) for trial in trials}
    seeds = sorted({trial.seed for trial in trials})
    return [
        ("data fingerprint", ", ".join(sorted(prints - {""})) or "not stored"),
        ("seeds", ", ".join(map(str, seeds))),
        ("victims", str(len({trial.victim for trial in trials}))),
        _command(board, seeds, {trial.setting for trial in trials}),
    ]


def _command(board: Board, seeds: Sequence[int], settings: Collection[str]) -> tuple[str, str]:
    if shipped_preset(parts_of(sorted(settings))):
        return "command", command_of(board, seeds, settings)
    return (
        "commands",
        "of several presets, or of a preset file: see “Command as it was typed” below",
    )


def command_of(board: Board, seeds: Sequence[int], settings: Collection[str]) -> str:
    """Return a command for the victims of `board`, which has these seeds, sorted.

    `settings` are those of its trials, which have a shipped preset in common. Its defenses are
    planned with their defaults, whatever was set for each.
    """
    first = board.rows[0]
    parts = parts_of(sorted(settings))
    sets = [part for part in parts if "=" in part]
    preset = shipped_preset(parts)
    if chosen_triggers(settings) and not chosen_triggers(parts):
        triggers = sorted({name for row in board.rows for name in row.triggers})
        sets.append(f"attack.triggers={','.join(triggers)}")
    words = ["bench", "run", "--preset", preset, "--dataset", first.dataset]
    words += ["--model", first.model, "--attack", first.attack]
    start, count = seeds[0], seeds[-1] - seeds[0] + 1
    words += ["--first-seed", str(start)] if start else []
    words += ["--seeds", str(count)] if count > 1 else []
    names = dict.fromkeys(row.defense for row in board.rows if row.role == "ranked")
    words += [word for name in names for word in ("--defense", name)]
    words += [word for text in sets for word in ("--set", text)]
    return printable(shlex.join(words))


def _differing(trials: Iterable[TrialRecord], names: tuple[str, ...]) -> Pairs:
    found: dict[str, Counter[str]] = {}
    for trial in trials:
        kept = {name: trial.environment[name] for name in names if name in trial.environment}
        plugin = kept.pop("plugin", {})
        for path, value in leaves(kept):
            found.setdefault(path.removeprefix("packages."), Counter())[value] += 1
        if isinstance(plugin, dict) and plugin.get("distribution"):
            version = str(plugin.get("distribution_version", ""))
            found.setdefault(str(plugin["distribution"]), Counter())[version] += 1
    return [(printable(name), _several(counts)) for name, counts in found.items()]


def _several(counts: Counter[str]) -> str:
    if len(counts) == 1:
        return printable(next(iter(counts)))
    return printable(", ".join(f"{value} ({n} trials)" for value, n in counts.most_common()))


def _counted(values: Iterable[Any]) -> str:
    return ", ".join(f"{count} {value}" for value, count in Counter(values).most_common())


def _runs(trials: Iterable[TrialRecord]) -> list[dict[str, str]]:
    by_run: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        by_run.setdefault(trial.run, []).append(trial)
    return [
        {
            "run": printable(run) or "-",
            "command": _several(Counter(str(t.environment.get("command", "-")) for t in found)),
            "trials": _counted(trial.status for trial in found),
            "first": printable(min(trial.finished for trial in found)),
            "last": printable(max(trial.finished for trial in found)),
        }
        for run, found in sorted(by_run.items())
    ]
