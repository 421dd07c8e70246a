"""How options are made of defaults, plugins, presets and `--set`."""

import math
import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from fuzzing import WORDS
from hypothesis import event, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from benchmark.config import Config, Request, resolve
from benchmark.errors import UserError
from benchmark.plugins import Plugins, load_plugins
from benchmark.preset import load_preset, preset_names
from benchmark.recipe import BaseRecipe
from benchmark.settings import RunOptions, check_namespaces, layer, make_options, parse_sets
from benchmark.specs import CHOOSES, Options, added, deciding_options

FILES = Path(__file__).parent / "plugin_files"


class Inner(Options):
    epochs: int = Field(10, ge=1)
    rates: tuple[float, ...] = (0.1,)


class Outer(Options):
    name: str = "x"
    inner: Inner = Inner()


@pytest.fixture(scope="module")
def plugins():
    return load_plugins([FILES / "tiny_case.py", FILES / "layered.py"])


def config(plugins: Plugins, *sets: str, **request) -> Config:
    asked = {"defenses": ("layered",), "dataset": "tiny", "model": "one-conv"} | request
    return resolve(Request(**asked, sets=parse_sets(sets)), plugins)


def options(plugins: Plugins, *sets: str, name: str = "layered", **request) -> BaseModel:
    chosen = config(plugins, *sets, **request).defenses
    return next(one.options for one in chosen if one.spec.name == name)


# --set texts


def test_a_set_text_is_cut_at_its_first_equals_sign():
    assert parse_sets(["a.b = c=d ", "a.b=2", "x.y="]) == {"a.b": "2", "x.y": ""}


def test_the_last_of_two_texts_for_a_key_counts():
    assert parse_sets(["a.b=1", "a.b=2"]) == {"a.b": "2"}


@pytest.mark.parametrize("text", ["", "=", "a", "a=b", "ab=c.d", "a.b"])
def test_a_text_that_sets_nothing_is_refused(text):
    with pytest.raises(UserError, match="is not of the form"):
        parse_sets([text])


def test_a_layer_is_one_namespace():
    assert layer({"a.b": 1, "ab.c": 2, "a.b.c": 3, "a": 4}, "a") == {"b": 1, "b.c": 3}


# make_options


class Colour(Enum):
    RED = 1


class Various(Options):
    choice: Literal[1, 2, "auto"] = 1
    switch: Literal[True, "auto"] = "auto"
    colour: Colour | None = None
    limit: int | None = 5
    word: str | None = "x"
    maybe: tuple[int, ...] | None = None
    names: tuple[str, ...] = ("x",)
    several: frozenset[str] = frozenset()
    ordered: Sequence[float] = (0.5,)
    pairs: tuple[tuple[int, int], ...] = ()
    table: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("choice", "2", 2),
        ("choice", "auto", "auto"),
        ("switch", "true", True),
        ("colour", "1", Colour.RED),
        ("limit", "none", None),
        ("limit", "7", 7),
        ("word", "none", "none"),
        ("maybe", "1,2", (1, 2)),
        ("maybe", "None", None),
        ("maybe", "", ()),
        ("names", "", ()),
        ("names", "a,", ("a",)),
        ("names", " a , ,b", ("a", "b")),
        ("names", "none", ("none",)),
        ("several", "a,b", frozenset("ab")),
        ("several", "", frozenset()),
        ("ordered", "0.25,1", [0.25, 1.0]),
        ("pairs", "[[1, 2], [3, 4]]", ((1, 2), (3, 4))),
        ("table", '{"a": 1}', {"a": 1}),
    ],
)
def test_a_text_is_read_as_what_the_option_takes(key, text, value):
    assert getattr(make_options(Various, "n", [{key: text}]), key) == value


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("choice", "3", "n.choice = '3': input should be 1, 2 or 'auto'"),
        ("limit", "", "n.limit = '': input should be a valid integer"),
        ("maybe", "1,x", "'x': input should be a valid integer"),
        ("table", "{", "n.table = '{': input should be a valid dictionary"),
    ],
)
def test_a_text_that_nothing_takes_is_refused_as_it_was_given(key, text, said):
    with pytest.raises(UserError, match=re.escape(said)):
        make_options(Various, "n", [{key: text}])


def test_no_folder_is_opened_to_plugins_by_an_empty_text():
    assert make_options(RunOptions, "run", [{"readable": ""}]).readable == ()
    with pytest.raises(UserError, match=r"run\.readable = .*: a path is empty"):
        make_options(RunOptions, "run", [{"readable": ["/", ""]}])


def test_a_refusal_without_words_is_one_line_too():
    class Silent(Options):
        many: int = 1

        @field_validator("many")
        @classmethod
        def _never(cls, many: int) -> int:
            raise ValueError("")

    with pytest.raises(UserError, match=r"n\.many = 2: it is refused"):
        make_options(Silent, "n", [{"many": 2}])


def test_later_layers_win_and_leave_the_others_alone():
    made = make_options(Outer, "n", [{"inner.epochs": 3}, {"name": "y"}, {"inner.epochs": "4"}])
    assert made == Outer(name="y", inner=Inner(epochs=4))


def test_a_list_is_read_from_text_between_commas():
    assert make_options(Inner, "n", [{"rates": "0.5, 1e-3"}]).rates == (0.5, 0.001)
    assert make_options(Inner, "n", [{"rates": "0.5"}]).rates == (0.5,)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("inner.epocs", 3, r"unknown option 'n.inner.epocs' \(did you mean n.inner.epochs"),
        ("inner", 3, r"unknown option 'n.inner'"),
        ("zzzzzzz", 3, r"known: n.name, n.inner.epochs, n.inner.rates"),
        ("inner.epochs", "0", r"n.inner.epochs = '0': input should be greater than or equal to 1"),
        ("inner.epochs", "9" * 5000, r"n.inner.epochs = "),
        ("inner.rates", "1,x", r"n.inner.rates.1 = 'x': input should be a valid number"),
        ("inner.rates", "inf", r"n.inner.rates.0 = 'inf': input should be a finite number"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(key, value, said):
    with pytest.raises(UserError, match=said):
        make_options(Outer, "n", [{key: value}])


def test_an_unknown_namespace_is_named_with_the_nearest():
    check_namespaces({"mesa.epochs": 1}, ["mesa"])
    with pytest.raises(UserError, match=r"--set mesas.x: .*'mesas' \(did you mean mesa\?\)"):
        check_namespaces({"mesas.x": 1}, ["mesa", "run"])


# The order of the layers: default < the preset's retrain.* < the plugin's for the preset <
# the preset's for the defense < retrain.* by hand < the defense's own by hand


def test_the_order_in_which_settings_count(plugins):
    preset = load_preset("quick").settings
    assert not any(key.startswith("layered") for key in preset)
    default = options(plugins)
    assert default.alone == 1  # the default
    assert default.here == 2  # what the plugin says for the preset `quick`
    assert options(plugins, preset="cifar10-bw").here == 1
    assert options(plugins, "layered.here=3").here == 3


def test_the_retraining_of_all_defenses_is_set_in_one_place(plugins):
    sets = ["retrain.epochs=7", "retrain.lr=0.5"]
    for name in ("layered", "fine_tuning"):
        made = options(plugins, *sets, "layered.retrain.lr=0.25", name=name)
        assert made.retrain.epochs == 7
        assert made.retrain.lr == (0.25 if name == "layered" else 0.5)


def test_what_a_plugin_says_for_a_preset_counts_more_than_what_the_preset_says_for_all(plugins):
    for name in preset_names():
        shared = layer(load_preset(name).settings, "retrain")
        retrain = options(plugins, preset=name).retrain
        # The plugin says 99 epochs for every preset, and nothing of the learning rate.
        assert retrain.epochs == 99
        assert retrain.lr == float(shared.get("lr", 0.001))
        assert options(plugins, "retrain.epochs=5", preset=name).retrain.epochs == 5
        chosen = ["layered.retrain.epochs=6", "retrain.epochs=5"]
        assert options(plugins, *chosen, preset=name).retrain.epochs == 6


def test_another_component_than_the_presets_leaves_the_presets_settings_for_it_out(plugins):
    # `attack.triggers` of quick are names of bw3x3, `model.width` of cifar10-cpu is of resnet18
    colours = config(plugins, attacks=("rgb3x3",)).attacks[0].options
    assert colours.triggers is None
    assert colours.poison_ratio == load_preset("quick").settings["attack.poison_ratio"]
    width = load_preset("cifar10-cpu").settings["model.width"]
    for model in ("resnet18", "small-resnet", "one-conv"):
        made = config(plugins, preset="cifar10-cpu", model=model).model.options
        assert made == (type(made)(width=width) if model == "resnet18" else type(made)())
    with pytest.raises(UserError, match=r"unknown option 'model\.width'"):
        config(plugins, "model.width=8", preset="cifar10-cpu")


def test_a_retraining_option_reaches_only_the_defenses_that_have_it(plugins):
    assert not hasattr(options(plugins, "retrain.epochs=3", name="none"), "retrain")
    with pytest.raises(UserError, match=r"unknown option 'retrain\.alone'"):
        config(plugins, "retrain.alone=3")


def test_what_was_set_by_hand_is_known_apart(plugins):
    sets = ("retrain.epochs=3", "layered.alone=2", "run.threads=2", "base.epochs=7")
    found = config(plugins, *sets)
    by_hand = {one.spec.name: one.by_hand for one in found.defenses}
    # A row of the leaderboard says what its defense was set to, the retraining included.
    assert by_hand["layered"] == {"retrain.epochs": "3", "alone": "2"}
    assert by_hand["none"] == {}
    assert found.setting == "quick, base.epochs=7"


def test_the_floor_and_the_presets_controls_are_always_there(plugins):
    names = [one.spec.name for one in config(plugins).defenses]
    assert names == ["layered", *load_preset("quick").controls]
    assert "none" in names
    everything = [one.spec.name for one in config(plugins, defenses=()).defenses]
    assert set(everything) == set(plugins.defenses)
    twice = config(plugins, defenses=("none", "layered", "none"))
    assert [one.spec.name for one in twice.defenses].count("none") == 1


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_sound(name):
    preset = load_preset(name)
    made = resolve(Request(preset=name), load_plugins())
    assert preset.summary
    assert (made.dataset.spec.name, made.model.spec.name) == (preset.dataset, preset.model)
    assert min(preset.estimate.base, preset.estimate.victim, preset.estimate.trial) > 0


# Whatever is typed after --set

KEYS = st.sampled_from(
    [
        *("run.threads", "run.min_asr", "run.memory_mib", "split.defense_fraction", "base.epochs"),
        *("base.lr", "base.flip", "attack.triggers", "attack.target", "attack.placement"),
        *(
            "attack.grid_seed",
            "retrain.epochs",
            "retrain.decay",
            "layered.alone",
            "layered.retrain",
        ),
        *("layered.many", "layered.retrain.lr", "model.width", "dataset.x", "none.x", ".", "..a"),
    ]
)
VALUES = st.one_of(
    WORDS,
    st.integers().map(str),
    st.floats().map(str),
    st.lists(st.integers(-1, 600), max_size=3).map(lambda many: ",".join(map(str, many))),
    st.sampled_from(["random", "true", "None", "[]", "{}", "1e999", "٣", "0x10", "1_000", "-0"]),
)


@given(st.lists(st.one_of(WORDS, st.tuples(KEYS, VALUES).map("=".join)), max_size=4))
def test_whatever_is_set_makes_options_or_a_user_error(plugins, texts):
    try:
        found = config(plugins, *texts)
    except UserError as error:
        said = str(error)
        event(said[:20])
        return
    for chosen in (*found.defenses, *found.attacks, found.model, found.dataset):
        again = type(chosen.options).model_validate(chosen.component().options)
        assert again == chosen.options  # what travels to the worker is what was validated


@given(st.integers(1, 2**31), st.floats(0, 1))
def test_numbers_come_through_unchanged(threads, rate):
    made = make_options(RunOptions, "run", [{"threads": str(threads), "min_asr": repr(rate)}])
    assert made.threads == threads
    assert math.copysign(1, made.min_asr) == math.copysign(1, rate)
    assert made.min_asr == rate


def test_auto_precision_is_settled_by_the_processor_before_anything_is_hashed() -> None:
    flags = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    words = set(flags.split())
    expected = "bfloat16" if words & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"
    recipe = make_options(BaseRecipe, "base", [{"precision": "auto"}])
    assert recipe.model_dump()["precision"] == expected


def test_precision_refuses_what_is_none() -> None:
    with pytest.raises(UserError, match="precision"):
        make_options(BaseRecipe, "base", [{"precision": "float16"}])


class Slower(Inner):
    epochs: int = Field(40, ge=1)


class Derived(Options):
    inner: Inner = Slower(rates=(0.5,))


def test_a_group_keeps_the_defaults_of_the_class_that_its_default_is_of():
    assert make_options(Derived, "n", []).inner == Inner(epochs=40, rates=(0.5,))
    made = make_options(Derived, "n", [{"inner.rates": "0.25"}]).inner
    assert made == Inner(epochs=40, rates=(0.25,))
    assert make_options(Derived, "n", [{"inner.epochs": 10}]).inner.epochs == 10


class Tuned(Options):
    inner: Inner = Inner(epochs=2, rates=(0.5, 0.25))
    made: Inner = Field(default_factory=lambda: Inner(epochs=3))
    plain: Inner = Inner()


def test_a_group_keeps_its_own_defaults_where_one_of_its_keys_is_set():
    layers = [{"inner.rates": "0.125", "made.rates": "0.25"}, {"plain.epochs": 7}]
    made = make_options(Tuned, "tuned", layers)
    assert made.inner == Inner(epochs=2, rates=(0.125,))
    assert made.made == Inner(epochs=3, rates=(0.25,))
    assert made.plain == Inner(epochs=7)
    assert make_options(Tuned, "tuned", []) == Tuned()


# What of the options decides an identity


class Older(Options):
    rate: float = 1.0


class Part(Options):
    depth: int = Field(2, json_schema_extra=CHOOSES)
    width: int = 3


class Newer(Older):
    skip: bool = Field(False, json_schema_extra=added(False))
    keep: int = Field(5, json_schema_extra=CHOOSES)


class Nested(Options):
    inner: Part = Part()
    newer: Newer = Newer()


def test_an_option_added_later_counts_from_the_value_on_that_changes_something():
    assert deciding_options(Newer()) == deciding_options(Older())
    assert deciding_options(Newer(skip=True)) == {"rate": 1.0, "skip": True}
    assert deciding_options(Newer(keep=9)) == deciding_options(Newer())


def test_groups_of_options_follow_the_same_rules():
    assert deciding_options(Nested()) == {"inner": {"width": 3}, "newer": {"rate": 1.0}}
    other = Nested(inner=Part(depth=7), newer=Newer(skip=True))
    assert deciding_options(other)["inner"] == {"width": 3}
    assert deciding_options(other)["newer"] == {"rate": 1.0, "skip": True}


def test_a_group_that_chooses_decides_nothing():
    class Choosing(Options):
        keep: Older = Field(Older(), json_schema_extra=CHOOSES)
        rate: float = 1.0

    assert deciding_options(Choosing(keep=Older(rate=3))) == {"rate": 1.0}
