"""Whatever is asked of `bench`: no traceback, no status 0 for a wrong request, no damage."""

import os
import subprocess
import sys

import pytest
from fuzzing import PATIENT, WORDS, tiny
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmark.builtin.attack_options import BlackWhiteAttack
from benchmark.recipe import BaseRecipe, FineTune
from benchmark.settings import RunOptions, SplitOptions, option_keys

GROUPS = {
    **{"base": BaseRecipe, "attack": BlackWhiteAttack, "retrain": FineTune},
    **{"run": RunOptions, "split": SplitOptions},
}
KEYS = sorted(f"{group}.{key}" for group, model in GROUPS.items() for key in option_keys(model))


def test_the_request_that_is_mutated_here_is_right(bench):
    status, printed, said = bench(*tiny(bench))
    assert (status, said.splitlines()[0]) == (0, "all 8 trials are there already")
    assert "shake" in printed


NO_NUMBER = st.sampled_from(
    ["", "many", "nan", "-inf", "1e999", "0x10", "1,2", "none", "ｘ", "--", "[]"]
)
NO_OPTION = [key for key in KEYS if key not in ("run.readable", "attack.triggers", "attack.target")]
NUMBERS = [
    key
    for key in NO_OPTION
    if key.rpartition(".")[2] in ("epochs", "lr", "batch_size", "threads", "min_asr", "warmup")
]


@st.composite
def wrong_keys(draw) -> str:
    """A key with one or two letters changed, lost or doubled."""
    key = draw(st.sampled_from(KEYS))
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(key) - 1))
        letter = draw(st.sampled_from(["", key[at] * 2, "_", ".", "é", "\x1b", " x", "'"]))
        key = key[:at] + letter + key[at + 1 :] or "x"
    return key


@settings(PATIENT, max_examples=40)
@given(key=wrong_keys(), value=st.sampled_from(["1", "0.5", "", "true"]))
def test_an_option_that_does_not_exist_is_refused(bench, key, value):
    assume(key.strip() not in KEYS)
    bench.refused(*tiny(bench, "--dry-run", "--set", f"{key}={value}"))


@settings(PATIENT, max_examples=40)
@given(key=st.sampled_from(NUMBERS), value=NO_NUMBER | st.just("-1"))
def test_a_value_that_is_no_number_is_refused(bench, key, value):
    assert key in bench.refused(*tiny(bench, "--dry-run", "--set", f"{key}={value}"))


@pytest.mark.parametrize("option", ["--seeds", "--workers", "--timeout"])
@pytest.mark.parametrize(
    "value", ["0", "-1", "", "nan", "inf", "-inf", "1e999", "two", "0x3", "1,5", "9" * 400 + "x"]
)
def test_a_count_that_is_none_is_refused(bench, option, value):
    assert option in bench.refused(*tiny(bench, option, value))


@pytest.mark.parametrize("option", ["--seeds", "--workers"])
@pytest.mark.parametrize("value", ["10001", "9" * 30, "1.5"])
def test_a_count_beyond_all_sense_is_refused(bench, option, value):
    assert option in bench.refused(*tiny(bench, option, value))


KNOWN = ("none", "oracle", "clean", "digits", "quick", "cpu", "auto", "never", "always")
"""Words that some option takes and that a test which makes up words may well come upon."""
OPTIONS = ["--defense", "--attack", "--dataset", "--model", "--preset", "--data-dir", "--plugin"]


@settings(PATIENT, max_examples=40)
@given(option=st.sampled_from([*OPTIONS, "--out", "--device", "--rerun"]), value=WORDS)
def test_a_name_that_nobody_knows_is_refused(bench, option, value):
    assume(value not in KNOWN)
    if option == "--data-dir":  # a data set that reads none pays no heed to it
        assume(value.strip("/.~"))  # not all of the disk
        words = ["--dataset", "cifar10", option, value]
        bench.refused(*tiny(bench, "--dry-run", *words))
    elif option == "--out":  # any name will do, and nothing is made by a dry run
        bench.answered(*tiny(bench, "--dry-run", option, value))
    else:
        bench.refused(*tiny(bench, "--dry-run", option, value))


ARGUMENTS = st.lists(
    WORDS
    | st.sampled_from([*OPTIONS, "--set", "--seeds", "--rerun", "--device", "--help", "--", "-"])
    | st.sampled_from(["shake", "tiny", "one-conv", "2", "never", "cpu", "bw3x3", "quick"])
    | st.sampled_from(KEYS).flatmap(lambda key: WORDS.map(lambda value: f"{key}={value}")),
    max_size=4,
)


@settings(PATIENT, max_examples=40)
@given(words=ARGUMENTS)
def test_any_run_is_planned_or_refused(bench, words):
    bench.answered(*tiny(bench, "--dry-run", *words))


@settings(PATIENT, max_examples=40)
@given(
    verb=st.sampled_from(["leaderboard", "show", "export", "compare", "plugins", "presets", "rnu"]),
    words=st.lists(
        WORDS.filter(lambda word: "/" not in word)
        | st.sampled_from(["--format", "json", "csv", "-o", "x.csv", "--json", "--all", "--plugin"])
        | st.sampled_from(["shake", "none", "oracle", "shake:", "--help", "."]),
        max_size=5,
    ),
)
def test_any_look_is_answered_or_refused(bench, verb, words):
    where = ["--out", bench.out] if verb in ("leaderboard", "show", "export", "compare") else []
    bench.answered(verb, *where, *words)


# A process of its own


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--timeout", "nan"],
        ["run", "--out", "x" * 5000],
        ["leaderboard", "--out", "x" * 5000],
        ["run", "--plugin", os.fsdecode(b"\xff\x1b.py")],
        ["run", "--defense", os.fsdecode(b"\xff[red]")],
        ["run", "--dry-run", "--set", os.fsdecode(b"run.threads=\xff")],
        ["run", "--dry-run", "--set", os.fsdecode(b"run.readable=/x\xff")],
    ],
)
def test_a_wrong_request_from_outside_is_said_and_is_status_2(tmp_path, words):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "BENCH_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", "from benchmark.cli import main; main()", *words],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stderr
    assert done.stderr.isascii()
    assert list(tmp_path.iterdir()) == []
