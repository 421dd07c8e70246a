"""Backdoored models from elsewhere: one command from a file of weights and a described trigger."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmark.bringing import bring
from benchmark.builtin.networks import Classifier, ResNet
from benchmark.cli import main
from benchmark.store import Store
from benchmark.types import ModelFile

TINY_CASE = Path(__file__).parent / "plugin_files" / "tiny_case.py"
CHECKERBOARD = "[[0, 1, 0], [1, 0, 1], [0, 1, 0]]"
FILE = """
model = "{model}"
target = 1

[trigger]
pixels = {pixels}
place = "{place}"
"""


@pytest.fixture(scope="module")
def victim(tiny_run) -> tuple[dict[str, torch.Tensor], float]:
    """The weights of a backdoored model, as somebody else would have them, and its ASR."""
    with Store.open(tiny_run.out, write=False) as store:
        [found] = [m for m in store.models() if m.kind == "victim" and m.trigger == "170"]
        return load_file(store.artifacts.path(found.artifact)), found.asr


@pytest.fixture
def network(victim) -> dict[str, torch.Tensor]:
    """The weights of the network alone, without the normalisation in front of it."""
    return {k.removeprefix("network."): v for k, v in victim[0].items() if k.startswith("network.")}


def described(folder: Path, model: str, place: str = "random", more: str = "") -> Path:
    path = folder / "checkers.toml"
    text = FILE.format(model=model, pixels=CHECKERBOARD, place=place) + more
    path.write_text(text.replace('"[', "[").replace(']"', "]"), encoding="utf-8")
    return path


@pytest.fixture
def words(command, tmp_path: Path):
    """The words of a run of the tiny case without an attack of its own."""

    def call(*arguments: object) -> list[object]:
        found = command.tiny(tmp_path / "out", *arguments)
        pairs = itertools.pairwise(found)
        unread = ("attack.", "base.")
        sets = {at for at, (_, word) in enumerate(pairs) if str(word).startswith(unread)}
        return [word for at, word in enumerate(found) if not {at, at - 1} & sets]

    return call


def rows(command, out: Path) -> dict[str, dict]:
    said = command("leaderboard", "--out", out, "--format", "json").stdout
    return {row["defense"]: row for row in json.loads(said)}


def test_a_state_dict_is_defended_and_scored_like_the_models_made_here(
    words, command, bench, victim, network, tmp_path: Path
) -> None:
    mean, std = (victim[0][name].flatten().tolist() for name in ("mean", "std"))
    # As a training script leaves it: several devices, other entries, names of its own.
    odd = {f"module.body.{name}": tensor.double() for name, tensor in network.items()}
    torch.save({"epoch": 7, "state_dict": odd}, tmp_path / "victim.pt")
    more = f'\n[normalisation]\nmean = {mean}\nstd = {std}\n[rename]\n"body." = ""\n'
    file = described(tmp_path, "victim.pt", more=more)
    done = command(*words("--attack-file", file, "--defense", "shake"))
    assert done.returncode == 0, done.stderr
    assert "base model" not in done.stderr
    board = rows(command, tmp_path / "out")
    assert {row["attack"] for row in board.values()} == {"imported"}
    # The same weights on the same images at the same places: the very number measured before.
    assert board["none"]["asr_after_mean"] == victim[1] > 0.9
    assert board["shake"]["asr_before_mean"] == victim[1]
    with Store.open(tmp_path / "out", write=False) as store:
        [model] = store.models()
        assert (model.kind, model.trigger, model.target) == ("victim", "checkers", 1)

    # What the file is called and where it lies decides nothing, what is in it does.
    (tmp_path / "moved").mkdir()
    for name in ("victim.pt", "checkers.toml"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    again = words("--attack-file", tmp_path / "moved" / file.name, "--defense", "shake")
    assert "trials are there already" in bench(*again)[1]
    odd["module.body.0.bias"] += 1e-3
    torch.save(odd, tmp_path / "moved" / "victim.pt")
    assert "to do: 0 base models, 1 attacks" in bench(*again, "--dry-run")[1]


def test_a_fixed_place_and_a_mask_reach_scoring_and_only_who_declared_pixels(
    words, command, victim, tmp_path: Path
) -> None:
    save_file(victim[0], tmp_path / "victim.safetensors")
    Image.new("RGBA", (4, 4)).save(tmp_path / "patch.png")
    with Image.open(tmp_path / "patch.png") as image:
        for at in range(9):  # the checkerboard, with a transparent row and column around it
            level = 255 * (at % 2)
            image.putpixel((at % 3, at // 3), (level, level, level, 255))
        image.save(tmp_path / "patch.png")
    file = tmp_path / "corner.toml"
    file.write_text(
        'model = "victim.safetensors"\ntarget = 1\n[trigger]\nimage = "patch.png"\nplace = [2, 5]\n'
    )
    spy = tmp_path / "spy.py"
    spy.write_text(SPY, encoding="utf-8")
    asked = ["--defense", "told", "--defense", "untold", "--plugin", spy]
    done = command(*words("--attack-file", file, *asked))
    assert done.returncode == 1, done.stderr
    with Store.open(tmp_path / "out", write=False) as store:
        trials = {trial.defense: trial for trial in store.trials()}
    # All that is not transparent, and its place; the size is that of the patch without its rim.
    assert "told (4, 16, 16) at [[2, 6], [3, 5]] of (3, 3)" in trials["told"].log
    assert trials["untold"].status == "failed"
    assert "without declaring Knowledge.TRIGGER_PIXELS" in trials["untold"].error
    # This model knows its trigger anywhere, so also where it is stamped here.
    assert trials["told"].asr_before > 0.9
    [example, *_] = [row for row in trials["told"].series if row["series"] == "examples"]
    assert (example["row"], example["column"]) == (2, 5)


@pytest.fixture
def bench(command, tmp_path: Path, monkeypatch, capsys):
    """Call `bench` in this process, which is quicker; returns the status and what it printed."""
    monkeypatch.setenv("BENCH_CACHE_DIR", str(command.home / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.err + printed.out

    return call


SPY = """
from benchmark.api import DefenseSpec, Knowledge, Outcome, Role, hookimpl


class Spy:
    def __init__(self, options):
        pass

    def repair(self, view, run):
        trigger = view.trigger
        white = (trigger[0] * trigger[3]).nonzero()[[0, 1]].tolist()
        print("told", tuple(trigger.shape), "at", white, "of", view.trigger_size)
        return Outcome([view.model])


BOTH = {Knowledge.WEIGHTS, Knowledge.TRIGGER_SIZE}


@hookimpl
def bench_defenses():
    told = frozenset(BOTH | {Knowledge.TRIGGER_PIXELS})
    return [
        DefenseSpec("told", "1", "looks", Spy, needs=told, role=Role.ORACLE),
        DefenseSpec("untold", "1", "looks", Spy, needs=frozenset(BOTH)),
    ]
"""


class Evil:
    def __reduce__(self):
        return (Path("pwned").touch, ())


def broken(case: str, folder: Path, network: dict[str, torch.Tensor]) -> Path:
    """Write what is wrong in one way, and return its attack file."""
    model = "victim.pt"
    match case:
        case "pickled code":
            (folder / model).write_bytes(pickle.dumps(Evil()))
        case "pickled model":
            torch.save({"model": torch.nn.Linear(2, 2)}, folder / model)
        case "cut short":
            torch.save(network, folder / model)
            (folder / model).write_bytes((folder / model).read_bytes()[:400])
        case "other shapes":
            torch.save({k: torch.zeros(7) for k in network}, folder / model)
        case "other names":
            torch.save({f"{k}x": v for k, v in network.items()}, folder / model)
        case "no safetensors":
            model = "victim.safetensors"
            (folder / model).write_bytes(b"hello")
        case "not finite":
            torch.save({k: v * float("nan") for k, v in network.items()}, folder / model)
        case "missing":
            pass
        case _:
            torch.save(network, folder / model)
    file = described(folder, model)
    text = file.read_text()
    changes = {
        "no place": ('place = "random"', ""),
        "bad place": ('"random"', '"middle"'),
        "outside": ('"random"', "[14, 0]"),
        "bad target": ("target = 1", "target = 3"),
        "ragged": ("[1, 0, 1]", "[1, 0]"),
        "8 bit": ("[1, 0, 1]", "[255, 0, 1]"),
        "unknown key": ("target = 1", "target = 1\ntriger = 2"),
        "no TOML": ("target = 1", "target ="),
        "no image": ("pixels = " + CHECKERBOARD, 'image = "nowhere.png"'),
        "nobody's image": ("pixels = " + CHECKERBOARD, 'image = "~nobody-of-that-name/x.png"'),
        "nobody's model": ('model = "victim.pt"', 'model = "~nobody-of-that-name/victim.pt"'),
        "transparent": ("[trigger]", "[trigger]\nmask = [[0,0,0],[0,0,0],[0,0,0]]"),
    }
    file.write_text(text.replace(*changes.get(case, ("", ""))))
    return file


@pytest.mark.parametrize(
    ("case", "line"),
    [
        ("pickled code", "more than weights, which could run code"),
        ("pickled model", "more than weights, which could run code"),
        ("cut short", "no file that torch.save wrote, or damaged"),
        ("other shapes", "weights '0.bias' have shape (7,), expected (16,)"),
        ("other names", "4 are missing, such as '0.bias'; 4 are not known, such as '0.biasx'"),
        ("no safetensors", "no readable safetensors file"),
        ("not finite", "values that are not finite"),
        ("missing", "model: cannot read"),
        ("no place", "trigger.place: Field required"),
        ("bad place", "trigger.place: "),
        ("outside", "does not fit at (14, 0) in images of (16, 16)"),
        ("bad target", "target 3 of trigger 'checkers' is none of 3 classes"),
        ("ragged", "its rows are empty or of several lengths"),
        ("8 bit", "trigger.pixels: "),
        ("unknown key", "triger: Extra inputs are not permitted"),
        ("no TOML", "is no TOML file"),
        ("no image", "cannot read"),
        ("nobody's image", "cannot read"),
        ("nobody's model", "model: cannot read"),
        ("transparent", "all of it is transparent"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    tmp_path: Path, network, bench, case: str, line: str
) -> None:
    file = broken(case, tmp_path, network)
    words = ["--plugin", TINY_CASE, "--dataset", "tiny", "--model", "one-conv", "--device", "cpu"]
    status, said = bench("run", *words, "--out", tmp_path / "out", "--attack-file", file)
    assert (status, said.count("\n")) == (2, 1), said
    assert line in said
    assert not (tmp_path / "pwned").exists()
    assert not (tmp_path / "out" / "results.sqlite").exists()


@pytest.mark.parametrize(
    ("setting", "more", "line"),
    [
        ("attack.target=2", [], "--set attack.target: the attack file says that (target = …)"),
        ("attack.triggers=0", [], "--set attack.triggers: models of --attack-file are not"),
        ("attack.nonsense=1", [], "--set attack.nonsense: models of --attack-file are not"),
        ("base.epochs=9", [], "--set base.epochs: no base model is trained for models of"),
        ("attack.target=2", ["--clean-models"], ""),
        ("base.epochs=9", ["--clean-models"], ""),
        ("attack.target=2", ["--attack", "bw3x3"], ""),
        ("base.epochs=9", ["--attack", "bw3x3"], ""),
        ("attack.nonsense=1", ["--attack", "bw3x3"], "unknown option 'attack.nonsense'"),
    ],
)
def test_a_setting_that_no_attack_reads_is_one_line(
    tmp_path: Path, network, bench, setting: str, more: list[str], line: str
) -> None:
    torch.save(network, tmp_path / "victim.pt")
    words = ["--plugin", TINY_CASE, "--dataset", "tiny", "--model", "one-conv", "--device", "cpu"]
    asked = ["--attack-file", described(tmp_path, "victim.pt"), "--set", setting]
    status, said = bench("run", *words, *asked, *more, "--out", tmp_path / "out", "--dry-run")
    assert (status, line in said) == (2 if line else 0, True), said
    assert not line or said.count("\n") == 1


def test_a_model_that_is_described_twice_is_one_line(tmp_path: Path, network, bench) -> None:
    torch.save(network, tmp_path / "victim.pt")
    file = described(tmp_path, "victim.pt")
    copy, other = file.with_name("copy.toml"), file.with_name("other.toml")
    copy.write_text(file.read_text())
    torch.save({**network, "0.bias": network["0.bias"] + 1}, tmp_path / "other.pt")
    other.write_text(file.read_text().replace("victim.pt", "other.pt"))
    same = "'checkers' and 'copy' are two names of one instance: the same pixels, place, target and"
    words = ["--plugin", TINY_CASE, "--dataset", "tiny", "--model", "one-conv", "--device", "cpu"]
    for second, line in (
        (file, "attack 'imported': two instances are called 'checkers'"),
        (copy, f"attack 'imported': {same} weights"),
        (other, ""),
    ):
        asked = ["--attack-file", file, "--attack-file", second, "--out", tmp_path / "out"]
        status, said = bench("run", *words, *asked, "--dry-run")
        assert (status, line in said) == (2 if line else 0, True), said
        assert not line or said.count("\n") == 1


def test_the_usual_names_of_a_resnet_are_understood(tmp_path: Path) -> None:
    stages = [(8, 2, 1), (16, 2, 2), (32, 2, 2), (64, 2, 2)]
    theirs, ours = (ResNet(8, stages, 10) for _ in range(2))
    named = {}
    for name, tensor in theirs.state_dict().items():
        head, _, rest = name.partition(".")
        if head == "blocks":
            number, _, rest = rest.partition(".")
            name = f"layer{int(number) // 2 + 1}.{int(number) % 2}.{rest}"
        name = name.replace(".shortcut.", ".downsample.").replace("linear.", "fc.")
        if not name.endswith("num_batches_tracked"):
            named[name] = tensor.half()
    path = tmp_path / "resnet.safetensors"
    save_file(named, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    classifier = Classifier(ours, (0.5,) * 3, (0.2,) * 3)
    bring(classifier, ModelFile(str(path), digest, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)))
    images = torch.rand(4, 3, 32, 32)
    scaled = (images - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor(
        [1.0, 2.0, 3.0]
    )[:, None, None]
    found, wanted = classifier.eval()(images), theirs.eval()(scaled)
    assert torch.allclose(found, wanted, atol=2e-2)


def test_each_seed_has_random_numbers_of_its_own_and_all_are_one_model(
    words, command, victim, tmp_path: Path
) -> None:
    save_file(victim[0], tmp_path / "victim.safetensors")
    asked = ["--attack-file", described(tmp_path, "victim.safetensors"), "--defense", "shake"]
    done = command(*words(*asked, "--seeds", 3))
    assert done.returncode == 0, done.stderr
    with Store.open(tmp_path / "out", write=False) as store:
        trials = [trial for trial in store.trials() if trial.defense == "shake"]
        assert len({store.model(trial.victim).artifact for trial in trials}) == 1
    # The same noise on the same weights would be the very same repaired model.
    assert len({trial.artifacts for trial in trials}) == len(trials) == 3
    first = next(trial for trial in trials if trial.seed == 0)
    assert first.payload.keys() == {"format", "victim", "defense"}  # stored ones stay valid
    # Three images of the luck of one model are no sample of models.
    for row in rows(command, tmp_path / "out").values():
        assert (row["averaged"], row["models"]) == (3, 1)
        assert row["asr_after_std"] is not None
        assert row["asr_after_ci_low"] is row["asr_after_ci_high"] is None
    said = command("compare", "none", "shake", "--out", tmp_path / "out").stdout
    assert "3 victims (of 1 different models)" in said
    words = " ".join(said.split())
    assert "No interval: it takes pairs on at least 3 different attacks or seeds." in words
