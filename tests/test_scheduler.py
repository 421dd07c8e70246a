"""The scheduler alone: what it hands out, when, how often; and how well it packs."""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.scheduler import Scheduler, Task

FILE = Path(__file__).parent / "benchmarks" / "schedule.py"
spec = importlib.util.spec_from_file_location("schedule", FILE)
schedule = sys.modules["schedule"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(schedule)


def scheduler(*tasks, ahead=1, retries=0):
    return Scheduler(tasks, ahead=ahead, retries=retries)


def handed_out(made, slots):
    found = []
    while (task := made.next(slots)) is not None:
        found.append(task.id)
    return found


def test_a_task_is_handed_out_when_what_it_needs_is_done():
    made = scheduler(Task("base", "", 1, -1), Task("v", "base", 1, 0), Task("t", "v", 1, 0))
    for name in ("base", "v", "t"):
        assert handed_out(made, 3) == [name]
        assert not made.is_finished
        made.done(name)
    assert made.is_finished


def test_what_is_no_task_of_the_graph_is_there_already():
    assert handed_out(scheduler(Task("t", "a stored victim", 1, 0)), 1) == ["t"]


def test_a_task_before_the_one_that_it_needs_is_an_error():
    with pytest.raises(ValueError, match="t stands before v"):
        scheduler(Task("t", "v", 1, 0), Task("v", "", 1, 0))


def test_no_more_run_than_there_are_slots_and_new_slots_are_used():
    made = scheduler(*(Task(str(n), "", 1, n) for n in range(5)))
    assert len(handed_out(made, 2)) == 2
    assert len(handed_out(made, 4)) == 2  # a node has joined
    assert handed_out(made, 1) == []  # nodes have gone
    made.done("0")
    assert len(handed_out(made, 4)) == 1


def test_what_must_be_alone_waits_for_the_others_and_they_for_it():
    made = scheduler(
        Task("first", "", 1, -2), Task("base", "", 9, -1, alone=True), Task("last", "", 1, 5)
    )
    assert handed_out(made, 1) == ["base"]  # the longest of so few
    assert handed_out(made, 3) == []
    made.done("base")
    assert handed_out(made, 3) == ["first", "last"]

    made = scheduler(Task("other", "", 9, -2), Task("base", "", 1, -1, alone=True))
    assert handed_out(made, 3) == ["other"]
    made.done("other")
    assert handed_out(made, 3) == ["base"]


def test_early_victims_are_finished_before_late_ones_while_there_is_work_for_all():
    victims = [Task(f"v{n}", "", 10, n) for n in range(40)]
    trials = [Task(f"t{n}", f"v{n}", 10, n) for n in range(40)]
    made, order = scheduler(*victims, *trials, ahead=2), []
    while not made.is_finished:
        task = made.next(1)
        order.append(task.id)
        made.done(task.id)
    assert order[:6] == ["v0", "v1", "v2", "t0", "v3", "t1"]


def test_the_longest_chain_goes_first_towards_the_end():
    tasks = [Task(f"short {n}", "", 1, n) for n in range(3)]
    made = scheduler(*tasks, Task("v", "", 1, 9), Task("long", "v", 8, 9), Task("lone", "", 5, 9))
    assert handed_out(made, 2) == ["v", "lone"]
    made.done("v")
    assert handed_out(made, 2) == ["long"]


def test_a_lost_task_is_handed_out_again_as_often_as_asked():
    made = scheduler(Task("v", "", 1, 0), Task("t", "v", 1, 0), retries=2)
    for times in (1, 2):
        assert handed_out(made, 1) == ["v"]
        assert made.lost("v") == times
    assert handed_out(made, 1) == ["v"]
    assert made.lost("v") == 0
    assert handed_out(made, 2) == []  # it is failed now, not free to be run
    made.done("v")
    assert handed_out(made, 2) == ["t"]


def test_a_lost_task_that_was_alone_lets_the_others_in():
    made = scheduler(Task("base", "", 9, -1, alone=True), Task("t", "", 1, 0), retries=1)
    assert handed_out(made, 2) == ["base"]
    made.lost("base")
    assert handed_out(made, 2) == ["base"]
    made.done("base")
    assert handed_out(made, 2) == ["t"]


@settings(max_examples=60)
@given(st.data())
def test_every_task_is_done_once_whatever_is_lost_and_however_many_slots_there_are(data):
    shape = data.draw(st.lists(st.tuples(st.integers(-1, 9), st.floats(0, 100)), max_size=12))
    tasks = [
        Task(str(n), str(needs) if 0 <= needs < n else "", seconds, n % 3, alone=n % 4 == 1)
        for n, (needs, seconds) in enumerate(shape)
    ]
    made, running, done = scheduler(*tasks, retries=1000, ahead=2), [], []
    while not made.is_finished:
        slots = data.draw(st.integers(1, 4))
        while (task := made.next(slots)) is not None:
            assert not task.needs or task.needs in done
            running.append(task)
            assert len(running) == 1 or not any(one.alone for one in running)
        ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
        if data.draw(st.booleans()) and len(done) < 100:
            made.lost(ended.id)
        else:
            made.done(ended.id)
            done.append(ended.id)
    assert sorted(done) == sorted(task.id for task in tasks)


# The paper's grids on a virtual clock


@pytest.fixture(scope="module")
def grids():
    return schedule.paper(seeds=5, draw=0)


@pytest.mark.parametrize("workers", [1, 8, 64])
def test_up_to_64_workers_the_paper_s_grids_take_at_most_a_tenth_over_the_bound(grids, workers):
    bound = grids.bound(workers)
    assert 0.999 * bound <= grids.makespan(workers) <= 1.1 * bound


@pytest.mark.parametrize("workers", [1, 8, 64, 512])
def test_one_seed_comes_as_near_to_what_any_schedule_can_reach(workers):
    """On 64 workers nothing but two base models runs for a quarter of the bound."""
    case = schedule.paper(seeds=1, draw=0)
    assert case.makespan(workers) <= 1.05 * case.strict_bound(workers)
