"""What several tests share: plugin files written for the occasion, packages really installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import jaxtyping
import psutil
import pytest
from jaxtyping import install_import_hook

# One thread: as fast for small tensors, and the same sums on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What the terminal is like, and what whoever runs the tests has chosen, is no part of them.
for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "BENCH_PRESET"):
    os.environ.pop(name, None)
os.environ["no_proxy"] = "127.0.0.1,localhost"

# How long an example takes says more about the machine than about the code; and the same examples
# each time, as far as hypothesis can: it also takes constants from modules that are loaded,
# so a failure prints what gives its example again.
hypothesis.settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")

# Shapes are written in the signatures; while the tests run, every call is checked against them.
# The hook must be there before the modules are imported.
install_import_hook(
    ["benchmark.primitives", "benchmark.builtin.networks", "benchmark.scoring"],
    "beartype.beartype",
)

ROOT = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "fixtures"
HEADER = "from benchmark.api import AttackSpec, DefenseSpec, hookimpl, lazy\n"

PluginWriter = Callable[..., Path]
Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def write_plugin(tmp_path: Path) -> PluginWriter:
    """Write a plugin file whose source begins with the usual imports."""

    def write(source: str, name: str = "a_plugin.py", header: str = HEADER) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + source, encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_defense(write_plugin: PluginWriter) -> PluginWriter:
    """Write a plugin file with one defense."""

    def write(name: str, file: str = "a_plugin.py", hook: str = "bench_defenses") -> Path:
        spec = f'DefenseSpec("{name}", "1", "does nothing", lazy("nowhere:Nothing"))'
        return write_plugin(f"@hookimpl\ndef {hook}():\n    return [{spec}]\n", file)

    return write


@pytest.fixture(scope="session")
def installed_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good and a broken third-party plugin, built and installed by pip."""
    box = tmp_path_factory.mktemp("third-party")
    names = ["bench-example-noise", "bench-example-broken"]
    for name in names:
        shutil.copytree(FIXTURES / name, box / "source" / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    how = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(box / "site")]
    sources = [str(box / "source" / name) for name in names]
    subprocess.run([*pip, *how, *sources], check=True, stdout=subprocess.DEVNULL)
    return box / "site"


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Run code in a fresh interpreter that sees the harness and the folders in `path`."""

    def run(
        code: str, *arguments: str, path: tuple[Path, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        folders = os.pathsep.join(map(str, (*path, ROOT)))
        environment = {**os.environ, "PYTHONPATH": folders}
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )

    return run


TINY_CASE = Path(__file__).parent / "plugin_files" / "tiny_case.py"
TRAINING = {"momentum": 0.9, "weight_decay": 0, "precision": "float32"}
TUNING = TRAINING | {"decay": "true", "poison_ratio": 0.3, "placement": "image"}
GROUPS = {
    "base": TRAINING
    | {"epochs": 8, "lr": 0.1, "batch_size": 60, "warmup": 0.25}
    | {"label_smoothing": 0, "padding": 0, "flip": "false"},
    "attack": TUNING
    | {"epochs": 8, "lr": 0.05, "batch_size": 40, "redraw": "true"}
    | {"triggers": "170,0", "target": 1, "grid_seed": 0},
    # Six seeds: the oracle's mean is 0.12, with half the steps and rate it was 0.29.
    "retrain": TUNING | {"epochs": 8, "lr": 0.1, "batch_size": 30, "poison_ratio": 0.5},
    "run": {"threads": 1, "min_asr": 0.9},
    "split": {"defense_fraction": 0.8},
}
TINY = {f"{group}.{key}": value for group, sets in GROUPS.items() for key, value in sets.items()}
"""Every setting that matters, so that no preset's calibration reaches these tests."""


@dataclass
class Command:
    """The real `bench`, each time in a process of its own, with a cache and temporary folder."""

    home: Path
    prefix: tuple[str, ...] = ()
    """What starts the command, such as a program that puts it into another namespace."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """More of its environment."""

    @property
    def temporary(self) -> Path:
        """Where the command and everything that it starts put temporary files."""
        return self.home / "temporary"

    def environment(self) -> dict[str, str]:
        """Return the environment of the command."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        places = {"BENCH_CACHE_DIR": str(self.home / "cache"), "TMPDIR": str(self.temporary)}
        places |= {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
        return {**os.environ, **places, **self.extra}

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        """Start `bench` in a session of its own, as a shell starts a job."""
        # A test run that was itself started with Ctrl-C switched off (nohup, CI) hands that down.
        restore = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"{restore}; from benchmark.cli import program; program()"
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-c", code, *map(str, arguments)],
            env=self.environment(),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def __call__(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `bench` to its end."""
        process = self.start(*arguments, **options)
        try:
            stdout, stderr = process.communicate(timeout=600)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def tiny(self, out: Path, *arguments: object, **sets: object) -> list[object]:
        """Return the arguments of a run of the tiny case; a set key has `__` for its dot."""
        changed = {key.replace("__", ".", 1): value for key, value in sets.items()}
        pairs = [("--set", f"{key}={value}") for key, value in (TINY | changed).items()]
        head = ["run", "--plugin", TINY_CASE, "--dataset", "tiny", "--model", "one-conv"]
        return [*head, "--device", "cpu", "--out", out, *sum(pairs, ()), *arguments]

    def left_behind(self) -> list[psutil.Process]:
        """Return the living processes that this command, or what it started, left behind."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                values = " ".join(process.environ().values())
                if str(self.temporary) in values and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def nothing_left(self, seconds: float = 30) -> bool:
        """Wait until no process is left behind; False if some still are after `seconds`."""
        end = time.monotonic() + seconds
        while self.left_behind():
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True


@dataclass(frozen=True)
class TinyRun:
    """A finished run of the tiny case: two triggers, one ranked defense, the three controls."""

    command: Command
    out: Path
    done: subprocess.CompletedProcess[str]

    def copy(self, out: Path) -> Path:
        """Return a copy of the results, for a test that goes on from them."""
        shutil.copytree(self.out, out)
        return out


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The real command; what it makes of the tiny data set is cached for the whole session."""
    return Command(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def tiny_run(command: Command, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The run from which most tests of the command line go on; made once."""
    out = tmp_path_factory.mktemp("tiny") / "results, ü"
    done = command(*command.tiny(out, "--defense", "shake", "--workers", 2))
    assert done.returncode == 0, done.stderr
    return TinyRun(command, out, done)


@pytest.fixture(scope="module")
def as_in_a_run() -> Iterator[None]:
    """Switch the shape checks off: they run code in `forward` that cannot be traced."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
