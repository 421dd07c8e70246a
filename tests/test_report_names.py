"""Names and messages that a plugin chose, where a run and a list show them: they harm nothing."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli import main
from benchmark.display import BarDisplay, PlainDisplay
from benchmark.estimate import Clock
from benchmark.jobs import Report, TrialJob
from benchmark.plan import Planned
from benchmark.preset import Estimate
from benchmark.report.escape import csv_cell, printable_lines

EVIL = "[red]x</script>[/]\x1b[31m\x9b2J\r\b\x07\u202e"
SHOWN = r"[red]x</script>[/]\x1b[31m\x9b2J\r\x08\x07\u202e"


@pytest.fixture
def planned() -> Planned:
    """A job with a label that a plugin chose; nothing here looks at the job's own settings."""
    job = TrialJob.model_construct(id="ab")
    return Planned(job, EVIL, "", {}, {}, 0)


@pytest.mark.parametrize("kind", [PlainDisplay, BarDisplay])
def test_a_display_shows_what_a_job_says_as_text(planned, kind, tmp_path):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=kind is BarDisplay, width=200, color_system=None)
    said = tmp_path / "said.json"
    said.write_text(json.dumps({"step": 1, "total": 2, "text": EVIL}), encoding="utf-8")
    progress = tmp_path / "progress"
    progress.write_text(str(said), encoding="utf-8")
    clock = Clock(Estimate(base=1, victim=1, trial=1))
    with kind(console, [planned], clock, 1) as display:
        display.started(planned, progress)
        display.tick()
        if kind is BarDisplay:
            display._bars.refresh()
            assert f"{SHOWN} 1/2" in screen.getvalue()
        display.finished(planned, Report(id="ab", status="failed", error=EVIL))
    text = screen.getvalue()
    assert f"{SHOWN}: failed: {SHOWN}" in text
    for harmful in ("\x1b[31m", "\x9b", "\x07", "\b", "\u202e"):
        assert harmful not in text


@pytest.mark.parametrize("width", [80, 200])
def test_a_list_of_plugins_shows_what_they_say_as_text(bench, write_plugin, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    file = write_plugin(
        "from pydantic import Field\nfrom benchmark.api import Options\n"
        f"EVIL = {EVIL!r}\n"
        "class Mine(Options):\n    a: str = Field(EVIL, description=EVIL)\n"
        "@hookimpl\ndef bench_defenses():\n"
        "    return [DefenseSpec('mine', EVIL, EVIL, int, options=Mine, paper=EVIL)]\n",
        "a [red]plugin\x1b[31m, ü.py",
    )
    status, text, said = bench("plugins", "--all", "--plugin", file)
    assert (status, said) == (0, "")
    assert f"  paper: {SHOWN}" in text
    assert f"mine.a={SHOWN}{SHOWN}" in "".join(text.split())
    assert all(line.isprintable() for line in text.splitlines())


def test_an_error_shows_what_a_plugin_says_as_text(bench, write_plugin):
    file = write_plugin(f"raise ValueError({EVIL!r})\n", "a [red]plugin\x1b[31m, ü.py")
    status, text, said = bench("plugins", "--plugin", file)
    assert (status, text) == (2, "")
    assert r"a [red]plugin\x1b[31m, ü.py: line 2: ValueError: [red]x</script>[/]\x1b[31m" in said
    assert said.rstrip("\n").isprintable()


@pytest.fixture
def bench(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return call


def test_lines_stay_lines_and_cells_stay_what_they_are():
    assert printable_lines(f"a\tb\n{EVIL}\n") == f"a       b\n{SHOWN}\n"
    assert csv_cell("a\nb\x1b") == "a\nb\\x1b"
    assert [csv_cell(value) for value in (-1.5, None, True, "-", "a=b", "")] == (
        [-1.5, None, True, "'-", "a=b", ""]
    )


# Where a run writes


def test_a_run_writes_below_its_out_and_the_cache_and_nowhere_else(command, tmp_path):
    """Through a symbolic link, in folders with odd names, from a plugin file in another one."""
    real = tmp_path / "the real, ü [red]"
    places = {name: tmp_path / f"{name} of ü, $HOME" for name in ("home", "tmp", "cwd", "cache")}
    for place in (real, *places.values()):
        place.mkdir()
    kept = places["home"] / "thesis.txt"
    kept.write_text("three years of work", encoding="utf-8")
    plugin = places["cwd"] / "the plugin, é.py"
    plugin.symlink_to(Path(__file__).parent / "plugin_files" / "tiny_case.py")
    out = tmp_path / "link to results"
    out.symlink_to(real, target_is_directory=True)
    arguments = command.tiny(
        out, "--defense", "shake", attack__triggers="170", base__epochs=1, attack__epochs=1
    )
    arguments[arguments.index("--plugin") + 1] = plugin.name
    environment = command.environment() | {
        **{"HOME": str(places["home"]), "TMPDIR": str(places["tmp"])},
        **{"BENCH_CACHE_DIR": str(places["cache"]), "XDG_CACHE_HOME": str(places["home"] / "x")},
    }
    done = run_in(command, arguments, places["cwd"], environment)
    assert done.returncode in (0, 1), done.stderr
    assert (real / "results.sqlite").is_file()
    assert any(places["cache"].rglob("*.safetensors"))
    left = {name: sorted(p.name for p in place.rglob("*")) for name, place in places.items()}
    assert left["home"] == ["thesis.txt"]
    assert left["tmp"] == []
    assert left["cwd"] == [plugin.name]
    assert kept.read_text(encoding="utf-8") == "three years of work"
    assert {p.name for p in tmp_path.iterdir()} == {
        *(real.name, out.name),
        *(place.name for place in places.values()),
    }


def run_in(command, arguments, folder, environment):
    code = "from benchmark.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
