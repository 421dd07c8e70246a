"""A metric that misbehaves as the defense's recovered target says, and such defenses."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.api import (
    DefenseSpec,
    Evidence,
    Knowledge,
    MetricSpec,
    Outcome,
    Output,
    View,
    hookimpl,
)

WAYS = ("crashes", "vanishes", "gives_up", "dawdles")


class Moody:
    """Does what the recovered target says."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def compute(self, evidence: Evidence) -> float:
        print("the metric speaks")
        if evidence.recovered_target is not None:
            getattr(self, WAYS[evidence.recovered_target])()
        return 0.5

    def crashes(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def vanishes(self) -> None:
        os._exit(0)

    def gives_up(self) -> None:
        sys.exit("no more")

    def dawdles(self) -> None:
        (Path(tempfile.gettempdir()) / "dawdling").touch()
        time.sleep(3600)


class Names:
    """Changes nothing and names a class."""

    def __init__(self, target: int, options: Any) -> None:
        self.target = target

    def repair(self, view: View, run: Any) -> Outcome:
        return Outcome([view.model], target=self.target)


@hookimpl
def bench_metrics() -> list[MetricSpec]:
    return [MetricSpec("moody", "1", "is told how", Moody, higher_is_better=True)]


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    needs, gives = frozenset({Knowledge.WEIGHTS}), frozenset({Output.MODEL, Output.TARGET})
    return [
        DefenseSpec(f"metric-{way}", "1", way, partial(Names, number), needs=needs, gives=gives)
        for number, way in enumerate(WAYS)
    ]
