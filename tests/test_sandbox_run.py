"""Defenses that misbehave and defenses that look around, all in one run of the real command."""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from benchmark.data import prepare, split_test
from benchmark.identity import derive_seed
from benchmark.plugins import load_plugins
from benchmark.records import TrialRecord
from benchmark.sandbox.seal import landlock_version
from benchmark.store import Store

FILES = Path(__file__).parent / "plugin_files"
LIMIT_S = 5
"""For those alone that never end: on a busy machine an honest defense may need longer."""
DISK_MIB = 48
SEALED = landlock_version() > 0

FAILED = {
    "raises": r"ValueError: the \[bold\]first\[/\] line and the second",
    "raises_unprintable": r"Unprintable",
    "raises_lone_surrogate": r"ValueError: caf",
    "exits": r"the process ended before it returned a result",
    "exits_5": r"the process ended with status 5",
    "vanishes": r"the process ended before it returned a result",
    "vanishes_7": r"the process ended with status 7",
    "segfaults": r"the process was ended by SIGSEGV",
    "interrupts": r"the process (was ended by SIGINT|ended with status 130)|KeyboardInterrupt",
    "eats_memory": r"out of memory: \d+ MiB, the limit is 1100",
    "gives_nan": r"weights 'network\.0\.weight' hold values that are not finite",
    "gives_infinity": r"weights 'network\.0\.weight' hold values that are not finite",
    "fills_the_disk": r"out of disk space: \d+ MiB written, the limit is 48",
    "writes_a_long_file": r"OSError: .*File too large.* \(no file may pass .* run\.disk_mib\)",
    "cuts_its_artifact": r"the file of repaired model 0 is not as it was written: cut short, or",
    "flips_a_bit": r"the file of repaired model 0 is not as it was written: cut short, or",
    "writes_half_an_artifact": r"the model's file cannot be read",
    "gives_no_file": r"the file of repaired model 0: No such file",
    "gives_a_link": r"the file of repaired model 0: (not a plain file|Too many levels)",
    "gives_a_hard_link": r"the file of repaired model 0: not a plain file",
    "gives_a_pipe": r"the recovered triggers cannot be read: .*not a plain file",
    "gives_another_shape": r"weights 'network\.3\.\w+' have shape \(4.*\), expected \(3",
    "gives_a_wrapper": r"the model returned is not of the architecture given",
    "gives_doubles": r"are torch\.float64, expected torch\.float32",
    "gives_none": r"repair\(\) must return an Outcome, not NoneType",
    "gives_no_model": r"the outcome holds no model",
    "gives_a_state_dict": r"Outcome\.models holds a OrderedDict, not a torch module",
    "gives_flat_triggers": r"recovered triggers have shape \(3, 3\)",
    "records_a_tensor": r"TypeError: .*which is no number and no text",
    "forges_the_result": r"result",
    "forges_the_costs": r"result",
    "counts_past_64_bits": r"the process wrote a result that is none",
    "finds_a_target_past_64_bits": r"the process wrote a result that is none",
    "hides_what_it_writes": r"out of disk space: a folder that cannot be looked into, .* 48$",
    "makes_many_folders": r"out of disk space: \d+ MiB written, the limit is 48",
    "removes_its_folder": r"PermissionError" if SEALED else r"FileNotFoundError|status",
    "kills_its_parent": r"PermissionError" if SEALED else r"starts plugins was killed|parent",
    "reads_the_target": r"'reads_the_target' read view\.target without .*Knowledge\.TARGET_CLASS",
    "looks_for_the_trigger": r"'looks_for_the_trigger' read view\.trigger without .*TRIGGER_PIXELS",
}
ENDLESS = ("loops", "deadlocks", "sleeps")
HARMLESS = [
    *("prints_a_lot", "closes_its_output", "closes_its_descriptors", "wanders_off"),
    *("changes_the_defaults", "spoils_what_it_was_given", "leaves_a_thread", "leaves_a_child"),
    *("leaves_a_session", "leaves_a_daemon", "works_with_others", "digs_deep"),
    *("says_that_it_never_ends", "says_a_number_of_4000_digits", "nests_what_it_says"),
    "forges_the_seal",
]


@dataclass(frozen=True)
class BadRun:
    done: CompletedProcess[str]
    out: Path
    notes: dict[str, dict]
    trials: dict[str, TrialRecord]
    nothing_left: bool
    temporary_files: list[str]


def run_all(command, out, names, *more):
    """Run the defenses of these names on a victim that is there already."""
    arguments = [
        *("--plugin", FILES / "bad_defenses.py", "--plugin", FILES / "curious.py"),
        *(word for name in names for word in ("--defense", name)),
        *("--set", "run.memory_mib=1100", "--set", f"run.disk_mib={DISK_MIB}"),
    ]
    return command(*command.tiny(out, *arguments, *more, attack__triggers="170"))


@pytest.fixture(scope="module")
def bad_run(tiny_run, tmp_path_factory):
    """One run of all that end or are ended for what they do, whenever that is."""
    home = tmp_path_factory.mktemp("bad")
    out, command = tiny_run.copy(home / "secret-results"), tiny_run.command
    names = [*FAILED, *HARMLESS, "curious", "insider"]
    done = run_all(command, out, names, "--workers", 3, "--timeout", 600)
    nothing_left = command.nothing_left()
    assert "Traceback" not in done.stderr, done.stderr
    with Store.open(out, write=False) as store:
        trials = {one.defense: one for one in store.trials() if one.trigger == "170"}
    lookers = {name: trials[name].series for name in ("curious", "insider")}
    notes = {name: json.loads(series[0]["text"]) for name, series in lookers.items()}
    rest = [path.name for path in command.temporary.iterdir()]
    return BadRun(done, out, notes, trials, nothing_left, rest)


def test_the_run_goes_on_and_says_that_some_failed(bad_run):
    assert bad_run.done.returncode == 1, bad_run.done.stderr
    assert f"{len(HARMLESS) + 2} trials done, {len(FAILED)} failed, 3 there already" in (
        bad_run.done.stderr
    )
    assert "Traceback" not in bad_run.done.stderr
    assert "Traceback" not in bad_run.done.stdout


@pytest.mark.parametrize("name", FAILED)
def test_a_fault_is_a_failed_trial_with_its_reason(bad_run, name):
    trial = bad_run.trials[name]
    assert trial.status == "failed"
    assert re.search(FAILED[name], trial.error), trial.error
    assert "\n" not in trial.error
    assert trial.metrics == {}
    shown = next(line for line in bad_run.done.stderr.splitlines() if f" {name} on " in line)
    assert f"{name} on bw3x3 170: failed: " in shown


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_no_harm_is_done_with_the_victims_numbers(bad_run, name):
    trial, none = bad_run.trials[name], bad_run.trials["none"]
    assert (trial.status, trial.error) == ("done", "")
    assert trial.metrics == none.metrics
    assert trial.asr_before == none.asr_before
    assert trial.artifacts == none.artifacts


@pytest.mark.parametrize("name", ["raises", "raises_unprintable", "reads_the_target"])
def test_the_traceback_of_a_fault_is_kept(bad_run, name):
    log = bad_run.trials[name].log
    assert "Traceback (most recent call last)" in log
    assert re.search(rf"bad_defenses\.py\", line \d+, in {name}", log)


def test_a_long_log_is_cut_in_the_middle(bad_run):
    log = bad_run.trials["prints_a_lot"].log
    assert log.startswith("the first line\n")
    assert log.endswith("the last line\n")
    assert "bytes left out" in log
    assert len(log) < 100_000


def test_what_takes_too_long_is_ended_and_recorded_with_its_time(tiny_run, tmp_path):
    """The third one is run by a worker that has just ended another."""
    out, command, begun = tiny_run.copy(tmp_path / "results"), tiny_run.command, time.monotonic()
    done = run_all(command, out, ENDLESS, "--workers", 2, "--timeout", LIMIT_S)
    took = time.monotonic() - begun
    assert done.returncode == 1, done.stderr
    assert "0 trials done, 3 failed, 3 there already" in done.stderr
    assert "Traceback" not in done.stderr
    with Store.open(out, write=False) as store:
        trials = {one.defense: one for one in store.trials() if one.trigger == "170"}
    seconds = [trials[name].seconds for name in ENDLESS]
    assert min(seconds) >= LIMIT_S
    assert sum(seconds) < 2 * took  # two at a time
    for name in ENDLESS:
        trial = trials[name]
        assert (trial.status, trial.metrics) == ("failed", {})
        assert trial.error == f"timed out: still running after {LIMIT_S} s"
        assert f"{name} on bw3x3 170: failed: {trial.error}\n" in done.stderr
    assert command.nothing_left()
    assert list(command.temporary.iterdir()) == []


def test_no_process_and_no_temporary_file_is_left(bad_run):
    assert bad_run.nothing_left
    # A worker that was killed could not clean up; the run does it.
    assert bad_run.temporary_files == []


def test_failed_trials_are_in_the_leaderboard_and_in_no_average(bad_run, command):
    rows = json.loads(command("leaderboard", "--out", bad_run.out, "--format", "json").stdout)
    row = next(row for row in rows if row["defense"] == "raises")
    assert (row["trials"], row["failed"], row["asr_after_mean"]) == (1, 1, None)


def test_the_other_trials_are_as_they_were(bad_run, tiny_run):
    with Store.open(tiny_run.out, write=False) as store:
        for one in store.trials():
            if one.trigger == "170":
                assert bad_run.trials[one.defense] == one


# What a defense can see


@pytest.fixture(scope="module")
def secrets(tiny_run):
    """The scoring images of the trial, and those that the defense is given, pixel by pixel."""
    chosen = load_plugins([FILES / "tiny_case.py"]).datasets["tiny"].spec
    source = chosen.factory(None)
    data = prepare(chosen, chosen.options(), None, tiny_run.command.home / "cache")
    clean, scoring = split_test(data.test_count, derive_seed("split", data.fingerprint, 0))
    test = source.load(None, Path()).test.images
    return {
        "scoring": {str(image) for image in test[scoring].tolist()},
        "clean": {str(image) for image in test[clean].tolist()},
        "train": {str(image) for image in source.load(None, Path()).train.images.tolist()},
    }


def images_in(notes: dict) -> set[str]:
    return {re.sub(r"\.0\b", "", str(image)) for image in notes["images"]}


CHECKERBOARD = [[[0, 1, 0], [1, 0, 1], [0, 1, 0]]] * 3


def test_a_defense_sees_its_clean_images_and_no_scoring_image(bad_run, secrets):
    for notes in bad_run.notes.values():
        seen = images_in(notes)
        assert secrets["clean"] <= seen
        assert not secrets["scoring"] & seen
        assert not secrets["train"] & seen


def test_the_trigger_is_only_where_it_was_declared(bad_run):
    assert CHECKERBOARD in bad_run.notes["insider"]["patches"]  # it would be seen
    assert CHECKERBOARD not in bad_run.notes["curious"]["patches"]
    assert json.loads(bad_run.notes["insider"]["request"])["trigger"] == CHECKERBOARD
    assert json.loads(bad_run.notes["curious"]["request"])["trigger"] is None


def test_the_target_is_only_where_it_was_declared(bad_run):
    assert json.loads(bad_run.notes["insider"]["request"])["target"] == 1
    request = json.loads(bad_run.notes["curious"]["request"])
    assert request["target"] is None
    assert request["trigger_size"] is None
    assert request["instance"] is None


def test_the_view_has_exactly_the_declared_fields(bad_run):
    assert bad_run.notes["curious"]["fields"] == ["clean", "model"]
    assert bad_run.notes["curious"]["vars"] == ["clean", "model"]
    everything = ["clean", "model", "target", "trigger", "trigger_size"]
    assert bad_run.notes["insider"]["fields"] == everything


def test_float32_is_not_rounded_to_tf32_on_a_gpu(bad_run):
    assert bad_run.notes["curious"]["float32"] == ["ieee", "ieee"]
    assert bad_run.notes["curious"]["older flag"] is False


def test_the_results_folder_and_the_cache_are_named_nowhere(bad_run, command):
    for notes in bad_run.notes.values():
        text = json.dumps({key: notes[key] for key in notes if key not in ("images", "patches")})
        assert "curious" in text  # the plugin's own file is known
        assert "secret-results" not in text
        assert str(command.home / "cache") not in text
        assert not re.search(r"bw3x3", notes["request"])


def test_a_defense_has_a_folder_of_its_own_with_nothing_else_in_it(bad_run):
    notes = bad_run.notes["curious"]
    assert sorted(name for name in notes["files"] if not name.startswith("outbox")) == [
        *("inbox/clean.safetensors", "inbox/model.safetensors", "inbox/request.json"),
    ]
    own = str(Path(notes["folder"]).parent)
    assert notes["environment"]["HOME"] == notes["environment"]["TMPDIR"] == notes["folder"]
    assert notes["temporary"] == notes["folder"]
    assert not any("INDUCTOR" in name for name in notes["environment"])  # it is the nursery's
    regular = [path for path in notes["open"] if path.startswith("/") and "/dev/" not in path]
    assert [path for path in regular if not path.startswith((own, "/proc/"))] == []
