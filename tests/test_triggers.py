"""The attack grids, against slower methods that share no code with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmark.builtin.triggers import (
    GENERATORS,
    BlackWhiteOptions,
    ColourOptions,
    black_white_numbers,
    black_white_triggers,
    bw3x3_instances,
    colour_triggers,
    orbit,
    random_target,
    rgb3x3_instances,
)
from benchmark.errors import UserError
from benchmark.types import DatasetInfo

TEN = DatasetInfo(10, (32, 32))
WEIGHTS = 2 ** np.arange(8, -1, -1)
SQUARES = [np.array([number >> shift & 1 for shift in range(8, -1, -1)]) for number in range(512)]


def images(square: np.ndarray, *, invert: bool) -> list[int]:
    """The numbers of all images of a pattern, each written out with numpy's own symmetries."""
    grid = square.reshape(3, 3)
    turned = [np.rot90(side, k) for side in (grid, np.fliplr(grid)) for k in range(4)]
    inverted = [1 - image for image in turned] if invert else []
    return [int(image.ravel() @ WEIGHTS) for image in turned + inverted]


@pytest.mark.parametrize(("invert", "classes"), [(True, 51), (False, 102)])
def test_burnside_counts_the_classes(invert: bool, classes: int) -> None:
    fixed = sum(images(square, invert=invert).count(n) for n, square in enumerate(SQUARES))
    assert fixed == classes * (16 if invert else 8)
    ours = {min(orbit(n, GENERATORS if invert else GENERATORS[:2])) for n in range(512)}
    assert len(ours) == classes


def test_the_triggers_are_the_smallest_of_each_class() -> None:
    slow = {min(images(square, invert=True)) for square in SQUARES}
    assert black_white_numbers() == tuple(sorted(slow))
    assert [trigger.name for trigger in black_white_triggers()] == list(map(str, sorted(slow)))


def test_orbits_partition_the_512_patterns() -> None:
    orbits = [orbit(number) for number in black_white_numbers()]
    assert sorted(number for one in orbits for number in one) == list(range(512))


def test_orbits_agree_with_numpy() -> None:
    for number in range(512):
        assert orbit(number) == set(images(SQUARES[number], invert=True))


def test_pixels_are_the_pattern_in_every_channel() -> None:
    for trigger in black_white_triggers():
        pixels = np.array(trigger.pixels)
        assert pixels.shape == (3, 3, 3)
        for channel in pixels:
            assert channel.ravel() @ WEIGHTS == int(trigger.name)


def test_the_square_is_black_and_170_is_the_checkerboard() -> None:
    by_name = {trigger.name: np.array(trigger.pixels)[0] for trigger in black_white_triggers()}
    assert (by_name["0"] == 0).all()
    assert (by_name["170"] == np.indices((3, 3)).sum(0) % 2).all()


@given(seed=st.integers(), few=st.integers(0, 20), more=st.integers(0, 20))
def test_colours_do_not_depend_on_how_many_there_are(seed: int, few: int, more: int) -> None:
    assert colour_triggers(seed, few + more)[:few] == colour_triggers(seed, few)


def test_colours_are_uniform_and_independent() -> None:
    pixels = np.array([trigger.pixels for trigger in colour_triggers(0, 400)]).reshape(400, 27)
    assert ((pixels >= 0) & (pixels < 1)).all()
    counts, _ = np.histogram(pixels, bins=10, range=(0, 1))
    assert abs(counts / pixels.size - 0.1).max() < 0.02
    others = np.corrcoef(pixels.T)[~np.eye(27, dtype=bool)]
    assert abs(others).max() < 0.25


def test_colours_depend_on_the_seed() -> None:
    assert colour_triggers(0, 3) != colour_triggers(1, 3)
    assert [trigger.name for trigger in colour_triggers(0, 3)] == ["c0", "c1", "c2"]


def test_random_targets_reach_every_class_about_equally() -> None:
    counts = np.bincount([random_target(0, index, 10) for index in range(5000)], minlength=10)
    assert counts.min() > 400
    assert counts.max() < 600


def test_the_default_is_the_whole_grid_with_target_0() -> None:
    instances = bw3x3_instances(BlackWhiteOptions(), TEN)
    assert [one.trigger for one in instances] == black_white_triggers()
    assert {one.target for one in instances} == {0}
    assert len(rgb3x3_instances(ColourOptions(), TEN)) == 10


@pytest.mark.parametrize("value", ["170,0", " 170 , 0", [170, 0], ("170", "0"), ["170", "0"]])
def test_a_subset_is_a_part_of_the_grid_in_the_order_asked_for(value: object) -> None:
    options = BlackWhiteOptions.model_validate({"triggers": value, "target": "random"})
    whole = bw3x3_instances(BlackWhiteOptions(target="random"), TEN)
    by_name = {one.trigger.name: one for one in whole}
    assert bw3x3_instances(options, TEN) == [by_name["170"], by_name["0"]]


def test_one_number_is_a_subset_too() -> None:
    assert BlackWhiteOptions.model_validate({"triggers": 170}).triggers == ("170",)


@given(st.lists(st.integers(0, 9), min_size=1, unique=True), st.integers(0, 9), st.integers())
def test_a_colour_keeps_pixels_and_target_in_any_subset(
    chosen: list[int], extra: int, seed: int
) -> None:
    names = [f"c{index}" for index in chosen]
    part = ColourOptions(triggers=names, target="random", grid_seed=seed, count=10 + extra)
    whole = rgb3x3_instances(ColourOptions(target="random", grid_seed=seed), TEN)
    assert rgb3x3_instances(part, TEN) == [whole[index] for index in chosen]


@pytest.mark.parametrize("grid", [BlackWhiteOptions, ColourOptions])
def test_all_is_the_whole_grid_where_a_preset_names_some(grid: type[BlackWhiteOptions]) -> None:
    assert grid(triggers="all") == grid()


def test_options_survive_json() -> None:
    options = BlackWhiteOptions(triggers="0,27", target="random", grid_seed=3)
    assert BlackWhiteOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (BlackWhiteOptions, {"triggers": "0,341"}, "trigger '341' is 170 turned"),
        (BlackWhiteOptions, {"triggers": "checkers"}, "unknown trigger 'checkers' (known: 0, 1,"),
        (BlackWhiteOptions, {"triggers": "1700"}, "did you mean 170"),
        (BlackWhiteOptions, {"triggers": "0,0"}, "'0' is named twice"),
        (BlackWhiteOptions, {"triggers": ""}, "no trigger is named"),
        (BlackWhiteOptions, {"triggers": "0,"}, "unknown trigger ''"),
        (BlackWhiteOptions, {"target": -1}, "greater than or equal to 0"),
        (BlackWhiteOptions, {"target": "all"}, "'random'"),
        (BlackWhiteOptions, {"count": 3}, "Extra inputs"),
        (ColourOptions, {"triggers": "c1,c10"}, "unknown trigger 'c10' (did you mean c1"),
        (ColourOptions, {"count": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_options_say_what_is_wrong(
    options: type[BlackWhiteOptions], values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError) as error:
        options.model_validate(values)
    assert message in str(error.value)


def test_a_target_outside_the_classes_is_the_users_error() -> None:
    with pytest.raises(UserError, match=r"target 10 is no class \(classes: 0 to 9\)"):
        bw3x3_instances(BlackWhiteOptions(target=10), TEN)
