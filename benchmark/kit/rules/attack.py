"""The rules of an attack."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from benchmark.building import build
from benchmark.context import RunContext
from benchmark.contracts import ImageSet
from benchmark.kit.bench import Bench, blame, numbers
from benchmark.kit.findings import Book, Rule
from benchmark.kit.rules.training import Scene, judge_device, watch_call
from benchmark.kit.watch import Inputs


def judge_attack(bench: Bench, root: Path, book: Book) -> None:
    """Run the attack's first instance as the harness does, then once under observation."""
    job = bench.attack()
    report = bench.perform(job)
    if report.status == "failed":
        blame(report, root, book)
        return
    book.reached(Rule.ARTIFACT, what=numbers(report))
    made: list[nn.Module] = []

    def scene() -> Scene:
        run = RunContext(torch.device("cpu"), job.seed, time.monotonic() + bench.timeout_s)
        model = run.meter.attach(bench.case.model(backdoored=False))
        images = bench.case.train
        train = ImageSet(images.images.clone(), images.labels.clone())

        def call() -> Sequence[nn.Module]:
            made.append(build(job.attack).attack(model, train, job.instance, run))
            return made[-1:]

        # The model may be changed in place: an attacker is given it to do so.
        tensors = {"the training images": train.images, "their labels": train.labels}
        return Scene(Inputs(None, tensors), call)

    if watch_call(scene, report, root, book):
        judge_device(bench, job, made[:1], root, book)
