"""Calibrate `mesa.detect.threshold` on the trials of a results folder.

    bench run --defense mesa --attack bw3x3 --attack clean --seeds 5 \\
        --set mesa.target=detect --out DIR
    python plugins/mesa/tools/calibrate.py DIR

Reads, from the diagnostics of each trial that detected, the attack success rate that the search
reached for each class. Prints a line a trial, the detections and false alarms at every threshold at
which they change, and the middle of the gap between the two kinds of models, if there is one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError
from benchmark.records import TrialRecord
from benchmark.store import Store


@dataclass(frozen=True)
class Score:
    """What one search found."""

    label: str
    backdoored: bool
    right: bool
    """The class with the highest rate is the target of the attack."""
    rate: float


def main(arguments: list[str]) -> int:
    """Print the calibration of one results folder; 2 if there is nothing to calibrate with."""
    if len(arguments) != 1:
        print("usage: python calibrate.py RESULTS_FOLDER", file=sys.stderr)
        return 2
    try:
        with Store.open(Path(arguments[0]), write=False) as store:
            scores = [score for trial in store.trials() if (score := _score(trial))]
    except UserError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    attacked = [score for score in scores if score.backdoored]
    clean = [score for score in scores if not score.backdoored]
    if not attacked or not clean:
        print(
            f"calibrate: {len(attacked)} backdoored and {len(clean)} clean models searched with "
            "mesa.target=detect; both kinds are needed",
            file=sys.stderr,
        )
        return 2
    print("\n".join(report(attacked, clean)))
    return 0


def report(attacked: list[Score], clean: list[Score]) -> list[str]:
    """Return the lines: every score, what each threshold would do, the middle of the gap."""
    lines = [
        f"{score.rate:.3f}  {'right' if score.right else 'wrong':5}  {score.label}"
        for score in sorted([*attacked, *clean], key=lambda one: one.rate)
    ]
    lines += ["", "threshold  detected  false alarms"]
    for threshold in sorted({score.rate for score in [*attacked, *clean]}):
        found = sum(score.right and score.rate >= threshold for score in attacked)
        alarms = sum(score.rate >= threshold for score in clean)
        lines.append(f"{threshold:9.3f}  {found:2}/{len(attacked):<5}  {alarms:2}/{len(clean)}")
    low = max(score.rate for score in clean)
    high = min((score.rate for score in attacked if score.right), default=0.0)
    gap = f"from {low:.3f} to {high:.3f}"
    middle = f"middle of the gap {gap}: {(low + high) / 2:.3f}"
    return [*lines, "", middle if high > low else f"no gap: {gap}"]


def _score(trial: TrialRecord) -> Score | None:
    rates = {
        int(row["number"]): float(row["rate"])
        for row in trial.series
        if row["series"] == "detection"
    }
    if not rates:
        return None
    best = max(rates, key=lambda number: rates[number])
    label = f"{trial.dataset} {trial.attack} {trial.trigger} seed {trial.seed}"
    return Score(label, trial.backdoored, trial.backdoored and best == trial.target, rates[best])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
