"""What a reader sees: every figure at every width, and names that harm nothing."""

import csv
import io
import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmark.errors import UserError
from benchmark.records import TrialRecord
from benchmark.report.escape import latex, markdown, printable
from benchmark.report.leaderboard import print_leaderboard, render
from benchmark.store import Store

EVIL = "[red]x</script>|$%_\\^~{}\x1b[31m\n&#é"
CONTRACT = {
    *("dataset", "model", "attack", "defense", "version", "knowledge", "ranked", "trials"),
    *("failed", "asr_before_mean", "asr_after_mean", "asr_after_std", "asr_after_ci_low"),
    *("asr_after_ci_high", "asr_after_worst", "clean_accuracy_before_mean"),
    *("clean_accuracy_after_mean", "robust_accuracy_after_mean", "seconds_mean"),
    *("peak_memory_mib_mean",),
}


def trial(number: int, defense: str, asr: float, **fields) -> TrialRecord:
    settings = {
        **{"trial": f"{defense}{number}", "group": "g", "variant_id": defense, "status": "done"},
        **{"error": "", "dataset": "digits", "model": "small", "attack": "bw3x3", "target": 0},
        **{"trigger": str(number), "defense": defense, "version": "1.2", "variant": ""},
        **{"setting": "quick", "seed": 0, "knowledge": ("weights", "clean images")},
        **{"role": "ranked", "victim": f"v{number}", "min_asr": 0.9, "asr_before": 0.987},
        **{"clean_accuracy_before": 0.931, "seconds": 12.34, "peak_memory_mib": 812.0},
        "metrics": {"asr": asr, "clean_accuracy": 0.926, "robust_accuracy": 0.899, "der": 0.95},
    }
    return TrialRecord(**settings | fields)


def trials() -> list[TrialRecord]:
    """A floor, a control, two rivals, an oracle; one failure; one attack that did not take."""
    roles = {"none": "floor", "fine_tuning": "control", "oracle": "oracle"}
    asrs = {"none": 0.98, "fine_tuning": 0.55, "mesa": 0.03, "pixel_baseline": 0.115}
    many = {"repeats": 10, "spread": {"asr": {"std": 0.077, "min": 0.0, "max": 0.514}}}
    made = [
        trial(
            n,
            defense,
            asrs.get(defense, 0.025) + n / 100,
            role=roles.get(defense, "ranked"),
            **(many if defense == "pixel_baseline" else {}),
        )
        for defense in ("none", "fine_tuning", "mesa", "pixel_baseline", "oracle")
        for n in range(4)
    ]
    made += [trial(341, "mesa", 0.9, asr_before=0.312, trial="untaken")]
    failed = {"status": "failed", "error": "out of memory", "metrics": {}, "asr_before": None}
    return [*made, trial(5, "mesa", 0, trial="failed", **failed)]


def frame_of(folder, records):
    with Store.open(folder, write=True, create=True) as store:
        for record in records:
            store.put_trial(record)
        return store.trials_frame()


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    return frame_of(tmp_path_factory.mktemp("out"), trials())


def drawn(frame, width: int, encoding: str = "utf-8") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_leaderboard(Console(file=out, width=width, force_terminal=False), frame)
    out.flush()
    return out.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 120, 140])
def test_every_figure_is_on_the_screen(frame, width):
    text = drawn(frame, width)
    assert max(map(len, text.splitlines())) <= width
    for figure in (
        *("digits · small · bw3x3 · quick", "98.7 → 4.5 ± 1.3", "3.5 to 5.5", "6.0 (3)", "6 (1)"),
        *("of 10 models: ± 7.7", "worst model 51.4", "93.1 → 92.6", "89.9", "12.3", "812"),
        *("W weights, C clean images", "341 at 31.2 %"),
    ):
        assert figure in text, figure
    names = re.findall(r"^ *([-\d]) +(\w+)", text, re.MULTILINE)
    assert names == [
        *(("-", "none"), ("-", "fine_tuning"), ("1", "mesa"), ("2", "pixel_baseline")),
        ("-", "oracle"),
    ]


def test_what_needs_a_second_look_is_marked(tmp_path):
    good = [trial(n, "mesa", 0.01) for n in range(3)]
    oracle = [trial(n, "oracle", 0.05, role="oracle") for n in range(4)]
    text = drawn(frame_of(tmp_path, good + oracle), 80)
    assert "incomplete, look" in text
    assert "look: better than the oracle" in text
    assert "incomplete: averaged over fewer trials" in text


def test_sections_are_set_apart_by_lines(frame):
    lines = drawn(frame, 140).splitlines()
    rules = [n for n, line in enumerate(lines) if set(line.strip()) == {"─"}]
    parts = ["\n".join(lines[a:b]) for a, b in itertools.pairwise(rules)]
    assert [re.findall("none|fine_tuning|mesa|pixel|oracle", part) for part in parts[1:]] == [
        *(["none"], ["fine_tuning"], ["mesa", "pixel"], ["oracle"]),
    ]


def test_a_terminal_without_unicode_gets_ascii(tmp_path):
    odd = trial(0, "défense", 0.1)
    text = drawn(frame_of(tmp_path, [odd, *trials()]), 80, "ascii")
    assert "98.7 -> 4.5 +- 1.3" in text
    assert r"d\xe9fense" in text


def test_a_figure_without_room_is_not_cut_into_another(frame):
    def numbers(width):
        return set(re.findall(r"\d+\.\d+", drawn(frame, width).replace("\n", " ")))

    assert numbers(50)
    assert numbers(50) <= numbers(140)


def test_json_has_the_contract_and_fractions(frame):
    rows = json.loads(render(frame, "json"))
    assert next(row["defense"] for row in rows) == "none"
    mesa = next(row for row in rows if row["defense"] == "mesa")
    assert set(mesa) >= CONTRACT
    assert {name: mesa[name] for name in ("trials", "failed", "averaged", "rank", "role")} == {
        **{"trials": 6, "failed": 1, "averaged": 4, "rank": 1, "role": "ranked"}
    }
    assert mesa["knowledge"] == ["weights", "clean images"]
    assert mesa["ranked"] is True
    assert mesa["incomplete"] is False
    assert mesa["asr_after_mean"] == pytest.approx(0.045)
    assert mesa["asr_after_worst"] == 0.06
    assert mesa["asr_after_over_10"] == 0.0
    assert mesa["robust_accuracy_before_mean"] is None
    assert mesa["attack_failed"] == [{"trigger": "341", "target": 0, "seed": 0, "asr": 0.312}]
    assert mesa["seconds_mean"] == 12.34


def test_csv_says_the_same_as_json(frame):
    rows = json.loads(render(frame, "json"))
    lines = list(csv.DictReader(io.StringIO(render(frame, "csv"))))
    assert [line["defense"] for line in lines] == [row["defense"] for row in rows]
    for row, line in zip(rows, lines, strict=True):
        assert set(row) == set(line)
        assert float(line["asr_after_mean"]) == row["asr_after_mean"]
        assert json.loads(line["knowledge"]) == row["knowledge"]
        assert line["robust_accuracy_before_mean"] == ""


def test_few_trials_show_no_interval(tmp_path):
    frame = frame_of(tmp_path, [trial(n, "mesa", 0.1 * n) for n in (1, 2)])
    (row,) = json.loads(render(frame, "json"))
    assert row["asr_after_ci_low"] is row["asr_after_ci_high"] is None
    assert "too few attacks for an interval" in " ".join(drawn(frame, 80).split())


def test_names_harm_nothing(tmp_path):
    named = dict.fromkeys(("dataset", "attack", "variant", "setting", "trigger", "version"), EVIL)
    frame = frame_of(tmp_path, [trial(0, EVIL, 0.1, **named, knowledge=(EVIL,))])
    for text in (drawn(frame, 200), render(frame, "markdown"), render(frame, "latex")):
        assert "\x1b" not in text
    assert "[red]x</script>|$%_\\^~{}\\x1b[31m\\n&#é" in drawn(frame, 200).replace("\n", "")[:300]
    cells = re.split(r"(?<!\\)\|", render(frame, "markdown").splitlines()[4])
    assert len(cells) == 16
    assert json.loads(render(frame, "json"))[0]["defense"] == EVIL
    (line,) = csv.DictReader(io.StringIO(render(frame, "csv"), newline=""))
    assert line["defense"] == EVIL.replace("\x1b", "\\x1b")


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "-"])
def test_a_spreadsheet_computes_nothing_from_a_name(tmp_path, name):
    frame = frame_of(tmp_path, [trial(0, name, 0.1, trigger=name)])
    (line,) = csv.DictReader(io.StringIO(render(frame, "csv")))
    assert line["defense"] == f"'{name}"
    assert float(line["asr_after_mean"]) == 0.1


@settings(max_examples=200)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_latex_is_plain_ascii_with_every_special_character_escaped(text):
    made = latex(text)
    assert made.isascii()
    assert made.isprintable()
    made = made.replace(r"{\ttfamily\char34}", "\0")
    bare = re.sub(r"\\text[a-z]+\{\}|\$\\(pm|to|cdot)\$|\{\\ttfamily U\+[0-9A-F]+\}", "\0", made)
    bare = re.sub(r"\\['`^\"~=.urHvc]\{[A-Za-z]\}|\{[\[\]]\}|\\[&%$#_{}]", "\0", bare)
    bare = bare.replace("{}", "\0")
    assert not re.search(r"[\\{}$&#^_~%<>|\"\[\]]|--|``|''|\?`|!`", bare)


@given(text=st.text())
def test_printable_is_one_line_without_controls(text):
    assert printable(text).isprintable()
    assert "\n" not in markdown(text)


def test_latex_has_balanced_tables(frame):
    text = render(frame, "latex")
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {13}
    assert len(rows) == 6
    assert text.count(r"\midrule") == 4
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}")


def test_an_unknown_format_is_named(frame):
    with pytest.raises(UserError, match=r"unknown format 'jsn' .did you mean json"):
        render(frame, "jsn")


def test_a_board_of_several_runs_is_headed_by_what_is_true_of_all_of_them(tmp_path):
    """The first trial's setting may be `attack.triggers=0`, on a board of two triggers."""
    runs = [
        ("quick, attack.triggers=0, base.epochs=9", "0", 0),
        ("quick, base.epochs=9, attack.triggers=170, dataset.title=my, own", "170", 2),
        ("quick, base.epochs=9, attack.target=random", "13", 1),
    ]
    made = [
        trial(at, "mesa", 0.1, setting=setting, trigger=trigger, seed=seed, trial=trigger)
        for at, (setting, trigger, seed) in enumerate(runs)
    ]
    frame = frame_of(tmp_path, made)
    head = "digits · small · bw3x3 · quick, base.epochs=9 · 3 triggers, seeds 0 to 2"
    assert head in render(frame, "markdown")
    assert head.replace("·", r"$\cdot$") in render(frame, "latex")
    [row] = json.loads(render(frame, "json"))
    assert row["setting"] == "quick, base.epochs=9"
    assert (row["triggers"], row["seeds"]) == (["0", "13", "170"], [0, 1, 2])
    [alone] = json.loads(render(frame[frame["seed"] == 2], "json"))
    assert alone["setting"] == "quick, base.epochs=9, dataset.title=my, own"
    assert "own · trigger 170, seed 2" in render(frame[frame["seed"] == 2], "markdown")
