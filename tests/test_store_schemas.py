"""A results folder of every schema that ever landed: read with its own numbers, or refused."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.store import Store
from benchmark.store.layout import SCHEMA
from benchmark.store.repair import repair

FOLDERS = Path(__file__).parent / "fixtures" / "schemas"
"""`<schema>/results`, made by a run of the version that first had it, and its `expected.json`."""


def test_every_schema_that_landed_has_a_folder():
    assert sorted(int(path.name) for path in FOLDERS.iterdir()) == list(range(1, SCHEMA + 1))


def numbers(out: Path, *, write: bool) -> dict:
    with Store.open(out, write=write) as store:
        return {
            "trials": {
                one.trial: {
                    **{"defense": one.defense, "trigger": one.trigger},
                    **{"asr_before": one.asr_before, **one.metrics},
                }
                for one in store.trials()
            },
            "models": {
                one.id: {
                    **{"artifact": one.artifact, "asr": one.asr},
                    "clean_accuracy": one.clean_accuracy,
                }
                for one in store.models()
            },
        }


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_an_old_folder_gives_its_numbers_or_is_refused(schema, tmp_path):
    folder = FOLDERS / str(schema)
    out = Path(shutil.copytree(folder / "results", tmp_path / "results"))
    before = (out / "results.sqlite").read_bytes()
    # To read, to go on with, and once more after that.
    for write in (False, True, False):
        try:
            found = numbers(out, write=write)
        except UserError as error:
            said = str(error)
        else:
            assert found == json.loads((folder / "expected.json").read_text())
            assert all(ok for ok in weights(out))
            continue
        assert schema < SCHEMA
        assert f"was written by an older version (schema {schema}, this one reads" in said
        assert "\n" not in said
        assert (out / "results.sqlite").read_bytes() == before


def weights(out: Path) -> list[bool]:
    with Store.open(out, write=False) as store:
        return [store.artifacts.verify(one.artifact) for one in store.models()]


def test_what_the_first_files_lacked_is_added_by_the_next_run(tmp_path):
    """They held the shared rows and the schema once; now a page lost costs neither."""
    out = Path(shutil.copytree(FOLDERS / "1" / "results", tmp_path / "results"))
    Store.open(out, write=True).close()
    file = out / "results.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("DELETE FROM trial_shared")
    connection.commit()
    connection.close()
    assert repair(out).what.endswith("a row of trial_shared is missing")
    expected = json.loads((FOLDERS / "1" / "expected.json").read_text())
    assert numbers(out, write=False) == expected


def test_a_newer_folder_is_refused_by_every_command_and_left_alone(tmp_path):
    Store.open(tmp_path, write=True, create=True).close()
    file = tmp_path / "results.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("UPDATE meta SET value = 99")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    before = file.read_bytes()
    for attempt in (
        lambda: Store.open(tmp_path, write=False),
        lambda: Store.open(tmp_path, write=True, create=True),
        lambda: repair(tmp_path),
    ):
        with pytest.raises(UserError, match=r"by a newer version .schema 99.*upgrade"):
            attempt()
    assert file.read_bytes() == before
