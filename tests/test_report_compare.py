"""`bench compare`: paired differences against plain loops and closed cases, and from outside."""

import io
import json
import math
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmark.cli import main
from benchmark.errors import UserError
from benchmark.identity import derive_seed
from benchmark.records import TrialRecord
from benchmark.report.bootstrap import RESAMPLES
from benchmark.report.compare import COMPARED, compare
from benchmark.report.compare_table import comparison_view
from benchmark.report.leaderboard import print_leaderboard, render
from benchmark.store import Store

ROW = {
    **{"group": "g", "dataset": "digits", "model": "small", "attack": "bw3x3", "trigger": "0"},
    **{"target": 0, "version": "1", "variant": "", "setting": "quick", "seed": 0, "repeats": 1},
    **{"knowledge": ("weights",), "role": "ranked", "status": "done", "min_asr": 0.9},
    **{"asr_before": 0.99, "asr_after": 0.05, "asr_after_std": math.nan, "der": 0.9},
    **{"asr_after_max": math.nan, "base_clean_accuracy": 0.95, "clean_accuracy_before": 0.94},
    **{"clean_accuracy_after": 0.93, "robust_accuracy_before": 0.0, "seconds": 2.0},
    **{"robust_accuracy_after": 0.9, "peak_memory_mib": 100.0, "forward_images": 1},
    **{"weights": "", "backward_images": 1, "detection": math.nan, "false_alarm": math.nan},
}


def on(defense: str, victim: str, **fields) -> dict:
    """A trial on an attack that the victim's name tells."""
    named = {"defense": defense, "variant_id": f"{defense}-id", "victim": victim}
    return ROW | named | {"trigger": victim} | fields


def frame(trials: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(trials)


def several(defense: str, asrs: list[float], **fields) -> list[dict]:
    return [on(defense, f"v{n:03}", asr_after=asr, **fields) for n, asr in enumerate(asrs)]


def drawn(comparison, width: int = 80, encoding: str = "utf-8") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=out, width=width, force_terminal=False)
    console.print(comparison_view(comparison, console))
    out.flush()
    return out.buffer.getvalue().decode(encoding)


def reference(differences: list[float]) -> tuple[float, float] | None:
    """The percentile bootstrap, one resample at a time."""
    count = len(differences)
    if count < 3:
        return None
    draws = np.random.default_rng(derive_seed("bootstrap", count)).integers(
        0, count, (RESAMPLES, count)
    )
    means = sorted(sum(differences[at] for at in draw) / count for draw in draws.tolist())
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


TRIAL = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["done", "done", "done", "failed"]),
        "asr_before": st.sampled_from([0.5, 0.9, 0.99, 0.99]),
        "asr_after": st.floats(0, 1) | st.just(math.nan),
        "clean_accuracy_after": st.floats(0, 1),
        "seconds": st.floats(0, 1e4),
    }
)
SIDE = st.dictionaries(st.sampled_from([f"v{n}" for n in range(7)]), TRIAL, min_size=1)


@settings(max_examples=25, deadline=None)
@given(ours=SIDE, theirs=SIDE)
def test_every_difference_is_what_plain_loops_find(ours, theirs):
    sides = {"a": ours, "b": theirs}
    trials = [on(name, v, **t) for name, side in sides.items() for v, t in side.items()]
    (found,) = compare(frame(trials[::-1]), "a", "b")
    good = {
        name: {v for v, t in side.items() if t["status"] == "done" and t["asr_before"] >= 0.9}
        for name, side in sides.items()
    }
    assert found.pairs == len(good["a"] & good["b"])
    assert found.only_a == len(good["a"] - good["b"])
    assert found.only_b == len(good["b"] - good["a"])
    assert tuple(one.figure for one in found.differences) == COMPARED
    for one in found.differences:
        if one.figure == "robust_accuracy_after":
            assert one.mean == (0 if one.pairs else None)
            continue
        pairs = [
            (ours[v][one.figure], theirs[v][one.figure]) for v in sorted(good["a"] & good["b"])
        ]
        pairs = [(x, y) for x, y in pairs if not (math.isnan(x) or math.isnan(y))]
        differences = [x - y for x, y in pairs]
        assert one.pairs == len(pairs)
        if not pairs:
            assert one.a_mean is one.b_mean is one.mean is None
        else:
            for mean, values in (
                (one.a_mean, [x for x, _ in pairs]),
                (one.b_mean, [y for _, y in pairs]),
                (one.mean, differences),
            ):
                assert mean == pytest.approx(sum(values) / len(values), abs=1e-9)
        interval = reference(differences)
        if interval is None:
            assert one.ci_low is one.ci_high is one.distinguishable is None
        else:
            assert (one.ci_low, one.ci_high) == pytest.approx(interval, abs=1e-9)


def test_what_makes_a_victim_hard_cancels_out():
    """Victims differ by far more than the defenses, which differ by the same on each."""
    hard = [0.05, 0.9, 0.3, 0.6, 0.15]
    trials = [*several("a", hard), *several("b", [asr + 0.02 for asr in hard])]
    (found,) = compare(frame(trials), "a", "b")
    asr = found.differences[0]
    assert (asr.mean, asr.ci_low, asr.ci_high) == pytest.approx((-0.02, -0.02, -0.02))
    assert asr.distinguishable is True
    (turned,) = compare(frame(trials), "b", "a")
    assert turned.differences[0].mean == -asr.mean
    assert (turned.differences[0].ci_low, turned.differences[0].ci_high) == (
        pytest.approx((-asr.ci_high, -asr.ci_low))
    )


@pytest.mark.parametrize(
    ("asrs", "word"),
    [
        ([0.1, 0.2, 0.3, 0.1, 0.2], "no"),
        ([0.5, 0.6, 0.7, 0.8, 0.9], "yes: A is lower"),
        ([0.0, 0.1, 0.2, 0.0, 0.1], "yes: A is higher"),
        ([0.1, 0.2], "too few attacks or seeds"),
    ],
)
def test_the_verdict_is_a_plain_word(asrs, word):
    trials = [*several("a", [0.1, 0.2, 0.3, 0.1, 0.2]), *several("b", asrs)]
    (found,) = compare(frame(trials), "a", "b")
    line = next(line for line in drawn(found, 120).splitlines() if "ASR" in line)
    assert line.split("  ")[-1].strip().endswith(word) or line.rstrip().endswith(word)


def test_rounding_alone_is_not_a_difference():
    trials = [*several("a", [0.1 + 0.2] * 4), *several("b", [0.3] * 4)]
    (found,) = compare(frame(trials), "a", "b")
    assert found.differences[0].ci_low > 0
    assert found.differences[0].distinguishable is False


def test_two_pairs_have_no_interval_and_it_says_so():
    trials = [*several("a", [0.1, 0.2]), *several("b", [0.5, 0.6, 0.7])]
    (found,) = compare(frame(trials), "a", "b")
    assert (found.pairs, found.only_a, found.only_b) == (2, 0, 1)
    assert found.differences[0].mean == pytest.approx(-0.4)
    text = " ".join(drawn(found).split())
    words = " ".join(text.split())
    assert "No interval: it takes pairs on at least 3 different attacks or seeds." in words
    assert "2 victims with a finished trial of both; only A: 0, only B: 1" in text
    assert " to " not in text


def test_few_pairs_are_warned_about():
    for count, warned in ((5, True), (6, False)):
        trials = [*several("a", [0.1] * count), *several("b", [0.5] * count)]
        (found,) = compare(frame(trials), "a", "b")
        assert ("Under 6 attacks or seeds" in " ".join(drawn(found).split())) is warned


def test_each_leaderboard_that_has_both_is_compared_by_itself():
    trials = [
        *(*several("a", [0.1] * 3), *several("b", [0.3] * 3)),
        *several("a", [0.5] * 4, group="h", attack="rgb3x3"),
        *several("b", [0.1] * 4, group="h", attack="rgb3x3"),
        *several("a", [0.5] * 4, group="i", attack="other"),
    ]
    found = {one.a.attack: one.differences[0].mean for one in compare(frame(trials), "a", "b")}
    assert found == {"bw3x3": pytest.approx(-0.2), "rgb3x3": pytest.approx(0.4)}


VARIANTS = [
    *several("mesa", [0.1] * 3, variant_id="aaaa1111"),
    *several("mesa", [0.2] * 3, variant_id="bbbb2222", variant="epochs=5"),
    *several("mesa", [0.3] * 3, variant_id="bbbb3333", variant="epochs=5", version="2"),
    *several("pixel", [0.4] * 3, variant_id="cccc4444"),
    *several("lonely", [0.4] * 3, variant_id="dddd5555", group="h"),
]


@pytest.mark.parametrize(
    ("name", "asr"),
    [
        *(("aaaa", 0.1), ("aaaa1111", 0.1), ("mesa:", 0.1), ("mesa:1", 0.1)),
        *(("bbbb2", 0.2), ("mesa:1 epochs=5", 0.2), ("mesa:2 epochs=5", 0.3)),
    ],
)
def test_a_row_is_named_by_its_options_or_its_identity(name, asr):
    (found,) = compare(frame(VARIANTS), name, "pixel")
    assert found.differences[0].a_mean == pytest.approx(asr)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("mesa", "pixel", r"'mesa' names 3 rows of digits · small · bw3x3 · quick \(say "),
        ("mesa:epochs=5", "pixel", r"'mesa:1 epochs=5' \(bbbb2222\) or 'mesa:2 epochs=5' \(bb"),
        ("bbbb", "pixel", r"'bbbb' names 2 rows"),
        ("pixle", "aaaa", r"unknown row of a leaderboard 'pixle' \(did you mean pixel"),
        ("mesa:epochs=6", "pixel", r"\(did you mean mesa:epochs=5"),
        ("aaa", "pixel", r"unknown row of a leaderboard 'aaa'"),
        ("", "pixel", r"unknown row of a leaderboard ''"),
        ("pixel", "cccc", r"'pixel' and 'cccc' name the same row"),
        ("pixel", "pixel", r"'pixel' and 'pixel' name the same row"),
        ("pixel", "lonely", r"no leaderboard has both 'pixel' and 'lonely'"),
    ],
)
def test_a_name_that_is_not_one_row_is_refused(a, b, message):
    with pytest.raises(UserError, match=message):
        compare(frame(VARIANTS), a, b)


def test_rows_of_an_edited_file_are_named_as_the_tables_show_them():
    twins = [
        *several("mine", [0.1] * 3, variant_id="6b948d21"),
        *several("mine", [0.3] * 3, variant_id="6b94beef"),
        *several("mine", [0.5] * 3, variant_id="6b94cafe", variant="epochs=5"),
    ]
    with pytest.raises(UserError, match=r"say 'mine:1 6b948' \(6b948d21\) or 'mine:1 6b94b' \("):
        compare(frame(twins), "mine:1", "mine:epochs=5")
    (found,) = compare(frame(twins), "mine:1 6b948", "mine:1 6b94b")
    assert found.differences[0].mean == pytest.approx(-0.2)
    assert "A: mine 1 6b948 (told W)" in drawn(found)
    for form in ("markdown", "latex"):
        for label in ("mine 1 6b948", "mine 1 6b94b", "mine 1 epochs=5"):
            assert label in render(frame(twins), form)
    out = io.StringIO()
    print_leaderboard(Console(file=out, width=160, force_terminal=False), frame(twins))
    # On a terminal the name stands above the rest.
    for label in ("1 6b948", "1 6b94b", "1 epochs=5"):
        assert f" {label} " in out.getvalue()


def test_a_comparison_fits_the_terminal_and_its_character_set():
    evil = {"variant": "[red]x</script>\x1b[31m\n", "setting": "[/] é"}
    trials = [*several("a", [0.1] * 3, **evil), *several("b", [0.9] * 3, **evil)]
    (found,) = compare(frame(trials), "a", "b")
    for width, encoding in ((80, "utf-8"), (80, "ascii"), (120, "utf-8")):
        text = drawn(found, width, encoding)
        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text
        assert r"[red]x</script>\x1b[31m\n" in text
        for figure in ("10.0", "90.0", "-80.0", "-80.0 to -80.0"):
            assert figure in text


# From the command line


@pytest.fixture
def bench(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            return end.code or 0, *capsys.readouterr()
        raise AssertionError("it did not end")

    return call


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared") / "results, ü"
    fields = {
        **{"group": "g", "status": "done", "error": "", "dataset": "digits", "model": "small"},
        **{"attack": "bw3x3", "version": "1", "variant": "", "setting": "quick", "seed": 0},
        **{"knowledge": ("weights",), "role": "ranked", "min_asr": 0.9, "asr_before": 0.99},
    }
    with Store.open(folder, write=True, create=True) as store:
        for name, least in (("mesa", 0.0), ("pixel", 0.1)):
            for n in range(4):
                asr = least + n / 100
                record = TrialRecord(
                    **fields,
                    **{"trial": f"{name}{n}", "defense": name, "variant_id": f"{name}-id"},
                    **{"victim": f"v{n}", "trigger": str(n), "target": 0, "seconds": 1.0 + n},
                    metrics={"asr": asr, "clean_accuracy": 0.9, "robust_accuracy": None},
                )
                store.put_trial(record)
    return folder


def test_the_command_prints_the_difference_and_the_verdict(bench, out):
    status, printed, said = bench("compare", "mesa", "pixel", "--out", out)
    assert (status, said) == (0, "")
    assert "4 victims with a finished trial of both" in printed
    (line,) = (line for line in printed.splitlines() if "ASR" in line)
    assert line.split() == [
        *("ASR", "%", "after", "1.5", "11.5", "-10.0", "-10.0", "to", "-10.0", "4"),
        *("yes:", "A", "is", "lower"),
    ]


def test_the_command_prints_nothing_but_json(bench, out):
    status, printed, said = bench("compare", "mesa", "pixel", "--out", out, "--format", "json")
    assert (status, said) == (0, "")
    (found,) = json.loads(printed)
    assert (found["dataset"], found["a"]["defense"], found["b"]["defense"]) == (
        *("digits", "mesa", "pixel"),
    )
    asr, clean, robust, seconds = found["differences"]
    assert asr["ci_low"] == pytest.approx(-0.1)
    assert (asr["pairs"], asr["distinguishable"]) == (4, True)
    assert (clean["mean"], clean["distinguishable"]) == (0, False)
    assert (robust["pairs"], robust["mean"], robust["distinguishable"]) == (0, None, None)
    assert seconds["a_mean"] == 2.5


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["msea", "pixel"], "unknown row of a leaderboard 'msea' (did you mean mesa?)"),
        (["mesa", "pixel", "--format", "jsno"], "unknown format 'jsno' (did you mean json?)"),
        (["mesa", "pixel", "--out", "/nowhere"], "no results in /nowhere"),
    ],
)
def test_a_wrong_comparison_is_one_line(bench, out, arguments, line):
    where = [] if "--out" in arguments else ["--out", out]
    status, printed, said = bench("compare", *arguments, *where)
    assert (status, printed) == (2, "")
    assert line in said
    assert said.count("\n") == 1
