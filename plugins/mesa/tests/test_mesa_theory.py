"""The paper's theorems: by quadrature against closed forms, by samples, and trained."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bench_mesa.approximator import log_weights, staircase_value
from bench_mesa.density import Grid
from bench_mesa.entropy import neighbour_entropy
from bench_mesa.links import IDENTITY, saturating
from bench_mesa.theory import tables
from bench_mesa.theory.cases import CASES, Case, banana, bells
from bench_mesa.theory.exact import exact_rows, softened
from bench_mesa.theory.measure import COUNTS, Canvas, levels_of, total_variation, within_last
from bench_mesa.theory.trained import SEARCHES, trained_rows
from torch import Tensor

NAMES = [f"{case.name}-{case.dimension}-{case.link.name}" for case in CASES]
canvases = pytest.mark.parametrize("canvas", [Canvas.of(case) for case in CASES], ids=NAMES)


def ball(dimension: int, width: float, height: float, level: float) -> float:
    """Return the volume in which a Gaussian bell of this height is above a level."""
    radius = width * math.sqrt(max(0.0, 2 * math.log(height / level)))
    return 2 * radius if dimension == 1 else math.pi * radius**2


CLOSED = {
    "gaussian-1-identity": lambda level: ball(1, 0.12, 1, level),
    "modes-1-identity": lambda level: sum(ball(1, 0.04, h, level) for h in (1, 0.7, 0.4)),
    "modes-2-identity": lambda level: sum(ball(2, 0.07, h, level) for h in (1, 0.8, 0.6)),
    "banana-2-identity": lambda level: 2 * math.pi * 0.15 * 0.06 * -math.log(level),
}
"""Volumes of level sets; bending the bell to a banana keeps them."""


@pytest.mark.parametrize("name", CLOSED)
def test_volumes_are_those_of_the_closed_form(name: str) -> None:
    levels = levels_of(16)[1:-1]
    found = Canvas.of(CASES[NAMES.index(name)]).volumes(levels)
    expected = torch.tensor([CLOSED[name](level) for level in levels.tolist()])
    torch.testing.assert_close(found.float(), expected, rtol=0.01, atol=5e-4)


@canvases
def test_theorem_2_the_error_is_below_one_nth_and_reaches_towards_it(canvas: Canvas) -> None:
    for row in exact_rows(canvas):
        assert 0.9 / row["n"] < row["largest_error_F"] <= 1 / row["n"]


@canvases
def test_theorem_3_the_density_tends_to_f(canvas: Canvas) -> None:
    rows = exact_rows(canvas)
    assert [row["n"] for row in rows] == [1, 2, 4, 8, 16]
    assert all(row["largest_error_f"] <= row["bound_f"] * 1.0001 for row in rows)
    distances = [row["distance"] for row in rows]
    assert distances[0] == 1  # the only level set is the summit, which has no volume
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.12


def test_theorem_3_needs_the_link() -> None:
    """With Theorem 2's weights the ensemble tends to F, and stays away from f."""
    canvas = Canvas.of(CASES[1])
    assert canvas.case.link.name == "saturating(2)"
    plain = staircase_value(canvas.testing, levels_of(512), IDENTITY)
    linked = staircase_value(canvas.testing, levels_of(512), canvas.case.link)
    assert total_variation(linked, canvas.f).item() < 0.01
    assert total_variation(plain, canvas.testing).item() < 0.005
    assert total_variation(plain, canvas.f).item() > 0.05


def uniform(case: Case, level: float, count: int, seed: int) -> Tensor:
    """Draw uniformly from a level set, by rejection."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(400_000, case.dimension, generator=generator)
    return points[case.testing(points) >= level][:count]


@pytest.mark.parametrize("name", ["modes-1-identity", "banana-2-saturating(2)"])
def test_ideal_sub_models_weighed_by_their_entropies_are_the_staircase(name: str) -> None:
    """Algorithm 1 with samples alone: entropies from neighbours, densities from cells."""
    canvas = Canvas.of(CASES[NAMES.index(name)])
    levels = levels_of(8)[:-1]
    drawn = [uniform(canvas.case, beta, 12_000, i) for i, beta in enumerate(levels.tolist())]
    entropies = torch.cat([neighbour_entropy(one[None, :2000], 3) for one in drawn]).double()
    densities = torch.cat([canvas.grid.density(one[None]) for one in drawn])
    found = log_weights(entropies, levels, canvas.case.link).exp() @ densities
    exact = canvas.in_cells(staircase_value(canvas.testing, levels, canvas.case.link))
    assert total_variation(found, exact).item() < 0.06
    assert total_variation(found, canvas.in_cells(canvas.f)).item() < 0.16


def test_the_loss_with_exact_entropy_is_least_at_the_gibbs_density() -> None:
    """No mixture of it with another density has a lower E[hinge] - α·h."""
    canvas, levels, alpha = Canvas.of(CASES[0]), torch.tensor([0.5]).double(), 0.1
    best = softened(canvas, levels, alpha)[0]
    hinge = (0.5 - canvas.testing).clamp_min(0)

    def loss(density: Tensor) -> float:
        entropy = -(density * density.clamp_min(1e-300).log()).mean()
        return ((density * hinge).mean() - alpha * entropy).item()

    inside = (canvas.testing >= 0.5).double()
    others = [torch.ones_like(best), inside / inside.mean(), canvas.f / canvas.f.mean()]
    for other in others:
        for share in (0.01, 0.3, 1.0):
            assert loss(best) < loss((1 - share) * best + share * other)
    narrow = softened(canvas, levels, 1e-3)[0]
    assert total_variation(narrow, inside).item() < 0.005  # Lemma 1, as α tends to 0


def test_distances_of_densities() -> None:
    one, other = torch.tensor([1.0, 1, 0, 0]), torch.tensor([0.0, 3, 3, 0])
    assert total_variation(one, other).item() == pytest.approx(0.5)
    assert total_variation(one, 5 * one).item() == 0
    assert total_variation(torch.zeros(4), one).item() == 1


def test_levels_of_few_are_among_the_levels_of_many() -> None:
    most = levels_of(COUNTS[-1])
    for count in COUNTS:
        assert torch.equal(most[within_last(count)], levels_of(count))


def test_trained_generators_come_near_the_theory_and_stay_behind_it() -> None:
    """A short version of the study's best: the command measures all of it."""
    canvas = Canvas.of(CASES[0])
    ensembles, levels = trained_rows(canvas, "neighbours-0.01", steps=200)
    distance = {row["n"]: row["distance"] for row in ensembles if row["weights"] == "neighbours"}
    exact = {row["n"]: row["distance"] for row in exact_rows(canvas)}
    assert exact[16] < distance[16] < 0.25
    assert distance[16] < distance[4] < distance[1]
    middle = [row for row in levels if 0.2 < row["level"] < 0.8]
    assert min(row["inside"] for row in middle) > 0.85
    assert max(row["distance_to_uniform"] for row in middle) < 0.4
    for row in middle:
        assert row["entropy_neighbours"] == pytest.approx(row["log_volume"], abs=0.4)


BENCH_MESA = [sys.executable, "-c", "from bench_mesa.cli import main; main()"]


def test_the_command_refuses_in_one_line_what_it_cannot_do(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    without = (
        "import sys; sys.modules['matplotlib'] = None; from bench_mesa.cli import main; main()"
    )
    for code, arguments, reason in [
        (BENCH_MESA[2], ["-o", str(file / "x")], "cannot be created"),
        (BENCH_MESA[2], ["-o", str(tmp_path), "--format", "gif"], "none of svg, png and pdf"),
        (without, ["-o", str(tmp_path)], "pip install 'backdoor-bench-mesa[theory]'"),
    ]:
        done = subprocess.run(
            [sys.executable, "-c", code, "theory", *arguments], capture_output=True, text=True
        )
        assert done.returncode == 2, done.stderr
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_study_is_written_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from bench_mesa.theory.figure import draw

    small = Case("bell", 1, bells([[0.5]], [1.0], 0.1), saturating(1.0))
    quick = {name: SEARCHES[name].model_copy(update={"hidden": 8}) for name in SEARCHES}
    for name, options in quick.items():
        monkeypatch.setitem(SEARCHES, name, options)
    monkeypatch.setattr(
        tables, "trained_rows", lambda canvas, name: trained_rows(canvas, name, steps=3)
    )
    monkeypatch.setattr(tables, "gaussian_rows", lambda: [GAUSSIAN])
    found = tables.study([small])
    files = found.write(tmp_path)
    assert [path.name for path in files] == ["theory.csv", "levels.csv", "information.csv"]
    with files[0].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Exact, and three fits with two or three kinds of weights, for each N.
    assert len(rows) == 5 * (1 + 3 + 2 + 2)
    assert {row["link"] for row in rows} == {"saturating(1)"}
    drawn = [draw(found, tmp_path / name).read_bytes() for name in ("a.svg", "b.svg")]
    assert drawn[0] == drawn[1]
    assert drawn[0].count(b'id="axes_') == 9


GAUSSIAN = {
    "dimension": 1,
    "correlation": 0.5,
    "truth": 0.14,
    "estimate": 0.13,
    "estimate_on_training_batches": 0.12,
}


def test_the_banana_is_a_bent_bell_inside_the_square() -> None:
    edge = Grid(2, 64).centres()
    border = edge[((edge < 1 / 64) | (edge > 63 / 64)).any(dim=1)]
    assert banana(border).max() < 1 / 16  # so that no level set is cut off
