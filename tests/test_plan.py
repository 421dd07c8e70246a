"""Plans: identities change with what decides numbers and with nothing else."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from plans import DATA, MACHINE, TINY_CASE
from rich.console import Console

from benchmark.config import Request, resolve
from benchmark.display import PlainDisplay
from benchmark.errors import UserError
from benchmark.estimate import Clock, in_words, left_out
from benchmark.identity import canonical, derive_seed, identity
from benchmark.jobs import BaseJob, Report, TrialJob, VictimJob, parse_job
from benchmark.plan import Plan, Planned, make_plan
from benchmark.plugins import load_plugins
from benchmark.preset import Estimate
from benchmark.settings import parse_sets

FILES = TINY_CASE.parent


CHOSEN = ("attack.triggers=170,0", "attack.target=1")


def plan(
    *sets: str, fixed=CHOSEN, files=(TINY_CASE,), data=DATA, machine=MACHINE, **request
) -> Plan:
    asked = {"defenses": ("shake",), "dataset": "tiny", "model": "one-conv"} | request
    config = resolve(Request(**asked, sets=parse_sets([*fixed, *sets])), load_plugins(files))
    return make_plan(config, data, machine)


def name_of(planned: Planned) -> str:
    """Return what a job is called, whatever its identity."""
    facts = planned.facts
    kind = facts.get("defense", planned.job.kind)
    return f"{kind} {facts.get('attack', '')} {facts.get('trigger', '')} {facts['seed']}"


def identities(made: Plan) -> dict[str, str]:
    return {name_of(one): one.job.id for one in made.jobs}


def changed(before: Plan, after: Plan) -> set[str]:
    """Return the kinds of jobs whose identity is another one."""
    old, new = identities(before), identities(after)
    return {name.split()[0] for name in old.keys() & new.keys() if old[name] != new[name]}


BROUGHT = """
model = "victim.pt"
target = 1
[trigger]
pixels = [[0, 1], [1, 0]]
place = "random"
"""

TRIALS = {"shake", "none", "fine_tuning", "oracle"}
ALL = {"base", "victim"} | TRIALS


def test_a_plan_has_every_job_once_and_each_behind_what_it_needs():
    made = plan(seeds=2)
    assert len(made.jobs) == 2 * (1 + 2 * (1 + 4))
    assert len({one.job.id for one in made.jobs}) == len(made.jobs)
    assert [one.job.id for one in made.trials] == [
        one.job.id for one in made.jobs if isinstance(one.job, TrialJob)
    ]
    seen = set()
    for one in made.jobs:
        assert (one.needs in seen) != isinstance(one.job, BaseJob)
        seen.add(one.job.id)


def test_the_same_request_has_the_same_identities():
    assert identities(plan()) == identities(plan())


@pytest.mark.parametrize(
    ("sets", "kinds"),
    [
        ("base.epochs=13", ALL),
        ("base.lr=0.123", ALL),
        ("attack.epochs=13", {"victim"} | TRIALS),
        ("attack.poison_ratio=0.5", {"victim"} | TRIALS),
        ("attack.target=2", {"victim"} | TRIALS),
        ("split.defense_fraction=0.5", {"victim"} | TRIALS),
        ("shake.scale=0.25", {"shake"}),
        ("retrain.epochs=13", {"fine_tuning", "oracle"}),
        ("oracle.retrain.epochs=13", {"oracle"}),
    ],
)
def test_what_decides_numbers_changes_exactly_the_identities_that_it_decides(sets, kinds):
    assert changed(plan(), plan(sets)) == kinds


def test_the_data_and_the_model_decide_everything():
    assert changed(plan(), plan(data=replace(DATA, fingerprint="e" * 20))) == ALL
    assert changed(plan(), plan(model="small-resnet")) == ALL
    narrow, wide = (plan(f"model.width={n}", model="small-resnet") for n in (8, 24))
    assert changed(narrow, wide) == ALL


@pytest.mark.parametrize(
    "sets", ["run.threads=2", "run.min_asr=0.5", "run.memory_mib=900", "attack.grid_seed=3"]
)
def test_what_decides_no_number_changes_no_identity(sets):
    assert changed(plan(), plan(sets)) == set()


@pytest.mark.parametrize(
    "difference",
    [
        {"device": "cuda"},
        {"workers": 7},
        {"cores": 1},
        {"memory_mib": 1000},
        {"timeout_s": None},
        {"out": "/elsewhere"},
    ],
)
def test_the_machine_changes_no_identity_and_no_seed(difference):
    before, after = plan(), plan(machine=replace(MACHINE, **difference))
    assert identities(before) == identities(after)
    assert [one.job.seed for one in before.jobs] == [one.job.seed for one in after.jobs]


def test_where_the_cache_lies_changes_no_identity():
    assert changed(plan(), plan(data=replace(DATA, folder=Path("/another/cache")))) == set()


def test_no_payload_names_a_place_on_this_machine():
    for one in plan(seeds=2).jobs:
        text = canonical(one.payload)
        assert not any(place in text for place in ("/somewhere", "/cache", str(FILES), "cpu"))


@pytest.mark.parametrize(
    "more", [{"seeds": 3}, {"defenses": ("shake", "rattle")}, {"attacks": ("bw3x3", "rgb3x3")}]
)
def test_asking_for_more_leaves_every_job_as_it_was(more):
    grids = ("attack.target=1",)  # no triggers: of two grids, they cannot both be named
    assert whole(plan(fixed=grids)).items() < whole(plan(fixed=grids, **more)).items()


def whole(made: Plan) -> dict[str, tuple[str, int]]:
    """Return identity and seed of every job of whole grids."""
    return {name_of(one): (one.job.id, one.job.seed) for one in made.jobs}


def test_the_seeds_from_one_on_are_those_of_a_longer_run():
    everything = identities(plan(seeds=3))
    later = identities(plan(seeds=2, first_seed=1))
    assert later == {name: key for name, key in everything.items() if not name.endswith(" 0")}
    assert later


def test_a_subset_of_the_grid_in_any_order_is_part_of_the_whole():
    everything = whole(plan("attack.triggers=170,0,27"))
    for subset in ("27", "0,170", "27,170"):
        assert whole(plan(f"attack.triggers={subset}")).items() < everything.items()


def test_a_random_target_of_a_subset_is_that_of_the_whole_grid():
    sets = ["attack.target=random", "attack.grid_seed=5"]
    some = whole(plan(*sets, "attack.triggers=27"))
    assert some.items() < whole(plan(*sets, "attack.triggers=0,27,170")).items()


# Plugin files


def test_an_edited_plugin_file_is_another_plugin(tmp_path):
    copies = [tmp_path / folder / "tiny_case.py" for folder in ("a", "b")]
    for copy in copies:
        copy.parent.mkdir()
        shutil.copy(TINY_CASE, copy)
    before = plan(files=copies[:1])
    assert changed(plan(), before) == set()  # elsewhere, but the same
    copies[1].write_text(copies[1].read_text() + "\n# another line\n")
    # the model and the defense come from that file, so it decides everything
    assert changed(before, plan(files=copies[1:])) == ALL


def test_an_edited_defense_file_decides_that_defense_alone(tmp_path):
    file = tmp_path / "layered.py"
    shutil.copy(FILES / "layered.py", file)
    asked = {"files": (TINY_CASE, file), "defenses": ("shake", "layered")}
    before = plan(**asked)
    file.write_text(file.read_text().replace("has options", "has many options"))
    assert changed(before, plan(**asked)) == {"layered"}


def test_another_version_is_another_defense(tmp_path):
    plugins = load_plugins([TINY_CASE])
    config = resolve(
        Request(defenses=("shake",), dataset="tiny", model="one-conv", sets={}), plugins
    )
    none = next(one for one in config.defenses if one.spec.name == "none")
    newer = replace(none, found=replace(none.found, spec=replace(none.spec, version="2")))
    assert none.deciding != newer.deciding


# Seeds


def test_every_job_has_a_seed_of_its_own_and_variants_share_it():
    seeds = seeds_of(plan(seeds=2))
    assert len(set(seeds.values())) == len(seeds)
    assert seeds_of(plan("shake.scale=0.25", seeds=2)) == seeds


def seeds_of(made: Plan) -> dict[str, int]:
    """Return the seeds, trials with the weights of their victims."""
    jobs = {
        name_of(one): one.job.model_copy(update={"artifact": one.needs})
        if isinstance(one.job, TrialJob)
        else one.job
        for one in made.jobs
    }
    return {name: job.seed for name, job in jobs.items()}


def test_a_defenses_seed_tells_of_the_attack_only_what_the_weights_tell():
    """Else who knows the grid finds trigger and target by hashing all of them."""
    grid = [
        one.job
        for target in ("0", "1")
        for one in plan(f"attack.target={target}", seeds=2).trials
        if one.facts["defense"] == "shake"
    ]
    assert len({job.victim for job in grid}) == len(grid) > 4
    same = {job.model_copy(update={"artifact": "a" * 64}).seed for job in grid}
    other = {job.model_copy(update={"artifact": "b" * 64}).seed for job in grid}
    assert len(same) == len(other) == 1
    assert same != other


def test_all_trials_of_a_seed_share_the_split_and_the_places():
    splits = {}
    for one in plan(seeds=2, defenses=("shake", "rattle")).jobs:
        if not isinstance(one.job, BaseJob):
            splits.setdefault(one.facts["seed"], set()).add(one.job.split.model_dump_json())
    assert [len(found) for found in splits.values()] == [1, 1]
    assert splits[0] != splits[1]


def test_identities_and_seeds_depend_on_each_axis_and_on_its_place():
    assert identity("trial", {"a": 1, "b": 2}) == identity("trial", {"b": 2, "a": 1})
    assert identity("trial", {"a": 1}) != identity("victim", {"a": 1})
    assert len(identity("trial", {})) == 20
    axes = [("a",), ("a", 0), ("a", "0"), ("a", 0, 0), ("a0",), (0, "a")]
    seeds = {derive_seed(*one) for one in axes}
    assert len(seeds) == len(axes)
    assert all(0 <= seed < 2**63 for seed in seeds)
    with pytest.raises(ValueError, match="not JSON compliant"):
        identity("trial", {"a": float("nan")})


def test_the_seed_of_an_attack_is_that_of_its_base_model_trigger_and_target():
    """Stored models were made with these: another formula would make others of one identity."""
    victims = [one.job for one in plan(seeds=2).jobs if isinstance(one.job, VictimJob)]
    assert [job.seed for job in victims] == [
        derive_seed("attack", job.base, "bw3x3", job.instance.trigger.name, 1) for job in victims
    ]
    assert len(victims) == 4


def test_of_a_brought_model_what_decides_no_identity_decides_no_seed(tmp_path):
    def brought(*sets: str, name="victim", **request) -> list[tuple[str, int]]:
        path = tmp_path / f"{name}.toml"
        path.write_text(BROUGHT, "utf-8")
        (tmp_path / "victim.pt").write_bytes(b"weights")
        made = plan(*sets, fixed=(), attack_files=(path,), **request)
        victims = [one.job for one in made.jobs if isinstance(one.job, VictimJob)]
        return [(job.id, job.seed) for job in victims if job.instance.model]

    beside = {"attacks": ("bw3x3",)}  # for which a base model is trained
    [first] = brought("base.epochs=3", **beside)
    assert brought("base.epochs=8", **beside) == brought(name="another name") == [first]
    (same, _), (_, another) = brought(seeds=2), brought("split.defense_fraction=0.5")[0]
    assert same == first
    assert another != first[1]


# What jobs carry


def test_a_job_travels_as_json_and_comes_back_the_same():
    for one in plan(seeds=2).jobs:
        assert parse_job(one.job.model_dump_json()) == one.job


def test_limits_hold_for_plugins_and_not_for_the_base_model():
    made = plan()
    setups = {name_of(one).split()[0]: one.job.setup for one in made.jobs}
    assert (setups["base"].threads, setups["base"].plugin_threads) == (MACHINE.cores, 1)
    assert (setups["base"].memory_mib, setups["base"].timeout_s) == (None, None)
    for kind in ("victim", "shake"):
        assert (setups[kind].threads, setups[kind].plugin_threads) == (1, 1)
        assert setups[kind].memory_mib == int(8000 * 0.8 / 2)
        assert setups[kind].timeout_s == 60
    limited = plan("run.memory_mib=900", "run.threads=2").trials[0].job.setup
    assert (limited.memory_mib, limited.threads) == (900, 2)


def test_a_trial_is_told_what_its_defense_declares_and_no_job_its_victim_before_it_exists():
    for one in plan().jobs:
        if isinstance(one.job, TrialJob):
            assert ("trigger pixels" in one.job.needs) == (one.facts["defense"] == "oracle")
        if isinstance(one.job, TrialJob | VictimJob):
            assert one.job.artifact == ""


def test_a_leaderboard_compares_trials_of_one_setting_only():
    groups = {one.facts["group"] for one in plan(seeds=2, defenses=("shake", "rattle")).trials}
    assert len(groups) == 1
    for sets in ("base.epochs=13", "attack.epochs=13", "split.defense_fraction=0.5"):
        assert {one.facts["group"] for one in plan(sets).trials}.isdisjoint(groups)
    variants = {one.facts["variant_id"] for one in plan().trials}
    assert len(variants) == 4
    assert {one.facts["variant_id"] for one in plan(seeds=2).trials} == variants
    assert len({one.facts["variant_id"] for one in plan("shake.scale=1").trials} - variants) == 1


def test_the_recipe_of_a_base_model_parts_no_leaderboard_of_brought_models(tmp_path):
    """No base model is trained for them."""
    path = tmp_path / "victim.toml"
    path.write_text(BROUGHT, "utf-8")
    (tmp_path / "victim.pt").write_bytes(b"weights")

    def groups(*sets: str, **request) -> dict[str, str]:
        made = plan(*sets, fixed=(), attack_files=(path,), **request)
        return {one.facts["attack"]: one.facts["group"] for one in made.trials}

    assert groups("split.defense_fraction=0.5") != groups()
    # Of what is made here it stays a part, in the same run too.
    mixed, other = (groups(f"base.epochs={n}", attacks=("bw3x3",)) for n in (8, 9))
    assert mixed["imported"] == other["imported"] == groups()["imported"]
    assert mixed["bw3x3"] != other["bw3x3"]


@pytest.mark.parametrize(("fraction", "fine"), [(0.003, False), (0.004, True), (0.998, False)])
def test_a_split_leaves_something_to_both_parts(fraction, fine):
    if fine:
        assert plan(f"split.defense_fraction={fraction}").trials
    else:
        with pytest.raises(UserError, match="there are 150"):
            plan(f"split.defense_fraction={fraction}")


# How long it takes

ESTIMATE = Estimate(base=100, victim=30, trial=10)


def test_the_time_is_estimated_from_the_preset_and_then_from_what_was_seen():
    jobs, clock = plan().jobs, Clock(ESTIMATE)
    assert clock.total(jobs, workers=2) == 100 + (2 * 30 + 8 * 10) / 2
    shake = next(one for one in jobs if one.facts.get("defense") == "shake")
    clock.note(shake, 50)
    clock.note(shake, 70)
    assert clock.expect(shake) == 60
    assert clock.total(jobs, workers=1) == 100 + 2 * 30 + 6 * 10 + 2 * 60


def test_no_number_of_workers_is_faster_than_a_base_model_its_attack_and_a_trial():
    jobs, clock = plan().jobs, Clock(ESTIMATE)
    assert clock.total(jobs, workers=64) == 100 + 30 + 10
    shake = next(one for one in jobs if one.facts.get("defense") == "shake")
    clock.note(shake, 500)
    assert clock.total(jobs, workers=64) == 100 + 30 + 500
    # Of running jobs, what they have behind them is over for the longest too.
    assert clock.total_of([(shake, 1, 0.0), (shake, 1, 490.0)], workers=64) == 500
    assert clock.total_of([(shake, 1, 480.0), (shake, 1, 490.0)], workers=64) == 20
    assert clock.total_of([(shake, 1, 510.0)], workers=64) == 0


def test_models_that_nobody_attacks_say_nothing_of_how_long_an_attack_takes():
    made, clock = plan(clean_models=True), Clock(ESTIMATE)
    victims = {one.facts["attack"]: one for one in made.jobs if one.job.kind == "victim"}
    clock.note(victims["clean"], 0.5)
    assert (clock.expect(victims["clean"]), clock.expect(victims["bw3x3"])) == (0.5, 30)


def test_a_run_tells_the_time_that_its_longest_job_still_takes():
    shake = next(one for one in plan().trials if one.facts["defense"] == "shake")
    screen = io.StringIO()
    display = PlainDisplay(Console(file=screen), plan().trials, Clock(ESTIMATE), 64)
    others = [one for one in plan().trials if one.job.id != shake.job.id]
    for one in others:
        display.skipped(one, "of no interest", None)
    display.started(shake, Path("progress"))
    display.lost(shake, "its node is gone", 1)
    display.started(shake, Path("progress"))
    display.finished(shake, Report(id=shake.job.id, status="failed", error="at last"))
    said = screen.getvalue().splitlines()
    total = len(others) + 1
    assert said[-3].startswith(f"[{total - 1}/{total}, 10 s left] ")
    assert said[-2].startswith(f"[{total - 1}/{total}, 10 s left] shake on ")
    assert said[-1].startswith(f"[{total}/{total}] shake on ")


def test_an_estimate_says_what_the_presets_figures_do_not_know(tmp_path):
    own = {"dataset": "digits", "model": "small-resnet", "files": (), "defenses": ("fine_tuning",)}
    presets = {
        "same": 'seeds = 2\n[settings]\n"attack.triggers" = [0]',
        "longer": '[settings]\n"base.epochs" = 9',
        "other": 'model = "one-conv"\ndataset = "tiny"',
    }
    files = {name: str(tmp_path / f"{name}.toml") for name in presets}
    for name, text in presets.items():
        Path(files[name]).write_text(text, "utf-8")
    asked_by_file = {"dataset": None, "model": None, "preset": files["other"]}
    for made, says in (
        (plan(fixed=("attack.triggers=0",), **own), ""),
        (plan(fixed=(), preset=files["same"], **own), ""),
        (plan(fixed=(), preset=files["longer"], **own), "CPU cores, without your preset file)"),
        (plan(fixed=(), **asked_by_file), "CPU cores, without your preset file)"),
        (
            plan(fixed=("base.epochs=9",), preset=files["longer"], **own),
            "CPU cores, without your --set and preset file)",
        ),
        (plan(fixed=(), machine=replace(MACHINE, device="cuda"), **own), "for two CPU cores)"),
        (plan(fixed=("base.epochs=9",), **own), "two CPU cores, without your --set)"),
        (plan(fixed=()), "two CPU cores, without your --model and --dataset)"),
    ):
        said = left_out(made, Clock(ESTIMATE), made.jobs)
        assert said.endswith(says)
        assert bool(said) == bool(says)
    clock = Clock(ESTIMATE)
    for one in made.jobs:
        clock.note(one, 10)
    assert left_out(made, clock, made.jobs) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (89, "89 s"), (91, "2 min"), (5340, "89 min"), (5400, "1 h 30 min")],
)
def test_a_time_in_words(seconds, words):
    assert in_words(seconds) == words
