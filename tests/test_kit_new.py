"""`bench new`: what it writes works at once, and what it must not write it does not."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import api
from benchmark.cli import main
from benchmark.kit import check
from benchmark.kit.new import new_file

KINDS = ("defense", "attack", "metric", "dataset", "model")
FUTURE = "from __future__ import annotations\n"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Call `bench` in this process and in an empty folder; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return call


def test_every_kind_as_a_file_keeps_every_rule(bench, tmp_path: Path) -> None:
    sources = []
    for kind in KINDS:
        status, out, _ = bench("new", kind, f"my-{kind}", "--file")
        assert (status, out.splitlines()[0]) == (0, f"wrote my_{kind}.py; next:")
        assert f"  bench check my_{kind}.py" in out.splitlines()
        sources.append((tmp_path / f"my_{kind}.py").read_text("utf-8"))
    # One file, so that all are checked in one process, which is quicker.
    together = tmp_path / "together.py"
    together.write_text(FUTURE + "".join(source.replace(FUTURE, "") for source in sources))
    found = check(together)
    assert found.passed, found
    assert {(one.kind, one.name) for one in found.reports} == {(k, f"my-{k}") for k in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_has_all_that_it_needs_and_is_well_formed(bench, tmp_path: Path, kind) -> None:
    status, out, _ = bench("new", kind, "fast_look2", "deep/inside")
    assert status == 0
    assert out.splitlines()[:3] == [
        "wrote deep/inside; next:",
        "  pip install -e ./deep/inside",
        "  bench check fast_look2",
    ]
    files = {str(path.relative_to("deep/inside")) for path in Path("deep/inside").rglob("*.*")}
    assert files == {
        *("pyproject.toml", "README.md", "tests/test_fast_look2.py"),
        *("bench_fast_look2/__init__.py", "bench_fast_look2/plugin.py"),
    }
    package = Path("deep/inside/bench_fast_look2/plugin.py").read_text("utf-8")
    assert "class FastLook2" in package
    readme = Path("deep/inside/README.md").read_text("utf-8")
    assert readme.startswith("# bench-fast-look2\n")
    assert "pip install -e '.[test]'\n" in readme  # with pytest, which the page then names
    ruff = [sys.executable, "-m", "ruff"]
    rules = ["--isolated", "--line-length=100", "--select=E,F,W,N,UP,B,SIM,RUF,PT,RET,PTH"]
    checked = subprocess.run([*ruff, "check", *rules, "deep"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    form = [*ruff, "format", "--check", "--isolated", "--line-length=100", "deep"]
    assert subprocess.run(form, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        *("trigger", "image_set", "knowledge", "attack-spec", "metric_spec", "outcome", "options"),
        *("fine_tune", "preset", "path", "field", "run_context", "none_", "true", "fast_look2"),
    ],
)
def test_no_class_of_a_new_plugin_is_called_as_what_it_uses(tmp_path: Path, name: str) -> None:
    for kind in KINDS:
        path, _ = new_file(kind, name, tmp_path / kind)
        tree = ast.parse(path.read_text("utf-8"))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        used = {alias.name for node in imports for alias in node.names}
        own = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        assert len(own) == 2
        assert not own & (used | set(api.__all__)), path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["defence", "mine"], "unknown kind of component 'defence' (did you mean defense?)"),
        (["defense", "Mine"], "a defense cannot be called 'Mine': name must match [a-z]"),
        (["defense", "../mine"], "a defense cannot be called '../mine': name must match"),
        (["defense", "run"], "a defense cannot be called 'run': this name is reserved"),
        (["defense", "fine_tuning"], "another defense is called 'fine_tuning': built in (choose"),
        (["attack", "bw3x3", "--file"], "another attack is called 'bw3x3': built in"),
        (
            ["defense", "oracle"],
            "another defense is called 'oracle': package backdoor-bench-oracle",
        ),
        (["metric", "class"], "'class' is a word of Python's own"),
        (["metric", "json"], "'json' is a word of Python's own"),
        (["defense", "taken"], "bench-taken is there already"),
        (["defense", "mine", "taken.py"], "taken.py is there already"),
        (["defense", "taken", "--file"], "taken.py is there already"),
        (["defense", "mine", "taken.py/inside"], "cannot write taken.py/inside"),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(bench, tmp_path, arguments, line) -> None:
    (tmp_path / "taken.py").write_text("mine")
    (tmp_path / "bench-taken").mkdir()
    (tmp_path / "bench-taken" / "thesis.tex").touch()
    before = {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")}
    status, out, said = bench("new", *arguments)
    assert (status, out) == (2, "")
    assert said.startswith(f"bench: {line}")
    assert said.count("\n") == 1
    assert {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")} == before


def test_an_empty_folder_may_be_there(bench, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert bench("new", "metric", "mine", "mine")[0] == 0
    assert (tmp_path / "mine" / "pyproject.toml").exists()


@pytest.mark.slow
def test_every_package_installs_and_passes_its_own_tests(bench, tmp_path: Path) -> None:
    folders = [tmp_path / f"bench-own-{kind}" for kind in KINDS]
    for kind in KINDS:
        assert bench("new", kind, f"own_{kind}")[0] == 0
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    how = ["--no-deps", "--no-build-isolation", "--no-index", "--target", tmp_path / "site"]
    subprocess.run([*pip, *how, *folders], check=True)
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(tmp_path / "site"), str(root)])
    tests = [sys.executable, "-m", "pytest", "-q", *(folder / "tests" for folder in folders)]
    done = subprocess.run(
        tests,
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "10 passed" in done.stdout
