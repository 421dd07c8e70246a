"""Calibrate `mesa.detect.threshold` on the trials of results folders.

    bench run --defense mesa --attack bw3x3 --attack clean --seeds 5 \\
        --set mesa.target=detect --out DIR
    python plugins/mesa/tools/calibrate.py DIR [DIR...] [--csv FILE]

Reads, from the diagnostics of each trial that detected, the attack success rate that the search
reached for each class. Prints a line a model, the detections and false alarms at every threshold at
which they change, and the middle of the gap between the two kinds of models, if there is one.
A clean model on which several stamps were tried was searched once for each, and is one model: its
highest rate counts, because at that it would have raised an alarm. `--csv` writes the searches to a
file, one row each.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.errors import UserError
from benchmark.records import TrialRecord
from benchmark.store import Store


@dataclass(frozen=True)
class Score:
    """What one search found."""

    dataset: str
    setting: str
    defense: str
    attack: str
    trigger: str
    seed: int
    target: int | None
    """The target of the attack; None: a clean model."""
    best: int
    """The class with the highest rate."""
    rate: float
    model: tuple[str, ...]
    """Tells the searches apart that were on the same clean model, by the same defense."""

    @property
    def label(self) -> str:
        """Name the model that was searched."""
        return f"{self.dataset} {self.attack} {self.trigger} seed {self.seed}"

    @property
    def right(self) -> bool:
        """Say whether the class with the highest rate is the target of the attack."""
        return self.best == self.target


def main(arguments: Sequence[str]) -> int:
    """Print the calibration of results folders; 2 if there is nothing to calibrate with."""
    parser = argparse.ArgumentParser(prog="calibrate", description="Calibrate a threshold.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    asked = parser.parse_args(arguments)
    try:
        scores = [score for folder in asked.folders for score in _scores(folder)]
    except UserError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    attacked = [score for score in scores if score.target is not None]
    clean = [score for score in scores if score.target is None]
    if not attacked or not clean:
        print(
            f"calibrate: {len(attacked)} backdoored and {len(_one_a_model(clean))} clean models "
            "searched with "
            "mesa.target=detect; both kinds are needed",
            file=sys.stderr,
        )
        return 2
    if asked.csv:
        _write(asked.csv, [*attacked, *clean])
    print("\n".join(report(attacked, clean)))
    return 0


def report(attacked: list[Score], clean: list[Score]) -> list[str]:
    """Return the lines: every score, what each threshold would do, the middle of the gap."""
    clean = _one_a_model(clean)
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


def _one_a_model(scores: Sequence[Score]) -> list[Score]:
    """Return the search with the highest rate of each clean model."""
    highest: dict[tuple[str, ...], Score] = {}
    for score in sorted(scores, key=lambda one: one.rate):
        highest[score.model] = score
    return list(highest.values())


def _scores(folder: Path) -> list[Score]:
    with Store.open(folder, write=False) as store:
        return [score for trial in store.trials() if (score := _score(trial))]


def _score(trial: TrialRecord) -> Score | None:
    rates = {
        int(row["number"]): float(row["rate"])
        for row in trial.series
        if row["series"] == "detection"
    }
    if not rates:
        return None
    best = max(rates, key=lambda number: rates[number])
    about = (trial.dataset, trial.setting, trial.defense, trial.attack, trial.trigger, trial.seed)
    target = trial.target if trial.backdoored else None
    model = (trial.group, trial.variant_id, str(trial.seed))
    return Score(*about, target, best, rates[best], model)


def _write(file: Path, scores: Sequence[Score]) -> None:
    rows = [asdict(score) for score in scores]
    for row in rows:
        del row["model"]
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
