"""The figures of single trials drawn with matplotlib; draw them inside `plots.style()`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmark.report.escape import printable
from benchmark.report.html.curves import Chart
from benchmark.report.html.embedding import Plane
from benchmark.report.html.patches import Patches
from benchmark.report.html.plots import COLOURS


def plane_plot(plane: Plane, name: str) -> Figure:
    """Draw the triggers where they lie: dots, and thumbnails on those far enough apart."""
    figure, axes = plt.subplots(figsize=(4.2, 4.4), layout="constrained")
    axes.scatter(plane.points[:, 0], plane.points[:, 1], s=3, color="#8a8f96", linewidths=0)
    height, width = plane.patches.shape[1:3]
    half = 0.021 / max(height, width)
    for at in plane.drawn:
        x, y = plane.points[at]
        edges = (x - half * width, x + half * width, y - half * height, y + half * height)
        axes.imshow(plane.patches[at], extent=edges, zorder=2, interpolation="nearest")
        frame = (edges[0], edges[2]), 2 * half * width, 2 * half * height
        axes.add_patch(Rectangle(*frame, fill=False, edgecolor="#888888", linewidth=0.5, zorder=3))
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal", xticks=[], yticks=[])
    axes.set_title(f"{name} of {len(plane.points)} recovered triggers", fontsize=9)
    return figure


def sheet_plot(original: Patches | None, recovered: Patches) -> Figure:
    """Draw the original trigger beside the recovered ones."""
    across = min(16, len(recovered))
    down = -(-len(recovered) // across)
    size = (1.2 + 0.32 * across, max(1.0, 0.32 * down) + 0.3)
    figure = plt.figure(figsize=size, layout="constrained")
    left, right = cast(Any, figure).subfigures(1, 2, width_ratios=(1.2, 0.32 * across))
    left.suptitle("original", fontsize=8)
    right.suptitle(f"{len(recovered)} recovered", fontsize=8)
    if original is not None:
        _show(left.subplots(), original[0])
    places = np.ravel(right.subplots(down, across))
    for axes, image in zip(places, recovered, strict=False):
        _show(axes, image)
    for axes in places[len(recovered) :]:
        axes.axis("off")
    return figure


def _show(axes: Axes, image: Any) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#888888", linewidth=0.5)


def chart_plot(chart: Chart) -> Figure:
    """Draw one quantity of a search or a retraining."""
    figure, axes = plt.subplots(figsize=(4.2, 2.8), layout="constrained")
    for at, line in enumerate(chart.lines):
        y = [float("nan") if value is None else value for value in line.y]
        axes.plot(line.x, y, color=COLOURS[at % len(COLOURS)], linewidth=1.2)
    axes.set(xlabel=printable(chart.step), ylabel=printable(chart.quantity))
    axes.set_title(printable(chart.stage), fontsize=9)
    if len(chart.lines) > 1:
        axes.legend([f" {printable(line.label)}" for line in chart.lines], fontsize=7)
    return figure
