"""`bench plugins`: the table, the JSON, and what it says of broken plugins."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from benchmark.catalogue import read_catalogue
from benchmark.cli.plugins import register
from benchmark.errors import UserError

Writer = Callable[..., Path]
Python = Callable[..., Any]

COMMAND = """
import sys, typer
from benchmark.cli.plugins import register
app = typer.Typer()
app.callback()(lambda: None)
register(app)
try:
    app(sys.argv[1:])
finally:
    assert "torch" not in sys.modules, "torch"
"""


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what this shell says about its own terminal out of the tests."""
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def listed(*arguments: str) -> str:
    """What the command prints; its exceptions come through."""
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    result = CliRunner().invoke(app, ["plugins", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if re.match(rf"\s*\w+\s+{name}\s", line))


def test_everything_known_is_in_the_table() -> None:
    text = listed()
    for entry in read_catalogue():
        assert row(text, entry.name).split()[0] == entry.kind


def test_a_file_is_listed_with_its_path(write_defense: Writer) -> None:
    file = write_defense("mine")
    line = row(listed("--plugin", str(file)), "mine")
    assert "yes" in line
    assert "weights, clean images" in line


def test_json_has_every_field(write_defense: Writer) -> None:
    file = write_defense("mine")
    told = json.loads(listed("--json", "--plugin", str(file)))
    mine = next(row for row in told["plugins"] if row["name"] == "mine")
    assert mine["status"] == "installed"
    assert mine["knowledge"] == ["weights", "clean images"]
    assert mine["gives"] == ["model"]
    assert mine["origin"] == f"file {file.resolve()}"
    assert mine["options"]["type"] == "object"
    assert told["collisions"] == []
    assert {row["name"] for row in told["plugins"]} >= {entry.name for entry in read_catalogue()}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_loses_nothing(
    write_defense: Writer, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = listed("--plugin", str(write_defense("mine")))
    assert max(map(len, text.splitlines())) <= width
    told = " ".join(text.split())
    for word in (
        "pixel_baseline",
        "does nothing",
        "is told weights, clean images",
        "trigger pixels",
    ):
        assert word in told


def test_all_shows_options_and_papers(write_plugin: Writer) -> None:
    source = (
        "from pydantic import Field\nfrom benchmark.api import Options\n"
        "class Mine(Options):\n    epochs: int = Field(7, description='passes [bold]')\n"
        "@hookimpl\ndef bench_defenses():\n"
        "    return [DefenseSpec('mine', '1', 'x', int, options=Mine, paper='A [red] paper')]\n"
    )
    text = listed("--all", "--plugin", str(write_plugin(source)))
    assert "mine.epochs = 7  passes [bold]" in text
    assert "paper: A [red] paper" in text


def test_all_shows_every_key_as_set_takes_it(write_plugin: Writer) -> None:
    source = (
        "from pydantic import Field\nfrom benchmark.api import MetricSpec, Options\n"
        "class Deep(Options):\n    sizes: tuple[int, ...] = (3, 5)\n"
        "class Inner(Options):\n"
        "    lr: float = Field(0.1, description='rate')\n"
        "    decay: bool = True\n    name: str | None = None\n    deep: Deep = Deep()\n"
        "class Mine(Options):\n    epochs: int\n    own: Inner = Inner(lr=0.5)\n"
        "@hookimpl\ndef bench_attacks():\n"
        "    return [AttackSpec('mine', '1', 'x', list, int, Mine)]\n"
        "@hookimpl\ndef bench_metrics():\n"
        "    return [MetricSpec('measure', '1', 'x', int, True, Mine)]\n"
    )
    text = listed("--all", "--plugin", str(write_plugin(source)))
    lines = [
        *("  attack.epochs", "  attack.own.lr = 0.5  rate", "  attack.own.decay = true"),
        *("  attack.own.name = none", "  attack.own.deep.sizes = 3,5"),
    ]
    assert "\n".join(["attack mine", *lines, ""]) in text
    assert "metric measure" not in text  # no option of a metric can be set


def test_options_whose_schema_fails_spoil_no_other_line(write_plugin: Writer) -> None:
    source = (
        "from pydantic import Field\nfrom benchmark.api import Options\n"
        "def fails(schema):\n    raise KeyError('title')\n"
        "class Mine(Options):\n    epochs: int = Field(7, json_schema_extra=fails)\n"
        "@hookimpl\ndef bench_defenses():\n"
        "    return [DefenseSpec('mine', '1', 'x', int, options=Mine)]\n"
    )
    text = listed("--all", "--plugin", str(write_plugin(source)))
    assert "yes" in row(text, "mine")
    assert "yes" in row(text, "fine_tuning")


def test_markup_in_a_summary_is_text(write_plugin: Writer) -> None:
    source = "@hookimpl\ndef bench_defenses(): return [DefenseSpec('mine', '1', '[/x] [red]', int)]"
    assert "[/x] [red]" in row(listed("--plugin", str(write_plugin(source))), "mine")


def test_collisions_are_shown_with_both_places(write_defense: Writer) -> None:
    files = [write_defense("mine", "[red]first.py"), write_defense("mine", "second.py")]
    text = listed("--plugin", str(files[0]), "--plugin", str(files[1]))
    assert "collides" in row(text, "mine")
    both = " and ".join(f"{file.resolve()}:2" for file in files)
    assert f"collision: two plugins offer the defense 'mine': {both}" in text


def test_a_broken_file_is_refused(write_plugin: Writer) -> None:
    with pytest.raises(UserError, match="line 2: SyntaxError"):
        listed("--plugin", str(write_plugin("(")))


def test_installed_packages_are_listed_and_broken_ones_named(
    python: Python, installed_packages: Path
) -> None:
    text = python(COMMAND, "plugins", "--all", path=(installed_packages,)).stdout
    assert "package bench-example-noise 2.5" in text
    fault = next(line for line in text.splitlines() if line.startswith("broken: package bench-"))
    assert "package bench-example-broken 0.3 (bench_example_broken.plugin): Module" in fault
    assert fault.endswith("No module named 'a_library_that_nobody_installed'")
    assert "Traceback (most recent call last)" in text


def test_broken_packages_are_in_the_json(python: Python, installed_packages: Path) -> None:
    told = json.loads(python(COMMAND, "plugins", "--json", path=(installed_packages,)).stdout)
    broken = [fault["origin"]["distribution"] for fault in told["faults"]]
    assert "bench-example-broken" in broken
    noise = next(row for row in told["plugins"] if row["name"] == "noise")
    assert noise["options"]["properties"]["scale"]["default"] == 0.01


def test_a_known_plugin_that_is_broken_is_not_offered_for_installation(
    python: Python, tmp_path: Path
) -> None:
    """An installed `mesa` whose code is damaged, as an interrupted upgrade leaves it."""
    info = tmp_path / "site" / "backdoor_bench_mesa-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: backdoor-bench-mesa\nVersion: 9\n")
    (info / "entry_points.txt").write_text("[backdoor_bench]\nmesa = bench_mesa.plugin\n")
    (tmp_path / "site" / "bench_mesa").mkdir()
    (tmp_path / "site" / "bench_mesa" / "__init__.py").write_text("half a li")
    told = json.loads(python(COMMAND, "plugins", "--json", path=(tmp_path / "site",)).stdout)
    mesa = next(row for row in told["plugins"] if row["name"] == "mesa")
    assert mesa["status"] == "broken"
    assert mesa["install"] == ""
