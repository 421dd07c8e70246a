"""Random damage to every file of a results folder: named or harmless, and repaired."""

import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmark.errors import JobFault, UserError
from benchmark.records import ModelRecord, TrialRecord
from benchmark.store import ArtifactStore, Store
from benchmark.store.repair import repair

CASES = 600


def trial(number: int, **fields) -> TrialRecord:
    settings = {
        **{"trial": f"{number:020x}", "group": "g", "variant_id": "v", "status": "done"},
        **{"error": "", "dataset": "digits", "model": "small", "attack": "bw3x3", "trigger": "0"},
        **{"defense": f"d{number % 3}", "version": "1", "variant": "", "setting": "quick"},
        **{"knowledge": ("weights",), "role": "ranked", "victim": "m", "min_asr": 0.9},
        **{"target": 0, "seed": number, "metrics": {"asr": number / 7, "der": 0.5}},
        **{"log": f"{number} " * 1500, "asr_before": 0.99, "finished": f"2026-01-{number + 1:02}"},
    }
    return TrialRecord(**settings | fields)


def model(number: int, weights: str) -> ModelRecord:
    fields = {"clean_accuracy": number / 9, "asr": 0.9, "seed": number, "log": "m" * 500}
    return ModelRecord(
        f"m{number}", "victim", "done", "", "digits", "s", artifact=weights, **fields
    )


@pytest.fixture(scope="module")
def quick_disk():
    """A folder in memory, where there is one: 600 repairs wait for the disk a few times each."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(dir=memory if memory.is_dir() else None)
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def whole(quick_disk) -> Path:
    """Twelve trials, one of them replaced, and three models with weights."""
    out = quick_disk / "whole"
    with Store.open(out, write=True, create=True) as store:
        for number in range(3):
            store.put_model(model(number, store.artifacts.add(b"weights %d" % number * 40)))
        store.put_trial(trial(5, status="failed", error="at first", metrics={}, finished="2025"))
        for number in range(12):
            triggers = store.artifacts.add(b"triggers") if number == 7 else ""
            store.put_trial(trial(number, triggers_artifact=triggers))
    return out


def copy(whole: Path, out: Path) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    return Path(shutil.copytree(whole, out))


def readings(out: Path):
    """Return every way in which numbers are read; each gives them in a form to compare."""

    def with_store(read, write=False):
        def reading():
            with Store.open(out, write=write) as store:
                return read(store)

        return reading

    return {
        "export": with_store(lambda s: (list(s.trials()), s.models())),
        "leaderboard": with_store(lambda s: s.trials_frame().to_csv()),
        "show": with_store(lambda s: [s.find_trial(f"{n:020x}") for n in range(12)]),
        "run": with_store(
            lambda s: (s.statuses(f"{n:020x}" for n in range(12)), [s.model("m1"), s.model("m2")]),
            write=True,
        ),
    }


def artifacts(out: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in out.glob("artifacts/*/*")}


def harm(data: bytes, draw: random.Random) -> bytes:
    """Return `data` with a bit flipped, bytes overwritten, a sector lost, or its end cut off."""
    at, bits = draw.randrange(len(data)), bytearray(data)
    way = draw.choice(["bit", "bit", "bit", "bytes", "sector", "tail"])
    if way == "bit":
        bits[at] ^= 1 << draw.randrange(8)
    elif way == "bytes":
        noise = draw.randbytes(draw.randint(1, 40))[: len(data) - at]
        bits[at : at + len(noise)] = noise
    elif way == "sector":
        at -= at % 512
        lost = min(512, len(data) - at)
        bits[at : at + lost] = bytes(lost)
    return bytes(bits) if way != "tail" else data[:at]


@dataclass
class Truth:
    """What the undamaged folder holds."""

    readings: dict[str, object]
    trials: dict[str, TrialRecord]
    models: dict[str, ModelRecord]
    artifacts: dict[str, bytes]


@pytest.fixture(scope="module")
def truth(whole) -> Truth:
    found = {name: read() for name, read in readings(whole).items()}
    trials, models = found["export"]
    return Truth(found, {t.trial: t for t in trials}, {m.id: m for m in models}, artifacts(whole))


def check_readings(out: Path, truth: Truth, seen: Counter) -> None:
    """Read everything: each time the right answer, or one line that names the file."""
    file = out / "results.sqlite"
    for name, read in readings(out).items():
        try:
            found = read()
        except UserError as error:
            said = str(error)
        else:
            assert found == truth.readings[name], name
            continue
        assert str(file) in said
        assert "\n" not in said
        seen["refused"] += 1
    weights = ArtifactStore(out)
    for name, right in truth.artifacts.items():
        try:
            assert weights.read(name) == right
        except JobFault as fault:
            said = str(fault)
        else:
            continue
        assert str(weights.path(name)) in said
        seen["artifact refused"] += 1


def check_repair(out: Path, truth: Truth, seen: Counter) -> None:
    """Repair: what is kept is as it was, the damaged file too, and a second repair has no work."""
    file = out / "results.sqlite"
    before = file.read_bytes()
    try:
        done = repair(out)
    except UserError as error:
        said = str(error)
        done = None
    if done is None:
        assert str(file) in said
        assert file.read_bytes() == before
        seen["beyond repair"] += 1
        return
    with Store.open(out, write=True) as store:  # as the next run does
        kept = {one.trial: one for one in store.trials()}
        assert kept.items() <= truth.trials.items()
        assert {one.id: one for one in store.models()}.items() <= truth.models.items()
        assert store.trials_frame()["asr_after"].tolist() == [
            one.metrics["asr"] for one in kept.values()
        ]
    assert artifacts(out).items() <= truth.artifacts.items()
    again = repair(out)
    assert again.what == ""
    assert not any(lost.damaged for lost in again.artifacts)
    seen["artifacts dropped"] += sum(lost.damaged for lost in done.artifacts)
    if done.what:
        assert done.kept_as.read_bytes() == before
        seen["rebuilt"] += 1
        seen["trials kept"] += len(kept)
        assert done.found["trial"].kept == set(kept)
    else:
        assert kept == truth.trials


def test_damage_anywhere_is_named_or_harmless_and_repaired(whole, truth, quick_disk):
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    assert [path.name for path in files][:1] == [".lock"]
    assert len(files) == 6
    out, draw, seen = quick_disk / "harmed", random.Random(3), Counter()
    for case in range(CASES):
        copy(whole, out)
        # Every second time the file of numbers, and now and then two files at once.
        picked = [Path("results.sqlite") if case % 2 else draw.choice(files)]
        picked += [draw.choice(files)] if case % 10 == 0 else []
        for path in picked:
            (out / path).write_bytes(harm((out / path).read_bytes(), draw))
        try:
            check_readings(out, truth, seen)
            check_repair(out, truth, seen)
        except BaseException as error:
            error.add_note(f"case {case}: {picked}")
            raise
    assert seen["rebuilt"] > 150
    assert seen["artifacts dropped"] > 100
    assert seen["beyond repair"] < 20
    assert seen["trials kept"] > 0.7 * len(truth.trials) * seen["rebuilt"]


# What is lost, and what need not be


def root_page(out: Path, table: str) -> int:
    """Return the offset of the page on which a small table lies."""
    with contextlib.closing(sqlite3.connect(out / "results.sqlite")) as connection:
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table])
        return (found.fetchone()[0] - 1) * 4096


@pytest.mark.parametrize(
    "table", ["sqlite_master", "meta", "trial_shared", "trial_spare", "ledger"]
)
def test_a_lost_page_that_holds_no_numbers_costs_none(whole, truth, quick_disk, table):
    out = copy(whole, quick_disk / "page")
    file = out / "results.sqlite"
    data = bytearray(file.read_bytes())
    start = 0 if table == "sqlite_master" else root_page(out, table)
    data[start : start + 4096] = bytes(4096)
    file.write_bytes(data)
    done = repair(out)
    assert done.what
    assert [done.found[kind].lost for kind in ("trial", "model")] == [0, 0]
    assert {name: read() for name, read in readings(out).items()} == truth.readings


def test_what_was_replaced_does_not_come_back(whole, quick_disk):
    """The first, failed record of trial 5 is nowhere in the file any more."""
    out = copy(whole, quick_disk / "replaced")
    assert b"at first" not in (out / "results.sqlite").read_bytes()


def test_of_two_whole_versions_the_newer_is_kept(quick_disk):
    """A file written without overwriting what was deleted, as by older versions."""
    out = quick_disk / "versions"
    with Store.open(out, write=True, create=True) as store:
        store._connection.execute("PRAGMA secure_delete = OFF")
        old = trial(1, log="o", metrics={"asr": 0.25}, finished="2026-01-01")
        store.put_trial(old)
        before = (out / "results.sqlite").read_bytes()
        new = replace(old, metrics={"asr": 0.75}, finished="2026-01-02")
        store.put_trial(new)
    file = out / "results.sqlite"
    # Two whole files one after the other: every page of both versions can be found.
    file.write_bytes(bytes(4096) + before[4096:] + file.read_bytes()[4096:])
    repair(out)
    with Store.open(out, write=False) as store:
        assert list(store.trials()) == [new]


def test_a_damaged_rollback_journal_gives_no_wrong_number(whole, truth, quick_disk):
    """A run killed in the middle of a commit leaves a journal, which the next reader applies."""
    killed, out = copy(whole, quick_disk / "killed"), quick_disk / "journal"
    with Store.open(killed, write=True) as store:
        store._connection.execute("PRAGMA cache_size = 1")  # writes pages before the commit
        store._connection.execute("BEGIN IMMEDIATE")
        store._connection.execute("UPDATE trial SET asr_after = 0.125")
        store._connection.execute("UPDATE trial_detail SET body = 'x' || substr(body, 2)")
        shutil.copytree(killed, out, dirs_exist_ok=True)
        store._connection.execute("ROLLBACK")
    journal = "results.sqlite-journal"
    assert (out / "results.sqlite").read_bytes() != (whole / "results.sqlite").read_bytes()
    left = copy(out, quick_disk / "left")
    assert {name: read() for name, read in readings(out).items()} == truth.readings
    draw, seen = random.Random(4), Counter()
    for case in range(60):
        copy(left, out)
        right = (left / journal).read_bytes()
        # First without its head, so that SQLite leaves it alone.
        (out / journal).write_bytes(harm(right, draw) if case else bytes(512) + right[512:])
        check_readings(out, truth, seen)
        with contextlib.suppress(UserError):
            kept = repair(out).found["trial"].kept
            with Store.open(out, write=False) as store:
                assert {one.trial: one for one in store.trials()}.items() <= truth.trials.items()
                assert len(kept) == len(list(store.trials()))
            assert not (out / journal).exists()
    assert seen["refused"] > 20


# The command


def test_the_command_repairs_and_says_what_was_lost(whole, truth, quick_disk, python):
    out = copy(whole, quick_disk / "command")
    file = out / "results.sqlite"
    content = file.read_bytes()
    at = content.index(b'"log":"3 3 3 ')
    file.write_bytes(content[: at + 20] + b"4" + content[at + 21 :])
    weights = {one.id: ArtifactStore(out).path(one.artifact) for one in truth.models.values()}
    weights["m1"].write_bytes(b"not what it was")
    weights["m2"].unlink()
    triggers = ArtifactStore(out).path(truth.trials[f"{7:020x}"].triggers_artifact)
    triggers.write_bytes(b"")

    bench = "import sys; from benchmark.cli import main; sys.argv[0] = 'bench'; "
    refuse = bench + "\ntry: main()\nexcept SystemExit as e: print('status', e.code)"
    told = python(refuse, "export", "--format", "csv", "-o", "x.csv", "--out", str(out))
    assert told.stdout == "status 2\n"
    assert told.stderr == (
        f"bench: {file} is damaged: the details of trial {3:020x} do not fit its checksum; "
        f"what is whole in it is kept by: bench repair --out {out}\n"
    )
    lines = python(bench + "main()", "repair", "--out", str(out)).stdout.splitlines()
    (kept,) = out.glob("results.damaged-*.sqlite")
    assert lines[0].startswith(f"{file} is damaged: the details of trial {3:020x} ")
    assert lines[0].endswith(f"; the damaged file is kept as {kept}")
    assert lines[1] == (
        "it is rebuilt with 11 trials and 3 models, each as it was; lost: 1 trials and 0 models"
    )
    said = "the weights of model {}; trials already scored on it stay valid"
    assert f"{weights['m1']} was damaged and is removed: {said.format('m1')}" in lines
    assert f"{weights['m2']} is missing: {said.format('m2')}" in lines
    assert sum(str(triggers) in line and f"trial {7:020x}" in line for line in lines) == 1
    assert not weights["m1"].exists()
    assert weights["m0"].exists()
    assert python(bench + "main()", "leaderboard", "--out", str(out)).stdout


def test_a_whole_folder_is_left_as_it_is(whole, quick_disk, python):
    out = copy(whole, quick_disk / "as it is")
    code = "from benchmark.cli import main; main()"
    said = python(code, "repair", "--out", str(out)).stdout
    assert said == f"{out} is whole: 12 trials and 3 models\n"
    assert (out / "results.sqlite").read_bytes() == (whole / "results.sqlite").read_bytes()
    assert artifacts(out) == artifacts(whole)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.parametrize("fault", ["no permission", "is a directory"])
def test_repair_removes_nothing_where_an_artifact_cannot_be_read(whole, quick_disk, fault):
    """Of what it cannot read it does not know that it is damaged."""
    out = copy(whole, quick_disk / fault)
    damaged, sound, *_ = sorted(out.glob("artifacts/*/*.safetensors"))
    damaged.write_bytes(b"others")
    if fault == "no permission":
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        sound.chmod(0)
    else:
        sound.unlink()
        sound.mkdir()
    with pytest.raises(UserError, match=f"cannot use {sound}: .*check its permissions"):
        repair(out)
    assert damaged.read_bytes() == b"others"
    assert sound.exists()


def test_repair_waits_for_no_run_and_touches_nothing_that_is_not_ours(whole, quick_disk):
    out = copy(whole, quick_disk / "held")
    file = out / "results.sqlite"
    with (
        Store.open(out, write=True),
        pytest.raises(UserError, match="is being written by another run"),
    ):
        repair(out)
    with pytest.raises(UserError, match="no results in"):
        repair(quick_disk / "nowhere")
    file.write_text("my notes, " * 1000)
    with pytest.raises(UserError, match="no record in it is whole; move it away"):
        repair(out)
    assert file.read_text() == "my notes, " * 1000
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
