"""The catalogue: held against the code of every shipped plugin, and refused when malformed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmark.catalogue import BUILT_IN, Entry, catalogue_path, find_entry, read_catalogue
from benchmark.errors import UserError
from benchmark.loading.importing import BUILTIN
from benchmark.plugins import KINDS, Kind, Origin, Plugins, load_origin
from benchmark.specs import Spec

ROOT = Path(__file__).parent.parent
PACKAGES = sorted((ROOT / "plugins").glob("*/pyproject.toml"))
Shipped = dict[tuple[Kind, str], tuple[Spec, str, str]]


def kind_of(spec: Spec) -> Kind:
    return next(kind for kind, (_, expected) in KINDS.items() if isinstance(spec, expected))


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Shipped:
    """Every spec of this repository, its distribution and its folder, installed or not."""
    found = {(kind_of(s), s.name): (s, BUILT_IN, "") for s in load_origin(BUILTIN)}
    for package in PACKAGES:
        project = tomllib.loads(package.read_text("utf-8"))["project"]
        monkeypatch.syspath_prepend(str(package.parent))
        for module in project["entry-points"]["backdoor_bench"].values():
            for spec in load_origin(Origin("package", module)):
                folder = f"./plugins/{package.parent.name}"
                found[kind_of(spec), spec.name] = (spec, project["name"], folder)
    return found


def test_three_packages_are_shipped() -> None:
    assert [package.parent.name for package in PACKAGES] == ["mesa", "oracle", "pixel_baseline"]


def test_the_catalogue_lists_exactly_what_is_shipped(shipped: Shipped) -> None:
    assert {(entry.kind, entry.name) for entry in read_catalogue()} == set(shipped)


@pytest.mark.parametrize("entry", read_catalogue(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_an_entry_says_what_the_code_says(entry: Entry, shipped: Shipped) -> None:
    spec, distribution, folder = shipped[entry.kind, entry.name]
    assert set(entry.needs) == set(getattr(spec, "needs", ()))
    assert set(entry.gives) == set(getattr(spec, "gives", ()))
    assert bool(entry.paper) == bool(spec.paper)
    assert entry.distribution == distribution
    assert not folder or entry.source == folder
    assert (ROOT / entry.source).is_dir()
    assert entry.install == (f"pip install {folder}" if folder else "")


def test_the_source_tree_has_the_catalogue() -> None:
    assert catalogue_path().name == "registry.toml"
    assert (ROOT / "registry.toml").is_file()


def test_entries_are_found_by_kind_and_name() -> None:
    entry = find_entry("defense", "mesa")
    assert entry is not None
    assert entry.distribution == "backdoor-bench-mesa"
    assert find_entry("attack", "mesa") is None


def test_a_known_plugin_that_is_not_installed_says_how_to_install_it() -> None:
    with pytest.raises(UserError, match=r"not installed \(pip install ./plugins/mesa\)"):
        Plugins().get("defense", "mesa")


GOOD = '[[plugin]]\nname = "a"\nkind = "metric"\ndistribution = "d"\nsource = "s"\nsummary = "x"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[plugin]\n", "registry.toml cannot be read: "),
        ("", "registry.toml: plugin: Field required"),
        (GOOD + "stars = 5\n", "plugin 1, stars: Extra inputs"),
        (GOOD + GOOD.replace("metric", "sport"), "plugin 2, kind: Input should be 'defense'"),
        (GOOD + GOOD, "metric 'a' is listed twice"),
        (GOOD.replace('"x"', '""'), "plugin 1, summary: String should have at least 1"),
        (GOOD.replace("metric", "defense"), "plugin 1: Value error, a defense, and nothing else"),
        (GOOD + 'needs = ["the answer"]\n', "plugin 1, needs, 1: Input should be 'weights'"),
        (
            GOOD + '[plugin.paper]\ntitle = "t"\nvenue = "v"\narxiv = "hep-th/1"\n',
            "plugin 1, paper, arxiv: String should match",
        ),
    ],
)
def test_a_malformed_catalogue_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "registry.toml"
    path.write_text(text, "utf-8")
    assert message in refusal(path)


def test_a_missing_or_binary_catalogue_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "nothing.toml")
    (tmp_path / "registry.toml").write_bytes(b"\xff\xfe")
    assert "cannot be read" in refusal(tmp_path / "registry.toml")


def refusal(path: Path) -> Any:
    with pytest.raises(UserError) as error:
        read_catalogue(path)
    assert "\n" not in str(error.value)
    return str(error.value)
