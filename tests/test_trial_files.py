"""`run.keep_models` and `bench show TRIAL --save DIR`: weights and triggers to take along."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmark.builtin.imported import ImportedOptions, imported_instances
from benchmark.records import ModelRecord
from benchmark.report.trial_files import attack_file
from benchmark.store import Store
from benchmark.types import DatasetInfo

TINY_CASE = Path(__file__).parent / "plugin_files" / "tiny_case.py"


def trials(out: Path) -> dict[tuple[str, str], object]:
    with Store.open(out, write=False) as store:
        return {(trial.defense, trial.trigger): trial for trial in store.trials()}


@pytest.fixture
def bench(command):
    """The command: its status, and what it said."""

    def call(*arguments: object) -> tuple[int, str]:
        done = command(*arguments)
        return done.returncode, done.stdout + done.stderr

    return call


@pytest.fixture(scope="module")
def kept(tiny_run, tmp_path_factory):
    """The tiny run done once more over its own victims, with its repaired models kept."""
    out = tiny_run.copy(tmp_path_factory.mktemp("kept") / "results")
    words = tiny_run.command.tiny(
        out, "--defense", "shake", "--rerun", "always", attack__triggers="170", run__keep_models=1
    )
    done = tiny_run.command(*words)
    assert done.returncode == 0, done.stderr
    return out


def test_repaired_models_are_kept_where_that_is_asked_for_and_change_no_number(
    tiny_run, kept
) -> None:
    before, after = trials(tiny_run.out), trials(kept)
    for (defense, trigger), trial in after.items():
        old = before[defense, trigger]
        assert (trial.trial, trial.artifacts, trial.metrics) == (
            *(old.trial, old.artifacts, old.metrics),
        )
        with Store.open(kept, write=False) as store:
            there = [store.artifacts.verify(name) for name in trial.artifacts]
        # `none` hands the victim's own weights back, and these are kept in any case.
        assert there == [trigger == "170" or defense == "none"] * trial.repeats
    with Store.open(tiny_run.out, write=False) as store:
        (name,) = before["shake", "170"].artifacts
        assert not store.artifacts.path(name).exists()


def test_what_is_saved_of_a_trial_is_a_victim_for_another_run(
    tiny_run, kept, bench, tmp_path: Path
) -> None:
    trial, saved = trials(kept)["shake", "170"], tmp_path / "a folder"
    status, said = bench("show", trial.trial, "--out", kept, "--save", saved)
    assert status == 0
    names = sorted(path.name for path in saved.iterdir())
    assert names == ["repaired-0.safetensors", "victim.safetensors", "victim.toml"]
    assert all(str(saved / name) in said for name in names)
    told = tomllib.loads((saved / "victim.toml").read_text("utf-8"))
    assert (told["name"], told["target"], told["trigger"]["place"]) == ("170", 1, "random")
    repaired = load_file(saved / "repaired-0.safetensors")
    assert repaired.keys() == load_file(saved / "victim.safetensors").keys()

    command, out = tiny_run.command, tmp_path / "again"
    words = command.tiny(out, "--defense", "none", "--attack-file", saved / "victim.toml")
    attack = {at for at, word in enumerate(words) if str(word).startswith(("attack.", "base."))}
    words = [word for at, word in enumerate(words) if not {at, at + 1} & attack]
    done = command(*words)
    assert done.returncode == 0, done.stderr
    # The same weights and trigger, on the same images at the same places.
    assert trials(out)["none", "170"].asr_before == trial.asr_before > 0.9


def test_the_command_in_a_victims_file_finds_the_same_asr_whatever_its_seed(
    command, bench, tmp_path: Path
) -> None:
    """Data set, division and seed are of the file's own command; only the plugin is added."""
    out, saved, again = (tmp_path / name for name in ("out", "saved", "again"))
    sets = {"attack__triggers": "170", "split__defense_fraction": 0.7}
    words = command.tiny(out, "--defense", "none", "--first-seed", 2, **sets)
    assert command(*words).returncode == 0
    trial = trials(out)["none", "170"]
    assert trial.seed == 2
    assert bench("show", trial.trial, "--out", out, "--save", saved)[0] == 0
    _, line, *_ = (saved / "victim.toml").read_text("utf-8").splitlines()
    assert line == (
        "# bench run --preset quick --dataset tiny --first-seed 2 --model one-conv "
        "--set split.defense_fraction=0.7 --attack-file ..."
    )
    told = [word for word in shlex.split(line)[2:] if word != "..."]
    asked = ["--defense", "none", "--plugin", TINY_CASE, "--device", "cpu", "--out", again]
    status, said = bench(*told, saved / "victim.toml", *asked)
    assert status == 0, said
    found = trials(again)["none", "170"]
    assert found.asr_before == trial.asr_before
    assert found.clean_accuracy_before == trial.clean_accuracy_before


def test_saving_names_what_it_cannot_do_and_writes_nothing(tiny_run, bench, tmp_path: Path) -> None:
    out, saved = tiny_run.copy(tmp_path / "out"), tmp_path / "saved"
    trial = trials(out)["shake", "170"]

    def said(*more: object) -> str:
        status, text = bench("show", trial.trial, "--out", out, *more)
        assert status == 2
        return text

    assert said("--save", saved, "--log") == (
        "bench: --log and --save are two requests (give one of them)\n"
    )
    saved.mkdir()
    (saved / "mine").write_text("precious")
    assert f"--save {saved}: mine is there (name a folder that is empty)" in said("--save", saved)
    assert [path.name for path in saved.iterdir()] == ["mine"]
    with Store.open(out, write=False) as store:
        victim = store.artifacts.path(store.model(trial.victim).artifact)
    victim.write_bytes(b"other")
    assert "is damaged" in said("--save", tmp_path / "new")
    victim.unlink()
    assert f"no weights of trial {trial.trial} are kept" in said("--save", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_trial_whose_repaired_model_was_not_kept_says_how_to_keep_it(
    tiny_run, bench, tmp_path: Path
) -> None:
    trial = trials(tiny_run.out)["shake", "170"]
    status, said = bench("show", trial.trial, "--out", tiny_run.out, "--save", tmp_path / "new")
    assert status == 0
    assert "not kept: --set run.keep_models=true" in said
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        *("victim.safetensors", "victim.toml"),
    }


PLANES = (((0.1, 1.0), (1 / 3, 0.0)), ((0.5, 0.0), (0.0, 1.0)), ((0.0, 0.0), (1.0, 0.25)))
OPACITY = ((1.0, 0.5), (0.2, 1.0))


@pytest.mark.parametrize("planes", [PLANES, (*PLANES, OPACITY)])
@pytest.mark.parametrize("place", [None, (3, 4)])
@pytest.mark.parametrize("name", ["170", 'a "ü" \\ \x7f🙂\n#'])
def test_an_attack_file_says_the_trigger_to_the_last_digit(
    planes, place, name, tmp_path: Path
) -> None:
    payload = {"trigger": planes, "target": 7, **({"place": place} if place else {})}
    options = {"width": 16, "sizes": [3, 5], "head": {"bias": False}}
    payload["model"] = {"options": options}
    victim = ModelRecord(
        *("id", "victim", "done", "", "digits", "small-resnet", 2, "bw\n3x3", name),
        target=7,
        payload=payload,
    )
    text = attack_file(victim, None, "my-study, dataset.test_images=50, base.epochs=3")
    said = "--dataset digits --first-seed 2 --model small-resnet --set model.width=16"
    said += " --set model.sizes=3,5 --set model.head.bias=false"
    # The preset of somebody's own file is nowhere else; what was set of the data set is said.
    assert f"# bench run {said} --set dataset.test_images=50 --attack-file ...\n" in text
    (tmp_path / "victim.toml").write_text(text, encoding="utf-8")
    (tmp_path / "victim.safetensors").write_bytes(b"weights")
    info = DatasetInfo(num_classes=8, image_size=(16, 16))
    options = ImportedOptions(files=(str(tmp_path / "victim.toml"),))
    (found,) = imported_instances(options, info)
    assert (found.trigger.pixels, found.trigger.place, found.target) == (planes, place, 7)
