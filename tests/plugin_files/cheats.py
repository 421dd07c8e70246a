"""Defenses that want better numbers than they earned, each in its own way.

Every one returns the backdoored model as it is, or in disguise, and records what it got hold of.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmark.api import DefenseSpec, Knowledge, Options, Outcome, View, derive_seed, hookimpl

CHEATS: dict[str, Callable[[View, Any, CheatOptions], Any]] = {}


class CheatOptions(Options):
    """What the cheat's author knows of the machine: where results, data and plugins lie."""

    results: str = "bench-results"
    cache: str = "cache"
    temporary: str = "/tmp"


def cheat(repair: Callable[[View, Any, CheatOptions], Any]) -> Any:
    CHEATS[repair.__name__] = repair
    return repair


def attempt(run: Any, what: str, action: Callable[[], Any]) -> None:
    """Record what the action got, or why it got nothing."""
    try:
        got = str(action())[:300]
    except Exception as error:
        got = f"refused: {type(error).__name__}"
    run.record("attempts", what=what, got=got)


@cheat
def asks_politely(view: View, run: Any, options: CheatOptions) -> Any:
    if hasattr(view, "trigger") or getattr(view, "target", None) is not None:
        return Outcome([view.model], triggers=view.trigger[None], target=view.target)
    return Outcome([view.model])


@cheat
def reads_files(view: View, run: Any, options: CheatOptions) -> Any:
    results, cache = Path(options.results), Path(options.cache)
    own = Path.cwd().parent
    for name, folder in {
        "results": results,
        "artifacts": results / "artifacts",
        "cache": cache,
        "temporary": Path(options.temporary),
        "other jobs": own.parent,
        "home": Path("~").expanduser().parent.parent,
    }.items():
        attempt(
            run, f"lists {name}", lambda folder=folder: [path.name for path in folder.iterdir()]
        )
    for name, path in {
        "database": results / "results.sqlite",
        "prepared images": cache / "test.safetensors",
    }.items():
        attempt(run, f"reads {name}", lambda path=path: Path(path).read_bytes()[:40])
    attempt(run, "spoils the database", lambda: os.truncate(results / "results.sqlite", 0))
    attempt(run, "links the database", lambda: os.link(results / "results.sqlite", "mine"))
    attempt(run, "writes a file", lambda: (results / "mine").write_text("x"))
    attempt(run, "writes beside", lambda: (own / "mine").write_text("x"))
    attempt(run, "says how it is sealed", lambda: (own / "sealed.txt").write_text("not at all"))
    attempt(run, "changes its orders", lambda: (own / "inbox/request.json").write_text("x"))
    return Outcome([view.model])


@cheat
def asks_for_names(view: View, run: Any, options: CheatOptions) -> Any:
    """Ask, of all names that a trial could give a file, whether there is one: that is not refused.

    A trial's identity is a hash of facts that its author knows but for trigger and target.
    """
    notes = Path(__file__).with_name("identities.txt")
    identities = Path(notes).read_text("utf-8").split() if notes.exists() else []
    results, own = Path(options.results), Path.cwd().parent
    folders = (*own.parents, own, results, results / "artifacts", Path("/dev/shm"))
    for identity in identities:
        for name in (identity, identity[:8], f"progress-{identity}", f"job-{identity}"):
            found = [str(folder / name) for folder in folders if os.path.lexists(folder / name)]
            run.record("names", identity=identity, found=" ".join(found))
    return Outcome([view.model])


@cheat
def searches_at_home(view: View, run: Any, options: CheatOptions) -> Any:
    """Look for a database at the default place and below every folder that may be the run's."""
    for start in (Path.cwd(), Path(os.environ["HOME"]), Path(sys.path[0] or "."), Path("..")):
        for name in ("bench-results/results.sqlite", "results.sqlite"):
            attempt(run, f"{start}/{name}", lambda path=start / name: path.read_bytes()[:15])
    for name in ("cwd", "exe", "root"):
        link = Path(f"/proc/{os.getppid()}/{name}")
        attempt(run, f"parent's {name}", lambda link=link: link.readlink())
    return Outcome([view.model])


@cheat
def spies_on_processes(view: View, run: Any, options: CheatOptions) -> Any:
    for pid in sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        folder = Path(f"/proc/{pid}")
        if pid == os.getpid() or not folder.exists():
            continue
        for name in ("cmdline", "environ", "maps", "mem", "stat", "status"):
            attempt(run, f"{name} of {pid}", lambda path=folder / name: beginning(path))
        attempt(run, f"files of {pid}", lambda folder=folder: targets(folder / "fd"))
        attempt(run, f"folder of {pid}", lambda folder=folder: (folder / "cwd").readlink())
    return Outcome([view.model])


def beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(300)


def targets(folder: Path) -> list[str]:
    return [str(path.readlink()) for path in folder.iterdir()]


@cheat
def reaches_out(view: View, run: Any, options: CheatOptions) -> Any:
    """Signals to the harness, connections to anywhere."""
    attempt(run, "signals its parent", lambda: os.kill(os.getppid(), signal.SIGCONT))
    with socket.socket() as one:
        attempt(run, "listens", lambda: one.bind(("127.0.0.1", 0)))
    with socket.socket() as two:
        attempt(run, "connects", lambda: two.connect(("127.0.0.1", 9)))
    return Outcome([view.model])


@cheat
def patches_the_scorer(view: View, run: Any, options: CheatOptions) -> Any:
    import benchmark.builtin.metrics as metrics
    import benchmark.scoring as scoring

    patch_metrics(metrics)
    scoring.attack_success_rate = metrics.attack_success_rate
    scoring.rate = metrics.rate
    scoring.score = lambda *_, **__: None
    return Outcome([view.model])


def patch_metrics(metrics: Any) -> None:
    metrics.rate = lambda *_: 1.0
    metrics.attack_success_rate = lambda *_: 0.0
    metrics.Asr.compute = lambda *_: 0.0


@cheat
def flatters_itself(view: View, run: Any, options: CheatOptions) -> Any:
    run.record("metrics", asr=0.0, clean_accuracy=1.0)
    Path("../outbox/metrics.json").write_text('{"asr": 0.0}', encoding="utf-8")
    Path("../outbox/report.json").write_text('{"status": "done", "metrics": {"asr": 0}}')
    print("asr 0.0, clean accuracy 1.0")
    return Outcome([view.model])


@cheat
def returns_a_wrapper(view: View, run: Any, options: CheatOptions) -> Any:
    """The very weights of the victim, under a class that never answers with the target."""

    class Disguised(type(view.model)):  # type: ignore[misc]
        hidden = 1

        def forward(self, images: Any) -> Any:
            logits = super().forward(images)
            logits[:, self.hidden] = -1e9
            return logits

    view.model.__class__ = Disguised
    view.model.register_forward_hook(lambda *call: call[2] * 0)
    return Outcome([view.model])


PLACES = ["kept", "/tmp/kept", "/dev/shm/bench-kept", "/var/tmp/kept"]


@cheat
def remembers(view: View, run: Any, options: CheatOptions) -> Any:
    """Leave a note in every place that may last until the next trial."""
    import torch

    holders: dict[str, Any] = {
        "module": sys.modules[__name__],
        "builtins": builtins,
        "torch": torch,
        "harness": sys.modules["benchmark.sandbox.tasks"],
        "main": sys.modules["__main__"],
        "class": Outcome,
    }
    kept = [name for name, holder in holders.items() if hasattr(holder, "kept_by_cheat")]
    kept += [name for name in ("KEPT",) if name in os.environ]
    for path in PLACES:
        with contextlib.suppress(OSError):
            kept.append(f"{path}: {Path(path).read_text('utf-8')}")
    kept += notes_at(Path(__file__))
    run.record("kept", what=", ".join(kept), pid=os.getpid(), parent=os.getppid())
    for holder in holders.values():
        holder.kept_by_cheat = True
    os.environ["KEPT"] = "1"
    for path in PLACES:
        with contextlib.suppress(OSError):
            Path(path).write_text("seen", encoding="utf-8")
    leave_notes_at(Path(__file__))
    return Outcome([view.model])


def notes_at(path: Path) -> Iterator[str]:
    """Yield where a note was left at a file that can be read only."""
    if path.stat().st_mtime == 77:
        yield "time"
    if path.stat().st_mode & 0o777 == 0o640:
        yield "permissions"
    with contextlib.suppress(OSError):
        os.getxattr(path, "user.kept")
        yield "attribute"


def leave_notes_at(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path, (77, 77))
    with contextlib.suppress(OSError):
        path.chmod(0o640)
    with contextlib.suppress(OSError):
        os.setxattr(path, "user.kept", b"seen")


@cheat
def guesses_the_split(view: View, run: Any, options: CheatOptions) -> Any:
    """Try the seeds that a harness may have used, for the indices of the scoring images."""
    import torch

    count = round(len(view.clean.labels) / 0.8)
    for seed in seeds(run):
        torch.manual_seed(seed)
        order = torch.randperm(count).tolist()
        run.record("guess", seed=str(seed), scoring=str(sorted(order[len(view.clean.labels) :])))
    return Outcome([view.model])


def seeds(run: Any) -> Iterator[int]:
    yield from (*range(10), 42, 1234, run.seed)
    for axes in (("split",), ("split", 0), ("split", run.seed), ("split", "tiny", 0)):
        yield derive_seed(*axes)


# The file is imported where the run is planned, too.
with contextlib.suppress(Exception):
    import benchmark.builtin.metrics

    patch_metrics(benchmark.builtin.metrics)


class Cheat:
    def __init__(self, options: CheatOptions, name: str) -> None:
        self.options, self.name = options, name

    def repair(self, view: View, run: Any) -> Any:
        return CHEATS[self.name](view, run, self.options)


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    needs = frozenset({Knowledge.WEIGHTS, Knowledge.CLEAN_IMAGES})
    return [
        DefenseSpec(
            name,
            "1",
            "cheats",
            lambda options, name=name: Cheat(options, name),
            CheatOptions,
            needs,
        )
        for name in CHEATS
    ]
