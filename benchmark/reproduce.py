"""One invocation of `bench reproduce`: what is missing of a study is run, and its page written."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark.config import Request, resolve
from benchmark.errors import UserError
from benchmark.plan import Plan, Planned
from benchmark.plugins import Plugins, load_plugins
from benchmark.preset import load_preset
from benchmark.rehearsal import rehearse
from benchmark.report.escape import printable
from benchmark.report.html.contents import read_contents
from benchmark.report.reproduction import claims, figures
from benchmark.report.reproduction_figures import draw
from benchmark.report.reproduction_page import Made, csv_rows, page
from benchmark.report.whole import write_whole
from benchmark.session import (
    Options,
    check_out,
    describe,
    plan_for,
    run_missing,
    warn_of_faults,
)
from benchmark.store import Store
from benchmark.study import Grid, Study, StudyRow, load_study


@dataclass(frozen=True)
class Wanted:
    """What of a study to run; None and empty mean: all of it, as the paper did."""

    study: str
    grids: tuple[str, ...] = ()
    preset: str | None = None
    ablations: bool = False
    seeds: int = 1
    first_seed: int = 0
    sets: Mapping[str, str] | None = None
    data_dir: Path | None = None
    page: Path = Path("reproduction.md")
    run: bool = True
    """False: run nothing, write the page of what is there."""
    command: str = ""
    """The command line as it was given, for the page."""


@dataclass(frozen=True)
class _Cell:
    """One row of the study on one grid, planned."""

    grid: Grid
    row: StudyRow
    plan: Plan

    @property
    def trials(self) -> frozenset[str]:
        """Identities of the row's trials."""
        return frozenset(one.job.id for one in self.plan.trials)


def start(wanted: Wanted, options: Options) -> int:
    """Run what is missing and write the page; returns the exit status of the run."""
    check_out(options.out)
    options.placing.check()
    study = load_study(wanted.study)
    grids = study.grids(wanted.grids, wanted.preset)
    _check_page(wanted.page)
    messages = Console(stderr=True)
    plugins = load_plugins(options.plugin_files)
    warn_of_faults(plugins, messages)
    cells = _cells(study, grids, wanted, options, plugins)
    plan = _merged([cell.plan for cell in cells])
    if options.dry_run:
        describe(plan, options)
        return 0
    status = 0
    with Store.open(options.out, write=wanted.run, create=wanted.run) as store:
        if wanted.run:
            status = run_missing(plan, store, options, messages, plugins.observers)
            if store.trials_frame().empty:  # interrupted before the first trial
                return status
        _report(study, grids, cells, store, wanted)
    said = (
        f"the page is {wanted.page}, its numbers {_csv(wanted.page)}, its figures in "
        f"{_figures(wanted.page)}"
    )
    messages.print(printable(said), markup=False, highlight=False, soft_wrap=True)
    return status


def _report(
    study: Study, grids: Sequence[Grid], cells: Sequence[_Cell], store: Store, wanted: Wanted
) -> None:
    """Write the page, its numbers and its figures from what the store holds."""
    contents = read_contents(store)
    trials = {(cell.grid.name, cell.row.label): cell.trials for cell in cells}
    found = figures(study, grids, trials, contents.frame)
    settings = tuple(_setting(grid, wanted) for grid in grids)
    made = Made(wanted.command, settings, _figures(wanted.page).name)
    pictures = draw(study, grids, trials, contents, _figures(wanted.page))
    argued = claims(study, grids, trials, contents.frame)
    _write(wanted.page, page(study, grids, found, argued, made, pictures), csv_rows(found))


def _cells(
    study: Study, grids: Sequence[Grid], wanted: Wanted, options: Options, plugins: Plugins
) -> list[_Cell]:
    rows = [row for row in study.row if wanted.ablations or not row.ablation]
    cells = []
    for grid, row in itertools.product(grids, rows):
        config = resolve(_request(study, grid, row, wanted), plugins)
        rehearse(config)
        cells.append(_Cell(grid, row, _own(plan_for(config, options), row.defense)))
    return cells


def _own(plan: Plan, defense: str) -> Plan:
    """Return the plan without the trials of other defenses: those are rows of their own."""
    jobs = (one for one in plan.jobs if one.facts.get("defense", defense) == defense)
    return replace(plan, jobs=tuple(jobs))


def _request(study: Study, grid: Grid, row: StudyRow, wanted: Wanted) -> Request:
    preset = wanted.preset or grid.preset
    return Request(
        preset=preset,
        # All of them, so that `--set` may name any; a row keeps its own.
        defenses=tuple(dict.fromkeys(one.defense for one in study.row)),
        attacks=(grid.attack,),
        seeds=wanted.seeds,
        first_seed=wanted.first_seed,
        sets={**_triggers(grid, wanted), **(wanted.sets or {}), **row.sets(preset)},
        data_dir=wanted.data_dir,
    )


def _triggers(grid: Grid, wanted: Wanted) -> dict[str, Any]:
    """Return the setting of the triggers that stand in for the grid's own, if some do."""
    instead = grid.instead.get(wanted.preset or grid.preset)
    return {} if instead is None else {"attack.triggers": instead}


def _merged(plans: Sequence[Plan]) -> Plan:
    """Return one plan of all jobs, each once, so that no worker waits at the end of a row."""
    jobs: dict[str, Planned] = {}
    blocks: dict[str, int] = {}
    for planned in itertools.chain.from_iterable(plan.jobs for plan in plans):
        if planned.job.kind != "base":
            victim = planned.needs if planned.job.kind == "trial" else planned.job.id
            number = blocks.setdefault(victim, len(blocks))
            planned = replace(planned, block=number)
        jobs.setdefault(planned.job.id, planned)
    # A victim may first be met in a later plan than the trials of an earlier one; models lead.
    order = {"base": 0, "victim": 1, "trial": 2}
    return replace(plans[0], jobs=tuple(sorted(jobs.values(), key=lambda p: order[p.job.kind])))


def _setting(grid: Grid, wanted: Wanted) -> str:
    """Return the preset of a grid, how it differs from the paper, and what was set here."""
    preset = load_preset(wanted.preset or grid.preset)
    said = (
        f"Grid {grid.name}: preset {preset.name}. As shipped it differs from the paper in: "
        f"{preset.differences or 'nothing'}"
    )
    # What was set may be what the preset is said to differ in: other triggers, more epochs.
    here = {**_triggers(grid, wanted), **(wanted.sets or {})}
    if here:
        said += ". Set here instead of its own: "
        said += ", ".join(f"{key}={value}" for key, value in here.items())
    return said


def _check_page(file: Path) -> None:
    if file.is_dir() or not file.parent.is_dir():
        raise UserError(f"cannot write {file}", "-o names a file in a folder that exists")
    if file.suffix.lower() == _csv(file).suffix:
        raise UserError(
            f"cannot write {file}: the page's numbers go into that file",
            f"name the page {file.with_suffix('.md')}, say",
        )


def _csv(file: Path) -> Path:
    return file.with_suffix(".csv")


def _figures(file: Path) -> Path:
    return file.with_name(f"{file.stem}-figures")


def _write(file: Path, text: str, rows: Sequence[Mapping[str, Any]]) -> None:
    def words(place: Path) -> None:
        place.write_text(text, encoding="utf-8")

    def numbers(place: Path) -> None:
        with place.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    write_whole(file, words)
    write_whole(_csv(file), numbers)
