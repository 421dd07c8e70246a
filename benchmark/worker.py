"""Carry out one job in a trusted process: hand out, start the sandbox, have its result measured.

No torch: what needs it is done in `benchmark.steps`, in processes that end.
"""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmark.environment import hardware
from benchmark.errors import JobFault
from benchmark.handing_out import fill_inbox
from benchmark.jobs import Cost, Job, Report, parse_job
from benchmark.records import EXAMPLES
from benchmark.removal import remove_folder
from benchmark.sandbox.child import die_with, end_family
from benchmark.sandbox.files import JobFolder, Result
from benchmark.sandbox.launch import Exit, Limits, launch
from benchmark.sandbox.seal import keep_from_siblings, landlock_version
from benchmark.sandbox.start import prepare
from benchmark.sandbox.watch import adopt_orphans
from benchmark.steps import device_name, measure
from benchmark.store.faults import FULL, disk_error


def start_worker(driver: int) -> None:
    """Prepare a process for `perform`: ignore the terminal's Ctrl-C, end with the driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: end_family())
    die_with(driver)
    adopt_orphans()
    keep_from_siblings()


def warm_up(text: str, progress: str) -> None:
    """Start what `perform` starts for its first job, which has less to wait for then.

    `text` is any job of the run, `progress` in the folder of all progress files.
    """
    prepare(parse_job(text).setup.plugin_threads, Path(progress).parent)


def perform(text: str, progress: str) -> str:
    """Carry out the job of a JSON text and return its report as JSON.

    `progress` is the file in which the driver looks for the job's latest step. The job's own files
    lie beside it, where the driver removes them if this process is killed.
    """
    job = parse_job(text)
    link = Path(progress)
    folder = JobFolder(Path(tempfile.mkdtemp(prefix="job-", dir=link.parent)))
    try:
        with _full_disk_explained(link.parent):
            folder.create()
            link.write_text(str(folder.progress), encoding="utf-8")
        report = _carry_out(job, folder)
    finally:
        link.unlink(missing_ok=True)
        remove_folder(folder.root)
    return report.model_dump_json()


def _carry_out(job: Job, folder: JobFolder) -> Report:
    """Run the job's plugin and turn every fault of it into a failed report.

    A `UserError` is not the job's: a full disk, say, ends the whole run.
    """
    exit_: Exit | None = None
    cost = Cost()
    series = []
    try:
        with _full_disk_explained(folder.inbox):
            fill_inbox(job, folder)
        started = time.monotonic()
        setup = job.setup
        limits = Limits(setup.timeout_s, setup.memory_mib, setup.disk_mib)
        exit_ = launch(folder, setup.plugin_threads, limits)
        cost = Cost(seconds=time.monotonic() - started, peak_memory_mib=exit_.peak_memory_mib)
        # Only the harness says what became of single images.
        series = [row for row in folder.read_series() if row.get("series") != EXAMPLES]
        result = _result(folder, exit_)
        cost = _cost(result, exit_, cost.seconds)
        found = measure(job, folder, result)
        series = [*series, *found.pop("examples", ())]
        status, error = "done", ""
    except JobFault as fault:
        status, error, found = "failed", str(fault), {}
    return Report.model_validate(
        {
            "id": job.id,
            "status": status,
            "error": error,
            "cost": cost,
            "log": exit_.log if exit_ else "",
            "series": series,
            "environment": _environment(job, folder),
            **found,
        }
    )


@contextlib.contextmanager
def _full_disk_explained(place: Path) -> Iterator[None]:
    """End the run where the harness itself finds no room: every other job would fail too."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise disk_error(error, place) from error
        raise


def _environment(job: Job, folder: JobFolder) -> dict[str, object]:
    """Return for the record what the job ran on and was closed off by."""
    found = hardware(job.setup.device, job.setup.threads)
    name = device_name(job, folder)
    return found | ({"device_name": name} if name else {}) | _sealed(job, folder)


def _sealed(job: Job, folder: JobFolder) -> dict[str, str]:
    """Return for the record what closed the plugin off, and how many folders were opened."""
    if not job.setup.seal:
        return {"sealed_by": "nothing: run.seal"}
    # A plugin that nothing keeps from it could have written the note.
    by = folder.read_sealed() if landlock_version() else ""
    if not by:
        return {"sealed_by": "nothing: no Landlock here"}
    opened = len(job.setup.readable)
    return {"sealed_by": f"{by}, {opened} paths opened" if opened else by}


def _result(folder: JobFolder, exit_: Exit) -> Result:
    """Return the small part of the outcome, or raise `JobFault` with the reason that there is none.

    An exit status of 0 without a result is a plugin that ended the process itself.
    """
    reason = exit_.killed or folder.read_error() or exit_.reason
    if reason:
        raise JobFault(reason)
    result = folder.read_result()
    if not result.models:
        raise JobFault("the outcome holds no model")
    return result


_START_S = 5.0
"""What a job's process may take beside the plugin: to start, to be sealed, to write its files."""


def _cost(result: Result, exit_: Exit, watched_s: float) -> Cost:
    """Return what the job cost; the process' own word on its seconds counts if it is plausible.

    It tells them without what the harness does in it, but a plugin could write what it likes there.
    """
    return Cost(
        seconds=max(result.seconds, watched_s - _START_S),
        peak_memory_mib=max(exit_.peak_memory_mib, result.device_memory_mib),
        forward_images=result.forward_images,
        backward_images=result.backward_images,
    )
