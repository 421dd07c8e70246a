"""Every way in which a defense can go wrong, each under its own name."""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.api import DefenseSpec, Knowledge, Outcome, View, hookimpl

Repair = Callable[[View, Any], Any]
REPAIRS: dict[str, Repair] = {}


def bad(repair: Repair) -> Repair:
    REPAIRS[repair.__name__] = repair
    return repair


def untouched(view: View) -> Outcome:
    return Outcome([view.model])


def changed(view: View, change: Callable[[Any], Any]) -> Outcome:
    import copy

    import torch

    model = copy.deepcopy(view.model)
    with torch.no_grad():
        change(model)
    return Outcome([model])


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message either")


@bad
def raises(view: View, run: Any) -> Any:
    raise ValueError("the [bold]first[/] line\nand the second")


@bad
def raises_unprintable(view: View, run: Any) -> Any:
    raise Unprintable


@bad
def raises_lone_surrogate(view: View, run: Any) -> Any:
    raise ValueError("caf\udce9 \x00 \x1b[31m")


@bad
def exits(view: View, run: Any) -> Any:
    sys.exit()


@bad
def exits_5(view: View, run: Any) -> Any:
    sys.exit(5)


@bad
def vanishes(view: View, run: Any) -> Any:
    os._exit(0)


@bad
def vanishes_7(view: View, run: Any) -> Any:
    os._exit(7)


@bad
def segfaults(view: View, run: Any) -> Any:
    ctypes.string_at(0)


@bad
def interrupts(view: View, run: Any) -> Any:
    raise KeyboardInterrupt


@bad
def loops(view: View, run: Any) -> Any:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


@bad
def deadlocks(view: View, run: Any) -> Any:
    lock = threading.Lock()
    with lock:
        lock.acquire()


@bad
def sleeps(view: View, run: Any) -> Any:
    time.sleep(3600)


@bad
def eats_memory(view: View, run: Any) -> Any:
    eaten = []
    while len(eaten) < 20:
        eaten.append(b"x" * 100 * 2**20)
        time.sleep(0.1)
    time.sleep(3600)


@bad
def gives_nan(view: View, run: Any) -> Any:
    return changed(view, lambda model: next(model.parameters()).fill_(float("nan")))


@bad
def gives_infinity(view: View, run: Any) -> Any:
    return changed(view, lambda model: next(model.parameters()).fill_(float("inf")))


@bad
def fills_the_disk(view: View, run: Any) -> Any:
    for number in range(2000):
        Path(f"part-{number}").write_bytes(b"x" * 2**20)
        time.sleep(0.01)
    return untouched(view)


@bad
def writes_a_long_file(view: View, run: Any) -> Any:
    with Path("long").open("wb") as file:
        for _ in range(2000):
            file.write(b"x" * 2**20)
    return untouched(view)


def when_written(change: Callable[[Path], None]) -> None:
    """Do something to the file of each model when it has been written."""
    from benchmark.sandbox import tasks

    digest = tasks.digest_back

    def digest_and_change(path: Path) -> str:
        found = digest(path)
        change(path)
        return found

    tasks.digest_back = digest_and_change


@bad
def cuts_its_artifact(view: View, run: Any) -> Any:
    when_written(lambda path: os.truncate(path, path.stat().st_size // 2))
    return untouched(view)


@bad
def flips_a_bit(view: View, run: Any) -> Any:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    when_written(flip)
    return untouched(view)


@bad
def writes_half_an_artifact(view: View, run: Any) -> Any:
    from benchmark.sandbox import tasks

    save = tasks.save_file

    def save_half(tensors: Any, path: Path) -> None:
        save(tensors, path)
        os.truncate(path, path.stat().st_size // 2)

    tasks.save_file = save_half
    return untouched(view)


@bad
def gives_no_file(view: View, run: Any) -> Any:
    when_written(Path.unlink)
    return untouched(view)


@bad
def gives_a_link(view: View, run: Any) -> Any:
    def link(path: Path) -> None:
        path.rename("elsewhere")
        path.symlink_to(Path.cwd() / "elsewhere")

    when_written(link)
    return untouched(view)


@bad
def gives_a_hard_link(view: View, run: Any) -> Any:
    when_written(lambda path: os.link(path, "the-other-name"))
    return untouched(view)


@bad
def gives_a_pipe(view: View, run: Any) -> Any:
    os.mkfifo("../outbox/triggers.safetensors")
    return untouched(view)


@bad
def gives_another_shape(view: View, run: Any) -> Any:
    from torch import nn

    def widen(model: Any) -> None:
        model.network[3] = nn.Linear(32, 4)

    return changed(view, widen)


@bad
def gives_a_wrapper(view: View, run: Any) -> Any:
    from torch import nn

    return Outcome([nn.Sequential(view.model, nn.Softmax(1))])


@bad
def gives_doubles(view: View, run: Any) -> Any:
    return changed(view, lambda model: model.double())


@bad
def gives_none(view: View, run: Any) -> Any:
    return None


@bad
def gives_no_model(view: View, run: Any) -> Any:
    return Outcome([])


@bad
def gives_a_state_dict(view: View, run: Any) -> Any:
    return Outcome([view.model.state_dict()])


@bad
def gives_flat_triggers(view: View, run: Any) -> Any:
    import torch

    return Outcome([view.model], triggers=torch.zeros(3, 3))


@bad
def records_a_tensor(view: View, run: Any) -> Any:
    run.record("loss", value=next(view.model.parameters()))
    return untouched(view)


@bad
def forges_the_result(view: View, run: Any) -> Any:
    Path("../outbox/result.json").write_text('["models", 1]', encoding="utf-8")
    os._exit(0)


@bad
def forges_the_costs(view: View, run: Any) -> Any:
    text = '{"models": "many", "seconds": null, "device_memory_mib": {}}'
    Path("../outbox/result.json").write_text(text, encoding="utf-8")
    os._exit(0)


def forges(**told: Any) -> None:
    """Change the result when it has been written."""
    from benchmark.sandbox.files import JobFolder

    write = JobFolder.write_result

    def write_and_change(folder: Any, result: Any) -> None:
        write(folder, result)
        path = folder.outbox / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | told), encoding="utf-8")

    JobFolder.write_result = write_and_change


@bad
def counts_past_64_bits(view: View, run: Any) -> Any:
    forges(forward_images=2**63)
    return untouched(view)


@bad
def finds_a_target_past_64_bits(view: View, run: Any) -> Any:
    forges(target=-(2**63) - 1)
    return untouched(view)


@bad
def hides_what_it_writes(view: View, run: Any) -> Any:
    """Write where the path is longer than a path can be."""
    start = Path.cwd()
    for _ in range(25):
        Path("d" * 200).mkdir()
        os.chdir("d" * 200)
    for number in range(16):
        Path(f"part-{number}").write_bytes(b"x" * 2**20)
    os.chdir(start)
    time.sleep(3600)


@bad
def makes_many_folders(view: View, run: Any) -> Any:
    for number in range(200_000):
        Path(str(number)).mkdir()
    time.sleep(3600)


@bad
def removes_its_folder(view: View, run: Any) -> Any:
    shutil.rmtree(Path.cwd().parent)
    return untouched(view)


@bad
def kills_its_parent(view: View, run: Any) -> Any:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(3600)


@bad
def reads_the_target(view: View, run: Any) -> Any:
    return Outcome([view.model], target=view.target)


@bad
def looks_for_the_trigger(view: View, run: Any) -> Any:
    return Outcome([view.model], triggers=view.trigger[None])


# From here on, what is bad does no harm to the trial.


@bad
def prints_a_lot(view: View, run: Any) -> Any:
    print("the first line")
    for _ in range(100):
        sys.stdout.write("x" * 2**20)
    print("\nthe last line")
    return untouched(view)


@bad
def closes_its_output(view: View, run: Any) -> Any:
    sys.stdout.close()
    sys.stderr.close()
    return untouched(view)


@bad
def closes_its_descriptors(view: View, run: Any) -> Any:
    os.close(1)
    os.close(2)
    return untouched(view)


@bad
def wanders_off(view: View, run: Any) -> Any:
    os.chdir("/")
    os.environ.clear()
    return untouched(view)


@bad
def changes_the_defaults(view: View, run: Any) -> Any:
    import numpy as np
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(7)
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(0)
    return untouched(view)


@bad
def says_that_it_never_ends(view: View, run: Any) -> Any:
    run.progress(1, math.inf, "searching")
    time.sleep(1)
    return untouched(view)


@bad
def says_a_number_of_4000_digits(view: View, run: Any) -> Any:
    run.progress(10**4000, 10**4001, "searching")
    time.sleep(1)
    return untouched(view)


@bad
def nests_what_it_says(view: View, run: Any) -> Any:
    Path("../outbox/progress.json").write_text("[" * 9999, encoding="utf-8")
    time.sleep(1)
    return untouched(view)


@bad
def forges_the_seal(view: View, run: Any) -> Any:
    with contextlib.suppress(PermissionError):
        Path("../sealed.txt").write_text("landlock 99", encoding="utf-8")
    return untouched(view)


@bad
def digs_deep(view: View, run: Any) -> Any:
    """Nest folders deeper than Python's calls go."""
    start = Path.cwd()
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(start)
    return untouched(view)


@bad
def spoils_what_it_was_given(view: View, run: Any) -> Any:
    import copy

    repaired = copy.deepcopy(view.model)
    for tensor in view.model.state_dict().values():
        tensor.zero_()
    for path in Path("../inbox").iterdir():
        with contextlib.suppress(PermissionError):
            path.unlink()
    return Outcome([repaired])


@bad
def leaves_a_thread(view: View, run: Any) -> Any:
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return untouched(view)


@bad
def leaves_a_child(view: View, run: Any) -> Any:
    subprocess.Popen(["sleep", "3600"])
    return untouched(view)


@bad
def leaves_a_session(view: View, run: Any) -> Any:
    subprocess.Popen(["setsid", "sleep", "3600"], start_new_session=True)
    return untouched(view)


@bad
def leaves_a_daemon(view: View, run: Any) -> Any:
    daemon = "(setsid sleep 3600 </dev/null >/dev/null 2>&1 &) &"
    subprocess.run(["sh", "-c", daemon], check=True)
    return untouched(view)


@bad
def works_with_others(view: View, run: Any) -> Any:
    """Honest work: other processes, shared memory, temporary files, packages, new folders."""
    import tempfile

    import torch
    from sklearn.decomposition import PCA
    from torch.utils.data import DataLoader

    # Numbers, not tensors: those go through a socket whose path the tests' folders make too long.
    parts = list(DataLoader(range(8), batch_size=4, num_workers=1, collate_fn=list))
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert torch.ones(8).share_memory_().sum() == 8
    PCA(1).fit(torch.eye(3).numpy())
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").write_text("kept", encoding="utf-8")
        (Path(folder) / "a").rename("b")
    assert Path("b").read_text(encoding="utf-8") == "kept"
    done = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True)
    assert done.stdout.strip() == b"42"
    return untouched(view)


@hookimpl
def bench_trial_step(step: int, total: int) -> None:
    """Be there: then a run reads what plugins say of their steps, on a terminal or not."""


class Bad:
    def __init__(self, name: str) -> None:
        self.repair = REPAIRS[name]


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    needs = frozenset({Knowledge.WEIGHTS})
    return [
        DefenseSpec(name, "1", "bad", lambda _, name=name: Bad(name), needs=needs)
        for name in REPAIRS
    ]
