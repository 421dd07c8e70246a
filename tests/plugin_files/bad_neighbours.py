"""What would spoil the check of a whole file: torch at import, a device of its own, sudden ends."""

from __future__ import annotations

import os
from typing import Any

import torch

from benchmark.api import DefenseSpec, Evidence, MetricSpec, Outcome, View, hookimpl


class Choosy:
    def __init__(self, options: Any) -> None:
        self.options = options

    def repair(self, view: View, run: Any) -> Outcome:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Outcome([view.model.to(device)])


class Ends:
    def __init__(self, options: Any) -> None:
        self.options = options

    def compute(self, evidence: Evidence) -> float:
        os._exit(7)


class Fine(Ends):
    def compute(self, evidence: Evidence) -> float:
        return 0.5


@hookimpl
def bench_metrics() -> list[MetricSpec]:
    return [
        MetricSpec("ends", "1", "ends the process", Ends, higher_is_better=True),
        MetricSpec("fine", "1", "is only in bad company", Fine, higher_is_better=True),
    ]


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    return [DefenseSpec("choosy", "1", "chooses its device", Choosy)]
