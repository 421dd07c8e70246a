"""Installed third-party plugins, one good and one broken, as pip really leaves them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Python = Callable[..., Any]

LOOK = """
import json, sys
from benchmark.plugins import load_plugins
plugins = load_plugins()
noise = plugins.get("defense", "noise")
json.dump({
    "where": noise.where,
    "origin": noise.origin.to_json(),
    "faults": [[str(f.origin), f.error, f.traceback] for f in plugins.faults],
    "torch": "torch" in sys.modules,
}, sys.stdout)
"""

AGAIN = """
import json, sys
from benchmark.plugins import Origin, load_spec
spec = load_spec(Origin.from_json(json.loads(sys.argv[1])), "defense", "noise")
others = [name for name in sys.modules if name.startswith(("benchmark.builtin", "bench_mesa"))]
assert not others, others
import torch
from benchmark.api import DatasetInfo, View
from benchmark.context import RunContext
model = torch.nn.Linear(4, 2)
view = View("noise", DatasetInfo(2, (2, 2)), {"model": model})
shaken = spec.factory(spec.options()).repair(view, RunContext(torch.device("cpu"), 0)).models[0]
assert not torch.equal(shaken.weight, model.weight)
"""

ASK = """
import sys
from pathlib import Path
from benchmark.errors import UserError
from benchmark.plugins import load_plugins
try:
    load_plugins([Path(file) for file in sys.argv[2:]]).get("defense", sys.argv[1])
except UserError as error:
    print(error)
"""


def test_a_broken_package_is_named_and_the_good_one_works(
    python: Python, installed_packages: Path
) -> None:
    seen = json.loads(python(LOOK, path=(installed_packages,)).stdout)
    assert seen["where"] == "package bench-example-noise 2.5 (bench_example_noise.plugin)"
    assert seen["origin"]["path"].endswith("bench_example_noise/plugin.py")
    assert not seen["torch"]
    broken = [fault for fault in seen["faults"] if "bench-example-broken 0.3" in fault[0]]
    assert len(broken) == 1
    missing = "ModuleNotFoundError: No module named 'a_library_that_nobody_installed'"
    assert broken[0][1] == missing
    assert "bench_example_broken/plugin.py" in broken[0][2]


def test_one_package_loads_again_alone_and_works(python: Python, installed_packages: Path) -> None:
    seen = json.loads(python(LOOK, path=(installed_packages,)).stdout)
    python(AGAIN, json.dumps(seen["origin"]), path=(installed_packages,))


def test_an_unknown_name_mentions_what_was_not_loaded(
    python: Python, installed_packages: Path
) -> None:
    said = python(ASK, "nois", path=(installed_packages,)).stdout
    assert "did you mean noise" in said
    assert "not loaded: " in said
    assert "package bench-example-broken 0.3" in said


def test_a_run_that_finds_all_there_says_how_an_edited_package_is_run_again(
    command: Any, tiny_run: Any, installed_packages: Path, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(installed_packages), command.environment()["PYTHONPATH"]])
    bench = type(command)(command.home, extra={"PYTHONPATH": path})
    out = tiny_run.copy(tmp_path / "out")

    def again(defense: str) -> str:
        words = command.tiny(out, "--defense", defense, attack__triggers="170")
        done = bench(*words)
        assert done.returncode == 0, done.stderr
        return done.stderr

    told = (
        "all 4 trials are there already\nif you edited bench-example-noise: a package is known by "
        "its version; raise that in the spec, or give --rerun always\n"
    )
    assert "if you edited" not in again("noise")  # what is missing is run
    assert told in again("noise")
    # A plugin file is known by what is in it; the oracle is a package, but a shipped one.
    said = again("shake")
    assert "all 4 trials are there already\n" in said
    assert "if you edited" not in said


def test_a_file_and_a_package_of_one_name_are_both_named(
    python: Python, installed_packages: Path, write_defense: Callable[..., Path]
) -> None:
    file = write_defense("noise", "noise.py")
    said = python(ASK, "noise", str(file), path=(installed_packages,)).stdout
    assert "package bench-example-noise 2.5" in said
    assert f"{file.resolve()}:2" in said
