"""One invocation of `bench run`, from the request to the leaderboard."""

from __future__ import annotations

import secrets
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmark.catalogue import shipped_packages
from benchmark.config import Config, Request, resolve
from benchmark.data_cache import cache_dir
from benchmark.display import BarDisplay, PlainDisplay, outlast_readers
from benchmark.errors import UserError
from benchmark.estimate import Clock, in_words, left_out
from benchmark.events import RunEvent
from benchmark.jobs import TrialJob, VictimJob
from benchmark.keeping import Keeper
from benchmark.loading.faults import blamed
from benchmark.loading.importing import BUILTIN
from benchmark.loading.origin import Observer
from benchmark.loading.reading import observer_of
from benchmark.missing import (
    Rerun,
    lost_models,
    measured_otherwise,
    missing_jobs,
    will_skip,
)
from benchmark.observing import Observed, Shown
from benchmark.placing import Placing
from benchmark.plan import Plan, make_plan
from benchmark.plugins import Plugins, load_plugins
from benchmark.preparing import prepare_apart
from benchmark.rehearsal import rehearse
from benchmark.report.escape import printable
from benchmark.report.leaderboard import print_leaderboard
from benchmark.runner import Runner, Tally
from benchmark.signals import stops_as_interrupts, undisturbed
from benchmark.store import Store


@dataclass(frozen=True)
class Options:
    """How a run is carried out; none of it decides a number."""

    out: Path
    plugin_files: Sequence[Path]
    placing: Placing
    timeout_s: float
    retries: int
    """How often a job that went down with its worker is started again."""
    rerun: Rerun
    dry_run: bool
    tensorboard: Path | None = None
    """Folder for TensorBoard's event files."""
    command: str = ""
    """What was typed, for the records."""


def start(request: Request, options: Options) -> int:
    """Carry out the request; returns the exit status: 0, 1 (some failed) or 130 (interrupted)."""
    messages = Console(stderr=True)
    check_out(options.out)
    options.placing.check()
    plugins = load_plugins(options.plugin_files)
    warn_of_faults(plugins, messages)
    config = resolve(request, plugins)
    rehearse(config)
    observers = [*plugins.observers, *_shipped_observers(options)]
    plan = plan_for(config, options)
    check_brought(plan)
    if options.dry_run:
        describe(plan, options)
        return 0
    with Store.open(options.out, write=True, create=True) as store:
        status = run_missing(plan, store, options, messages, observers)
        frame = store.trials_frame()
    planned = {trial.job.id for trial in plan.trials}
    board = Console()
    outlast_readers(board, BrokenPipeError)
    print_leaderboard(board, frame[frame["trial"].isin(planned)])
    _last_words(config, options, messages)
    return status


def check_out(out: Path) -> None:
    """Refuse a wrong folder before minutes are spent on data."""
    existing = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"{existing} is a file, not a folder of results; use another --out")


def warn_of_faults(plugins: Plugins, console: Console) -> None:
    """Say which plugins are left out, and why."""
    for fault in plugins.faults:
        _say(console, f"warning: {fault.origin} is left out: {fault.error}")


def plan_for(config: Config, options: Options) -> Plan:
    """Return the jobs of a resolved request on this machine; its data set is prepared for that."""
    chosen = config.dataset
    dataset = prepare_apart(
        chosen, config.request.data_dir, cache_dir(), lambda: _announce(chosen.spec.name)
    )
    machine = options.placing.machine(config.run.threads, options.timeout_s, options.out)
    return make_plan(config, dataset, machine)


def check_brought(plan: Plan) -> None:
    """Load the weights that attack files bring, so that a wrong file is refused at once.

    This imports torch; a plan that brings none does not. Raises `UserError` that names the file.
    """
    victims = [one.job for one in plan.jobs if isinstance(one.job, VictimJob)]
    brought = {job.instance.model: job for job in victims if job.instance.model is not None}
    if brought:
        from benchmark.bringing import check

        with blamed(plan.config.model.found.origin):
            for file, job in brought.items():
                check(file, job.setup.model, job.setup.dataset)


def _announce(dataset: str) -> None:
    """Say to a person why nothing happens yet; in a log it would stand before a one-line error."""
    console = Console(stderr=True)
    if console.is_terminal:
        _say(console, f"preparing the data set {dataset} …")


def _shipped_observers(options: Options) -> list[Observer]:
    if options.tensorboard is None:
        return []
    from benchmark.observers.tensorboard import TensorBoard

    return [observer_of(TensorBoard(options.tensorboard), BUILTIN)]


def run_missing(
    plan: Plan,
    store: Store,
    options: Options,
    messages: Console,
    observers: Sequence[Observer] = (),
) -> int:
    """Run what is missing; returns the exit status.

    Whenever it is interrupted, it says how many trials of this run are kept.
    """
    outlast_readers(messages)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    with stops_as_interrupts():
        try:
            with store.patient(partial(_say, messages)):
                return _run_missing(plan, store, options, messages, observers, run_id)
        except KeyboardInterrupt:
            pass  # out of here its frames are gone, and with them a transaction they had begun
        with undisturbed():
            _say(messages, _interrupted(plan, store, run_id))
        return 130


def _run_missing(
    plan: Plan,
    store: Store,
    options: Options,
    messages: Console,
    observers: Sequence[Observer],
    run_id: str,
) -> int:
    _agree_on_min_asr(plan, store, messages)
    needed = missing_jobs(plan, store, options.rerun)
    _tell_of_metrics(plan, store, options.rerun, partial(_say, messages))
    jobs = [planned for planned in plan.jobs if planned.job.id in needed]
    if not jobs:
        failed = _stored_failures(plan, store)
        _say(messages, f"all {len(plan.trials)} trials are there already{_of_which(failed)}")
        _tell_of_packages(plan.config, partial(_say, messages))
        return _ended(failed, options.out, messages)
    _warn_of_lost_weights(lost_models(plan, store, needed), messages)
    clock = Clock.of_store(plan.config.preset.estimate, store, plan.jobs)
    display_type = BarDisplay if messages.is_terminal and not messages.is_dumb_terminal else None
    display: Shown = (display_type or PlainDisplay)(messages, jobs, clock, plan.machine.workers)
    if observers:
        trials = sum(isinstance(planned.job, TrialJob) for planned in jobs)
        event = RunEvent(run_id, options.out, trials)
        display = Observed(display, observers, event, partial(_say, messages))
    with store.work_folder() as work, display:
        runner = Runner(
            plan,
            Keeper(store, run_id, options.command, needed),
            options.placing.start(plan, jobs, store.artifacts),
            display,
            work,
            clock,
            options.rerun,
            options.retries,
        )
        tally = runner.run()
    failed = _stored_failures(plan, store)
    _say(messages, _finished(tally) + _of_which(failed - (tally.failed - tally.kept)))
    return _ended(failed or tally.failed, options.out, messages)


def _ended(failed: int, out: Path, messages: Console) -> int:
    """Return the exit status; where trials failed, say how one finds out why."""
    if not failed:
        return 0
    where = f"--out {shlex.quote(str(out))}"
    _say(
        messages,
        f"why trials failed: bench trials --failed {where}; "
        f"what one printed: bench show TRIAL --log {where}",
    )
    return 1


def _agree_on_min_asr(plan: Plan, store: Store, messages: Console) -> None:
    """Let this run's `run.min_asr` hold for all trials of its leaderboards, and say so."""
    facts = [trial.facts for trial in plan.trials if trial.facts["min_asr"] is not None]
    changed = store.agree_on_min_asr({one["group"]: one["min_asr"] for one in facts})
    if changed:
        least = plan.config.run.min_asr
        _say(messages, f"run.min_asr = {least:g} now holds for {changed} trials that had another")


def _tell_of_metrics(plan: Plan, store: Store, rerun: Rerun, say: Callable[[str], None]) -> None:
    """Say in one line what becomes of stored trials that a metric of this run did not measure."""
    found = measured_otherwise(plan, store) if rerun != "always" else {}
    if found:
        names = ", ".join(sorted({name for names in found.values() for name in names}))
        why = f"for a metric that is new or was changed: {names}"
        if rerun == "never":
            say(f"{len(found)} trials would have to be run again {why}; they keep what they have")
        else:
            say(f"{len(found)} trials are run again {why} (--rerun never leaves them)")


def _tell_of_packages(config: Config, say: Callable[[str], None]) -> None:
    """Say how code of others is run again that was edited: of a package the version alone counts.

    Somebody who edits his own package would take the numbers of the code before for those of his.
    """
    parts = (config.dataset, config.model, *config.attacks, *config.defenses, *config.metrics)
    names = {one.found.origin.distribution for one in parts if one.found.origin.kind == "package"}
    others = sorted(names - shipped_packages()) if names else []
    if others:
        say(
            f"if you edited {', '.join(others)}: a package is known by its version; raise that in "
            "the spec, or give --rerun always"
        )


def _warn_of_lost_weights(lost: int, messages: Console) -> None:
    """Say before hours are spent that what is made again must come out as it was."""
    if lost:
        _say(
            messages,
            f"the weights of {lost} models from which stored results started are gone or damaged: "
            "they are made again, and must come out the same, as on the machine that made them",
        )


def _stored_failures(plan: Plan, store: Store) -> int:
    """Return how many trials of the plan have failed, in this run or, not run again, before."""
    statuses = store.statuses(trial.job.id for trial in plan.trials)
    return sum(status == "failed" for status in statuses.values())


def _of_which(failed: int) -> str:
    """Say that of the trials that were there already some failed; empty for none."""
    return f", {failed} of which failed (--rerun failed runs them again)" if failed else ""


def _interrupted(plan: Plan, store: Store, run_id: str) -> str:
    """Count what is on the disk: the run was perhaps interrupted before it counted its last."""
    planned = {trial.job.id for trial in plan.trials}
    kept = sum(trial.run == run_id for trial in store.trials(planned))
    return f"interrupted: {kept} trials of this run are kept; the same command goes on from there"


def _finished(tally: Tally) -> str:
    parts = [f"{tally.done} trials done"]
    keep = f" ({tally.kept} of them keep their earlier results)" if tally.kept else ""
    for number, word in (
        (tally.failed, f"failed{keep}"),
        (tally.already, "there already"),
        (tally.skipped, "not run, because the attack did not take"),
    ):
        if number:
            parts.append(f"{number} {word}")
    return ", ".join(parts)


def _say(console: Console, text: str) -> None:
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _last_words(config: Config, options: Options, console: Console) -> None:
    differences = config.preset.differences
    if differences:
        _say(console, f"preset {config.preset.name} differs from the paper: {differences}")
    _say(console, f"results are in {options.out}; see also: bench export, bench show")


def describe(plan: Plan, options: Options) -> None:
    """Print what a run would do."""
    console = Console()
    store = None
    if (options.out / "results.sqlite").exists():
        store = Store.open(options.out, write=False)
    needed = {planned.job.id for planned in plan.jobs}
    skips: Mapping[str, str] = {}
    if store:
        needed = missing_jobs(plan, store, options.rerun)
        _tell_of_metrics(plan, store, options.rerun, partial(_say, console))
        skips = will_skip(plan, store, needed)
    jobs = [one for one in plan.jobs if one.job.id in needed and one.job.id not in skips]
    there = sum(planned.job.id not in needed for planned in plan.trials)
    clock = Clock.of_store(plan.config.preset.estimate, store, plan.jobs)
    _say(console, f"{len(plan.trials)} trials, {there} there already")
    for reason, number in Counter(skips.values()).items():
        _say(console, f"{number} will be skipped: {reason}")
    count = Counter(planned.job.kind for planned in jobs)
    _say(
        console,
        f"to do: {count['base']} base models, {count['victim']} attacks, {count['trial']} trials, "
        f"{plan.machine.workers} at a time on {plan.machine.device}",
    )
    time = in_words(clock.total(jobs, plan.machine.workers))
    _say(console, f"estimated time: {time}{left_out(plan, clock, jobs)}")
    if store:
        store.close()
