"""Whatever a plugin file holds: it is taken if it keeps the contract, and named if not."""

import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import MUTATION, PATIENT, mutated, tiny
from hypothesis import given, settings
from hypothesis import strategies as st

TINY_CASE = Path(__file__).parent.parent / "plugin_files" / "tiny_case.py"


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
        (
            f"[AttackInstance(Trigger(name, ({PLANE},) * 3), 1) for name in ('x', 'y')]",
            "'x' and 'y' are two names of one instance: the same pixels, place, target",
        ),
        (f"[AttackInstance(Trigger(n, ({PLANE},) * 3), int(n)) for n in '12']", ""),
        (f"[AttackInstance(Trigger(str(n), ({PLANE},) * 3, (n, 0)), 1) for n in (1, 2)]", ""),
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


@settings(PATIENT, max_examples=40)
@given(mutations=st.lists(MUTATION, min_size=1, max_size=3))
def test_a_damaged_plugin_file_is_read_or_named(bench, tmp_path, mutations):
    file = tmp_path / f"damaged {len(list(tmp_path.iterdir()))}.py"
    file.write_bytes(mutated(TINY_CASE.read_bytes(), mutations))
    if bench.answered("plugins", "--plugin", file):
        assert str(file) in bench.refused("run", "--plugin", file, "--out", bench.out)


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
