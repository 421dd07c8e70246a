"""docs/theory.md says what its rows say: its numbers are recomputed from docs/theory/*.csv."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "theory.md").read_text("utf-8")
FLAT = " ".join(PAGE.split())
PLUGIN = " ".join((ROOT / "plugins" / "mesa" / "README.md").read_text("utf-8").split())

INFORMATION, WIDE, NARROW = "information", "neighbours", "neighbours-0.01"
"""The three searches: the paper's, and the entropy by neighbours at α = 0.1 and 0.01."""
COUNTS = [1, 2, 4, 8, 16]
HEIGHTS = {1: (1.0, 0.7, 0.4), 2: (1.0, 0.8, 0.6)}
"""Of the modes, as `bench_mesa.theory.cases` has them."""
DEVIATION = {1: 0.04, 2: 0.07}
WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
WORDS += ["eleven", "twelve"]

Case = tuple[str, int, str]
SMOOTH, BANANA = ("gaussian", 1, "identity"), ("banana", 2, "identity")
MODES: dict[int, Case] = {1: ("modes", 1, "identity"), 2: ("modes", 2, "identity")}


def says(text: str, page: str = FLAT) -> None:
    """Fail unless the page has these words, wherever its lines break."""
    assert text in page, f"the rows say, and the page does not: {text}"


def table(first: str) -> dict[str, list[str]]:
    """Return the rows of the page's table whose header starts so: cells by the first cell."""
    lines = PAGE[PAGE.index(f"\n| {first} |") + 1 :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert set(cells[1]) == {"---"}
    return {row[0]: row[1:] for row in [cells[0], *cells[2:]]}


def read(name: str) -> pd.DataFrame:
    frame = pd.read_csv(ROOT / "docs" / "theory" / f"{name}.csv")
    if "case" in frame:
        frame["head"] = list(zip(frame["case"], frame["dimension"], frame["link"], strict=True))
    return frame


@pytest.fixture(scope="module")
def staircases() -> pd.DataFrame:
    return read("theory")


@pytest.fixture(scope="module")
def distances(staircases: pd.DataFrame) -> pd.DataFrame:
    """Distance to f by case, models and weights; a column for each N."""
    return staircases.pivot(index=["head", "models", "weights"], columns="n", values="distance")


@pytest.fixture(scope="module")
def levels() -> pd.DataFrame:
    """The sub-models of levels below 1, and how far their entropy is below the log-volume."""
    frame = read("levels")
    frame = frame[frame["level"] < 1]
    return frame.assign(short=frame["log_volume"] - frame["entropy_neighbours"])


@pytest.fixture(scope="module")
def collapsed(levels: pd.DataFrame) -> pd.DataFrame:
    return levels[(levels["models"] == INFORMATION) & (levels["information"] < 0.01)]


@pytest.fixture(scope="module")
def modes(levels: pd.DataFrame) -> pd.DataFrame:
    """Sub-models on the modes: `held` modes in the level set, `bound` for those in one alone."""
    frame = levels[levels["case"] == "modes"]
    sizes = [_sizes(*pair) for pair in zip(frame["dimension"], frame["level"], strict=True)]
    frame = frame.assign(
        held=[sum(size > 0 for size in each) for each in sizes],
        bound=[1 - max(each) / sum(each) for each in sizes],
        total=[sum(each) for each in sizes],
    )
    # The heights above are those of the rows: they give the volumes.
    assert (frame["total"] / frame["volume"] - 1).abs().max() < 0.01
    return frame


def _sizes(dimension: int, level: float) -> list[float]:
    """Return the volume of each mode's part of the level set; they do not touch."""
    depths = [max(0.0, 2 * math.log(height / level)) for height in HEIGHTS[dimension]]
    radii = [DEVIATION[dimension] * math.sqrt(depth) for depth in depths]
    return [2 * radius if dimension == 1 else math.pi * radius**2 for radius in radii]


@pytest.fixture(scope="module")
def gaussians() -> pd.DataFrame:
    frame = read("information")
    return frame.assign(low=1 - frame["estimate"] / frame["truth"])


def test_table_of_exact_staircases(staircases: pd.DataFrame, distances: pd.DataFrame) -> None:
    shown = table("N")
    exact = staircases[staircases["models"] == "exact"]
    worst = exact.groupby("n")["largest_error_F"].max()
    assert list(map(int, shown.pop("N"))) == COUNTS
    errors = shown.pop("Theorem 2: largest error about F, worst case")
    bounds = shown.pop("its bound, 1/N")
    for n, error, bound in zip(COUNTS, errors, bounds, strict=True):
        assert float(error) == round(worst[n], len(error.split(".")[1]))
        assert float(bound) == 1 / n
        assert worst[n] <= 1 / n
    assert len(shown) == 6
    for name, cells in shown.items():
        row = distances.loc[(_case(name), "exact", "exact")]
        assert ["1", *cells[1:]] == ["1", *(f"{row[n]:.3f}" for n in COUNTS[1:])], name
        assert (cells[0], row[1]) == ("1", 1)


def _case(name: str) -> Case:
    """Return the case of a table's first cell."""
    name = name.removeprefix("distance to f: ")
    link = "saturating(2)" if name.endswith(", g saturating") else "identity"
    case, dimension = name.removesuffix(", g saturating").split(", ")
    return case, int(dimension.removesuffix("-D")), link


def test_notes_on_the_theorems(staircases: pd.DataFrame, levels: pd.DataFrame) -> None:
    linked = staircases["link"] == "saturating(2)"
    most = staircases[linked & (staircases["models"] == "exact") & (staircases["n"] == 16)]
    bound, found = most["bound_f"].max(), most["largest_error_f"].max()
    says(f"is {bound:.2f} at N = 16 for `saturating(2)`; found: {found:.3f}.")
    every = read("levels")
    assert (every.loc[every["level"] == 1, "volume"] == 0).all()
    on_it, below = (frame[frame["head"] == BANANA] for frame in (every, levels))
    (some, none), (wide, narrow) = (
        [100 * frame.groupby("models")["best_inside"].mean()[name] for name in (WIDE, NARROW)]
        for frame in (on_it, below)
    )
    says(
        f"On the banana (g the identity), α = 0.1 leaves {wide:.0f} % of that ideal sub-model "
        f"inside its level set, α = 0.01 {narrow:.0f} % (means over the 15 levels below 1; with "
        f"β = 1, whose set has no volume, {some:.0f} % and {none:.0f} %)."
    )


def test_table_of_trained_staircases(distances: pd.DataFrame) -> None:
    shown = table("density")
    shown.pop("density")
    assert len(shown) == 6
    for name, cells in shown.items():
        case = distances.loc[_case(name), 16]
        own = f"{case[INFORMATION, 'neighbours']:.3f} ({case[INFORMATION, 'information']:.3f})"
        others = [f"{case[models, 'neighbours']:.3f}" for models in (WIDE, NARROW)]
        assert cells == [f"{case['exact', 'exact']:.3f}", own, *others], name
        best = case.xs("neighbours", level="weights").idxmin()
        assert (best == INFORMATION) == name.startswith("gaussian")


def test_collapse(levels: pd.DataFrame, collapsed: pd.DataFrame) -> None:
    trained = (levels["models"] == INFORMATION).sum()
    says(
        f"{len(collapsed)} of the {trained} sub-models trained with mutual information (levels "
        "below 1) end with an estimate below 0.01 nats"
    )
    short = collapsed.groupby("head")["short"].mean()
    says(
        f"below the log-volume by {short[BANANA]:.2f} nats on the banana, by "
        f"{short[MODES[1]]:.2f} and {short[MODES[2]]:.2f} on the modes in 1-D and 2-D, by "
        f"{short[SMOOTH]:.2f} on the Gaussian."
    )
    none = collapsed[collapsed["inside"] == 0]
    inside = collapsed[collapsed["inside"] > 0]["inside"]
    assert set(none["case"]) == {"modes"}
    says(
        f"{len(inside)} have at least {math.floor(100 * inside.min())} % of their samples inside "
        f"their level sets, {WORDS[len(none)]} (on the modes) none."
    )


def test_wrong_mode(levels: pd.DataFrame, modes: pd.DataFrame) -> None:
    searched = modes[modes["models"] != WIDE]
    outside = searched[searched["inside"] < 0.1]
    few = outside[outside["inside"] > 0]["inside"]
    says(
        f"{len(outside)} sub-models on the modes end outside their level set, "
        f"{len(outside) - len(few)} with no sample inside and {WORDS[len(few)]} with "
        f"{100 * few.max():.0f} %."
    )
    assert (outside["held"] == 1).all()
    narrow = outside[outside["models"] == NARROW]
    more = (narrow["short"] < 0).sum()
    short = levels[levels["models"] == NARROW].groupby("head")["short"].mean()
    assert short.idxmax() == MODES[2]
    says(
        f"the mean shortfall is at most {short.max():.1f} nats (modes, 2-D), and {WORDS[more]} of "
        f"the {WORDS[len(narrow)]} that end outside have more entropy than their set."
    )


def test_modes_together(modes: pd.DataFrame) -> None:
    least = modes.loc[modes["held"] == 3, "distance_to_uniform"].min()
    says(f"the total variation to uniform on it is at least {least:.2f}.")
    several = modes[modes["distance_to_uniform"] < modes["bound"]]
    counts = several["models"].value_counts()
    says(
        f"{WORDS[len(several)].capitalize()} are below that and so hold two modes at least: "
        f"{WORDS[counts[NARROW]]} with neighbours and α = 0.01"
    )
    says(
        f"), {WORDS[counts[WIDE]]} with α = 0.1, {WORDS[counts[INFORMATION]]} with mutual "
        "information."
    )
    narrow = several[several["models"] == NARROW]
    line, square = (narrow[narrow["dimension"] == dimension] for dimension in (1, 2))
    for part in (line, square):
        assert list(part["level"]) == [(1 + i) / 16 for i in range(len(part))]
    says(
        f"(the {WORDS[len(line)]} lowest levels in 1-D: {_range(line['distance_to_uniform'])}, "
        f"where one mode has {_range(line['bound'])}; the {WORDS[len(square)]} lowest in 2-D: "
        f"{_range(square['distance_to_uniform'])}, where it has {_range(square['bound'])})"
    )
    outside = 100 * (1 - narrow["inside"])
    says(f"{_range(outside, 0)} % of the samples of the {WORDS[len(narrow)]} lie outside the set")


def _range(values: pd.Series, digits: int = 2) -> str:
    return f"{values.min():.{digits}f} to {values.max():.{digits}f}"


def test_more_levels(distances: pd.DataFrame) -> None:
    first, last = (
        {
            (models, d): f"{distances.loc[(MODES[d], models, 'neighbours'), n]:.2f}"
            for models in (INFORMATION, NARROW)
            for d in (1, 2)
        }
        for n in (1, 16)
    )
    says(
        f"from {first[INFORMATION, 1]} to {last[INFORMATION, 1]} (1-D) and "
        f"{first[INFORMATION, 2]} to {last[INFORMATION, 2]} (2-D) with mutual information, from "
        f"{first[NARROW, 1]} to {last[NARROW, 1]} and {first[NARROW, 2]} to {last[NARROW, 2]} with "
        "neighbours and α = 0.01."
    )
    wide = pd.concat([distances.loc[(MODES[d], WIDE, "neighbours"), COUNTS[1:]] for d in (1, 2)])
    says(f"With α = 0.1 it stays at {_range(wide)} from N = 2 on.")
    exact = [distances.loc[(MODES[d], "exact", "exact"), 16] for d in (1, 2)]
    assert max(exact) < 0.1
    says("The exact staircase's falls below 0.1.")


def test_soft_borders(levels: pd.DataFrame, distances: pd.DataFrame) -> None:
    wide = levels[levels["models"] == WIDE]
    best = (wide["best_entropy"] - wide["log_volume"]).groupby(wide["head"]).mean()
    over = -wide.groupby("head")["short"].mean()
    said = {head: (f"{over[head]:.1f}", f"{best[head]:.1f}") for head in over.index}
    says(
        f"{said[BANANA][0]} nats above the log-volume on the banana, where the best for that α "
        f"lies {said[BANANA][1]} above, and {said[MODES[1]][0]} against {said[MODES[1]][1]} on "
        f"the modes in 1-D, {said[MODES[2]][0]} against {said[MODES[2]][1]} in 2-D."
    )
    assert (over > best).all()
    assert wide.loc[wide["level"] <= 2 / 16, "entropy_neighbours"].min() > -0.1  # 0 is even
    exact = distances.xs(("exact", "exact"), level=("models", "weights"))
    curves = distances.xs("neighbours", level="weights")
    blue = curves.xs(WIDE, level="models").loc[exact.index]
    assert (blue[16] > blue[4]).all()
    says("in all six cases N = 16 is worse than N = 4.")
    assert (curves[1] < 1).all()
    below = blue < exact
    assert (exact[1] == 1).all()
    assert below[1].all()
    assert list(below.index[~below[2]]) == [MODES[1]]
    assert list(below.index[below[4]]) == [("gaussian", 1, "saturating(2)")]
    assert not below[[8, 16]].any(axis=None)
    ours, theirs = (side.loc[below[4], 4].item() for side in (blue, exact))
    says(
        "the blue curve is below the exact one at N = 1 in all six cases, as every trained one is, "
        "at N = 2 in all but the modes in 1-D, at N = 4 on the saturating Gaussian, "
        f"{ours:.3f} against {theirs:.3f}.)"
    )


def test_weights(distances: pd.DataFrame) -> None:
    kinds = distances.drop("exact", level="models").stack().unstack("weights")
    at_most = kinds.xs(16, level="n")
    own = at_most.xs(INFORMATION, level="models")
    assert (own["information"] > own["neighbours"]).all()
    says("on all six cases weighing by it is worse at N = 16 than by neighbours' entropy.")
    change = (kinds["exact"] - kinds["neighbours"]).abs().groupby("n").max()
    says(
        f"change by at most {change[16]:.2f} at N = 16 and {change[8]:.2f} at N = 8 "
        f"({change[4]:.2f} at 4, {change[2]:.2f} at 2; at 1 the exact weight is 0)"
    )


def test_table_of_the_estimate(gaussians: pd.DataFrame) -> None:
    lines = PAGE[PAGE.index("| d | ρ = 0 |") :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    correlations = [float(cell.removeprefix("ρ = ")) for cell in cells[0][1:]]
    assert len(cells) == 2 + 2 * gaussians["dimension"].nunique()
    for truth, estimate in zip(cells[2::2], cells[3::2], strict=True):
        rows = gaussians[gaussians["dimension"] == int(truth[0].removesuffix(": truth"))]
        assert estimate[0] == "estimate"
        assert list(rows["correlation"]) == correlations
        for column, shown in (("truth", truth[1:]), ("estimate", estimate[1:])):
            for value, cell in zip(rows[column], shown, strict=True):
                digits = len(cell.partition(".")[2])
                assert abs(value - float(cell)) <= 0.5001 * 10**-digits, (truth[0], cell)


def test_where_the_estimate_falls_behind(gaussians: pd.DataFrame) -> None:
    related = gaussians[gaussians["correlation"] > 0]
    few = related[related["dimension"] < 20]
    modest = few[few["truth"] < 4.2]["low"]
    range_ = f"{100 * modest.min():.0f} to {100 * modest.max():.0f} %"
    says(f"Up to about 4 nats in one, two and five dimensions it is {range_} low")
    assert (few[few["truth"] >= 4.2]["low"] > modest.max()).all()
    row = related.set_index(["dimension", "correlation"])
    two, five = row.loc[(2, 0.999)], row.loc[(5, 0.999)]
    says(
        f"{two['estimate']:.2f} where {two['truth']:.2f} are true and {five['estimate']:.2f} where "
        f"{five['truth']:.1f} are."
    )
    many = row.loc[20]
    says(
        f"{100 * many.loc[0.3, 'low']:.0f} % low already where {many.loc[0.3, 'truth']:.2f} are "
        "true"
    )
    says(
        f"points: {many.loc[0.9, 'estimate']:.2f} at ρ = 0.9, {many.loc[0.999, 'estimate']:.2f} "
        "at 0.999."
    )
    assert not many["estimate"].is_monotonic_increasing
    seen = [f"{value:.2f}" for value in many["estimate_on_training_batches"]]
    says(f"it gives {', '.join(seen[:-1])} and {seen[-1]} there, for ρ = 0.3 to 0.999.")
    says(f"is {range_} below the closed form", PLUGIN)
    says(f"{five['estimate']:.1f} where {five['truth']:.1f} are true (five dimensions).", PLUGIN)
    least, most = many.loc[0.3], many.loc[0.999]
    says(
        f"In twenty it is {least['estimate']:.1f} where {least['truth']:.1f} are true and "
        f"{most['estimate']:.1f} where {most['truth']:.0f} are.",
        PLUGIN,
    )


def test_the_estimate_ranks_sub_models(levels: pd.DataFrame) -> None:
    trained = levels[levels["models"] == INFORMATION]
    said = {
        head: rows["information"].rank().corr(rows["entropy_neighbours"].rank())
        for head, rows in trained.groupby("head")
    }
    says(f"the estimate is at most {read('levels')['information'].max():.1f} nats")
    says(f"with the entropy by neighbours {_range(pd.Series(said))})")
