"""The page of a reproduction in Markdown, and its figures as rows for a CSV file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from benchmark.report.boards import percent
from benchmark.report.bootstrap import ENOUGH, FEWEST
from benchmark.report.escape import markdown, printable
from benchmark.report.reproduction import ClaimFigure, Figure
from benchmark.report.reproduction_figures import Picture
from benchmark.study import Grid, Published, Study

_HEAD = (
    "row",
    "paper: mean",
    "ours: mean ± std",
    "95 %",
    "n",
    "paper: worst",
    "ours: worst",
    "clean",
)


@dataclass(frozen=True)
class Made:
    """How the figures came about, a line each."""

    command: str
    settings: tuple[str, ...]
    """For each grid: the preset and how it differs from the paper."""
    figures: str = ""
    """Folder of the figures, as the page links to it."""


def page(
    study: Study,
    grids: Sequence[Grid],
    figures: Sequence[Figure],
    claims: Sequence[ClaimFigure],
    made: Made,
    pictures: Sequence[Picture] = (),
) -> str:
    """Return the page as Markdown text."""
    lines = [f"# Reproduction: {markdown(study.title)}", ""]
    lines += [f"Published figures: {markdown(study.source)}.", ""]
    lines += ["Made by", "", f"    {printable(made.command)}", ""]
    lines += [f"- {markdown(text)}" for text in made.settings]
    for grid in grids:
        lines += ["", f"## Grid {markdown(grid.name)}: {markdown(grid.title)}", ""]
        lines += _table([one for one in figures if one.grid == grid.name])
        mine = [one for one in claims if one.grid == grid.name]
        if mine:
            lines += ["", "What the paper argues, victim by victim (points of ASR):", ""]
            lines += [f"- {_claim(one)}" for one in mine]
        for picture in (one for one in pictures if one.grid == grid.name):
            file = f"{quote(made.figures)}/{picture.name}.png"
            lines += ["", f"![{markdown(picture.caption)}]({file})"]
    lines += ["", *_notes(), ""]
    return "\n".join(lines)


def _table(figures: Sequence[Figure]) -> Iterator[str]:
    head = (*_HEAD, "verdict")
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for one in figures:
        yield f"| {' | '.join(_cells(one))} |"


def _cells(one: Figure) -> tuple[str, ...]:
    paper = one.published or Published(mean=0)
    spread = f" ± {percent(one.std)}" if one.std is not None else ""
    interval = "-" if one.low is None else f"{percent(one.low)} to {percent(one.high)}"
    count = str(one.trials) if one.trials == one.planned else f"{one.trials} of {one.planned}"
    lowest = f" (lowest {percent(one.lowest)})" if paper.lowest is not None else ""
    paper_lowest = f" (lowest {percent(paper.lowest)})" if paper.lowest is not None else ""
    return (
        markdown(one.row),
        percent(paper.mean) + paper_lowest if one.published else "-",
        percent(one.mean) + spread + lowest,
        interval,
        count,
        percent(paper.worst) if one.published else "-",
        percent(one.worst),
        f"{percent(one.clean_before)} → {percent(one.clean_after)}",
        one.verdict,
    )


def _claim(one: ClaimFigure) -> str:
    claim, found = one.claim, one.found
    text = f"{markdown(claim.text)}: {markdown(claim.first)} minus {markdown(claim.second)}"
    if found.mean is None:
        return f"{text}: no victim has both."
    said = f"{text}: {100 * found.mean:+.1f} over {found.pairs} victims"
    if found.ci_low is None or found.ci_high is None:
        return f"{said}; too few for an interval."
    apart = "distinguishable" if found.distinguishable else "not distinguishable"
    interval = f"95 % {100 * found.ci_low:+.1f} to {100 * found.ci_high:+.1f}"
    few = f" (few attacks or seeds: {found.units})" if found.units < ENOUGH else ""
    return f"{said}, {interval}: {apart} from zero{few}."


def _notes() -> Iterator[str]:
    yield (
        "All rates in percent. n: trials on victims whose attack took; std over trials (n - 1); "
        "95 %: bootstrap over attacks and seeds, none under "
        f"{FEWEST}, and narrower than the data can support where there are few of both, under "
        f"{ENOUGH}. A row of several models a trial (the pixel-space baseline) counts each trial "
        "once, with their mean; the paper does not say whether its worst is of single patterns."
    )


def csv_rows(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return a flat row for each figure; fractions, None where there is none."""
    return [
        {
            **{"grid": one.grid, "row": one.row, "planned": one.planned, "trials": one.trials},
            **{"mean": one.mean, "std": one.std, "ci_low": one.low, "ci_high": one.high},
            **{"worst": one.worst, "lowest": one.lowest},
            **{"clean_before": one.clean_before, "clean_after": one.clean_after},
            "paper_mean": one.published and one.published.mean,
            "paper_worst": one.published and one.published.worst,
            "paper_lowest": one.published and one.published.lowest,
            "verdict": one.verdict,
        }
        for one in figures
    ]
