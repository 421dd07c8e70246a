"""`bench check` says of an attack's grid what `bench run` says of it."""

from __future__ import annotations

from pathlib import Path

from benchmark.config import Request, resolve
from benchmark.errors import UserError
from benchmark.kit import check
from benchmark.kit.configure import Asked, configure
from benchmark.kit.findings import Book, Rule
from benchmark.kit.instances import judge_instances
from benchmark.kit.subject import find_subjects
from benchmark.plugins import load_plugins
from benchmark.rehearsal import rehearse

TINY_CASE = Path(__file__).parent / "plugin_files" / "tiny_case.py"
GRIDS = """
from __future__ import annotations

import itertools

import numpy

from benchmark.api import AttackInstance as One
from benchmark.api import AttackSpec, Options, Trigger, hookimpl

PLANE = ((0.0, 1.0), (1.0, 0.0))
PIXELS = (PLANE, PLANE, PLANE)
ASKED = itertools.count()

GRIDS = {
    "twice": lambda: [One(Trigger("a", PIXELS), 0), One(Trigger("b", PIXELS), 0)],
    "outside": lambda: [One(Trigger("a", PIXELS, (15, 0)), 0)],
    "counted": lambda: [One(Trigger("a", PIXELS), numpy.int64(1))],
    "truth": lambda: [One(Trigger("a", PIXELS), True)],
    "numbered": lambda: [One(Trigger(7, PIXELS), 0)],
    "array": lambda: [One(Trigger("a", numpy.zeros((3, 2, 2))), 0)],
    "text": lambda: [One(Trigger("a", PIXELS), "0")],
    "nothing": lambda: [One(Trigger("a", None), 0)],
    "empty": lambda: [],
    "ends": lambda: exit(3),
    "large": lambda: [One(Trigger("a", (((0.0,) * 17,) * 2,) * 3), 0)],
    "bright": lambda: [One(Trigger("a", ((PLANE[0], (2.0, 0.0)), PLANE, PLANE)), 0)],
}


def spec(name, grid):
    return AttackSpec(name, "1", name, lambda _options, _info: grid(), lambda _options: None)


@hookimpl
def bench_attacks():
    return [spec(name, grid) for name, grid in GRIDS.items()]
"""
SOUND = (
    GRIDS.partition("GRIDS = {")[0]
    + """
GRIDS = {
    "targets": lambda: [One(Trigger("a", PIXELS), target) for target in (0, 1, 2)],
    "placed": lambda: (One(Trigger("a", PIXELS, place), 1) for place in [(14, 14)]),
}
"""
    + GRIDS.partition("\n}\n")[2]
)
WRONG = (
    *("twice", "outside", "counted", "truth", "numbered", "array", "text", "nothing", "empty"),
    *("ends", "large", "bright"),
)


def refused(file: Path, name: str) -> str:
    """Return with what words a run with the attack is refused; empty if it is not."""
    asked = Request(defenses=("none",), attacks=(name,), dataset="tiny", model="one-conv")
    try:
        rehearse(resolve(asked, load_plugins([TINY_CASE, file])))
    except UserError as error:
        return str(error)
    return ""


def test_what_a_run_refuses_breaks_the_contract_with_the_same_words(tmp_path: Path) -> None:
    file = tmp_path / "grids.py"
    file.write_text(GRIDS, encoding="utf-8")
    reports = {report.name: report for report in check(file).reports}
    assert reports.keys() == set(WRONG)
    for name, report in reports.items():
        [failure] = [one for one in report.findings if one.status == "failed"]
        assert failure.rule is Rule.CONTRACT
        assert failure.what == refused(file, name) != ""
        assert failure.mend


def test_what_a_run_takes_keeps_the_contract(tmp_path: Path) -> None:
    file = tmp_path / "sound.py"
    file.write_text(SOUND, encoding="utf-8")
    subjects, _ = find_subjects(file)
    assert [subject.name for subject in subjects] == ["targets", "placed"]
    for subject in subjects:
        assert refused(file, subject.name) == ""
        book = Book("attack")
        judge_instances(configure(subject, Asked({}, None, 60)), book)
        assert all(one.status != "failed" for one in book.findings())
