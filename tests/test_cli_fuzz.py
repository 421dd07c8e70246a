"""Whatever is thrown at `bench`: no traceback, no status 0 for a wrong request, no damage."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark.builtin.attack_options import BlackWhiteAttack
from benchmark.cli import main
from benchmark.recipe import BaseRecipe, FineTune
from benchmark.settings import RunOptions, SplitOptions, option_keys
from benchmark.store import Store

TINY_CASE = Path(__file__).parent / "plugin_files" / "tiny_case.py"
GROUPS = {
    **{"base": BaseRecipe, "attack": BlackWhiteAttack, "retrain": FineTune},
    **{"run": RunOptions, "split": SplitOptions},
}
KEYS = sorted(f"{group}.{key}" for group, model in GROUPS.items() for key in option_keys(model))
PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
# No shell can pass a NUL; a lone surrogate is what Python makes of a byte that is no UTF-8.
WORDS = st.text(st.characters(exclude_characters="\0"), max_size=20)


class Fuzzed:
    """The real entry point, called in this process on a copy of finished results."""

    def __init__(self, command, out: Path) -> None:
        self.command, self.out = command, out
        self.state = self.content()

    def content(self) -> dict[str, bytes]:
        files = (p for p in sorted(self.out.rglob("*")) if p.is_file() and p.name != ".lock")
        return {str(p): p.read_bytes() for p in files}

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Return status, output, error output; an exception that gets out is a traceback."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "oe")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["bench", *map(str, arguments)])
            patch.setenv("BENCH_CACHE_DIR", str(self.command.home / "cache"))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                    status = 0
                except SystemExit as end:
                    status = end.code or 0
        printed, said = (stream.buffer.getvalue().decode() for stream in (out, err))
        assert "Traceback" not in printed + said
        assert "unexpected error" not in said
        if not said.startswith("Usage: "):  # which has the user's own words as they were typed
            lines = (printed + said).replace("\t", " ").split("\n")
            assert all(map(str.isprintable, lines)), (printed, said)
        return status, printed, said

    def refused(self, *arguments: object) -> str:
        """Expect status 2, one line or a usage message, and results as they were."""
        status, printed, said = self(*arguments)
        assert (status, printed) == (2, ""), (arguments, said)
        last = said.splitlines()[-1]
        assert last.startswith("bench: ") or said.startswith("Usage: "), said
        assert self.content() == self.state
        return said

    def answered(self, *arguments: object) -> int:
        """Expect status 0 or 2 and results as they were."""
        status, printed, said = self(*arguments)
        assert status in (0, 2), (arguments, said)
        assert said.strip() if status else printed.strip()
        assert self.content() == self.state
        return status


@pytest.fixture(scope="module")
def bench(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    fuzzed = Fuzzed(tiny_run.command, tiny_run.copy(folder / "results"))
    before = Path.cwd()
    os.chdir(folder)  # what a wild path names lies here
    yield fuzzed
    os.chdir(before)
    with Store.open(fuzzed.out, write=False) as store:
        assert len(list(store.trials())) == 8


def tiny(bench, *arguments: object) -> list[object]:
    return bench.command.tiny(bench.out, "--defense", "shake", *arguments)


def test_the_request_that_is_mutated_here_is_right(bench):
    status, printed, said = bench(*tiny(bench))
    assert (status, said.splitlines()[0]) == (0, "all 8 trials are there already")
    assert "shake" in printed


# Options

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


OPTIONS = ["--defense", "--attack", "--dataset", "--model", "--preset", "--data-dir", "--plugin"]


@settings(PATIENT, max_examples=40)
@given(option=st.sampled_from([*OPTIONS, "--out", "--device", "--rerun"]), value=WORDS)
def test_a_name_that_nobody_knows_is_refused(bench, option, value):
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


# Plugin files

EVIL = "[red]x</script>\\x1b[31m\\r\\n"
RIGHT = {
    **{"name": '"wild"', "version": '"1"', "summary": '"runs"', "factory": "int"},
    **{"options": "Options", "needs": "frozenset({Knowledge.WEIGHTS})", "paper": "None"},
    **{"presets": "{}", "terms": "None"},
}
ALSO_RIGHT = {
    "version": [f'"{EVIL}"', '"é"'],
    "summary": [f'"{EVIL}"'],
    "paper": [f'"{EVIL}"'],
    "options": ["Odd", "Nan"],
    "presets": ['{"other": {"nope": 1}}'],
    "terms": ["lambda options: (frozenset({Knowledge.WEIGHTS}), frozenset())"],
}
WRONG = {
    "name": ["None", '""', f'"{EVIL}"', '"run"', '"a b"', '"Ä"', "b'x'", '"shake"'],
    "version": ["1", "None", '"  "'],
    "summary": ["None", "object()"],
    "paper": ["7", '""'],
    "factory": ["None", '"int"'],
    "options": ["dict", "None", "Options()", "Rude", "Picky", "Unwritable"],
    "needs": ["{Knowledge.WEIGHTS}", "frozenset({'weights'})", "None", "frozenset({1})"],
    "terms": ["3", "lambda options: 1 / 0", "lambda options: 7", "lambda options: ({1}, ())"],
    "presets": ["None", '{"quick": 3}', '{"quick": {"nope": 1}}', "[1]"],
}
HEAD = """
import sys
from typing import Any
from pydantic import BaseModel, Field, field_validator
from benchmark.api import (
    AttackInstance, AttackSpec, DatasetInfo, DatasetSpec, DefenseSpec, Knowledge, Options, Trigger,
    hookimpl,
)

class Odd(Options):
    a: dict[str, int] = Field({}, description="[/red]")

class Nan(BaseModel):
    a: float = 0.5

class Rude(Options):
    a: int = 1
    @field_validator("a", mode="before")
    @classmethod
    def check(cls, value):
        raise KeyError(value)
    model_config = {"validate_default": True}

class Picky(Options):
    a: int

class Unwritable(BaseModel):
    a: Any = object()
"""


def plugin(folder: Path, source: str) -> Path:
    """Write a plugin file under a name of its own, since Python remembers modules by path."""
    path = folder / f"wild {len(list(folder.iterdir()))}.py"
    path.write_text(HEAD + source, encoding="utf-8")
    return path


def defense(fields: dict[str, str]) -> str:
    words = ", ".join(f"{key}={value}" for key, value in fields.items())
    return f"@hookimpl\ndef bench_defenses():\n    return [DefenseSpec({words})]\n"


@settings(PATIENT, max_examples=40)
@given(data=st.data())
def test_a_plugin_is_taken_if_it_keeps_the_contract_and_named_if_not(bench, tmp_path, data):
    right, wrong = dict(RIGHT), data.draw(st.booleans())
    for key, values in ALSO_RIGHT.items():
        right[key] = data.draw(st.sampled_from([right[key], *values]))
    if wrong:
        key = data.draw(st.sampled_from(sorted(WRONG)))
        right[key] = data.draw(st.sampled_from(WRONG[key]))
    file = plugin(tmp_path, defense(right))
    request = tiny(bench, "--plugin", file, "--defense", "wild", "--dry-run")
    if wrong:
        bench.refused(*request)
    else:
        assert bench(*request)[0] == 0
    bench.answered("plugins", "--plugin", file, "--all")


@pytest.mark.parametrize(
    "body",
    [
        *("raise ValueError('[/red]')", "sys.exit(0)", "sys.exit('x')", "raise BaseException"),
        *("return None", "return 7", "return [None]", "return [DefenseSpec]", "return 'ab'"),
        *("yield 1", "return bench_defenses()", "raise RecursionError", "raise SystemError(3)"),
        *("print('[red]'); raise StopIteration", "1 / 0", "raise ExceptionGroup('g', [OSError()])"),
    ],
)
def test_a_hook_that_fails_is_named(bench, tmp_path, body):
    file = plugin(tmp_path, f"@hookimpl\ndef bench_defenses():\n    {body}\n")
    assert str(file) in bench.refused(*tiny(bench, "--plugin", file))
    assert str(file) in bench.refused("plugins", "--plugin", file)


PLANE = "((0.0, 1.0), (1.0, 0.0))"


@pytest.mark.parametrize(
    ("instances", "said"),
    [
        (f"[AttackInstance(Trigger('x', ({PLANE},) * 3), 1)]", ""),
        (f"[AttackInstance(Trigger('[red]', ({PLANE},) * 3), 1)]", ""),
        ("[]", "offers no trigger"),
        ("None", "TypeError"),
        ("[1]", "hold a int, not an AttackInstance"),
        ("1 / 0", "ZeroDivisionError"),
        ("sys.exit(0)", "sys.exit(0)"),
        (f"[AttackInstance(Trigger('x', ({PLANE},) * 2), 1)]", "shape (3, height, width)"),
        (f"[AttackInstance(Trigger('x', ({PLANE},) * 3), 3)]", "none of 3 classes"),
        (f"[AttackInstance(Trigger('x', ({PLANE},) * 3), '1')]", "no class number"),
        (f"[AttackInstance(Trigger('', ({PLANE},) * 3), 1)]", "has no name"),
        (f"[AttackInstance(Trigger('x', ({PLANE},) * 3), 1)] * 2", "two instances are called 'x'"),
        ("[AttackInstance(Trigger('x', (((2.0,),),) * 3), 1)]", "values outside [0, 1]"),
        ("[AttackInstance(Trigger('x', (((float('nan'),),),) * 3), 1)]", "values outside"),
        ("[AttackInstance(Trigger('x', (((0.0,) * 99,),) * 3), 1)]", "does not fit images"),
        ("[AttackInstance(Trigger('x', ()), 1)]", "IndexError"),
        ("[AttackInstance(None, 1)]", "not an AttackInstance"),
    ],
)
def test_an_attack_that_offers_no_patches_is_named(bench, tmp_path, instances, said):
    source = f"""
@hookimpl
def bench_attacks():
    made = lambda options, info: {instances}
    return [AttackSpec("wild", "1", "runs", made, int)]
"""
    file = plugin(tmp_path, source)
    sets = ["--dataset", "tiny", "--model", "one-conv", "--device", "cpu", "--out", bench.out]
    request = ["run", "--plugin", TINY_CASE, "--plugin", file, *sets, "--attack", "wild"]
    if not said:
        assert bench.answered(*request, "--defense", "shake", "--dry-run") == 0
    else:
        assert said in bench.refused(*request, "--defense", "shake")


@pytest.mark.parametrize(
    ("inputs", "load"),
    [
        *(("raise KeyError('x')", "pass"), ("sys.exit(0)", "pass"), ("return object()", "pass")),
        *(("return 'x'", "raise OSError(5, 'bad [/red]')"), ("return 'x'", "return None")),
        *(("return 'x'", "return 3"), ("return 'x'", "raise MemoryError"), ("1 / 0", "pass")),
    ],
)
def test_a_data_set_that_fails_is_named(bench, tmp_path, inputs, load):
    source = f"""
class Wild:
    def __init__(self, options): pass
    def fingerprint_inputs(self, data_dir, cache_dir):
        {inputs}
    def load(self, data_dir, cache_dir):
        {load}

@hookimpl
def bench_datasets():
    return [DatasetSpec("wild", "1", "runs", DatasetInfo(3, (16, 16)), Wild)]
"""
    file = plugin(tmp_path, source)
    assert "wild" in bench.refused(*tiny(bench, "--plugin", file, "--dataset", "wild"))


MUTATION = st.tuples(
    st.sampled_from(["cut", "double", "flip", "insert"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 60),
    st.binary(min_size=1, max_size=8),
)


def mutated(content: bytes, mutations) -> bytes:
    for kind, place, size, what in mutations:
        at = int(place * len(content))
        head, body, tail = content[:at], content[at : at + size], content[at + size :]
        if kind == "cut":
            content = head + tail
        elif kind == "double":
            content = head + body + body + tail
        elif kind == "flip":
            content = head + bytes(byte ^ what[0] for byte in body[:1]) + body[1:] + tail
        else:
            content = head + what + body + tail
        content = content or b"\0"
    return content


@settings(PATIENT, max_examples=40)
@given(mutations=st.lists(MUTATION, min_size=1, max_size=3))
def test_a_damaged_plugin_file_is_read_or_named(bench, tmp_path, mutations):
    file = tmp_path / f"damaged {len(list(tmp_path.iterdir()))}.py"
    file.write_bytes(mutated(TINY_CASE.read_bytes(), mutations))
    if bench.answered("plugins", "--plugin", file):
        assert str(file) in bench.refused("run", "--plugin", file, "--out", bench.out)


# Data files


@pytest.fixture(scope="module")
def shard() -> bytes:
    """Eleven images as a hub's parquet shard."""
    files = []
    for image in np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        files.append({"bytes": buffer.getvalue(), "path": None})
    sink = io.BytesIO()
    labels = [3, 1, 4, 1, 5, 9, 2, 6, 8, 7, 0]
    pq.write_table(pa.table({"img": files, "label": labels}), sink)
    return sink.getvalue()


def on_data(bench, folder: Path) -> list[object]:
    return tiny(bench, "--dataset", "cifar10", "--data-dir", folder, "--dry-run")


def hub(folder: Path, train: bytes, test: bytes) -> Path:
    folder.mkdir()
    (folder / "train-00000-of-00001.parquet").write_bytes(train)
    (folder / "test-00000-of-00001.parquet").write_bytes(test)
    return folder


@settings(PATIENT, max_examples=25)
@given(mutations=st.lists(MUTATION, min_size=1, max_size=3))
def test_a_damaged_data_file_is_read_or_named(bench, tmp_path, shard, mutations):
    folder = hub(tmp_path / str(len(list(tmp_path.iterdir()))), mutated(shard, mutations), shard)
    bench.answered(*on_data(bench, folder))


@settings(PATIENT, max_examples=15)
@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_data_file_cut_short_is_named(bench, tmp_path, shard, keep):
    short = shard[: int(keep * len(shard))]
    folder = hub(tmp_path / str(len(list(tmp_path.iterdir()))), shard, short)
    assert str(folder) in bench.refused(*on_data(bench, folder))


@settings(PATIENT, max_examples=15)
@given(
    name=st.sampled_from(["cifar-10-python.tar.gz", "data_batch_1", "train.parquet", "x.zip"]),
    content=st.binary(max_size=200),
)
def test_a_file_that_is_no_data_is_named(bench, tmp_path, name, content):
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    (folder / name).write_bytes(content)
    assert str(folder) in bench.refused(*on_data(bench, folder))


# A process of its own


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--timeout", "nan"],
        ["run", "--out", "x" * 5000],
        ["leaderboard", "--out", "x" * 5000],
        ["run", "--plugin", os.fsdecode(b"\xff\x1b.py")],
        ["run", "--defense", os.fsdecode(b"\xff[red]")],
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


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_a_character_shows_its_number(command, tmp_path, encoding):
    file = plugin(tmp_path, defense(RIGHT | {"summary": '"a → b"'}))
    code = "from benchmark.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "plugins", "--plugin", str(file)],
        env={**command.environment(), "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert rb"a \u2192 b" in done.stdout
