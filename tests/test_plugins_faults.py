"""Plugin files that are refused, each really broken, and the one line that says why."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.plugins import load_plugins

Writer = Callable[..., Path]


def refusal(file: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(UserError) as error:
        load_plugins([file])
    assert "\n" not in str(error.value)
    return str(error.value)


class TestRefusedPaths:
    def test_missing(self, tmp_path: Path) -> None:
        assert "nothing.py is not there" in refusal(tmp_path / "nothing.py")

    def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in refusal(tmp_path)

    def test_not_python(self, write_defense: Writer) -> None:
        assert "its name must end in .py" in refusal(write_defense("mine", "notes.txt"))

    def test_symlink_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "loop.py").symlink_to("loop.py")
        assert "cannot be read" in refusal(tmp_path / "loop.py")

    def test_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.py")
        assert "is not a file" in refusal(tmp_path / "pipe.py")

    def test_binary(self, tmp_path: Path) -> None:
        (tmp_path / "binary.py").write_bytes(bytes(range(256)))
        assert "binary.py: " in refusal(tmp_path / "binary.py")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\ndef f(:\n", "line 3: SyntaxError: invalid syntax"),
        ("\nimport a_missing_library", "line 3: ModuleNotFoundError: No module named"),
        ("import sys; sys.exit(3)", "line 2: it called sys.exit(3)"),
        ("raise ValueError('two\\nlines')", "line 2: ValueError: two lines"),
        ("raise ValueError('x' * 9999)", "xxx…"),
        ("class E(Exception):\n  def __str__(self): 1/0\nraise E()", "E: (its message cannot"),
        ("", "it has no hooks (a plugin implements some of bench_defenses"),
        ("def bench_defenses(): return []", "bench_defenses is not marked as a hook"),
        ("def bench_defences(): return []", "did you mean bench_defenses?"),
        ("@hookimpl\ndef bench_defence(): return []", "did you mean bench_defenses?"),
        ("@hookimpl\ndef something(): return []", "something is no hook of this harness"),
        ("@hookimpl\ndef bench_defenses(config): return []", "bench_defenses(config)"),
        ("@hookimpl\ndef bench_defenses(): return 1 / 0", "line 3: ZeroDivisionError"),
        ("@hookimpl\ndef bench_defenses(): exit(1)", "line 3: it called sys.exit(1)"),
        ("@hookimpl\ndef bench_defenses(): return None", "bench_defenses returned None, not a"),
        ("@hookimpl\ndef bench_defenses(): yield 1", "returned a generator, not a list of"),
        ("@hookimpl\ndef bench_defenses(): return [3]", "returned int where DefenseSpec was"),
        ("@hookimpl\ndef bench_attacks(): return [DefenseSpec]", "the class DefenseSpec where"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(
    write_plugin: Writer, source: str, message: str
) -> None:
    text = refusal(write_plugin(source))
    assert "a_plugin.py: " in text
    assert message in text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("name='Mine'", "name must match"),
        ("name='data'", "this name is reserved; so are attack, base"),
        ("name=3", "name must match"),
        ("version=1.0", "version must be a text"),
        ("version=''", "version must be a text"),
        ("summary=None", "summary must be a text"),
        ("paper=['x']", "paper must be a text or None"),
        ("factory='module:Class'", "factory must be callable"),
        ("options={}", "options must be a class"),
        ("needs={'weights'}", "needs must be a frozenset of Knowledge"),
        ("gives=frozenset({'model'})", "gives must be a frozenset of Output"),
        ("role='oracle'", "role must be a Role"),
        ("needs=frozenset(Knowledge)", "role must be Role.ORACLE"),
        ("presets={'quick': 3}", "presets must map"),
        ("terms='all'", "terms must be callable or None"),
    ],
)
def test_a_spec_is_checked_when_it_is_loaded(
    write_plugin: Writer, fields: str, message: str
) -> None:
    values = f"{{'name': 'mine', 'version': '1', 'summary': 'x', 'factory': int}} | dict({fields})"
    source = "from benchmark.api import Knowledge\n@hookimpl\n"
    source += f"def bench_defenses(): return [DefenseSpec(**({values}))]"
    assert message in refusal(write_plugin(source))
