"""Every trial for the page: a short row in a list, and the details that open from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmark.records import EXAMPLES, TrialRecord
from benchmark.report.escape import printable
from benchmark.report.html.contents import Contents
from benchmark.report.html.curves import charts
from benchmark.report.html.embedding import FEWEST, SAMPLES, Method, embed
from benchmark.report.html.examples import Pictures, examples
from benchmark.report.html.patches import Patches, UnreadableTriggers, evenly, packed, read_patches
from benchmark.report.trial_view import leaves, log_of, trial_sections

COLUMNS = (
    *("trial", "board", "defense", "trigger", "target", "seed", "status", "before", "after"),
    *("clean", "seconds", "patch", "error"),
)
"""Of the short rows, which are lists to keep the page small."""
_SHOWN = 128
"""Recovered triggers shown of a trial."""
_USUAL = 250
"""Triggers of one trial that a t-SNE is reckoned with; many more take as long as several trials."""
_LOG = 20_000
"""Characters kept of the end of a log."""

Json = dict[str, Any]


@dataclass
class Costly:
    """What is made for some trials only, because it takes seconds a trial."""

    trials: set[str]
    """Identities of the trials that may have it."""
    samples: int
    """Triggers that may still be embedded with t-SNE in the whole report."""

    def may_embed(self, trial: TrialRecord, count: int) -> bool:
        """Say whether the t-SNE of `count` triggers is made, and take them from what is left."""
        # The run time of small embeddings does not shrink with their size; of many, some are drawn.
        cost = max(_USUAL, min(count, SAMPLES["tsne"]))
        if trial.trial not in self.trials or cost > self.samples:
            return False
        self.samples -= cost
        return True


@dataclass
class Patchwork:
    """The attacks' triggers, each kept once."""

    known: dict[str, int] = field(default_factory=dict)
    pixels: list[Any] = field(default_factory=list)

    def number(self, pixels: Any) -> int | None:
        """Return the number of a trigger of shape (3, height, width); None stays None."""
        if pixels is None:
            return None
        key = str(pixels)
        if key not in self.known:
            self.known[key] = len(self.pixels)
            self.pixels.append(pixels)
        return self.known[key]


def short_row(contents: Contents, trial: TrialRecord, board: int, patches: Patchwork) -> list[Any]:
    """Return the values of `COLUMNS`; `board` is the number of the trial's leaderboard."""
    victim = contents.models.get(trial.victim)
    return [
        trial.trial,
        board,
        printable(contents.label_of[trial.group, trial.variant_id]),
        printable(trial.trigger),
        trial.target,
        trial.seed,
        "attack did not take" if _untaken(trial) else trial.status,
        _rounded(trial.asr_before),
        _rounded(trial.metrics.get("asr")),
        _rounded(trial.metrics.get("clean_accuracy")),
        round(trial.seconds, 2),
        patches.number(victim.payload.get("trigger") if victim else None),
        printable(trial.error),
    ]


def details(contents: Contents, trial: TrialRecord, costly: Costly, pictures: Pictures) -> Json:
    """Return what the page shows when a trial is opened; texts are plain, never markup."""
    victim = contents.models.get(trial.victim)
    base = contents.base_of(victim)
    models = {model.id: model.payload for model in (victim, base) if model}
    environment = [pair for pair in leaves(trial.environment) if pair[0] != "plugin.path"]
    sections = [*trial_sections(trial, models), ("environment", environment)]
    if victim:
        told = [
            ("status", victim.status),
            ("error", victim.error),
            ("seconds", str(victim.seconds)),
        ]
        sections.append((f"backdoored model {victim.id}", [pair for pair in told if pair[1]]))
    whose, log = log_of(trial, victim, base)
    found: Json = {
        "sections": [[title, [list(pair) for pair in pairs]] for title, pairs in sections if pairs],
        "log": log[-_LOG:],
        "whose": whose,
        "charts": [asdict(chart) for chart in charts(trial.series, without=[EXAMPLES])],
        "examples": examples(trial, contents.data_of(victim), pictures),
    }
    if victim and victim.series:
        found["attack"] = [asdict(chart) for chart in charts(victim.series)]
    return found | _recovered(contents, trial, costly)


def _recovered(contents: Contents, trial: TrialRecord, costly: Costly) -> Json:
    try:
        patches = read_patches(trial, contents.artifacts)
    except UnreadableTriggers as error:
        return {"unreadable": printable(str(error))}
    if patches is None or not len(patches):
        return {}
    found: Json = {"recovered": packed(evenly(patches, _SHOWN)), "kept": len(patches)}
    if len(patches) >= FEWEST:
        found["components"] = _plane(patches, "components")
        if costly.may_embed(trial, len(patches)):
            found["tsne"] = _plane(patches, "tsne")
    return found


def _plane(patches: Patches, method: Method) -> Json:
    plane = embed(patches, method)
    return {
        "points": plane.points.round(3).tolist(),
        "drawn": plane.drawn.tolist(),
        "patches": packed(plane.patches[plane.drawn]),
    }


def choose_costly(trials: Sequence[TrialRecord], most: int) -> Costly:
    """Choose up to `most` trials: the first of each leaderboard row, then the second, and so on."""
    rows: dict[tuple[str, str], list[str]] = {}
    for trial in sorted(trials, key=lambda t: (t.seed, t.trigger, t.target)):
        if trial.triggers_artifact:
            rows.setdefault((trial.group, trial.variant_id), []).append(trial.trial)
    longest = max(map(len, rows.values()), default=0)
    in_turn = [row[at] for at in range(longest) for row in rows.values() if at < len(row)]
    return Costly(set(in_turn[:most]), samples=_USUAL * most)


def _untaken(trial: TrialRecord) -> bool:
    before, least = trial.asr_before, trial.min_asr or 0.0
    return trial.status == "done" and before is not None and before < least


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
