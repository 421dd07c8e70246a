"""What exported rows say: each defense, and the differences between two of them. By hand:

    python tests/benchmarks/published_rows.py docs/cifar10-cpu.csv docs/cifar10-cpu-seed?.csv \
        --minus mesa oracle --minus mesa_short mesa

Rows of several files count as one run. Versions of a plugin are joined, as they are only where the
pages say that both give the same numbers; otherwise give the files apart. A defense with options
is named as in `bench compare`: "mesa_short:target=detect".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmark.report.compare import Difference, paired
from benchmark.report.sampling import interval, with_models

FIGURES = ("asr_after", "clean_accuracy_after")


def read(files: list[Path]) -> pd.DataFrame:
    """Return the finished trials on attacked models, with `label`, the row's name, and the loss."""
    frames = [pd.read_csv(file, dtype={"trigger": str}) for file in files]
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[(rows["status"] == "done") & rows["min_asr"].notna()]
    if rows["group"].nunique() > 1:
        sys.exit("these rows are of several leaderboards; give the files of one")
    variant = rows["variant"].fillna("")
    label = rows["defense"] + (":" + variant.str.replace(", ", ",")).where(variant != "", "")
    # Rows are exported without the hash of the weights; every victim here was made by the run.
    rows = with_models(rows.assign(label=label, weights=""))
    return rows.assign(loss=rows["clean_accuracy_after"] - rows["clean_accuracy_before"])


def averages(rows: pd.DataFrame) -> Table:
    """Return a line for each defense, over all seeds and for each of them."""
    table = Table("defense", "seed", "n", "ASR %: mean ± std, worst", "clean acc. minus victim's")
    for label, mine in rows.groupby("label"):
        for seed, part in [("all", mine), *mine.groupby("seed")]:
            asr = 100 * part["asr_after"]
            spread = f"{asr.mean():.1f} ± {asr.std():.1f}, {asr.max():.1f}"
            table.add_row(str(label), str(seed), str(len(part)), spread, _loss(part))
    return table


def _loss(part: pd.DataFrame) -> str:
    return _points(100 * part["loss"].mean(), *interval(part, "loss"), digits=2)


def _points(mean: float, low: float | None, high: float | None, digits: int = 1) -> str:
    said = f"{mean:+.{digits}f}"
    if low is None or high is None:
        return said
    return f"{said} ({100 * low:+.{digits}f} to {100 * high:+.{digits}f})"


def differences(rows: pd.DataFrame, pairs: list[list[str]]) -> Table:
    """Return a line for each pair: A minus B in points, 95 % bootstrap over attacks and seeds."""
    table = Table("A minus B", "pairs", "ASR", "worst", "clean accuracy", "seconds A / B, by seed")
    for a, b in pairs:
        ours, theirs = (_named(rows, name) for name in (a, b))
        asr, clean = (paired(ours, theirs, figure) for figure in FIGURES)
        both = ours.index.intersection(theirs.index)
        worst = [f"{100 * side.loc[both, 'asr_after'].max():.1f}" for side in (ours, theirs)]
        seconds = [side.loc[both].groupby("seed")["seconds"].sum() for side in (ours, theirs)]
        cost = ", ".join(f"{share:.2f}" for share in seconds[0] / seconds[1])
        table.add_row(
            f"{a} minus {b}", str(asr.pairs), _said(asr), " / ".join(worst), _said(clean), cost
        )
    return table


def _named(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    found = rows[rows["label"] == name].set_index("victim")
    if found.empty:
        sys.exit(f"no row is called {name}; there are: {', '.join(sorted(set(rows['label'])))}")
    return found


def _said(found: Difference) -> str:
    if found.mean is None:
        return ""
    return _points(100 * found.mean, found.ci_low, found.ci_high)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--minus", nargs=2, metavar=("A", "B"), action="append", default=[])
    asked = parser.parse_args()
    rows = read(asked.files)
    console = Console()
    console.print(averages(rows))
    if asked.minus:
        console.print(differences(rows, asked.minus))


if __name__ == "__main__":
    main()
