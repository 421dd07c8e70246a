"""The study as one figure of nine panels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench_mesa.theory.measure import COUNTS
from bench_mesa.theory.tables import Row, Study

STYLES: dict[str, dict[str, Any]] = {
    "exact": {"color": "black", "marker": "o", "label": "exact sub-models"},
    "information": {"color": "tab:red", "marker": "s", "label": "trained, mutual information"},
    "neighbours": {"color": "tab:blue", "marker": "^", "label": "trained, neighbours"},
    "neighbours-0.01": {
        "color": "tab:green",
        "marker": "v",
        "label": "trained, neighbours, α = 0.01",
    },
}
"""How each kind of sub-models is drawn; α is 0.1 unless said."""


def draw(study: Study, path: Path) -> Path:
    """Draw the study; the file's ending says its format. The same rows give the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "bench-mesa", "font.size": 9}):
        figure = Figure(figsize=(12, 10.5), layout="constrained")
        axes = figure.subplots(3, 3).flatten().tolist()
        for panel, head in zip(axes, _heads(study.ensembles), strict=False):
            _distances(panel, head, [row for row in study.ensembles if _head(row) == head])
        axes[0].legend(fontsize=7)
        _theorem_2(axes[6], study.ensembles)
        _entropies(axes[7], study.levels)
        _information(axes[8], study.information)
        dated = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, metadata=dated)
    return path


def _head(row: Row) -> tuple[str, int, str]:
    return row["case"], row["dimension"], row["link"]


def _heads(rows: list[Row]) -> list[tuple[str, int, str]]:
    return list(dict.fromkeys(map(_head, rows)))


def _counts(panel: Axes) -> None:
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(COUNTS, [str(count) for count in COUNTS])
    panel.set_xlabel("N, levels of the staircase")
    panel.grid(alpha=0.3)


def _distances(panel: Axes, head: tuple[str, int, str], rows: list[Row]) -> None:
    """Draw the distance to f against N for each kind of sub-models."""
    for models, style in STYLES.items():
        weights = "exact" if models == "exact" else "neighbours"
        line = [row for row in rows if (row["models"], row["weights"]) == (models, weights)]
        panel.plot([row["n"] for row in line], [row["distance"] for row in line], **style)
    own = [row for row in rows if row["weights"] == "information"]
    panel.plot(
        [row["n"] for row in own],
        [row["distance"] for row in own],
        color="tab:red",
        linestyle=":",
        label="the same, weighted by it",
    )
    name, dimension, link = head
    panel.set_title(f"{name}, {dimension}-D" + ("" if link == "identity" else f", g = {link}"))
    panel.set_ylabel("total variation distance to f")
    panel.set_ylim(0.02, 1.3)
    _counts(panel)


def _theorem_2(panel: Axes, rows: list[Row]) -> None:
    """Draw the largest error of the exact staircases about F, below 1/N."""
    for head in _heads(rows):
        line = [row for row in rows if _head(row) == head and row["models"] == "exact"]
        errors = [row["largest_error_F"] for row in line]
        panel.plot([row["n"] for row in line], errors, "o", alpha=0.5)
    panel.plot(COUNTS, [1 / count for count in COUNTS], "k--", label="1/N")
    panel.set_title("Theorem 2: exact sub-models")
    panel.set_ylabel("largest |staircase − F|")
    panel.legend()
    _counts(panel)


def _entropies(panel: Axes, rows: list[Row]) -> None:
    """Draw the sub-models' entropies against their level sets' log-volumes."""
    kept = [row for row in rows if row["volume"] > 0]
    for models, style in list(STYLES.items())[1:]:
        line = [row for row in kept if row["models"] == models]
        x = [row["log_volume"] for row in line]
        panel.plot(x, [row["entropy_neighbours"] for row in line], "o", ms=3, color=style["color"])
    ends = [min(row["log_volume"] for row in kept), 0]
    panel.plot(ends, ends, "k--", label="Lemma 1: h = log V")
    panel.set_title("entropy of each trained sub-model, all cases")
    panel.set_xlabel("log volume of its level set, nats")
    panel.set_ylabel("entropy by neighbours, nats")
    panel.legend()
    panel.grid(alpha=0.3)


def _information(panel: Axes, rows: list[Row]) -> None:
    """Draw the neural estimate against the closed form: it saturates."""
    for dimension in dict.fromkeys(row["dimension"] for row in rows):
        line = [row for row in rows if row["dimension"] == dimension]
        truth = [row["truth"] for row in line]
        panel.plot(truth, [row["estimate"] for row in line], "o-", label=f"{dimension}-D")
    ends = [0, max(row["truth"] for row in rows)]
    panel.plot(ends, ends, "k--", label="closed form")
    panel.set_xscale("symlog", linthresh=1)
    panel.set_yscale("symlog", linthresh=1)
    panel.set_title("mutual information of Gaussians")
    panel.set_xlabel("closed form, nats")
    panel.set_ylabel("neural estimate, nats")
    panel.legend(fontsize=7)
    panel.grid(alpha=0.3)
