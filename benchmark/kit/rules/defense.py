"""The rules of a defense."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark import scoring
from benchmark.building import build
from benchmark.context import RunContext
from benchmark.contracts import Outcome
from benchmark.jobs import TrialJob
from benchmark.kit.bench import Bench, blame, blame_reading, numbers
from benchmark.kit.findings import Book, Rule
from benchmark.kit.rules.training import Scene, judge_device, watch_call
from benchmark.kit.watch import Inputs, WatchedView
from benchmark.specs import DefenseSpec
from benchmark.types import Knowledge, Output


def judge_defense(spec: DefenseSpec, bench: Bench, root: Path, book: Book) -> None:
    """Run the defense as the harness does, then once under observation."""
    job = bench.trial()
    report = bench.perform(job)
    if report.status == "failed":
        blame(report, root, book)
        return
    book.reached(Rule.ARTIFACT, what=numbers(report))
    seen: list[tuple[WatchedView, Outcome]] = []

    def scene() -> Scene:
        run = RunContext(torch.device("cpu"), job.seed, time.monotonic() + bench.timeout_s)
        view = _view(bench, job, run, root)
        given = view.granted

        def call() -> Sequence[nn.Module]:
            outcome = build(job.defense).repair(view, run)
            seen.append((view, outcome))
            return list(outcome.models)

        return Scene(_inputs(given), call)

    if watch_call(scene, report, root, book):
        book.reached(Rule.KNOWLEDGE)
        view, outcome = seen[0]
        for text, where in view.undeclared.items():
            blame_reading(text, where, book)
        _judge_outcome(spec, outcome, book)
        judge_device(bench, job, outcome.models, root, book)


def _view(bench: Bench, job: TrialJob, run: RunContext, root: Path) -> WatchedView:
    trigger = job.instance.trigger
    known: dict[Knowledge, tuple[str, Any]] = {
        Knowledge.WEIGHTS: ("model", run.meter.attach(bench.case.model())),
        Knowledge.CLEAN_IMAGES: ("clean", scoring.defense_images(bench.case.dataset, job.split)),
        Knowledge.TRIGGER_SIZE: ("trigger_size", trigger.size),
        Knowledge.TARGET_CLASS: ("target", job.instance.target),
        Knowledge.TRIGGER_PIXELS: ("trigger", torch.tensor(trigger.pixels)),
    }
    granted = dict(known[Knowledge(need)] for need in job.needs)
    return WatchedView(job.defense.name, bench.case.dataset.info, granted, root)


def _inputs(given: dict[str, Any]) -> Inputs:
    tensors = {}
    if "clean" in given:
        tensors = {"the clean images": given["clean"].images, "their labels": given["clean"].labels}
    if "trigger" in given:
        tensors["the trigger"] = given["trigger"]
    return Inputs(given.get("model"), tensors)


def _judge_outcome(spec: DefenseSpec, outcome: Outcome, book: Book) -> None:
    """Note outputs that are given and not declared, or declared and not given."""
    for output, value in (
        (Output.TRIGGERS, outcome.triggers),
        (Output.TARGET, outcome.target),
    ):
        name = output.name
        if value is not None and output not in spec.gives:
            book.fail(
                Rule.CONTRACT,
                f"the outcome has {output.value}, and the spec's gives does not say so",
                mend=f"add Output.{name} to gives, or no metric will look at it",
            )
        if value is None and output is Output.TRIGGERS and output in spec.gives:
            book.fail(
                Rule.CONTRACT,
                f"the spec's gives promises {output.value}, and the outcome has none",
                mend=f"return it in the Outcome, or take Output.{name} out of gives",
            )
