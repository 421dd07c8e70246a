"""What defenses and attacks have in common: both train a model that they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmark.jobs import Job, Report
from benchmark.kit.bench import Bench
from benchmark.kit.findings import Book, Rule
from benchmark.kit.places import lines_where, names_a_device
from benchmark.kit.watch import (
    Inputs,
    Tracer,
    changed,
    digest_of,
    global_state,
    stir_global_generators,
)

_TORCH = "torch's global random generator"


@dataclass(frozen=True)
class Scene:
    """One call of plugin code: what it is given, and the call."""

    inputs: Inputs
    call: Callable[[], Sequence[nn.Module]]


def watch_call(scene: Callable[[], Scene], report: Report, root: Path, book: Book) -> bool:
    """Call the plugin once in this process and compare with the process that it had to itself.

    Notes determinism, inputs and globals; returns False if the call did not come to an end.
    """
    stir_global_generators(1)
    torch.set_num_threads(1)
    first, before = scene(), global_state()
    try:
        models = first.call()
    except Exception as error:
        book.fail(
            Rule.DETERMINISM,
            f"it ended well in a process of its own and then raised {type(error).__name__}: "
            f"{error}",
            mend="let nothing but the arguments decide what it does",
        )
        return False
    book.reached(Rule.DETERMINISM, Rule.INPUTS, Rule.GLOBALS)
    moved, touched = changed(before, global_state()), first.inputs.changes()
    if moved or touched:
        lines, again = _look_closer(scene(), root)
        # A library that draws while it is imported, once, is not the plugin's doing.
        moved = [name for name in moved if name in again or "generator" not in name]
        _note_changes(moved, touched, lines, book)
    if tuple(map(digest_of, models)) != report.artifacts:
        _note_difference(models, scene, book)
    return True


def _look_closer(scene: Scene, root: Path) -> tuple[dict[str, str], list[str]]:
    """Call again, slowly: what changed on which line, and what global things changed again."""
    tokens = {
        _TORCH: lambda: torch.get_rng_state().numpy().tobytes(),
        "inputs": scene.inputs.versions,
    }
    before = global_state()
    with Tracer(root, tokens) as tracer:
        scene.call()
    return tracer.lines, changed(before, global_state())


def _note_changes(
    moved: Sequence[str], touched: Sequence[str], lines: dict[str, str], book: Book
) -> None:
    for name in moved:
        book.fail(
            Rule.GLOBALS,
            f"{name} is not as it was before",
            where=lines.get(name, ""),
            mend="draw from run.generator(...), make layers inside `with run.seeded(...)`, and "
            "put torch's settings back: others share them"
            if "random" in name
            else "set it in a `with` block that puts it back, or leave it alone",
        )
    for name in touched:
        book.fail(
            Rule.INPUTS,
            f"{name} changed",
            where=lines.get("inputs", ""),
            mend="work on a copy: copy.deepcopy(view.model), or tensor.clone()",
        )


def _note_difference(models: Sequence[nn.Module], scene: Callable[[], Scene], book: Book) -> None:
    stir_global_generators(2)
    again = scene().call()
    names = [
        name
        for one, other in zip(models, again, strict=False)
        for (name, old), new in zip(
            one.state_dict().items(), other.state_dict().values(), strict=False
        )
        if not torch.equal(old, new)
    ]
    told = f", first in {names[0]!r}" if names else ", from one process to another"
    book.fail(
        Rule.DETERMINISM,
        f"two runs with one seed gave different weights{told}",
        mend="draw everything random from run.generator(...) or inside run.seeded(...), and let "
        "no time, process number or order of a set decide anything",
    )


def judge_device(
    bench: Bench, job: Job, models: Sequence[nn.Module], root: Path, book: Book
) -> None:
    """Note whether results lie where the harness said and no source line chooses a device.

    Where there is a CUDA device the job is run there too.
    """
    book.reached(Rule.DEVICE)
    mend = "use run.device, or the device of what you are given"
    for where in lines_where(root, names_a_device):
        book.fail(Rule.DEVICE, "this line chooses a device by itself", where=where, mend=mend)
    for model in models:
        places = {str(tensor.device) for tensor in model.state_dict().values()}
        if places - {"cpu"}:
            found = ", ".join(sorted(places))
            book.fail(Rule.DEVICE, f"told to use the CPU, it left weights on {found}", mend=mend)
    if torch.cuda.is_available() and not book.failed(Rule.DEVICE):
        report = bench.perform(job, "cuda")
        if report.status == "failed":
            book.fail(Rule.DEVICE, f"on the CUDA device: {report.error}", mend=mend)
