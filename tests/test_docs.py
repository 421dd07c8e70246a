"""The documentation: every hook documented and tested, pages that work, a tutorial that runs."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

from benchmark import hookspecs
from benchmark.cli import main
from benchmark.loading.reading import HOOKS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.fixture
def reference(monkeypatch):
    """The modules that write the reference pages."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    import command_pages
    import hook_pages

    return command_pages, hook_pages


def test_every_hook_is_documented_with_what_goes_in_and_out(reference) -> None:
    _, hook_pages = reference
    declared = {name for name in vars(hookspecs) if name.startswith("bench_")}
    assert declared == set(HOOKS)
    page = hook_pages.hooks_page()
    told = {kind.__name__: kind for _, _, kinds in hook_pages.GROUPS for kind in kinds}
    for name in HOOKS:
        function = getattr(hookspecs, name)
        assert len(inspect.cleandoc(function.__doc__).split()) > 5, f"{name} has no docstring"
        assert f"### {name}\n" in page
        signature = " ".join(map(str, function.__annotations__.values()))
        for kind in re.findall(r"[A-Z]\w+(?:Spec|Event|Result)", signature):
            assert f"### {kind}\n" in page, f"{name}: {kind} is not on the page"
            assert len(inspect.cleandoc(told[kind].__doc__ or "").split()) > 3
            for field in fields(told[kind]):
                assert f"| `{field.name}` |" in page


def sources() -> Iterator[str]:
    """The texts of all tests, and of the plugins among them."""
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name != Path(__file__).name:
            yield path.read_text("utf-8")


def test_every_hook_is_implemented_by_a_plugin_in_some_test() -> None:
    together = "\n".join(sources())
    untested = [hook for hook in HOOKS if not re.search(rf"def {hook}\(", together)]
    assert not untested


def test_the_command_page_has_every_command_and_option(reference) -> None:
    command_pages, _ = reference
    page = command_pages.commands_page()
    for command in ("run", "leaderboard", "check", "new", "doctor", "reproduce"):
        assert f"## bench {command}\n" in page
        assert f"$ bench {command} --help\nUsage: bench {command} " in page
    for option in ("--attack-file FILE", "--tensorboard DIR", "--verbose"):
        assert option in page
    assert max(map(len, page.splitlines())) <= 80
    options = command_pages.options_page()
    for key in ("run.timeout", "`base.epochs` | `24`", "`retrain.lr`", "`dataset.test_fraction`"):
        assert (key in options) == (key != "run.timeout")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    for link in links:
        # Pages that are made with the site are not there for a reader of the repository.
        assert not link.startswith("generated/"), link
        assert (page.parent / link).exists(), link


def blocks(page: str, language: str = "sh") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.S | re.M)


def test_the_tutorial_runs_as_it_stands(command, tmp_path: Path, monkeypatch, capsys) -> None:
    """Every command of the page, in order; `bench run` is given the tiny case, to take seconds."""
    out = tmp_path / "bench-results"
    tiny = command.tiny(out, attack__triggers="170")[1:]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE_DIR", command.environment()["BENCH_CACHE_DIR"])
    said = {}
    for line in "".join(blocks("tutorial.md")).splitlines():
        name, first, *rest = shlex.split(line)
        assert name == "bench"
        if first == "run":
            done = command(first, *tiny, *rest)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            said[line] = done.stdout + done.stderr
        else:  # in this process, which is quicker
            monkeypatch.setattr("sys.argv", [name, first, *rest])
            with pytest.raises(SystemExit) as end:
                main()
            said[line] = capsys.readouterr().out
            assert not end.value.code, line
    dry, first, markdown, _, _, compared, changed, board = said.values()
    assert "to do: 1 base models, 1 attacks" in dry
    assert "fine_tuning" in first
    assert r"fine\_tuning" in markdown
    assert "base model" not in changed
    assert "retrain.epochs=2" in board
    assert "fine_tuning" in compared
    assert (tmp_path / "trials.csv").read_text().count("\n") > 3
    assert (tmp_path / "report.html").stat().st_size > 100_000


def test_the_observer_of_the_page_loads_and_the_attack_file_is_read(tmp_path: Path) -> None:
    from benchmark.builtin.imported import ImportedOptions, imported_instances
    from benchmark.plugins import load_plugins
    from benchmark.types import DatasetInfo

    (tmp_path / "tell_me.py").write_text(blocks("observers.md", "python")[0], encoding="utf-8")
    [observer] = load_plugins([tmp_path / "tell_me.py"]).observers
    assert list(observer.calls) == ["bench_trial_finished"]
    (tmp_path / "badnets.toml").write_text(blocks("bring-your-own.md", "toml")[0], encoding="utf-8")
    (tmp_path / "badnets.safetensors").write_bytes(b"")
    options = ImportedOptions(files=(str(tmp_path / "badnets.toml"),))
    [instance] = imported_instances(options, DatasetInfo(10, (32, 32)))
    assert (instance.trigger.place, instance.trigger.size) == ((29, 29), (3, 3))


@pytest.mark.slow  # `.ci/run` makes the site as well
def test_the_site_is_made_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="the extra `docs` is not installed")
    pytest.importorskip("myst_parser", reason="the extra `docs` is not installed")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    places = ["-d", tmp_path / "trees", DOCS, tmp_path / "site"]
    done = subprocess.run(
        [*map(str, [*build, *places])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text("utf-8")
        loaded = re.findall(r'<(?:script|img|link)[^>]*?(?:src|href)="(https?:[^"]+)', text)
        assert not loaded, f"{page.name} loads {loaded}"
    assert "bench_trial_step" in (tmp_path / "site" / "generated" / "hooks.html").read_text("utf-8")


def test_the_analysis_runs_on_an_export(tiny_run, tmp_path: Path, monkeypatch, capsys) -> None:
    """As it stands on the page, which also names every column."""
    export = (*shlex.split(blocks("analyse.md")[0].splitlines()[0].split("#")[0])[1:],)
    done = tiny_run.command(*export[:-1], tmp_path / export[-1], "--out", tiny_run.out)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    recipe, scope = compile(blocks("analyse.md", "python")[0], "analyse.md", "exec"), {}
    exec(recipe, scope)
    printed = capsys.readouterr().out
    assert re.search(r"oracle +1", printed)
    assert "mean" in printed
    said = tiny_run.command("leaderboard", "--out", tiny_run.out, "--format", "json").stdout
    means = scope["trials"].groupby("defense")["asr_after"].mean()
    assert means.to_dict() == pytest.approx(
        {row["defense"]: row["asr_after_mean"] for row in json.loads(said)}
    )
    # Had one attack not taken, its victim's rows would count in no mean.
    table = pd.read_csv("trials.csv", dtype={"trigger": str})
    table.loc[table["trigger"] == "0", "asr_before"] = 0.5
    table.to_csv("trials.csv", index=False)
    exec(recipe, scope)
    assert set(scope["trials"]["trigger"]) == {"170"}
    header = (tmp_path / "trials.csv").read_text("utf-8").splitlines()[0].split(",")
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "analyse.md").read_text("utf-8"), re.M)
    told = re.findall(r"`([^`]+)`", " ".join(rows))
    assert len(told) > 25
    for column in set(told) - {"metric.…"}:  # of plugins, of which this run had none
        start = column.partition("…")[0]
        assert any(name.startswith(start) for name in header), column
