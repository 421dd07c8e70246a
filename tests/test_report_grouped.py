"""`bench leaderboard --by`: figures for each trigger, target class or seed."""

import csv
import io
import json
import random

import pytest
from frames import frame
from rich.console import Console

from benchmark.report.grouped import BY, grouped
from benchmark.report.leaderboard import leaderboard, print_leaderboard, render


def trials() -> list[dict]:
    """Two defenses, three triggers, two seeds; a trial is lacking, an attack did not take."""
    rng = random.Random(5)
    made = [
        {
            **{"defense": defense, "variant_id": defense, "trigger": trigger, "seed": seed},
            **{"target": int(trigger) % 2, "victim": f"{trigger} {seed}"},
            **{"asr_after": rng.random(), "role": role},
            "asr_before": 0.5 if (trigger, seed) == ("13", 1) else 0.99,
        }
        for defense, role in (("mesa", "ranked"), ("oracle", "oracle"))
        for trigger in ("13", "9", "170")
        for seed in (0, 1)
    ]
    return made[1:]


@pytest.mark.parametrize("by", BY)
def test_each_cell_is_what_a_plain_loop_finds(by):
    made = trials()
    table = frame(*made)
    records = json.loads(render(table, "json", by=by))
    found = {(one["value"], one["defense"]): one for one in records}
    assert set(found) == {(one[by], one["defense"]) for one in made}
    for (value, defense), cell in found.items():
        mine = [
            one["asr_after"]
            for one in made
            if (one[by], one["defense"]) == (value, defense) and one["asr_before"] > 0.9
        ]
        assert cell["by"] == by
        assert cell["averaged"] == len(mine)
        expected = pytest.approx(sum(mine) / len(mine)) if mine else None
        assert cell["asr_after_mean"] == expected
    lines = list(csv.DictReader(io.StringIO(render(table, "csv", by=by))))
    assert [line["value"] for line in lines] == [str(one["value"]) for one in records]


def test_lines_stand_in_the_order_of_numbers_and_end_with_the_whole():
    table = frame(*trials())
    (board,) = grouped(table, leaderboard(table), "trigger")
    assert [line[0] for line in board.texts] == ["9", "13", "170", "all"]
    assert board.heads == ["trigger", "mesa 1 (incomplete)", "oracle 1"]
    # Of the first trigger mesa lacks one seed, and the other victim's attack did not take.
    assert board.texts[1][1] == "-"
    whole = leaderboard(table)[0]
    assert board.texts[-1][1].startswith(f"{100 * whole.asr_after_mean:.1f} ± ")
    assert any("13 (seed 1) at 50.0 %" in note for note in board.notes)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_defense_fits_the_terminal(width):
    made = [
        one | {"defense": f"defense_{n}", "variant_id": str(n), "asr_after": n / 100}
        for n in range(9)
        for one in trials()[:3]
    ]
    out = io.StringIO()
    print_leaderboard(Console(file=out, width=width), frame(*made), by="seed")
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for n in range(9):
        assert f"{n}.0 ± 0.0" in text


def test_long_names_break_where_they_can_be_read():
    named = {"defense": "pixel_baseline", "variant": "images_a_trigger=4, levels=0.9"}
    made = [one | named for one in trials() if one["variant_id"] == "mesa"]
    out = io.StringIO()
    print_leaderboard(Console(file=out, width=80), frame(*made), by="seed")
    words = [line.removeprefix(" seed").strip() for line in out.getvalue().splitlines()[3:8]]
    assert words == ["pixel_", "baseline 1", "images_a_", "trigger=4,", "levels=0.9"]


def test_markdown_and_latex_have_a_line_for_each_trigger():
    table = frame(*trials())
    text = render(table, "markdown", by="trigger")
    assert "| trigger | mesa 1 (incomplete) | oracle 1 |\n| :-- | --: | --: |\n| 9 | " in text
    text = render(table, "latex", ["oracle"], by="trigger")
    assert r"\begin{tabular}{lr}" in text
    assert text.count("\n170 & ") == 1
    assert text.count(r"\midrule") == 2


def test_the_command_prints_them_and_names_what_it_does_not_know(tiny_run, command):
    done = command("leaderboard", "--out", tiny_run.out, "--by", "trigger")
    assert done.returncode == 0
    assert "ASR % after, by trigger" in done.stdout
    for name in ("170", "0", "all"):
        assert f"\n {name} " in done.stdout
    done = command("leaderboard", "--out", tiny_run.out, "--by", "triger")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bench: unknown --by 'triger' (did you mean trigger or target?)\n"
