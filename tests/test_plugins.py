"""Plugin files: what they offer, where it comes from, and two of one name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.plugins import Origin, load_origin, load_plugins, load_spec

Writer = Callable[..., Path]
MY_DEFENSE = Path(__file__).parent / "fixtures" / "plugin_files" / "my_defense.py"


def test_a_file_offers_its_defense() -> None:
    offer = load_plugins([MY_DEFENSE]).get("defense", "untouched")
    assert offer.spec.summary == "does nothing"
    assert offer.origin.kind == "file"
    assert offer.where.startswith(f"{MY_DEFENSE.resolve()}:")
    line = int(offer.where.rpartition(":")[2])
    assert MY_DEFENSE.read_text("utf-8").splitlines()[line - 1] == "@hookimpl"


def test_loading_imports_no_torch(python: Callable[..., object]) -> None:
    code = (
        "import sys; from pathlib import Path; from benchmark.plugins import load_plugins\n"
        "load_plugins([Path(sys.argv[1])]); assert 'torch' not in sys.modules, 'torch'"
    )
    python(code, str(MY_DEFENSE))


def test_nothing_is_written_beside_the_file(write_defense: Writer) -> None:
    file = write_defense("mine", "with space/défense, 防御.py")
    load_plugins([file])
    assert list(file.parent.iterdir()) == [file]


def test_a_changed_file_is_read_again(write_defense: Writer) -> None:
    """Also within the clock's resolution and at the same length, where a cache would be stale."""
    file = write_defense("before")
    stamp = file.stat().st_mtime_ns
    assert "before" in load_plugins([file]).defenses
    write_defense("behind")
    os.utime(file, ns=(stamp, stamp))
    assert "behind" in load_plugins([file]).defenses


def test_two_paths_to_one_file_are_one_plugin(write_defense: Writer, tmp_path: Path) -> None:
    file = write_defense("mine")
    link = tmp_path / "link.py"
    link.symlink_to(file)
    plugins = load_plugins([link, file, file.parent / "." / file.name])
    assert not plugins.collisions
    assert plugins.get("defense", "mine").origin.path == str(file.resolve())


def test_files_of_one_name_are_two_plugins(write_defense: Writer) -> None:
    files = [write_defense("one", "a/same.py"), write_defense("other", "b/same.py")]
    plugins = load_plugins(files)
    assert {"one", "other"} <= set(plugins.defenses)


def test_an_origin_survives_json_and_loads_again(write_defense: Writer) -> None:
    origin = load_plugins([write_defense("mine")]).get("defense", "mine").origin
    again = Origin.from_json(json.loads(json.dumps(origin.to_json())))
    assert again == origin
    assert [spec.name for spec in load_origin(again)] == ["mine"]
    assert load_spec(again, "defense", "mine").summary == "does nothing"
    with pytest.raises(UserError, match="no longer offers the defense 'yours'"):
        load_spec(again, "defense", "yours")


def test_what_a_file_defines_can_be_pickled(write_plugin: Writer) -> None:
    """Its module is importable under its own name, as dataclasses and pickle expect."""
    source = (
        "from __future__ import annotations\nimport dataclasses, pickle\n"
        "from benchmark.api import DefenseSpec, hookimpl, lazy\n"
        "@dataclasses.dataclass\nclass Thing:\n    size: int = 1\n"
        "@hookimpl\ndef bench_defenses():\n"
        "    assert pickle.loads(pickle.dumps(Thing(2))) == Thing(2)\n"
        "    return [DefenseSpec('mine', '1', 'x', lazy(f'{__name__}:Thing'))]\n"
    )
    spec = load_plugins([write_plugin(source, header="")]).get("defense", "mine").spec
    assert spec.factory(7).size == 7


def test_what_a_plugin_prints_stays_off_standard_output(
    write_plugin: Writer, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = "@hookimpl\ndef bench_defenses():\n    print('in the hook')\n    return []\n"
    load_plugins([write_plugin("print('at import')\n" + hook)])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "at import\nin the hook\n"


def test_an_interrupt_is_not_a_fault(write_plugin: Writer) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_plugins([write_plugin("raise KeyboardInterrupt")])


def test_what_a_newer_harness_calls_may_be_optional(write_plugin: Writer) -> None:
    source = (
        "@hookimpl(optionalhook=True)\ndef later(): return []\n"
        "@hookimpl\ndef bench_defenses(): return []\n"
    )
    load_plugins([write_plugin(source)])


class TestCollisions:
    def test_both_are_named_with_their_lines(self, write_defense: Writer) -> None:
        files = [write_defense("mine", "first.py"), write_defense("mine", "second.py")]
        plugins = load_plugins(files)
        assert "mine" not in plugins.defenses
        with pytest.raises(UserError) as error:
            plugins.get("defense", "mine")
        for file in files:
            assert f"{file.resolve()}:2" in str(error.value)
        with pytest.raises(UserError, match="two plugins offer the defense 'mine'"):
            plugins.require_sound()

    def test_others_are_not_touched(self, write_defense: Writer) -> None:
        names = [("mine", "first.py"), ("mine", "second.py"), ("yours", "third.py")]
        plugins = load_plugins([write_defense(*pair) for pair in names])
        assert plugins.get("defense", "yours").spec.name == "yours"
        assert [offer.spec.name for _, offer in plugins.offers()].count("mine") == 2

    def test_one_plugin_offering_a_name_twice_collides_too(self, write_plugin: Writer) -> None:
        spec = "DefenseSpec('mine', '1', 'x', int)"
        file = write_plugin(f"@hookimpl\ndef bench_defenses(): return [{spec}, {spec}]")
        with pytest.raises(UserError, match="two plugins offer"):
            load_plugins([file]).require_sound()

    def test_kinds_have_names_of_their_own(self, write_plugin: Writer) -> None:
        source = (
            "@hookimpl\ndef bench_defenses(): return [DefenseSpec('mine', '1', 'x', int)]\n"
            "@hookimpl\ndef bench_attacks(): return [AttackSpec('mine', '1', 'x', int, int)]\n"
        )
        plugins = load_plugins([write_plugin(source)])
        plugins.require_sound()
        assert plugins.get("attack", "mine").spec is not plugins.get("defense", "mine").spec


def test_an_unknown_name_gets_its_neighbours(write_defense: Writer) -> None:
    plugins = load_plugins([write_defense("spectral-signatures")])
    with pytest.raises(UserError, match="did you mean spectral-signatures"):
        plugins.get("defense", "spectral_signature")
