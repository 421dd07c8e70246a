"""A run described in one file of somebody's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from plans import keep_done, plan

from benchmark.config import Config, Request, resolve
from benchmark.errors import UserError
from benchmark.plugins import load_plugins
from benchmark.preset import preset_names
from benchmark.report.leaderboard import leaderboard
from benchmark.report.selecting import pairs_named
from benchmark.store import Store

STUDY = """
extends = "quick"
defenses = ["mesa", "pixel_baseline"]
controls = ["oracle"]
attacks = ["rgb3x3"]
seeds = 3

[settings]
"attack.triggers" = ["c0", "c1"]
"retrain.lr" = 0.01

[settings.mesa]
epochs = 7
detect.threshold = 0.3
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "my-study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def resolved(path: Path, **asked: object) -> Config:
    return resolve(Request(preset=str(path), **asked), load_plugins())


def options(config: Config, name: str) -> dict:
    return next(one for one in config.defenses if one.spec.name == name).options.model_dump()


def test_a_file_says_what_runs_and_how(study: Path) -> None:
    config = resolved(study)
    assert [one.spec.name for one in config.defenses] == [
        "mesa",
        "pixel_baseline",
        "oracle",
        "none",
    ]
    assert [one.spec.name for one in config.attacks] == ["rgb3x3"]
    assert (config.seeds, config.setting) == (3, "my-study")
    mesa = options(config, "mesa")
    assert (mesa["epochs"], mesa["detect"]["threshold"], mesa["retrain"]["lr"]) == (7, 0.3, 0.01)
    # Whatever it leaves out is as in the preset that it extends, what plugins set there too.
    shipped = resolve(Request(preset="quick"), load_plugins())
    assert mesa["batch_size"] == options(shipped, "mesa")["batch_size"] == 32
    assert (config.dataset.spec.name, config.recipe) == ("digits", shipped.recipe)
    assert config.preset.differences.startswith(shipped.preset.differences)
    assert config.preset.differences.endswith(
        "; attacks = rgb3x3; attack.triggers = c0,c1; retrain.lr = 0.01; mesa.epochs = 7; "
        "mesa.detect.threshold = 0.3"
    )


def test_a_file_is_what_the_same_words_on_the_command_line_are(study: Path) -> None:
    sets = {"attack.triggers": "c0,c1", "retrain.lr": "0.01", "mesa.epochs": "7"}
    sets["mesa.detect.threshold"] = "0.3"
    words = Request(defenses=("mesa",), attacks=("rgb3x3",), seeds=3, sets=sets)
    typed, told = resolve(words, load_plugins()), resolved(study, defenses=("mesa",))
    for name in ("mesa", "oracle"):
        assert options(typed, name) == options(told, name)
    assert typed.attacks[0].deciding == told.attacks[0].deciding


def test_the_command_line_counts_more(study: Path) -> None:
    config = resolved(study, defenses=("mesa",), seeds=1, sets={"mesa.epochs": "2"})
    assert {one.spec.name for one in config.defenses} == {"mesa", "oracle", "none"}
    assert (config.seeds, options(config, "mesa")["epochs"]) == (1, 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('extends = "quickest"', "extends = 'quickest' is no shipped preset .*known: quick,"),
        ("defence = ['mesa']", "defence: extra inputs are not permitted .*known: extends,"),
        ("seeds = 0", "seeds: input should be greater than or equal to 1"),
        ("attacks = []", "attacks: .*at least 1 item"),
        ("seeds = ", "is no TOML file: .*value"),
        ('[settings]\n"mess.epochs" = 3', "settings: mess.epochs: nothing .* called 'mess'"),
        ('[settings]\n"mesa.epoch" = 3', "mesa.epoch.*did you mean mesa.epochs"),
        ('[settings]\n"retrain.lrr" = 3', "retrain.lrr.*did you mean retrain.lr"),
        ('[settings]\n"mesa.epochs" = "many"', "mesa.epochs"),
        ("[settings]\nmesa = 5", "wrong.toml: settings: mesa: .*of the form namespace.option"),
        ('dataset = "cifar11"', "unknown dataset 'cifar11' .*cifar10"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=reason) as refused:
        resolved(path)
    assert "\n" not in str(refused.value).strip()


@pytest.fixture
def told(tmp_path: Path):
    """Return a preset file of this text."""

    def write(text: str) -> Path:
        path = tmp_path / "told.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_what_the_extended_preset_sets_for_its_own_components_is_of_no_other(told) -> None:
    """As on the command line: `quick` sets `dataset.test_images` and `attack.triggers`."""
    named = resolved(told('dataset = "cifar10"\nmodel = "resnet18"\nattacks = ["rgb3x3"]'))
    typed = resolve(
        Request(dataset="cifar10", model="resnet18", attacks=("rgb3x3",)), load_plugins()
    )
    for one, other in (
        (named.dataset, typed.dataset),
        (named.model, typed.model),
        (named.attacks[0], typed.attacks[0]),
    ):
        assert one.deciding == other.deciding
        assert one.options == other.options
    assert named.attacks[0].options.triggers is None
    assert named.attacks[0].options.poison_ratio == 0.3


def test_what_a_file_sets_is_of_the_components_that_it_names(told) -> None:
    own = '[settings]\n"attack.triggers" = ["c1"]\n"model.width" = 32\n'
    path = told('model = "resnet18"\nattacks = ["rgb3x3"]\n' + own)
    config = resolved(path)
    assert config.attacks[0].options.triggers == ("c1",)
    assert config.model.options.width == 32
    assert config.dataset.options.test_images == 1600  # as quick says of its own data set
    other = resolved(path, attacks=("bw3x3",), model="small-resnet")
    assert other.attacks[0].options.triggers == ("0", "170", "27")  # quick's again
    assert other.model.options.width == 16


def test_a_setting_for_what_a_file_names_has_to_be_known(told) -> None:
    with pytest.raises(UserError, match=r"unknown option 'dataset\.test_images'"):
        resolved(told('dataset = "cifar10"\n[settings]\n"dataset.test_images" = 800'))


def test_what_a_file_sets_for_a_defense_stands_in_its_row(told, tmp_path: Path) -> None:
    own = '[settings]\n"retrain.decay" = false\n[settings.shake]\nscale = 0.25'
    asked = {"preset": str(told(own)), "defenses": ("shake", "fine_tuning")}
    by_words = plan("retrain.decay=false", "shake.scale=0.25", defenses=asked["defenses"])
    by_file = plan(**asked)
    assert [one.job.id for one in by_file.jobs] == [one.job.id for one in by_words.jobs]
    with Store.open(tmp_path / "out", write=True, create=True) as store:
        for made in (plan(), by_file, plan("shake.scale=0.75", **asked)):
            keep_done(made, store)
        rows = leaderboard(store.trials_frame())
    shown = {(row.defense, row.shown) for row in rows if row.defense != "oracle"}
    assert shown == {
        *(("none", "1"), ("fine_tuning", "1"), ("fine_tuning", "1 retrain.decay=false")),
        *(("shake", "1"), ("shake", "1 scale=0.25"), ("shake", "1 scale=0.75")),
    }
    assert len(pairs_named(rows, "shake:scale=0.25", "fine_tuning:retrain.decay=false")) == 1


def by_hand(config: Config) -> dict[str, dict[str, str]]:
    return {one.spec.name: dict(one.by_hand) for one in config.defenses}


def test_a_row_shows_of_a_file_what_holds_for_its_defense(told) -> None:
    path = told('[settings]\n"retrain.lr" = 0.01\n[settings.mesa]\nlevels = [0.9]\nsamples = [10]')
    found = by_hand(resolved(path, defenses=("mesa", "mesa_short"), sets={"mesa.lr": "1e-4"}))
    mesa = {"retrain.lr": "0.01", "levels": "0.9", "samples": "10", "lr": "1e-4"}
    # What a plugin says of its own retraining in a preset counts more than what is said for all.
    assert (found["mesa"], found["mesa_short"]) == (mesa, {})
    assert found["none"] == {}


@pytest.mark.parametrize("preset", preset_names())
def test_what_a_shipped_preset_says_is_in_no_row(preset: str) -> None:
    config = resolve(Request(preset=preset), load_plugins())
    assert not any(by_hand(config).values())
    assert len(by_hand(config)) > 4


def test_a_file_called_like_a_shipped_preset_is_refused(told, tmp_path: Path) -> None:
    path = tmp_path / "cifar10-cpu.toml"
    told("").rename(path)
    line = r"cifar10-cpu\.toml: cifar10-cpu is what a shipped preset is called \(rename the file\)"
    with pytest.raises(UserError, match=line):
        resolved(path)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--preset .*none\.toml: no such file"):
        resolved(tmp_path / "none.toml")


def test_a_default_of_ones_own_and_the_file_by_name(command, tmp_path: Path) -> None:
    """The environment names the preset of every run; what is typed counts more."""
    path = tmp_path / "mine.toml"
    path.write_text('defenses = ["oracle"]\nseeds = 2\ncontrols = []\n', encoding="utf-8")
    asked = ("run", "--dry-run", "--out", tmp_path / "out")
    typed = command(*asked, "--preset", path)
    assert typed.returncode == 0, typed.stderr
    assert "12 trials" in typed.stdout  # three triggers, two seeds, the oracle and `none`
    other = type(command)(command.home, extra={"BENCH_PRESET": str(path)})
    assert "12 trials" in other(*asked).stdout
    shipped = other(*asked, "--preset", "quick", "--defense", "oracle").stdout
    assert "9 trials" in shipped
