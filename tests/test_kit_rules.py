"""Rules of the kit that one function decides: options, devices, shapes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from benchmark.kit.early import judge_options
from benchmark.kit.findings import Book, Rule
from benchmark.kit.places import lines_where, names_a_device, source_root
from benchmark.kit.rules.model import judge_model
from benchmark.loading.importing import BUILTIN
from benchmark.loading.origin import Origin
from benchmark.recipe import FineTune
from benchmark.specs import DefenseSpec, Options


class Optional(Options):
    retrain: FineTune | None = FineTune()


class Plain(Options):
    retrain: FineTune = FineTune()
    limit: int | None = None


class Deep(Options):
    group: Optional = Optional()


@pytest.mark.parametrize(("options", "key"), [(Optional, "retrain"), (Deep, "group.retrain")])
def test_a_group_whose_keys_nobody_reaches_is_refused(options: type[Options], key: str) -> None:
    said = failures(options)
    assert len(said) == 1
    assert said[0].startswith(f"the group {key} may be something else")
    assert not failures(Plain)


def failures(options: type[Options]) -> list[str]:
    book = Book("defense")
    judge_options(DefenseSpec("mine", "1", "mine", lambda _options: None, options), book)
    return [one.what for one in book.findings() if one.status == "failed"]


ASKS = """
def repair(view, run):
    '''cuda: much faster.'''
    "cuda"
    size = {"cuda": 256, "cpu": 64}[run.device.type]
    match run.device.type:
        case "cuda" | "mps":
            size *= 2
        case {"mps": _}:
            size = 1
    limit = Field(1, description="cuda: images a step")
    return size if run.device.type == "cuda" else limit
"""
CHOOSES = """
def repair(view, run):
    view.model.cuda()
    view.clean.images.to("cuda:0")
    place = {"fast": "cuda"}
    match run.seed:
        case 0:
            place = "mps"
    name = f"cuda:{run.seed}"
    device = "cuda" if run.seed == "cuda" else "cpu"
"""


def test_lines_that_choose_a_device_are_told_from_those_that_ask(tmp_path: Path) -> None:
    file = tmp_path / "plugin.py"
    file.write_text(ASKS, encoding="utf-8")
    assert list(lines_where(file, names_a_device)) == []
    file.write_text(CHOOSES, encoding="utf-8")
    found = [int(line.rpartition(":")[2]) for line in lines_where(file, names_a_device)]
    assert found == [3, 4, 5, 8, 9, 10]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path; what is imported from it is forgotten afterwards."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("module", "files", "root"),
    [
        ("flat_pkg", ["flat_pkg/__init__.py"], "flat_pkg"),
        ("deep_pkg.plug.p:it", ["deep_pkg/__init__.py", "deep_pkg/plug/__init__.py"], "deep_pkg"),
        ("lone_module", ["lone_module.py"], "lone_module.py"),
        ("shared_name.own.plugin", ["shared_name/own/__init__.py"], "shared_name/own"),
        ("shared_name.lone", ["shared_name/lone.py"], "shared_name/lone.py"),
    ],
)
def test_all_of_a_package_is_looked_at_and_nothing_beside_it(
    installed: Path, module: str, files: list[str], root: str
) -> None:
    for name in files:
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).touch()
    before = set(sys.modules)
    assert source_root(Origin("package", module)) == installed / root
    assert module.partition(":")[0] not in set(sys.modules) - before


def test_what_is_built_in_is_not_the_whole_harness() -> None:
    assert source_root(BUILTIN).name == "builtin"


def flattening(info, size: tuple[int, int]) -> nn.Module:
    places = size[0] * size[1]
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * places, info.num_classes))


def halving(info) -> nn.Module:
    halves = [nn.MaxPool2d(2) for _ in range(5)]
    pool = (nn.AdaptiveMaxPool2d(1), nn.Flatten())
    return nn.Sequential(*halves, *pool, nn.Linear(3, info.num_classes))


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda info: flattening(info, info.image_size), ""),
        (halving, ""),
        (lambda info: flattening(info, (32, 32)), "for 7 classes and images of (32, 64): "),
        (lambda info: flattening(info, info.image_size[:1] * 2), "for 7 classes and images of"),
    ],
)
def test_a_network_has_to_fit_the_images_that_it_is_told(build, said: str, tmp_path: Path) -> None:
    book = Book("model")
    judge_model(SimpleNamespace(build=build), tmp_path, book)
    failed = [one for one in book.findings() if one.status == "failed"]
    assert [one.rule for one in failed] == [Rule.CONTRACT] * bool(said)
    assert not said or failed[0].what.startswith(said)
