"""The figures of leaderboards drawn with matplotlib, for papers: white ground, no markup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no window, and none needed
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from benchmark.report.escape import printable
from benchmark.report.html.fronts import Cost, Point, front
from benchmark.report.html.grid import Grid, Series
from benchmark.report.html.patches import to_patches

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#6b6b00")
_ROLES = {"oracle": "#1b1f24", "control": "#7d8590", "floor": "#b3b9c1"}
_MARKERS = {"ranked": "o", "oracle": "*", "control": "D", "floor": "x"}
_STYLE: Any = {
    **{"text.parse_math": False, "svg.hashsalt": "bench", "font.size": 9, "figure.dpi": 150},
    "pdf.fonttype": 42,  # TrueType: publishers refuse the Type 3 of matplotlib's default
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True},
    **{"grid.color": "#e2e5e9", "axes.axisbelow": True, "legend.frameon": False},
}


@contextmanager
def style() -> Iterator[None]:
    """Draw inside this: a name may hold `$`, which is no formula, and letters no font has."""
    import warnings

    with plt.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
        plt.close("all")


def grid_plot(grid: Grid) -> Figure:
    """Draw a group of bars for each trigger and its picture below.

    Floor and controls are left out where anything else is there: they would press the rest flat.
    """
    inner = [one for one in grid.series if one.role in ("ranked", "oracle")] or list(grid.series)
    width = max(5.0, 0.6 + len(grid.triggers) * (0.07 * len(inner) + 0.12))
    figure, axes = plt.subplots(figsize=(min(width, 40), 3.6), layout="constrained")
    step = 0.8 / len(inner)
    for at, (one, colour) in enumerate(zip(inner, _colours(inner), strict=True)):
        _bars(axes, one, (at + 0.5) * step - 0.4, step, colour)
    axes.set(ylabel="ASR after, %", xlim=(-0.6, len(grid.triggers) - 0.4))
    axes.set_ylim(bottom=0)
    axes.grid(visible=False, axis="x")
    labels = [printable(trigger.label) for trigger in grid.triggers]
    small = len(labels) > 12
    axes.set_xticks(range(len(labels)), labels, rotation=90 if small else 0, fontsize=7)
    axes.tick_params(axis="x", length=0, pad=20)
    for at, trigger in enumerate(grid.triggers):
        if trigger.pixels is not None:
            _picture(axes, to_patches([trigger.pixels])[0], at)
    _legend(figure, [one.label for one in inner], axes)
    return figure


def _bars(axes: Axes, one: Series, offset: float, width: float, colour: str) -> None:
    there = [(at, bar) for at, bar in enumerate(one.bars) if bar]
    spread = [100 * (bar.std or 0) for _, bar in there]
    axes.bar(
        [at + offset for at, _ in there],
        [100 * bar.mean for _, bar in there],
        width=width,
        color=colour,
        yerr=spread if any(spread) else None,
        error_kw={"elinewidth": 0.7, "ecolor": "#545c66"},
        hatch="//" if one.role == "oracle" else None,
        edgecolor="white" if one.role == "oracle" else colour,
        linewidth=0,
    )


def _picture(axes: Axes, image: Any, at: int) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    zoom = 12 / max(image.shape[:2])
    # Enlarged here: an SVG viewer would smooth three pixels into a blur.
    large = image.repeat(8, axis=0).repeat(8, axis=1)
    box = AnnotationBbox(
        OffsetImage(large, zoom=zoom / 8, resample=False),
        (at, 0),
        xycoords=("data", "axes fraction"),
        xybox=(0, -11),
        boxcoords="offset points",
        pad=0.05,
        bboxprops={"edgecolor": "#888888", "linewidth": 0.5},
    )
    axes.add_artist(box)


def front_plot(points: list[Point], cost: Cost) -> Figure:
    """Draw the rows as points with their intervals, and the front of those nobody beats."""
    figure, axes = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
    times = 1.0 if cost == "seconds" else 100.0
    for point, colour in zip(points, _colours(points), strict=True):
        asr, x = 100 * point.asr, times * point.cost
        if point.low is not None and point.high is not None:
            axes.vlines(x, 100 * point.low, 100 * point.high, color=colour, linewidth=1)
        hollow = point.role == "control"
        marker = _MARKERS.get(point.role, "o")
        filled: Any = {"facecolors": "none", "edgecolors": colour} if hollow else {"color": colour}
        axes.scatter(x, asr, marker=marker, s=45, zorder=3, label=" ", **filled)
    axes.plot(
        [times * point.cost for point in front(points)],
        [100 * point.asr for point in front(points)],
        linestyle=":",
        color="#545c66",
        linewidth=1,
    )
    name = "seconds a trial" if cost == "seconds" else "clean accuracy after, %"
    axes.set(xlabel=name, ylabel="ASR after, %", xscale="log" if cost == "seconds" else "linear")
    axes.set_ylim(bottom=0)
    if cost == "seconds":
        # The usual labels of such an axis are formulas, which are switched off.
        for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            which(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "125" else "")
        axes.tick_params(axis="x", which="minor", labelsize=7)
    _legend(figure, [point.label for point in points], axes)
    return figure


def _colours(items: Any) -> list[str]:
    ranked = iter(range(10_000))
    return [
        COLOURS[next(ranked) % len(COLOURS)] if item.role == "ranked" else _role(item.role)
        for item in items
    ]


def _role(role: str) -> str:
    return _ROLES.get(role, "#7d8590")


def _legend(figure: Figure, labels: list[str], axes: Axes) -> None:
    handles: list[Any] = axes.get_legend_handles_labels()[0]
    handles = handles or [bars for bars in axes.containers if isinstance(bars, BarContainer)]
    # matplotlib leaves out a label that starts with an underscore.
    texts = [f" {printable(label)}" for label in labels]
    width = figure.get_size_inches()[0]
    for columns in range(max(1, int(width // 1.6)), 0, -1):
        legend = figure.legend(handles, texts, loc="outside upper left", ncols=columns, fontsize=8)
        if columns == 1 or legend.get_window_extent().width <= width * figure.dpi:
            return
        legend.remove()
