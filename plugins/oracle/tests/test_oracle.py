"""The oracle stamps the attacker's own trigger and keeps the true labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bench_oracle.defense import Oracle
from bench_oracle.plugin import OracleOptions, bench_defenses
from torch import Tensor, nn

from benchmark.api import FineTune, Knowledge, Role, UndeclaredKnowledge

NEEDS = ("model", "clean", "trigger")
RETRAIN = FineTune(epochs=3, lr=0.02, batch_size=32, poison_ratio=0.3, placement="image")


def test_the_backdoor_is_gone_and_stamped_images_are_answered_truly(tiny: Any) -> None:
    with tiny.left_alone():
        outcome = Oracle(OracleOptions(retrain=RETRAIN)).repair(tiny.view(*NEEDS), tiny.context())
    (model,) = outcome.models
    assert tiny.asr(tiny.model) > 0.95
    assert tiny.asr(model) < 0.05
    assert tiny.accuracy(model) > 0.95
    assert model is not tiny.model
    assert not model.training


class Listener(nn.Module):
    """Keeps its batches, also for its copies; labels show in the gradient of the cross entropy."""

    batches: list[Tensor] = []  # noqa: RUF012, a copy of the model writes to the same list
    labels: list[list[int]] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(images.clone())
        logits = self.bias.expand(len(images), -1) + 0
        logits.register_hook(lambda grad: self.labels.append(grad.argmin(dim=1).tolist()))
        return logits


def test_the_true_trigger_is_stamped_in_every_epoch_with_true_labels(tiny: Any) -> None:
    options = OracleOptions(retrain=FineTune(epochs=3, batch_size=401, poison_ratio=1, lr=1e-4))
    Oracle(options).repair(tiny.view(*NEEDS, model=Listener()), tiny.context())
    stamps = tiny.stamps_of(Listener.batches)
    assert len(stamps) == 3
    assert all(torch.equal(stamped, tiny.trigger) for stamped in stamps)
    everyone = sorted(tiny.clean.labels.tolist())
    for images, labels in zip(Listener.batches, Listener.labels, strict=True):
        assert sorted(labels) == everyone
        tints = images.mean(dim=(2, 3)).argmax(dim=1)  # the class of these images is their tint
        assert (tints == torch.tensor(labels)).double().mean() > 0.99


@pytest.mark.parametrize("missing", NEEDS)
def test_it_reads_all_that_it_declares(tiny: Any, missing: str) -> None:
    granted = [name for name in NEEDS if name != missing]
    with pytest.raises(UndeclaredKnowledge):
        Oracle(OracleOptions()).repair(tiny.view(*granted), tiny.context())


def test_it_says_that_it_knows_the_trigger() -> None:
    (spec,) = bench_defenses()
    assert spec.role is Role.ORACLE
    assert Knowledge.TRIGGER_PIXELS in spec.needs
    assert Knowledge.TARGET_CLASS not in spec.needs
