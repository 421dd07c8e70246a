"""The shipped metrics against tables worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmark.builtin.metrics import (
    Asr,
    CleanAccuracy,
    DefenseEffectivenessRating,
    RobustAccuracy,
    attack_success_rate,
    rate,
)
from benchmark.contracts import Evidence
from benchmark.errors import JobFault
from benchmark.jobs import Component
from benchmark.plugins import load_plugins
from benchmark.scoring import Answers, Recovered, score, victim_numbers


def classes(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


# Ten images; the target is 2; images 6 to 9 are of the target class.
EVIDENCE = Evidence(
    labels=classes(0, 0, 0, 1, 1, 1, 2, 2, 2, 2),
    target=2,
    clean_before=classes(0, 0, 0, 1, 1, 1, 2, 2, 2, 0),  # 9 of 10
    clean_after=classes(0, 0, 1, 1, 1, 0, 2, 2, 0, 0),  # 6 of 10
    stamped_before=classes(2, 2, 2, 2, 2, 1, 2, 2, 2, 2),  # 5 of 6 to the target
    stamped_after=classes(0, 2, 0, 1, 0, 2, 2, 2, 2, 2),  # 2 of 6 to the target, 3 of 6 right
)


def test_asr_leaves_out_images_of_the_target_class() -> None:
    assert Asr(None).compute(EVIDENCE) == pytest.approx(2 / 6)  # not 6 / 10
    changed = replace(EVIDENCE, stamped_after=classes(0, 2, 0, 1, 0, 2, 0, 0, 0, 0))
    assert Asr(None).compute(changed) == pytest.approx(2 / 6)


def test_clean_accuracy_counts_every_image() -> None:
    assert CleanAccuracy(None).compute(EVIDENCE) == pytest.approx(6 / 10)


def test_robust_accuracy_counts_true_answers_of_other_classes() -> None:
    assert RobustAccuracy(None).compute(EVIDENCE) == pytest.approx(3 / 6)


def test_der_weighs_asr_lost_against_accuracy_lost() -> None:
    expected = ((5 / 6 - 2 / 6) - (9 / 10 - 6 / 10) + 1) / 2
    assert DefenseEffectivenessRating(None).compute(EVIDENCE) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.6),
        # An ASR that rises, or an accuracy that rises, is neither reward nor penalty.
        ({"stamped_after": EVIDENCE.stamped_before}, (0 - 0.3 + 1) / 2),
        ({"stamped_before": EVIDENCE.stamped_after, "stamped_after": classes(*[2] * 10)}, 0.35),
        ({"clean_after": EVIDENCE.labels}, (0.5 - 0 + 1) / 2),
        ({"stamped_after": EVIDENCE.labels, "clean_after": EVIDENCE.labels}, (5 / 6 + 1) / 2),
        ({"clean_after": EVIDENCE.clean_before, "stamped_after": EVIDENCE.stamped_before}, 0.5),
    ],
)
def test_der_for_every_sign(changes: dict[str, Tensor], expected: float) -> None:
    found = DefenseEffectivenessRating(None).compute(replace(EVIDENCE, **changes))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("metric", [Asr, RobustAccuracy, DefenseEffectivenessRating])
def test_a_metric_without_any_image_of_another_class_does_not_apply(metric: type[Asr]) -> None:
    only_target = replace(EVIDENCE, labels=classes(*[2] * 10))
    assert math.isnan(metric(None).compute(only_target))


def test_rates_are_exact_for_many_images_and_nan_for_none() -> None:
    hits = torch.arange(20_000_003) > 0
    assert rate(hits) == 1 - 1 / 20_000_003  # float32 could not tell this from 1
    assert math.isnan(rate(torch.zeros(0, dtype=torch.bool)))
    assert math.isnan(attack_success_rate(classes(1), classes(1), 1))


def test_a_victims_numbers_are_those_of_the_metrics() -> None:
    numbers = victim_numbers(
        Answers(EVIDENCE.clean_after, EVIDENCE.stamped_after), EVIDENCE.labels, EVIDENCE.target
    )
    metrics = {"asr": Asr, "clean_accuracy": CleanAccuracy, "robust_accuracy": RobustAccuracy}
    assert numbers == {name: metric(None).compute(EVIDENCE) for name, metric in metrics.items()}


def test_a_victim_without_an_image_of_another_class_has_no_numbers_and_says_why() -> None:
    labels = classes(2, 2, 2)
    with pytest.raises(JobFault, match=r"of another class than the target \(2\).* 3 in all"):
        victim_numbers(Answers(labels, labels), labels, 2)


CARELESS = """
from benchmark.api import MetricSpec, hookimpl


class Careless:
    def __init__(self, options):
        pass

    def compute(self, evidence):
        for tensor in vars(evidence).values():
            if hasattr(tensor, "fill_"):
                tensor.fill_(1)
        return 0.5


@hookimpl
def bench_metrics():
    return [MetricSpec("careless", "1", "x", Careless, higher_is_better=True)]
"""


def test_a_metric_that_writes_into_what_it_is_given_changes_no_other(tmp_path: Path) -> None:
    file = tmp_path / "careless.py"
    file.write_text(CARELESS, encoding="utf-8")
    plugins = load_plugins([file])
    metrics = tuple(
        Component(
            kind="metric",
            name=name,
            version="1",
            origin=plugins.get("metric", name).origin.to_json(),
            options={},
        )
        for name in ("careless", "asr")
    )
    before = Answers(EVIDENCE.clean_before, EVIDENCE.stamped_before)
    after = Answers(EVIDENCE.clean_after.clone(), EVIDENCE.stamped_after.clone())
    recovered = Recovered(torch.zeros(1, 3, 3, 3), 2)
    found = score(metrics, before, [after], EVIDENCE.labels, EVIDENCE.target, recovered)
    assert found.metrics == {"careless": 0.5, "asr": pytest.approx(2 / 6)}
    assert torch.equal(after.stamped, EVIDENCE.stamped_after)
    assert not recovered.triggers.any()
