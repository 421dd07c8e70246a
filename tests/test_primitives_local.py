"""Stamped images through the changed part alone: the same numbers as through the whole network."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from local_evaluation import agree, both, random, resnet, whole
from torch import Tensor, nn

from benchmark.context import Meter
from benchmark.primitives import frozen
from benchmark.primitives.local.boxes import Box, Sliding

pytestmark = pytest.mark.usefixtures("as_in_a_run")


@pytest.mark.parametrize("row", range(14))
def test_at_every_place_logits_and_gradients_are_those_of_the_whole_network(row: int) -> None:
    model, images, triggers = resnet(), random(3, 3, 16, 16), random(2, 3, 3, 3, 3)
    for column in range(14):
        agree(model, images, triggers, (row, column))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 1.0])
def test_samples_without_a_gradient_may_be_left_out(share: float) -> None:
    model, images, triggers = resnet(), random(10, 3, 16, 16), random(4, 10, 3, 3, 3)
    saturated = random(4, 10) < share
    if share == 1:
        local = frozen(model)
        _, gradient = both(
            lambda t: local.stamped(images, t, torch.tensor([[3, 4]])), triggers, saturated
        )
        assert torch.equal(gradient, torch.zeros_like(triggers))
    else:
        agree(model, images, triggers, (3, 4), saturated)


def test_only_samples_with_a_gradient_are_counted_backward() -> None:
    meter, images, triggers = Meter(), random(10, 3, 16, 16), random(4, 10, 3, 3, 3)
    local, saturated = frozen(resnet(), meter), torch.ones(4, 10, dtype=torch.bool)
    saturated[1, 3:8] = False
    both(lambda t: local.stamped(images, t, torch.tensor([[3, 4]])), triggers, saturated)
    assert (meter.forward_images, meter.backward_images) == (40, 5)


class Odd(nn.Module):
    """Layers of drawn kernels, strides and paddings, with shortcuts where shapes allow."""

    def __init__(self, layers: list[tuple[int, int, int, bool]]) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        self.shortcuts = []
        width = 3
        for kernel, stride, padding, shortcut in layers:
            self.convs.append(nn.Conv2d(width, 4, kernel, stride, padding))
            same = width == 4 and stride == 1 and kernel == 2 * padding + 1
            self.shortcuts.append(shortcut and same)
            width = 4
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 2 - 1
        for conv, shortcut in zip(self.convs, self.shortcuts, strict=True):
            inner = torch.relu(conv(x))
            x = inner + x if shortcut else inner
        return self.head(x.amax(dim=(2, 3)))


LAYER = st.sampled_from([1, 2, 3, 5]).flatmap(
    lambda kernel: st.tuples(
        st.just(kernel), st.integers(1, 5), st.integers(0, kernel - 1), st.booleans()
    )
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_any_kernels_strides_paddings_stamps_and_places(data: st.DataObject) -> None:
    layers = data.draw(st.lists(LAYER, min_size=1, max_size=4))
    height, width = data.draw(st.integers(12, 20)), data.draw(st.integers(12, 20))
    most = (height, width) if data.draw(st.booleans()) else (4, 4)  # or nearly all of the image
    size = data.draw(st.integers(1, most[0])), data.draw(st.integers(1, most[1]))
    corner = (
        data.draw(st.integers(0, height - size[0])),
        data.draw(st.integers(0, width - size[1])),
    )
    torch.manual_seed(5)
    model, images = Odd(layers).eval().double(), random(2, 3, height, width)
    triggers = random(data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 2])), 3, *size)
    place, local = torch.tensor([corner]), frozen(model)
    try:
        expected = whole(model, images, triggers, place)
    except RuntimeError:  # strides have left nothing for the next kernel
        return
    assert local.why_dense == ""
    none = torch.zeros(len(triggers), 2, dtype=torch.bool)
    _, gradient = both(lambda t: whole(model, images, t, place), triggers, none)
    found, back = both(lambda t: local.stamped(images, t, place), triggers, none)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(back, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("mib", "some"), [(0, False), (0.05, False), (0.6, True), (40, True)])
def test_what_is_remembered_changes_no_number(mib: float, some: bool) -> None:
    model, triggers = resnet().float(), random(2, 4, 3, 3, 3).float()
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (260, 3, 16, 16), generator=generator, dtype=torch.uint8)
    rows, local = torch.tensor([255, 0, 17, 4]), frozen(model)
    local.remember(images[:20], (3, 3), 40)  # another data set's, to be forgotten
    kept = local.remember(images, (3, 3), mib)
    assert (kept > 0) == some
    assert kept <= mib * 2**20
    for corner in [(0, 0), (6, 7), (13, 2)]:
        place = torch.tensor([corner])
        found = local.stamped(images[rows] / 255, triggers, place, rows)
        expected = whole(model, images[rows] / 255, triggers, place)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_what_is_remembered_needs_the_images_numbers() -> None:
    local = frozen(resnet().float())
    local.remember(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), (3, 3), 1)
    with pytest.raises(ValueError, match="rows"):
        local.stamped(torch.zeros(4, 3, 16, 16), torch.zeros(1, 1, 3, 3, 3), torch.tensor([[5, 5]]))


def test_what_is_forgotten_needs_no_numbers() -> None:
    local = frozen(resnet().float())
    local.remember(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), (3, 3), 1)
    local.forget()
    images, triggers, place = torch.rand(2, 3, 16, 16), torch.rand(1, 1, 3, 3, 3), [[5, 5]]
    found = local.stamped(images, triggers, torch.tensor(place))
    assert found.shape == (1, 2, 5)


def test_half_precision_is_near() -> None:
    model, images, triggers = resnet().float(), random(3, 3, 16, 16), random(2, 3, 3, 3, 3)
    images, triggers, place = images.float(), triggers.float(), torch.tensor([[5, 9]])
    found = frozen(model, precision="bfloat16").stamped(images, triggers, place)
    expected = whole(model, images, triggers, place)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize("size", [(13, 14), (15, 13), (16, 16)])
def test_a_stamp_may_cover_nearly_all_of_an_image(size: tuple[int, int]) -> None:
    model, images, triggers = resnet(), random(3, 3, 16, 16), random(2, 3, 3, *size)
    for corner in {(0, 0), (16 - size[0], 0), ((16 - size[0]) // 2, 16 - size[1])}:
        agree(model, images, triggers, corner)


@pytest.mark.parametrize("corner", [(9, 4), (12, 12)])
def test_a_stamp_may_lie_where_strides_look_at_some_of_it_or_at_nothing(
    corner: tuple[int, int],
) -> None:
    """Patches of 5 pixels leave the last of 14 rows and columns, and the stamp there, unseen."""
    torch.manual_seed(5)
    model, images = Odd([(5, 5, 0, False), (2, 1, 1, False)]).eval().double(), random(2, 3, 14, 14)
    triggers, place, local = random(2, 2, 3, 2, 2), torch.tensor([corner]), frozen(model)
    found = local.stamped(images, triggers, place)
    torch.testing.assert_close(found, whole(model, images, triggers, place))


class Scaled(nn.Module):
    """Scales and shifts what a convolution gave, before the next."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.one(x) * 0.5 + 0.1) * 2
        # A mean: where a maximum lies may change with the rounding, and the gradient with it.
        return self.head(torch.relu(self.two(x)).mean(dim=(2, 3)))


@pytest.mark.parametrize("make", [Scaled, lambda: resnet().float()])
def test_half_precision_is_near_backward_too(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model, images, triggers = make().eval(), random(3, 3, 16, 16), random(2, 3, 3, 3, 3)
    images, triggers, place = images.float(), triggers.float(), torch.tensor([[5, 9]])
    none = torch.zeros(2, 3, dtype=torch.bool)
    local = frozen(model, precision="bfloat16")
    assert local.why_dense == ""
    logits, back = both(lambda t: local.stamped(images, t, place), triggers, none)
    expected, gradient = both(lambda t: whole(model, images, t, place), triggers, none)
    assert (logits - expected).abs().max() < 0.05 * expected.abs().max()
    assert torch.nn.functional.cosine_similarity(back.flatten(), gradient.flatten(), dim=0) > 0.95


class Rereads(nn.Module):
    """Its ReLU overwrites what is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head((self.relu(x) + x).amax(dim=(2, 3)))


class SkipsFirst(Rereads):
    """Takes its shortcut before a layer that is none of the local ones."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcut, self.grouped = nn.Identity(), nn.Conv2d(4, 4, 1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        skipped = self.shortcut(x)
        return self.head((self.grouped(x) + skipped).amax(dim=(2, 3)))


class DropsOut(Rereads):
    """Its dropout's input and output are one value, read by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        dropped = self.drop(x)
        return self.head((nn.functional.gelu(x) + dropped).amax(dim=(2, 3)))


class OverwritesByAnotherName(DropsOut):
    """Its ReLU overwrites what is read again, under the name that a dropout gave it."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head((self.relu(self.drop(x)) + x).amax(dim=(2, 3)))


class Branches(Rereads):
    """Cannot be traced: its course depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x if x.mean() < 1e6 else -x)
        return self.head(x.amax(dim=(2, 3)))


class Tanh(Rereads):
    """Starts with a layer that is none of the local ones."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(torch.tanh(x)).amax(dim=(2, 3)))


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (Branches, "cannot be traced"),
        (Tanh, "no part"),
        *((build, None) for build in (Rereads, SkipsFirst, DropsOut, OverwritesByAnotherName)),
    ],
)
def test_another_network_works_as_a_whole_and_says_so(
    build: Callable[[], nn.Module], why: str | None
) -> None:
    torch.manual_seed(2)
    model, images, triggers = build().eval().double(), random(3, 3, 9, 9), random(2, 3, 3, 3, 3)
    place, local = torch.tensor([[2, 4]]), frozen(model)
    expected = whole(model, images, triggers, place)
    if why is None:
        found = local.stamped(images, triggers, place)
    else:
        assert why in local.why_dense
        with pytest.warns(UserWarning, match=why):
            found = local.stamped(images, triggers, place)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(0, 9),
    st.data(),
)
def test_boxes_are_what_a_convolution_looks_at(
    kernel: int, stride: int, padding: int, low: int, data: st.DataObject
) -> None:
    """Against a convolution of ones, which marks every output that an input reaches."""
    high = data.draw(st.integers(low + 1, 10))
    sliding = Sliding((kernel, kernel), (stride, stride), (padding, padding))
    marked = torch.zeros(1, 1, 10, 10)
    marked[:, :, low:high, low:high] = 1
    reached = nn.functional.conv2d(marked, torch.ones(1, 1, kernel, kernel), None, stride, padding)
    size = reached.shape[2]
    assert sliding.output_size((10, 10)) == (size, size)
    box = sliding.reached(Box(low, low, high, high)) & Box.whole((size, size))
    rows = [row for row in range(size) if reached[0, 0, row].any()]
    assert rows == list(range(box.top, box.bottom))
    for output in itertools.islice(rows, 1):
        seen = sliding.seen(Box(output, output, output + 1, output + 1))
        assert (seen.top, seen.bottom) == (
            output * stride - padding,
            output * stride - padding + kernel,
        )


class Spread(nn.Module):
    """A network that adds values of different shapes, which torch spreads over each other."""

    def __init__(self, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), second
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.first(images)
        return self.head(torch.relu(seen + self.second(seen)).mean((2, 3)))


@pytest.mark.parametrize(
    "second", [nn.Conv2d(4, 1, 1), nn.Conv2d(4, 4, 9)], ids=["channels", "size"]
)
def test_sums_of_different_shapes_are_evaluated_whole(second: nn.Module) -> None:
    model, images, triggers = (
        Spread(second).eval().double(),
        random(2, 3, 9, 9),
        random(2, 2, 3, 3, 3),
    )
    local, place = frozen(model), torch.tensor([[4, 2]])
    none = torch.zeros(2, 2, dtype=torch.bool)
    expected, gradient = both(lambda t: whole(model, images, t, place), triggers, none)
    found, back = both(lambda t: local.stamped(images, t, place), triggers, none)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(back, gradient)


def test_a_second_way_back_says_what_to_do() -> None:
    triggers = random(2, 3, 3, 3, 3).requires_grad_()
    logits = frozen(resnet()).stamped(random(3, 3, 16, 16), triggers, torch.tensor([[3, 4]]))
    logits.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="call `stamped` again"):
        logits.sum().backward()
