"""Runs on a Ray of this machine alone: the numbers of the local pool, and a clean end.

Those that start Ray, which takes seconds to a minute, are slow: run by hand with `-m slow`.
"""

import os
import secrets
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.store import Store

MEASURED = {"seconds", "peak_memory_mib", "environment", "run", "finished", "log"}


def test_without_ray_one_line_says_what_to_install(command, tmp_path):
    broken = tmp_path / "site" / "ray" / "__init__.py"
    broken.parent.mkdir(parents=True)
    broken.write_text("raise ImportError\n")
    path = f"{broken.parents[1]}{os.pathsep}{command.environment()['PYTHONPATH']}"
    without = replace(command, extra={"PYTHONPATH": path})
    done = without("run", "--executor", "ray", "--out", tmp_path / "results")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "bench: --executor ray: Ray is not installed (pip install 'ray>=2.50')\n"
    )
    assert not (tmp_path / "results").exists()


@pytest.fixture
def with_token(tiny_run, tmp_path):
    """Let Ray find its password there, and not make one in the home folder."""
    pytest.importorskip("ray")
    (tmp_path / "token").write_text(secrets.token_hex(32))
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    tiny_run.command.extra = ours
    yield tiny_run
    tiny_run.command.extra = {}


def contents(out: Path) -> tuple[dict, dict, dict]:
    """Return the trials and models without what was measured of the machine, and the artifacts."""
    with Store.open(out, write=False) as store:
        records = {one.trial: vars(one) for one in store.trials()}
        models = {one.id: vars(one) for one in store.models()}
    for record in [*records.values(), *models.values()]:
        for name in MEASURED & record.keys():
            del record[name]
    files = {path.name: path.read_bytes() for path in out.glob("artifacts/*/*")}
    return records, models, files


@pytest.mark.slow
def test_a_run_on_ray_has_the_numbers_of_the_local_pool_and_leaves_nothing(with_token, tmp_path):
    command, out = with_token.command, tmp_path / "results, ü"
    asked = ["--defense", "shake", "--workers", 2, "--executor", "ray"]
    done = command(*command.tiny(out, *asked))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == with_token.done.stdout.splitlines()[0]
    assert "ray" not in done.stdout.lower()
    assert contents(out) == contents(with_token.out)
    assert command.nothing_left(20)
    assert list(command.temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_leaves_nothing_and_goes_on(with_token, tmp_path, way):
    command, out = with_token.command, with_token.copy(tmp_path / "results")
    asked = ["--defense", "rattle", "--workers", 1, "--executor", "ray"]
    arguments = command.tiny(out, *asked, attack__triggers="170", rattle__seconds=4)
    process = command.start(*arguments)
    end = time.monotonic() + 60
    while not list(command.temporary.glob("bench-run-*/job-*/outbox/progress.json")):
        assert time.monotonic() < end
        time.sleep(0.05)
    if way == signal.SIGINT:
        os.killpg(process.pid, way)
    else:
        process.send_signal(way)
    _, said = process.communicate(timeout=60)
    if way != signal.SIGKILL:
        assert process.returncode == 130
        told = "interrupted: 0 trials of this run are kept; the same command goes on from there"
        assert said.splitlines()[0] == told
        assert "Traceback" not in said
    assert command.nothing_left(30)
    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    assert "1 trials done, 3 there already" in again.stderr
    assert list(command.temporary.iterdir()) == []


@pytest.mark.slow
def test_a_head_that_says_nothing_is_given_up_after_two_minutes(with_token, tmp_path):
    """Ray by itself tries for a quarter of an hour, and Ctrl-C does not reach it there."""
    command, begun = with_token.command, time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = command("doctor", "--ray-address", address)
    assert time.monotonic() - begun < 240
    assert (done.returncode, done.stdout) == (2, "")
    ours = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert ours == [
        f"bench: cannot join the Ray cluster at {address}: "
        "something accepts connections there, but it does not answer as a head node"
    ]
