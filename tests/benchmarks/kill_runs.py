"""Kill whole runs at random moments, go on each time, compare with an undisturbed run. By hand:

    python tests/benchmarks/kill_runs.py --kills 100 --interrupts 20

Prints its counts as JSON; the exit status is 1 if anything was lost, doubled, different or left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmark.errors import UserError
from benchmark.store import Store

if TYPE_CHECKING:
    from conftest import Command

MEASURED = {"seconds", "peak_memory_mib", "environment", "run", "finished", "log", "setting"}
"""What two runs of one trial may differ in; the setting names the triggers asked for."""
KEPT = re.compile(r"interrupted: (\d+) trials of this run are kept; the same command goes on")
PATIENCE = 120


def trials(out: Path) -> dict[str, dict[str, Any]]:
    """Return every stored trial; nothing where a run was stopped before it made its results."""
    try:
        with Store.open(out, write=False) as store:
            return {one.trial: vars(one) for one in store.trials()}
    except UserError as error:
        if str(error).startswith("no results in"):
            return {}
        raise


def numbers(out: Path, triggers: str) -> dict[str, Any]:
    """Return all that must be the same in every run on these triggers."""
    wanted = {"", *triggers.split(",")}  # a base model has none
    with Store.open(out, write=False) as store:
        models = [one for one in store.models() if one.trigger in wanted]
        weights = {one.artifact: store.artifacts.read(one.artifact) for one in models}
    return {
        "trials": {
            key: {name: value for name, value in one.items() if name not in MEASURED}
            for key, one in trials(out).items()
            if one["trigger"] in wanted
        },
        "models": {one.id: (one.artifact, one.clean_accuracy, one.asr) for one in models},
        "artifacts": weights,
    }


def end_driver(process: subprocess.Popen[str]) -> None:
    """Kill the driver alone; its workers and their sandboxes must follow by themselves."""
    process.kill()


def end_all(process: subprocess.Popen[str]) -> None:
    """Kill the driver and all that came of it, in no order: the end of a machine or a container."""
    family = [psutil.Process(process.pid)]
    with contextlib.suppress(psutil.Error):
        family += family[0].children(recursive=True)
    for one in random.sample(family, len(family)):
        with contextlib.suppress(psutil.Error):
            one.kill()


def end_group(process: subprocess.Popen[str]) -> None:
    """Kill the process group, as a terminal or a scheduler does."""
    os.killpg(process.pid, signal.SIGKILL)


KILLS = (end_driver, end_group, end_all)


@dataclass
class Killing:
    """Runs of the tiny case that are stopped again and again, each until it is complete."""

    command: Command
    home: Path
    draw: random.Random
    right: dict[str, Any] = field(default_factory=dict)
    """The numbers of an undisturbed run."""
    longest: float = 0.0
    """Seconds from a start within which a run is stopped."""
    triggers: str = "170"
    defenses: tuple[str, ...] = ("shake", "rattle")
    counts: Counter[str] = field(default_factory=Counter)
    stages: Counter[int] = field(default_factory=Counter)
    """How many trials were stored when a run was stopped → how often."""

    def undisturbed(self) -> None:
        """Make what all others are compared with; also measures how long a run takes."""
        dry = self.command(*self._arguments(self.home / "whole", 1), "--dry-run")  # prepares data
        assert dry.returncode == 0, dry.stderr
        started = time.monotonic()
        done = self.command(*self._arguments(self.home / "whole", 1))
        assert done.returncode == 0, done.stderr
        # Half of it: the later half is met after a few stops, since each goes on from the last.
        self.longest = (time.monotonic() - started) / 2
        self.right = numbers(self.home / "whole", self.triggers)

    def _arguments(self, out: Path, workers: int) -> list[object]:
        sets = {"attack__triggers": self.triggers}
        asked = [part for name in self.defenses for part in ("--defense", name)]
        return self.command.tiny(out, *asked, "--workers", workers, **sets)

    def until_complete(self, out: Path, stops: Iterator[str]) -> None:
        """Start the same command until it ends by itself, stopping it as long as `stops` says."""
        before: dict[str, Any] = {}
        while True:
            process = self.command.start(*self._arguments(out, self.draw.choice((1, 2))))
            way = next(stops, "")
            if way:
                self._stop(process, way, out)
            said = process.communicate(timeout=1200)[1]
            self.counts["processes left behind"] += not self.command.nothing_left()
            stored = trials(out)
            # A failed one is run again: a sandbox that was killed before its driver leaves one.
            finished = {key: one for key, one in before.items() if one["status"] != "failed"}
            self.counts["finished trials lost or run twice"] += sum(
                stored.get(trial) != record for trial, record in finished.items()
            )
            if process.returncode == 0:
                break
            new = sum(before.get(trial) != record for trial, record in stored.items())
            self._judge(process.returncode, said, way, new)
            self.stages[len(stored)] += 1
            print(f"{way} with {len(stored)} trials stored", file=sys.stderr, flush=True)
            before = stored
        self._compare(out)

    def _stop(self, process: subprocess.Popen[str], way: str, out: Path) -> None:
        if way == "interrupt":  # before that, Python itself is still starting
            _wait_until(lambda: f'"pid": {process.pid},' in _text(out / ".lock"), process)
        moment = time.monotonic() + self.draw.uniform(0, self.longest)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment - time.monotonic())
        if process.poll() is None and way == "interrupt":
            os.killpg(process.pid, signal.SIGINT)
        elif process.poll() is None:
            self.draw.choice(KILLS)(process)

    def _judge(self, status: int, said: str, way: str, new: int) -> None:
        if way != "interrupt":
            self.counts["kills"] += 1
            self.counts["stopped in another way than asked"] += status != -signal.SIGKILL
            return
        self.counts["interrupts"] += 1
        clean = status == 130 and "Traceback" not in said and _is_true(said, new)
        self.counts["interrupts without status 130 and a true message"] += not clean
        if not clean:
            print(f"status {status}, {new} new trials, said: {said}", file=sys.stderr)

    def _compare(self, out: Path) -> None:
        found = numbers(out, self.triggers)
        self.counts["runs completed"] += 1
        for name, right in self.right.items():
            self.counts[f"runs with other {name}"] += found[name] != right
        left = [*self.command.temporary.iterdir(), *out.glob("artifacts/.unfinished-*")]
        left += [path for path in out.iterdir() if path.name not in OUT]
        self.counts["files left behind"] += len(left)
        for path in left:
            print(f"left behind: {path}", file=sys.stderr)

    def wrong(self) -> int:
        """Return the number of things that must never be."""
        fine = ("kills", "interrupts", "runs completed")
        return sum(number for name, number in self.counts.items() if name not in fine)


OUT = ("results.sqlite", "artifacts", ".lock")


def _is_true(said: str, new: int) -> bool:
    """Return whether an interrupted run's last words fit the number of trials that it stored."""
    if told := KEPT.search(said):
        return int(told[1]) == new
    # Before its first job, or while it prints what it has done or found done.
    whole = f"\n{new} trials done" in said
    if not new:
        whole |= said == "bench: interrupted\n" or " trials are there already" in said
    return whole and said.endswith("bench: interrupted\n")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _wait_until(condition: Any, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def main() -> int:
    """Kill as often as asked and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--interrupts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from conftest import Command

    draw = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as home:
        killing = Killing(Command(Path(home)), Path(home), draw)
        killing.undisturbed()
        number = 0
        while killing.counts["kills"] < asked.kills or (
            killing.counts["interrupts"] < asked.interrupts
        ):
            number += 1
            ways = ["kill"] * (asked.kills - killing.counts["kills"])
            ways += ["interrupt"] * (asked.interrupts - killing.counts["interrupts"])
            draw.shuffle(ways)
            killing.until_complete(Path(home) / f"run {number}", iter(ways))
            print(json.dumps(killing.counts), file=sys.stderr, flush=True)
    print(
        json.dumps(
            {
                "counts": killing.counts,
                "trials stored at the stop": dict(sorted(killing.stages.items())),
            },
            indent=1,
        )
    )
    return 1 if killing.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())
