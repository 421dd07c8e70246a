"""Fine-tuning against a textbook version, and what it stamps, where, how often and with what label.

Every image of the data is of one colour of its own, so that a batch that reaches the model tells
which images are in it, which are stamped, and where.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from benchmark.api import FineTune, ImageSet
from benchmark.builtin.poisoning import PoisonAttack
from benchmark.primitives import RunContext, fine_tune
from benchmark.recipe import Poisoning
from benchmark.types import AttackInstance, Trigger

CLASSES = 4
TARGET = 3
RED = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 2, 3)


def data(count: int) -> ImageSet:
    images = torch.zeros(count, 3, 8, 9, dtype=torch.uint8)
    images[:, 1] = torch.arange(count, dtype=torch.uint8)[:, None, None]
    images[:, 2] = 255
    return ImageSet(images, torch.arange(count) % 3)


def context(seed: int = 0) -> RunContext:
    return RunContext(torch.device("cpu"), seed)


@dataclass
class Batch:
    """What reached the model in one step."""

    ids: list[int]
    labels: list[int]
    corners: dict[int, tuple[int, int]]
    """Stamped image → its stamp's top-left corner."""
    triggers: dict[int, Tensor]


class Recorder(nn.Module):
    """Notes its batches; the labels show in the gradient of the cross entropy."""

    def __init__(self, size: tuple[int, int] = (2, 3)) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(CLASSES))
        self.batches: list[Batch] = []
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        batch = Batch([], [], {}, {})
        self.batches.append(batch)
        batch.ids.extend(
            (images[:, 1].flatten(1).median(dim=1).values * 255).round().int().tolist()
        )
        odd = images[:, 2] != 1
        height, width = self.size
        for item in odd.flatten(1).any(dim=1).nonzero().flatten().tolist():
            top, left = odd[item].nonzero().min(dim=0).values.tolist()
            assert odd[item].sum() == height * width
            patch = images[item, :, top : top + height, left : left + width]
            batch.corners[batch.ids[item]] = (top, left)
            batch.triggers[batch.ids[item]] = patch.detach().clone()
        logits = self.bias.expand(len(images), -1) + 0
        logits.register_hook(lambda grad: batch.labels.extend(grad.argmin(dim=1).tolist()))
        return logits


def observe(
    count: int = 80, seed: int = 0, trigger: Tensor | None = RED, **given: object
) -> list[list[Batch]]:
    """Fine-tune a recorder and return its batches, epoch by epoch."""
    hand_over = {name: given.pop(name) for name in ("relabel_to", "redraw") if name in given}
    options = FineTune.model_validate({"epochs": 3, "batch_size": 16} | given)
    model = Recorder()
    source = (lambda _epoch: trigger) if trigger is not None else None
    fine_tune(model, data(count), options, context(seed), trigger_of_epoch=source, **hand_over)
    steps = len(model.batches) // options.epochs
    return [model.batches[i : i + steps] for i in range(0, len(model.batches), steps)]


def stamped(epoch: list[Batch]) -> set[int]:
    return {number for batch in epoch for number in batch.corners}


class Double(nn.Sequential):
    """Computes with 64 bits: two ways of one computation stay together for all of the steps."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double())


def network() -> nn.Module:
    torch.manual_seed(5)
    body = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(168, CLASSES)]
    return Double(*body).double()


class Textbook:
    """SGD with momentum and an L2 penalty, written out: v = μv + g + λw, w = w - ηv."""

    def __init__(self, model: nn.Module, options: FineTune) -> None:
        self.model, self.options = model.train(), options
        self.velocities = [torch.zeros_like(weight) for weight in model.parameters()]

    def step(self, images: Tensor, labels: Tensor, rate: float) -> float:
        chosen = self.model(images).log_softmax(dim=1)[range(len(labels)), labels]
        loss = -chosen.mean()
        weights = list(self.model.parameters())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, velocity, gradient in zip(weights, self.velocities, gradients, strict=True):
                velocity *= self.options.momentum
                velocity += gradient + self.options.weight_decay * weight
                weight -= rate * velocity
        return loss.item()


@pytest.mark.parametrize(
    ("attacker", "given"),
    [
        pytest.param(True, {}, id="attacker"),
        pytest.param(False, {"placement": "image"}, id="defender"),
        pytest.param(False, {"weight_decay": 0.01, "momentum": 0.5}, id="other settings"),
        pytest.param(False, {"decay": True}, id="falling rate"),
    ],
)
def test_twenty_steps_equal_the_textbook(attacker: bool, given: dict[str, object]) -> None:
    settings = {"epochs": 4, "batch_size": 16, "lr": 0.05, "poison_ratio": 0.2}
    options = FineTune.model_validate(settings | given)
    train, model, run = data(72), network(), context()
    reference = Textbook(copy.deepcopy(model), options)
    seen: list[Tensor] = []
    hook = model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    relabel_to = TARGET if attacker else None
    fine_tune(model, train, options, run, trigger_of_epoch=lambda _: RED, relabel_to=relabel_to)
    hook.remove()

    assert len(seen) == 20
    losses = []
    for step, images in enumerate(seen):
        numbers = (images[:, 1].flatten(1).median(dim=1).values * 255).round().long()
        labels = train.labels[numbers]
        if attacker:
            labels = torch.where((images[:, 0] > 0).flatten(1).any(dim=1), TARGET, labels)
        rate = options.lr * (1 - step / 20) if given.get("decay") else options.lr
        losses.append(reference.step(images, labels, rate) * len(images))
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, reference.model.state_dict()[name])
    found = [row["loss"] for row in run.series]
    means = [sum(losses[start : start + 5]) / 72 for start in range(0, 20, 5)]
    assert found == pytest.approx(means, rel=1e-4)


@pytest.mark.parametrize(
    ("ratio", "number"),
    [(0.0, 0), (0.002, 1), (0.01, 1), (0.1, 8), (0.26, 21), (0.5, 40), (1.0, 80)],
)
@pytest.mark.parametrize("redraw", [True, False])
def test_each_epoch_stamps_exactly_the_ratio(ratio: float, number: int, redraw: bool) -> None:
    epochs = observe(poison_ratio=ratio, redraw=redraw)
    assert len(epochs) == 3
    assert [len(stamped(epoch)) for epoch in epochs] == [number] * 3


def test_each_epoch_sees_every_image_once_in_a_new_order() -> None:
    orders = [[n for batch in epoch for n in batch.ids] for epoch in observe(poison_ratio=0.3)]
    assert all(sorted(order) == list(range(80)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_defender_keeps_the_true_labels() -> None:
    for batch in chain.from_iterable(observe(poison_ratio=0.3)):
        assert batch.labels == [number % 3 for number in batch.ids]


def test_an_attacker_relabels_the_stamped_images_and_no_other() -> None:
    for batch in chain.from_iterable(observe(poison_ratio=0.3, relabel_to=TARGET)):
        expected = [TARGET if number in batch.corners else number % 3 for number in batch.ids]
        assert batch.labels == expected


def test_drawn_once_the_same_images_are_stamped_every_epoch() -> None:
    first, second, third = map(stamped, observe(poison_ratio=0.2, redraw=False))
    assert first == second == third


def test_drawn_anew_other_images_are_stamped_every_epoch() -> None:
    first, second, third = map(stamped, observe(poison_ratio=0.2, redraw=True))
    assert len({frozenset(epoch) for epoch in (first, second, third)}) == 3


def test_placed_by_batch_a_batch_has_one_place_and_batches_have_many() -> None:
    batches = list(chain.from_iterable(observe(poison_ratio=1.0, placement="batch")))
    places = [set(batch.corners.values()) for batch in batches]
    assert all(len(place) == 1 for place in places)
    assert len(set.union(*places)) > 8


def test_placed_by_image_each_image_has_its_place_and_all_places_occur() -> None:
    epochs = observe(poison_ratio=1.0, placement="image", epochs=6)
    for batch in chain.from_iterable(epochs):
        assert len(set(batch.corners.values())) > 6  # of 16 images at 49 places
    everywhere = {
        corner for batch in chain.from_iterable(epochs) for corner in batch.corners.values()
    }
    assert everywhere == {(row, column) for row in range(7) for column in range(7)}


@pytest.mark.parametrize("placement", ["batch", "image"])
def test_each_epoch_stamps_its_own_trigger(placement: str) -> None:
    triggers = torch.rand(3, 3, 2, 3, generator=torch.Generator().manual_seed(1)) * 0.9
    model = Recorder()
    options = FineTune.model_validate(
        {"epochs": 3, "batch_size": 20, "poison_ratio": 0.5, "placement": placement}
    )
    fine_tune(model, data(80), options, context(), trigger_of_epoch=lambda epoch: triggers[epoch])
    for number, batch in enumerate(model.batches):
        assert batch.triggers
        for pixels in batch.triggers.values():
            assert torch.equal(pixels, triggers[number // 4])


@pytest.mark.parametrize("placement", ["batch", "image"])
def test_of_several_triggers_each_stamped_image_gets_one(placement: str) -> None:
    triggers = torch.rand(5, 3, 2, 3, generator=torch.Generator().manual_seed(1)) * 0.9
    model = Recorder()
    options = FineTune.model_validate(
        {"epochs": 3, "batch_size": 20, "poison_ratio": 0.5, "placement": placement}
    )
    fine_tune(model, data(80), options, context(), trigger_of_epoch=lambda _epoch: triggers)
    used = [
        [torch.equal(pixels, trigger) for trigger in triggers].index(True)
        for batch in model.batches
        for pixels in batch.triggers.values()
    ]
    assert len(used) == 3 * 40
    assert set(used) == set(range(5))
    assert len(set(used[:10])) > 2  # in one batch already


def test_without_a_trigger_nothing_is_stamped_or_relabelled() -> None:
    for batch in chain.from_iterable(observe(trigger=None, poison_ratio=0.5, relabel_to=TARGET)):
        assert not batch.corners
        assert batch.labels == [number % 3 for number in batch.ids]


def test_a_single_left_over_image_is_skipped() -> None:
    epochs = observe(count=33, poison_ratio=0.5)
    assert [[len(batch.ids) for batch in epoch] for epoch in epochs] == [[16, 16]] * 3
    fine_tune(network(), data(33), FineTune(epochs=1, batch_size=16), context())  # has batch norm


def test_the_seed_and_the_stage_decide_every_bit() -> None:
    def weights(seed: int, stage: str) -> Tensor:
        options = FineTune(epochs=2, batch_size=16, poison_ratio=0.2)
        model = fine_tune(
            network(), data(40), options, context(seed), trigger_of_epoch=lambda _: RED, stage=stage
        )
        return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])

    assert torch.equal(weights(1, "retrain"), weights(1, "retrain"))
    assert not torch.equal(weights(1, "retrain"), weights(2, "retrain"))
    assert not torch.equal(weights(1, "retrain"), weights(1, "attack"))


def test_half_precision_is_in_the_products_and_not_in_the_weights() -> None:
    def tuned(precision: str) -> tuple[nn.Module, set[torch.dtype], Tensor]:
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(168, CLASSES))
        products: set[torch.dtype] = set()
        for layer in (model[0], model[3]):
            layer.register_forward_hook(lambda _layer, _inputs, out: products.add(out.dtype))
        options = FineTune.model_validate(
            {"epochs": 2, "batch_size": 16, "lr": 0.01, "precision": precision}
        )
        fine_tune(model, data(64), options, context(), trigger_of_epoch=lambda _: RED)
        return model, products, torch.cat([p.detach().flatten() for p in model.parameters()])

    _, whole, exact = tuned("float32")
    model, half, rounded = tuned("bfloat16")
    assert (whole, half) == ({torch.float32}, {torch.bfloat16})
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=5e-3)


def test_the_model_given_is_trained_in_place_and_returned_in_eval_mode() -> None:
    model, train = network(), data(40)
    images = train.images.clone()
    before = copy.deepcopy(model.state_dict())
    assert fine_tune(model, train, FineTune(epochs=1), context()) is model
    assert not model.training
    assert not torch.equal(model.state_dict()["4.weight"], before["4.weight"])
    assert torch.equal(train.images, images)


@pytest.mark.parametrize("redraw", [True, False], ids=["drawn anew", "fixed set"])
def test_the_attack_poisons_the_ratio_with_the_target_at_moving_places(redraw: bool) -> None:
    pixels = tuple(tuple(map(tuple, plane)) for plane in RED.tolist())
    instance = AttackInstance(Trigger("red", pixels), TARGET)  # type: ignore[arg-type]
    model = Recorder()
    options = Poisoning(epochs=4, batch_size=16, poison_ratio=0.15, redraw=redraw)
    assert PoisonAttack(options).attack(model, data(80), instance, context()) is model
    epochs = [model.batches[start : start + 5] for start in range(0, 20, 5)]
    assert [len(stamped(epoch)) for epoch in epochs] == [12] * 4
    assert len({frozenset(stamped(epoch)) for epoch in epochs}) == (4 if redraw else 1)
    for batch in model.batches:
        for number, label in zip(batch.ids, batch.labels, strict=True):
            assert label == (TARGET if number in batch.corners else number % 3)
    corners = {corner for batch in model.batches for corner in batch.corners.values()}
    assert len(corners) > 8


def test_the_attack_keeps_to_a_fixed_place() -> None:
    pixels = tuple(tuple(map(tuple, plane)) for plane in RED.tolist())
    instance = AttackInstance(Trigger("red", pixels, place=(5, 1)), TARGET)  # type: ignore[arg-type]
    model = Recorder()
    PoisonAttack(Poisoning(epochs=2, poison_ratio=0.2)).attack(model, data(40), instance, context())
    stamps = [stamp for batch in model.batches for stamp in batch.corners.values()]
    assert len(stamps) == 2 * 8
    assert set(stamps) == {(5, 1)}
    assert all(torch.equal(one, RED) for batch in model.batches for one in batch.triggers.values())
