"""The rules of a metric."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.contracts import Evidence
from benchmark.kit.findings import Book, Rule
from benchmark.kit.places import line_of_error
from benchmark.kit.watch import WatchedEvidence, changed, global_state, stir_global_generators
from benchmark.specs import MetricSpec
from benchmark.types import Output

_RECOVERED = {"recovered_triggers": Output.TRIGGERS, "recovered_target": Output.TARGET}
_COUNT, _CLASSES, _TARGET = 90, 3, 0


def judge_metric(spec: MetricSpec, metric: Any, root: Path, book: Book) -> None:
    """Compute the metric on made-up answers, twice, and where it may not apply."""
    answers = _answers()
    evidence = _evidence(spec, answers, root)
    before = {name: tensor.clone() for name, tensor in answers.items()}
    stir_global_generators(1)
    state = global_state()
    value = _value(metric, evidence, root, book, "answers of every class")
    if value is None:
        return
    book.reached(Rule.ARTIFACT, what=f"{value:.3f} on answers that were made up")
    book.reached(Rule.KNOWLEDGE, Rule.DETERMINISM, Rule.INPUTS, Rule.GLOBALS)
    for name in changed(state, global_state()):
        mend = "a metric computes from its evidence alone"
        book.fail(Rule.GLOBALS, f"{name} is not as it was before", mend=mend)
    for name, tensor in before.items():
        if not torch.equal(tensor, answers[name]):
            book.fail(Rule.INPUTS, f"evidence.{name} changed", mend="work on a clone()")
    _judge_reading(spec, evidence, book)
    stir_global_generators(2)
    again = _value(metric, _evidence(spec, _answers(), root), root, book, "the same answers again")
    if again is not None and again != value:
        book.fail(
            Rule.DETERMINISM,
            f"the same evidence gave {value!r} and then {again!r}",
            mend="let nothing but the evidence decide; keep nothing from call to call",
        )
    only_target = {name: torch.full_like(tensor, _TARGET) for name, tensor in answers.items()}
    _value(
        metric, _evidence(spec, only_target, root), root, book, "images of the target class only"
    )


def _answers() -> dict[str, Tensor]:
    """Return a backdoor that mostly works before, and a defense that mostly removes it."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(_COUNT) % _CLASSES

    def spoiled(answers: Tensor, part: float) -> Tensor:
        other = torch.randint(0, _CLASSES, (_COUNT,), generator=generator)
        return torch.where(torch.rand(_COUNT, generator=generator) < part, other, answers)

    return {
        "labels": labels,
        "clean_before": spoiled(labels, 0.1),
        "stamped_before": spoiled(torch.full_like(labels, _TARGET), 0.1),
        "clean_after": spoiled(labels, 0.1),
        "stamped_after": spoiled(labels, 0.3),
    }


def _evidence(spec: MetricSpec, answers: dict[str, Any], root: Path) -> WatchedEvidence:
    """Return evidence with the recovered outputs that the spec declares, and no others."""
    recovered: dict[str, Any] = {}
    if Output.TRIGGERS in spec.reads:
        generator = torch.Generator().manual_seed(0)
        recovered["recovered_triggers"] = torch.rand(4, 3, 3, 3, generator=generator)
    if Output.TARGET in spec.reads:
        recovered["recovered_target"] = _TARGET
    return WatchedEvidence(**answers, target=_TARGET, **recovered, root=root)


def _value(metric: Any, evidence: Evidence, root: Path, book: Book, when: str) -> float | None:
    """Return what the metric says; None after noting that it says nothing."""
    try:
        with torch.inference_mode(False):
            value = metric.compute(evidence)
    except Exception as error:
        book.fail(
            Rule.ARTIFACT,
            f"compute() raised {type(error).__name__} on {when}: {error}",
            where=line_of_error(error, root),
            mend="return math.nan where the metric does not apply",
        )
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isinf(value):
        book.fail(
            Rule.CONTRACT,
            f"compute() returned {value!r} on {when}, not a float",
            mend="return a finite float, such as tensor.double().mean().item(), or math.nan",
        )
        return None
    return float(value)


def _judge_reading(spec: MetricSpec, evidence: WatchedEvidence, book: Book) -> None:
    for name, where in evidence.read.items():
        output = _RECOVERED[name]
        if output not in spec.reads:
            book.fail(
                Rule.KNOWLEDGE,
                f"it read evidence.{name}, and the spec's reads does not name Output.{output.name}",
                where=where,
                mend=f"add Output.{output.name} to reads: the metric is then left out for "
                "defenses that do not give it",
            )
