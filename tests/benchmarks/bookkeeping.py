"""How long the harness takes where there is nothing to compute. Run by hand, prints its figures.

    python tests/benchmarks/bookkeeping.py [--run 10000] [--board 100000] [--json FILE]

Makes a results folder in which every trial of a plan is finished and measures `bench run` on it,
which finds nothing to do; makes another one and measures `bench leaderboard`. Wall time is what a
user waits for; processor time (user and system) is the same on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from benchmark.config import Request, resolve
from benchmark.data import PreparedDataset, prepare
from benchmark.jobs import TrialJob
from benchmark.missing import missing_jobs
from benchmark.plan import Machine, Plan, make_plan, trial_record
from benchmark.plugins import load_plugins
from benchmark.records import ModelRecord, TrialRecord
from benchmark.report.leaderboard import leaderboard
from benchmark.store import Store, ledger, rows
from benchmark.store.codec import encode
from benchmark.store.layout import MODEL, TRIAL
from benchmark.store.transaction import transaction

PLUGIN = Path(__file__).parents[1] / "plugin_files" / "tiny_case.py"
DEFENSES = ("shake", "rattle", "fine_tuning", "none")
TARGETS_S = {"run": 3.0, "board": 2.0}
REPEATS = 3

T = TypeVar("T")


def triggers() -> list[str]:
    """Return the names of the whole `bw3x3` grid."""
    plugins = load_plugins([PLUGIN])
    spec, info = plugins.attacks["bw3x3"].spec, plugins.datasets["tiny"].spec.info
    instances = spec.instances(spec.options(triggers=None), info)
    return [instance.trigger.name for instance in instances]


def arguments(names: list[str], seeds: int, out: Path) -> list[str]:
    """Return the command whose plan has `len(names)` × `seeds` × `len(DEFENSES)` trials."""
    chosen = [word for name in DEFENSES for word in ("--defense", name)]
    where = ["--plugin", str(PLUGIN), "--dataset", "tiny", "--model", "one-conv", "--device", "cpu"]
    sets = ["--set", f"attack.triggers={','.join(names)}", "--seeds", str(seeds)]
    return ["run", *where, *sets, *chosen, "--out", str(out)]


class Phases:
    """The steps of `bench run` in this process, each timed."""

    def __init__(self, names: list[str], seeds: int, out: Path, cache: Path) -> None:
        self.seconds: dict[str, float] = {}
        self.plugins = self.timed("load plugins", lambda: load_plugins([PLUGIN]))
        sets = {"attack.triggers": ",".join(names)}
        request = Request(
            defenses=DEFENSES, dataset="tiny", model="one-conv", seeds=seeds, sets=sets
        )
        config = self.timed("resolve", lambda: resolve(request, self.plugins))
        data = self.timed("prepare data", lambda: _prepared(config, cache))
        machine = Machine("cpu", 2, 2, 8192, 86400.0, str(out))
        self.plan: Plan = self.timed("plan", lambda: make_plan(config, data, machine))

    def timed(self, name: str, step: Callable[[], T]) -> T:
        """Run the step and note the processor time that it took."""
        started = time.process_time()
        made = step()
        self.seconds[name] = round(time.process_time() - started, 3)
        return made

    def look(self, out: Path) -> None:
        """Time what a run does with the store when all is there."""
        with Store.open(out, write=True) as store:
            wanted = self.timed("missing jobs", lambda: missing_jobs(self.plan, store, "failed"))
            assert not wanted, f"{len(wanted)} jobs are missing"
            frame = self.timed("frame", store.trials_frame)
        self.timed("leaderboard", lambda: leaderboard(frame))


def _prepared(config: Any, cache: Path) -> PreparedDataset:
    return prepare(config.dataset.spec, config.dataset.options, None, cache)


def finished(plan: Plan) -> Iterator[ModelRecord | TrialRecord]:
    """Yield the records of a plan all of whose jobs are done."""
    for number, planned in enumerate(plan.jobs):
        rate = (number * 7919 % 1000) / 1000
        if isinstance(planned.job, TrialJob):
            yield trial_record(
                planned,
                **{"status": "done", "error": "", "asr_before": 0.99, "seconds": 20.0},
                metrics={"asr": rate, "clean_accuracy": 0.9, "robust_accuracy": 1 - rate},
                environment={"packages": {"torch": "2.11"}, "device": "cpu"},
                log="epoch\n" * 20,
            )
        else:
            kind = "victim" if planned.needs else "base"
            yield ModelRecord(
                **{"id": planned.job.id, "kind": kind, "status": "done", "error": ""},
                **{"asr": 0.99, "payload": planned.payload},
                **planned.facts,
            )


def write(out: Path, records: Iterable[ModelRecord | TrialRecord]) -> None:
    """Store the records in one transaction: a commit for each would take most of an hour."""
    with Store.open(out, write=True, create=True) as store:
        connection = store._connection
        with transaction(connection):
            for record in records:
                layout = TRIAL if isinstance(record, TrialRecord) else MODEL
                encoded = encode(layout, record)
                ledger.replace(connection, layout, encoded.flat)
                rows.put(connection, layout, encoded)


def copies(records: Iterable[Any], count: int) -> Iterator[TrialRecord]:
    """Yield `count` trials like the given ones, under identities and victims of their own."""
    like = [record for record in records if isinstance(record, TrialRecord)]
    for number in range(count):
        record, turn = like[number % len(like)], number // len(like)
        ours = f"{turn:04x}"
        yield replace(record, trial=ours + record.trial[4:], victim=ours + record.victim[4:])


def command(words: list[str], cache: Path) -> dict[str, float]:
    """Return the quickest of a few runs of `bench`: wall seconds and processor seconds."""
    code = "from benchmark.cli import main; main()"
    environment = {**os.environ, "BENCH_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"}
    taken = []
    for _ in range(REPEATS):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        taken.append({"wall_s": round(wall, 2), "processor_s": round(used, 2)})
    return min(taken, key=lambda one: one["processor_s"])


def measure(folder: Path, run_trials: int, board_trials: int) -> dict[str, Any]:
    """Return every figure."""
    cache, out, board = folder / "cache", folder / "run", folder / "board"
    names = triggers()
    seeds = max(1, round(run_trials / len(names) / len(DEFENSES)))
    phases = Phases(names, seeds, out, cache)
    write(out, finished(phases.plan))
    write(board, copies(finished(phases.plan), board_trials))
    phases.look(out)
    found = {
        "run": command(arguments(names, seeds, out), cache),
        "board": command(["leaderboard", "--out", str(board)], cache),
    }
    counts = {"run": len(phases.plan.trials), "board": board_trials}
    return {
        name: {"trials": counts[name], **found[name], "target_s": TARGETS_S[name]} for name in found
    } | {"phases_processor_s": phases.seconds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", type=int, default=10_000, help="finished trials of the run")
    parser.add_argument("--board", type=int, default=100_000, help="trials of the leaderboard")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-bookkeeping-") as folder:
        found = measure(Path(folder), asked.run, asked.board)
    for name, words in (("run", "bench run, nothing to do"), ("board", "bench leaderboard")):
        one = found[name]
        print(
            f"{words}, {one['trials']:,} trials: {one['wall_s']} s, "
            f"{one['processor_s']} s of processor; at most {one['target_s']:g} s"
        )
    for name, seconds in found["phases_processor_s"].items():
        print(f"  {name}: {seconds} s")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
