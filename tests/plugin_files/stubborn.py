"""Plugins that take their time, and plugins that fail in a later place than a defense."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmark.api import (
    AttackInstance,
    AttackSpec,
    DatasetInfo,
    DatasetSpec,
    DefenseSpec,
    Knowledge,
    LoadedDataset,
    ModelSpec,
    Options,
    Outcome,
    Trigger,
    View,
    hookimpl,
)
from benchmark.builtin.attack_options import BlackWhiteAttack

PLANE = ((0.0, 1.0), (1.0, 0.0))


class Nanny:
    """Looks after a child in a session of its own, for an hour."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def repair(self, view: View, run: Any) -> Outcome:
        subprocess.Popen(["setsid", "sleep", "3600"], start_new_session=True)
        time.sleep(3600)
        return Outcome([view.model])


class FlakyOptions(Options):
    """Options of `flaky`."""

    mended: str = "nowhere"


class Flaky:
    """Fails until a file is there."""

    def __init__(self, options: FlakyOptions) -> None:
        self.options = options

    def repair(self, view: View, run: Any) -> Outcome:
        if not Path(self.options.mended).exists():
            raise RuntimeError("not mended yet")
        return Outcome([view.model])


class BrokenAttack:
    """Says something, and raises."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def attack(self, *_: Any) -> Any:
        print("every door was tried")
        raise RuntimeError("no way in")


class BrokenModel:
    """Raises."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def build(self, info: DatasetInfo) -> Any:
        raise RuntimeError("no such layers")


class SlowOptions(Options):
    """Options of `slow`."""

    started: str = "nowhere"


class Slow:
    """Says that it has begun, and takes an hour."""

    def __init__(self, options: SlowOptions) -> None:
        self.options = options

    def fingerprint_inputs(self, data_dir: Path | None, cache_dir: Path) -> str:
        return "slow"

    def load(self, data_dir: Path | None, cache_dir: Path) -> LoadedDataset:
        Path(self.options.started).touch()
        time.sleep(3600)
        raise AssertionError


class Fragile(Slow):
    """Ends the process that loads it, or raises."""

    def load(self, data_dir: Path | None, cache_dir: Path) -> LoadedDataset:
        if self.options.started == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("no images today")


@hookimpl
def bench_datasets() -> list[DatasetSpec]:
    info = DatasetInfo(3, (16, 16))
    return [
        DatasetSpec("slow", "1", "takes an hour", info, Slow, SlowOptions),
        DatasetSpec("fragile", "1", "gives nothing", info, Fragile, SlowOptions),
    ]


@hookimpl
def bench_models() -> list[ModelSpec]:
    return [ModelSpec("broken-model", "1", "raises", BrokenModel)]


@hookimpl
def bench_attacks() -> list[AttackSpec]:
    trigger = Trigger("0", (PLANE, PLANE, PLANE))
    return [
        AttackSpec(
            name="broken-attack",
            version="1",
            summary="raises",
            instances=lambda options, info: [AttackInstance(trigger, 1)],
            factory=BrokenAttack,
            options=BlackWhiteAttack,
        )
    ]


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    needs = frozenset({Knowledge.WEIGHTS})
    return [
        DefenseSpec("nanny", "1", "takes an hour", Nanny, needs=needs),
        DefenseSpec("flaky", "1", "fails at first", Flaky, FlakyOptions, needs),
    ]
