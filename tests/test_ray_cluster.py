"""A cluster of several nodes, each of which dies, hangs, lies or comes late; every trial once.

Slow: run by hand with `-m slow`, alone. It makes namespaces, which needs root.
"""

import importlib.util
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.store import Store

pytest.importorskip("ray")
FILE = Path(__file__).parent / "ray_nodes.py"
spec = importlib.util.spec_from_file_location("ray_nodes", FILE)
ray_nodes = sys.modules["ray_nodes"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ray_nodes)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ray_nodes.can_be_made(), reason="namespaces cannot be made here"),
]
STUBBORN = Path(__file__).parent / "plugin_files" / "stubborn.py"
MEASURED = {"seconds", "peak_memory_mib", "environment", "run", "finished", "log", "setting"}
ONE = {"attack__triggers": "170"}


def contents(out):
    """Return the trials and models without what was measured of the machine, and the artifacts."""
    with Store.open(out, write=False) as store:
        records = {one.trial: vars(one) for one in store.trials()}
        models = {one.id: vars(one) for one in store.models()}
    for record in [*records.values(), *models.values()]:
        for name in MEASURED & record.keys():
            del record[name]
    files = {path.name: path.read_bytes() for path in out.glob("artifacts/*/*")}
    return records, models, files


def of_one_trigger(tiny_run, out):
    """Check what a run on trigger 170 stored against the undisturbed local one, to the last bit."""
    trials, models, files = contents(out)
    right, right_models, right_files = contents(tiny_run.out)
    assert trials == {key: one for key, one in right.items() if one["trigger"] == "170"}
    assert models == {key: one for key, one in right_models.items() if one["trigger"] != "0"}
    assert files.items() <= right_files.items()
    return True


class Bench:
    """A command and the nodes that it uses."""

    def __init__(self, command, nodes):
        self.command, self.nodes = command, nodes

    def start(self, out, *asked, **sets):
        cluster = ["--executor", "ray", "--ray-address", self.nodes.address]
        return self.command.start(*self.command.tiny(out, *cluster, *asked, **sets))

    def end(self, process, status=0):
        """Wait for the end and return what was said."""
        printed, said = process.communicate(timeout=300)
        assert process.returncode == status, said
        assert "ray" not in printed.lower()
        assert "Traceback" not in said
        return said

    def worker(self, but=()):
        """Wait until one of the nodes carries out a job, and return its name."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            for name in self.nodes.running.keys() - {"head", *but}:
                if ray_nodes.is_at_work(self.nodes, name):
                    return name
            time.sleep(0.05)
        raise AssertionError("no node is at work")


@pytest.fixture(scope="module")
def bench(command, tmp_path_factory):
    command = replace(command, home=tmp_path_factory.mktemp("ray"))
    nodes = ray_nodes.Nodes(command)
    yield Bench(command, nodes)
    nodes.stop()
    assert command.nothing_left(30)


@pytest.fixture
def three(bench):
    """Three nodes of one CPU each, which share this machine's folders."""
    for name in ("a", "b", "c"):
        bench.nodes.start(name)
    yield bench
    for name in [name for name in bench.nodes.running if name != "head"]:
        bench.nodes.kill(name)


def start_far(bench, out, far):
    """Start a node that sees neither results nor data nor the plugins' files of the tests."""
    hidden = [out, bench.command.home / "cache", STUBBORN.parent, bench.command.temporary]
    for folder in (*hidden, far / "temporary"):
        folder.mkdir(parents=True, exist_ok=True)
    environment = {"BENCH_CACHE_DIR": str(far / "cache"), "TMPDIR": str(far / "temporary")}
    bench.nodes.start("far", hidden=hidden, **environment)


def lines_until(process, text):
    said = []
    for line in process.stderr:
        said.append(line)
        if text in line:
            return "".join(said)
    raise AssertionError("".join(said))


def test_a_node_that_shares_no_folder_gets_everything_sent(bench, tiny_run, tmp_path):
    """Only it has a CPU."""
    out, far = tmp_path / "results", tmp_path / "far"
    start_far(bench, out, far)
    bench.end(bench.start(out, "--defense", "shake"))
    assert contents(out) == contents(tiny_run.out)
    kept = {path.stem for path in far.glob("cache/cluster/artifacts/*/*.safetensors")}
    assert kept == {path.stem for path in out.glob("artifacts/*/*.safetensors")}
    assert list(far.glob("cache/cluster/files/*/tiny_case.py"))
    assert list(far.glob("cache/datasets/tiny-*/train.safetensors"))
    # What it has once, it is not sent again: the base model's artifact is damaged there.
    path = next(far.glob("cache/cluster/artifacts/*/*.safetensors"))
    path.write_bytes(b"damaged")
    bench.end(bench.start(out, "--defense", "shake", "--rerun", "always"))
    assert contents(out) == contents(tiny_run.out)
    assert path.read_bytes() == (out / path.relative_to(far / "cache" / "cluster")).read_bytes()
    bench.nodes.kill("far")


def test_a_node_killed_while_it_trains_a_victim(three, tiny_run, tmp_path):
    out = tmp_path / "results"
    process = three.start(out, "--defense", "shake", **ONE)
    lines_until(process, "base model, seed 0: clean accuracy")
    victim = three.worker()
    three.nodes.kill(victim)
    said = three.end(process)
    assert "attack bw3x3 170: its node or worker was lost (" in said
    assert said.count("it is started again (1)") == 1
    assert of_one_trigger(tiny_run, out)


def test_a_worker_killed_and_a_node_that_joins_late(bench, tiny_run, tmp_path):
    bench.nodes.start("a")
    out = tiny_run.copy(tmp_path / "results")
    process = bench.start(out, "--defense", "rattle", rattle__seconds=6)
    assert bench.worker() == "a"
    pools = ray_nodes.pools_of(bench.nodes, "a")
    for pool in pools:
        pool.kill()
    said = lines_until(process, "it is started again (1)")
    assert "the worker process died (killed, or out of memory)" in said
    bench.nodes.start("late")
    assert bench.worker(but={"a"}) == "late"
    said = bench.end(process)
    assert "2 trials done, 6 there already" in said
    for name in ("a", "late"):
        bench.nodes.kill(name)


def test_the_driver_killed_and_started_again(three, tiny_run, tmp_path):
    out = tiny_run.copy(tmp_path / "results")
    asked = ["--defense", "rattle"]
    process = three.start(out, *asked, rattle__seconds=4, attack__triggers="170,0")
    three.worker()
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + 60
    while any(ray_nodes.is_at_work(three.nodes, name) for name in "abc"):
        assert time.monotonic() < end, "a job outlived its driver"
        time.sleep(0.2)
    said = three.end(three.start(out, *asked, rattle__seconds=4, attack__triggers="170,0"))
    assert "2 trials done, 6 there already" in said
    assert list(three.command.temporary.glob("bench-*")) == []


def test_a_node_that_stands_still_for_a_while_and_one_that_has_to_be_ended(
    three, tiny_run, tmp_path
):
    out = tiny_run.copy(tmp_path / "results")
    process = three.start(out, "--defense", "rattle", rattle__seconds=4, **ONE)
    slow = three.worker()
    three.nodes.signal(slow, signal.SIGSTOP)
    time.sleep(8)
    three.nodes.signal(slow, signal.SIGCONT)
    said = three.end(process)
    assert "1 trials done, 3 there already" in said
    assert "started again" not in said

    asked = ["--defense", "rattle", "--rerun", "always"]
    process = three.start(out, *asked, rattle__seconds=4, **ONE)
    frozen = three.worker()
    three.nodes.signal(frozen, signal.SIGSTOP)
    time.sleep(3)
    three.nodes.kill(frozen)
    said = three.end(process)
    assert said.count("is started again (1)") == 1
    assert "4 trials done" in said


def test_a_node_that_is_frozen_for_good_loses_its_job_to_another(three, tiny_run, tmp_path):
    """Ray does not take a frozen node for a dead one; the driver misses its signs of life."""
    out = tiny_run.copy(tmp_path / "results")
    process = three.start(out, "--defense", "rattle", rattle__seconds=4, **ONE)
    frozen = three.worker()
    three.nodes.signal(frozen, signal.SIGSTOP)
    said = three.end(process)
    assert "nothing was heard of its node or worker for 120 s" in said
    assert said.count("is started again (1)") == 1
    assert "1 trials done, 3 there already" in said


def test_a_node_behind_a_cut_wire_loses_its_job_and_a_short_cut_does_no_harm(
    bench, tiny_run, tmp_path
):
    out = tiny_run.copy(tmp_path / "results")
    bench.nodes.start("far", elsewhere=True)
    process = bench.start(out, "--defense", "rattle", rattle__seconds=6, **ONE)
    assert bench.worker() == "far"
    bench.nodes.cut("far")
    time.sleep(1)
    bench.nodes.mend("far")
    said = bench.end(process)
    assert "started again" not in said
    assert "1 trials done, 3 there already" in said

    asked = ["--defense", "rattle", "--rerun", "always"]
    process = bench.start(out, *asked, rattle__seconds=6, **ONE)
    assert bench.worker() == "far"
    bench.nodes.start("near")
    bench.nodes.cut("far")
    said = bench.end(process)
    assert said.count("is started again (1)") == 1
    assert "4 trials done" in said
    # What the others took for dead does not go on once it hears of them again.
    bench.nodes.mend("far")
    end = time.monotonic() + 60
    while ray_nodes.is_at_work(bench.nodes, "far"):
        assert time.monotonic() < end, "a job outlived its node"
        time.sleep(0.2)
    for name in ("far", "near"):
        bench.nodes.kill(name)


def test_a_defense_that_fails_is_not_tried_again_and_lost_nodes_only_as_often_as_asked(
    three, tiny_run, tmp_path
):
    out = tiny_run.copy(tmp_path / "results")
    asked = ["--plugin", STUBBORN, "--defense", "flaky", "--retries", 2]
    said = three.end(three.start(out, *asked, **ONE), status=1)
    assert "started again" not in said
    assert "flaky on bw3x3 170: failed: RuntimeError: not mended yet" in said
    asked = ["--defense", "rattle", "--retries", 0]
    process = three.start(out, *asked, rattle__seconds=9, **ONE)
    three.nodes.kill(three.worker())
    said = three.end(process, status=1)
    assert "started again" not in said
    assert "rattle on bw3x3 170: failed: its node or worker was lost (" in said


LOSE = """
import sys
import time
from benchmark.executors import ray as backend
from benchmark.cli import main

class Holder:
    def put(self, content):
        import ray
        return [ray.put(content)]

offer, submit, lost, dead = backend.RayExecutor._offer, backend.RayExecutor.submit, [], []

def first_offer_is_lost(self, name, job, anew):
    if name in lost:
        return offer(self, name, job, anew)
    lost.append(name)
    print("lost", name.partition(":")[0], file=sys.stderr)
    return dead[0]

def submit_with_a_dead_object(self, job, progress):
    if not dead:
        ray = self._cluster.ray
        holder = ray.remote(num_cpus=0)(Holder).remote()
        dead.extend(ray.get(holder.put.remote(bytes(200_000))))
        ray.kill(holder)
        time.sleep(seconds)
    return submit(self, job, progress)

seconds = float(sys.argv.pop())
backend.RayExecutor._offer = first_offer_is_lost
backend.RayExecutor.submit = submit_with_a_dead_object
main()
"""
"""Every object that a node asks for is at first one whose owner is killed. Soon after that a node
may still get it, and what it gets is not what it asked for."""


@pytest.mark.parametrize("seconds", [0, 8])
def test_an_object_lost_or_mistaken_on_its_way_is_sent_again(bench, tiny_run, tmp_path, seconds):
    out, right = tiny_run.copy(tmp_path / "results"), tiny_run.copy(tmp_path / "right")
    command = bench.command
    asked = ["--defense", "rattle"]
    assert tiny_run.command(*tiny_run.command.tiny(right, *asked, **ONE)).returncode == 0
    start_far(bench, out, tmp_path / "far")
    cluster = ["--executor", "ray", "--ray-address", bench.nodes.address]
    words = [LOSE, *command.tiny(out, *cluster, *asked, **ONE), seconds]
    done = subprocess.run(
        [*command.prefix, sys.executable, "-c", *map(str, words)],
        env=command.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    bench.nodes.kill("far")
    assert done.returncode == 0, done.stderr
    lost = {line.split()[1] for line in done.stderr.splitlines() if line.startswith("lost ")}
    assert lost == {"artifact", "data", "file"}
    assert contents(out) == contents(right)


def test_a_node_with_another_version_is_named_and_no_job_runs(bench, tmp_path):
    other = tmp_path / "site" / "torch-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.0.1\n")
    bench.nodes.start("a")
    fine = bench.command("doctor", "--ray-address", bench.nodes.address)
    assert fine.returncode == 0, fine.stdout + fine.stderr
    assert "all nodes have the driver's versions and plugins" in fine.stdout
    path = f"{other.parent}:{bench.nodes.environment['PYTHONPATH']}"
    bench.nodes.start("other", PYTHONPATH=path)
    found = bench.command("doctor", "--ray-address", bench.nodes.address)
    assert found.returncode == 1
    assert "problem: torch 0.0.1, the driver has " in found.stdout
    assert found.stdout.count("problem") == 1
    said = bench.end(bench.start(tmp_path / "results", "--defense", "shake"), status=2)
    # Ray misses the internet in this network, and says so
    ours = [line for line in said.splitlines() if "network_util" not in line]
    assert len(ours) == 1
    assert ours[0].startswith("bench: node ")
    assert "torch 0.0.1, the driver has " in ours[0]
    for name in ("a", "other"):
        bench.nodes.kill(name)
