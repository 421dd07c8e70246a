"""Which triggers the retraining gets, by every way of drawing them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from bench_mesa import defense
from bench_mesa.approximator import weigh
from bench_mesa.defense import Mesa
from bench_mesa.drawing import AN_EPOCH, Drawing, apportion
from bench_mesa.options import MesaOptions
from bench_mesa.staircase import Staircase
from torch import Tensor

from benchmark.api import FineTune

NEEDS = ("model", "clean", "trigger_size", "target")
FIT = {"noise": 4, "hidden": 16, "statistic_hidden": 16, "lr": 5e-3, "batch_size": 40}
SEARCH = MesaOptions(**FIT, epochs=2, retrain=FineTune(epochs=1, poison_ratio=0.2))


def first(points: Tensor) -> Tensor:
    return points[:, 0]


def drawing(**options: object) -> Drawing:
    """Return the drawing of a staircase whose sub-models differ in the volume that they fill."""
    chosen = MesaOptions(**FIT, **options)
    torch.manual_seed(0)
    staircase = Staircase(2, chosen.levels, chosen, torch.Generator().manual_seed(0))
    with torch.no_grad():  # the last layer's weights spread the points
        for number, factor in enumerate((0.1, 1.0, 4.0)[: len(chosen.levels)]):
            staircase.generators.layers[-1].weight[number] *= factor
    return Drawing(staircase, chosen, first)


@pytest.mark.parametrize(
    ("total", "shares", "expected"),
    [
        (10, [0.4, 0.3, 0.3], [4, 3, 3]),
        (10, [1 / 3, 1 / 3, 1 / 3], [4, 3, 3]),
        (512, [0.4, 0.3, 0.3], [205, 154, 153]),
        (7, [0.99, 0.01], [7, 0]),
        (3, [0.0, 1.0], [0, 3]),
    ],
)
def test_whole_numbers_come_nearest_to_the_shares(
    total: int, shares: list[float], expected: list[int]
) -> None:
    assert apportion(total, shares) == expected


@pytest.mark.parametrize(
    ("samples", "epochs", "drawn_from"),
    [
        ((4, 3, 3), 10, (0, 0, 0, 0, 1, 1, 1, 2, 2, 2)),  # the paper's
        ((1, 0, 5), 6, (0, 2, 2, 2, 2, 2)),
        ((4, 3, 3), 3, (0, 1, 2)),
        ((4, 3, 3), 4, (0, 0, 1, 2)),
        ((4, 3, 3), 20, (0,) * 8 + (1,) * 6 + (2,) * 6),
        ((0, 3, 0), 5, (1,) * 5),
    ],
)
def test_retraining_epochs_are_divided_among_the_sub_models(
    samples: tuple[int, ...], epochs: int, drawn_from: tuple[int, ...]
) -> None:
    found = drawing(samples=samples, retrain=FineTune(epochs=epochs))
    layer = found._staircase.generators.layers[-1]
    with torch.no_grad():  # sub-models 0, 1, 2 give points near 0, ½, 1
        layer.weight.mul_(1e-1)
        layer.bias.copy_(torch.tensor([-4.0, 0.0, 4.0]).reshape(3, *[1] * (layer.bias.dim() - 1)))
    of_epoch = found.of_epoch()
    points = torch.stack([of_epoch(epoch) for epoch in range(epochs)])
    assert (points.mean(dim=1) * 2).round().int().tolist() == list(drawn_from)
    assert len(points.unique(dim=0)) == epochs


def test_by_entropy_wide_sub_models_are_drawn_more_often() -> None:
    found = drawing(shares="entropy")
    assert sum(found.shares) == pytest.approx(1)
    assert found.shares == sorted(found.shares)
    assert found.shares[2] > 3 * found.shares[0]
    again = weigh(drawing(shares="entropy")._staircase).shares
    assert found.shares == pytest.approx(again.tolist(), rel=0.2)


def test_for_every_image_there_are_new_triggers_each_epoch() -> None:
    of_epoch = drawing(mixing="image").of_epoch()
    one, other = of_epoch(0), of_epoch(1)
    assert one.shape == other.shape == (AN_EPOCH, 2)
    assert len(torch.cat([one, other]).unique(dim=0)) == 2 * AN_EPOCH


def test_the_surest_of_several_draws_is_kept() -> None:
    plain = drawing(mixing="image").of_epoch()(0)
    surest = drawing(mixing="image", surest_of=8).of_epoch()(0)
    assert surest.shape == plain.shape
    # The largest of eight; of the sub-model that spreads most, drawn last.
    usual, best = plain[-150:, 0], surest[-150:, 0]
    assert best.mean() > usual.mean() + usual.std() / 2
    assert len(surest.unique(dim=0)) == len(surest)


def test_stamped_images_of_one_batch_carry_different_triggers(tiny: Any) -> None:
    batches: list[Tensor] = []
    model = copy.deepcopy(tiny.model)

    def listen(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            batches.append(inputs[0].clone())

    model.register_forward_pre_hook(listen)
    retrain = FineTune(epochs=1, batch_size=200, poison_ratio=1, lr=1e-4)
    options = SEARCH.model_copy(update={"mixing": "image", "surest_of": 2, "retrain": retrain})
    Mesa(options).repair(tiny.view(*NEEDS, model=model), tiny.context())
    assert len(batches) == 2
    for images in batches:
        assert not (images == images[:1]).all(dim=0).any()  # no pixel that all have in common


@pytest.mark.parametrize(("below", "epochs"), [(0.0, 2), (1.0, 1)])
def test_the_search_ends_early_where_every_hinge_is_small(
    tiny: Any, below: float, epochs: int
) -> None:
    run = tiny.context()
    options = SEARCH.model_copy(update={"stop_below": below})
    Mesa(options).repair(tiny.view(*NEEDS), run)
    rows = [row for row in run.series if row["series"] == "search"]
    assert {row["epoch"] for row in rows} == set(range(epochs))


def test_draws_are_compared_in_passes_of_a_bounded_size(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the size, the same draws win."""
    options = SEARCH.model_copy(update={"mixing": "image", "surest_of": 2})
    found = []
    for size in (10_000, 37):
        monkeypatch.setattr(defense, "_SURE_TRIGGERS", size)
        model = Mesa(options).repair(tiny.view(*NEEDS), tiny.context()).models[0]
        found.append(torch.cat([one.flatten() for one in model.parameters()]))
    torch.testing.assert_close(*found)
