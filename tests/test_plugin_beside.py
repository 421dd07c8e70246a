"""A plugin file and the module beside it: not found by itself, and every error says what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.plugins import load_plugins

Writer = Callable[..., Path]
DEFENSE = """
from benchmark.api import Outcome

class Mine:
    def __init__(self, options):
        pass

    def repair(self, view, run):
        from my_nets import shaken

        return Outcome([shaken(view.model)])

@hookimpl
def bench_defenses():
    return [DefenseSpec("mine", "1", "as in my_nets", Mine)]
"""
NETS = """
import torch

def shaken(model):
    model = __import__("copy").deepcopy(model)
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    return model
"""


@pytest.mark.parametrize(
    "source",
    [
        "import my_nets",
        "@hookimpl\ndef bench_defenses():\n    import my_nets\n    return []",
    ],
)
@pytest.mark.parametrize("beside", ["my_nets.py", "my_nets/__init__.py"])
def test_a_module_beside_a_plugin_file_is_not_found_and_the_line_says_how(
    write_plugin: Writer, tmp_path: Path, source: str, beside: str
) -> None:
    file = write_plugin(source)
    with pytest.raises(UserError) as alone:
        load_plugins([file])
    assert str(alone.value).endswith(": ModuleNotFoundError: No module named 'my_nets'")
    (tmp_path / beside).parent.mkdir(exist_ok=True)
    (tmp_path / beside).touch()
    with pytest.raises(UserError) as caught:
        load_plugins([file])
    said = f"No module named 'my_nets' (it lies beside the plugin file: {told(file)})"
    assert str(caught.value).endswith(said)


def told(file: Path) -> str:
    return f"say PYTHONPATH={file.parent}, or make a package of both with `bench new`"


def test_what_the_hint_says_works_in_a_sealed_process(
    command, write_plugin: Writer, tmp_path: Path
) -> None:
    file = write_plugin(DEFENSE)
    (tmp_path / "my_nets.py").write_text(NETS)
    without = command("check", file)
    assert without.returncode == 1, without.stderr
    assert "ModuleNotFoundError: No module named 'my_nets'" in without.stdout
    assert told(file) in " ".join(without.stdout.split())
    path = os.pathsep.join([str(tmp_path), command.environment()["PYTHONPATH"]])
    done = replace(command, extra={"PYTHONPATH": path})("check", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_lazy_factory_says_so_too(command, write_plugin: Writer, tmp_path: Path) -> None:
    spec = 'DefenseSpec("mine", "1", "as in my_nets", lazy("my_nets:Mine"))'
    file = write_plugin(f"@hookimpl\ndef bench_defenses():\n    return [{spec}]\n")
    (tmp_path / "my_nets.py").write_text(NETS)
    done = command("check", file)
    assert done.returncode == 1, done.stderr
    assert told(file) in " ".join(done.stdout.replace("mend:", "").split())


def test_a_plugin_file_is_no_module_beside_itself(write_plugin: Writer, tmp_path: Path) -> None:
    file = write_plugin("import my_nets")
    file = file.rename(tmp_path / "my_nets.py")
    with pytest.raises(UserError) as caught:
        load_plugins([file])
    assert str(caught.value).endswith(": ModuleNotFoundError: No module named 'my_nets'")
