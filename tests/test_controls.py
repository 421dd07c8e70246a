"""The control that stamps random patches: what it stamps, what it keeps, what it reads."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from benchmark.api import FineTune, Knowledge, UndeclaredKnowledge
from benchmark.builtin.control_options import RandomPatchesOptions
from benchmark.builtin.controls import RandomPatches
from benchmark.kit import tiny_case

TOLD = (Knowledge.WEIGHTS, Knowledge.CLEAN_IMAGES, Knowledge.TRIGGER_SIZE)


@pytest.fixture(scope="module")
def case():
    return tiny_case()


def options(**changes: object) -> RandomPatchesOptions:
    retrain = FineTune(epochs=3, lr=1e-4, batch_size=1000, poison_ratio=1, placement="image")
    return RandomPatchesOptions.model_validate({"retrain": retrain} | changes)


def stamps(case, made: RandomPatchesOptions) -> list[Tensor]:
    """Return, for each epoch, the patch that each image was stamped with, (images, pixels)."""
    view, batches = case.view(*TOLD), []

    def listen(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            batches.append(inputs[0].clone())

    model = copy.deepcopy(view.model)
    model.register_forward_pre_hook(listen)
    listening = copy.copy(view)
    object.__setattr__(listening, "model", model)
    RandomPatches(made).repair(listening, case.run())
    # The images hold multiples of 1/255 alone: what is not one of those was stamped.
    return [_patches(batch) for batch in batches]


def _patches(batch: Tensor) -> Tensor:
    levels = batch.double() * 255
    foreign = ((levels - levels.round()).abs() > 1e-3).any(dim=1)
    rows = []
    for image, mask in zip(batch, foreign, strict=True):
        places = mask.nonzero()
        top, left = places.min(dim=0).values.tolist()
        rows.append(image[:, top : top + 3, left : left + 3].flatten())
    return torch.stack(rows)


def test_every_epoch_stamps_one_new_patch(case):
    epochs = stamps(case, options())
    assert [len(one.unique(dim=0)) for one in epochs] == [1, 1, 1]
    assert len(torch.stack([one[0] for one in epochs]).unique(dim=0)) == 3


def test_or_every_image_its_own(case):
    for one in stamps(case, options(mixing="image")):
        assert len(one.unique(dim=0)) > 0.7 * len(one)
        assert one.mean().item() == pytest.approx(0.5, abs=0.02)
        assert one.var().item() == pytest.approx(1 / 12, abs=0.01)


def test_the_seed_decides_every_bit(case):
    made = options(mixing="image")
    found = []
    for _ in range(2):
        (model,) = RandomPatches(made).repair(case.view(*TOLD), case.run()).models
        found.append(torch.cat([one.double().flatten() for one in model.state_dict().values()]))
    assert torch.equal(*found)


@pytest.mark.parametrize("missing", TOLD)
def test_it_reads_all_that_it_declares_and_no_more(case, missing):
    granted = [one for one in TOLD if one is not missing]
    with pytest.raises(UndeclaredKnowledge):
        RandomPatches(options()).repair(case.view(*granted), case.run())
