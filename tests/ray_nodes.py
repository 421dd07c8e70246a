"""A Ray cluster of several nodes on this machine, started by the commands of docs/cluster.md."""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

QUICK_DEATH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 4,
}
"""A killed node is noticed after seconds; by default it takes half a minute."""


HEAD = "10.77.0.1"
"""Where the head is in the network of the nodes, and all nodes that are not put elsewhere."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Network:
    """A network namespace with a loopback in it."""

    def __init__(self, script: str) -> None:
        """Make it and run a shell script in it."""
        script = f"ip link set lo up && {script} && echo up && exec sleep 3600"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n"
        self.pid = self._holder.pid
        self.inside = "nsenter", f"--net=/proc/{self.pid}/ns/net", "--"

    def run(self, script: str) -> None:
        """Run a shell script in it."""
        subprocess.run([*self.inside, "sh", "-c", script], check=True)

    def end(self) -> None:
        """Give it up; with its last process it is gone, its wires with it."""
        self._holder.kill()
        self._holder.wait()


def _has(host: str, device: str) -> str:
    return f"ip address add {host}/24 dev {device} && ip link set {device} up"


def _host(name: str) -> str:
    """Return the address of a node elsewhere."""
    return HEAD.rpartition(".")[0] + f".{2 + sum(name.encode()) % 250}"


@dataclass
class Nodes:
    """The head, which only the driver uses, and nodes that come and go."""

    command: Any
    """The `bench` of a test; from now on it runs where the nodes are."""
    port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    elsewhere: dict[str, Network] = field(default_factory=dict)
    """The nodes that are reached by a wire of their own."""

    def __post_init__(self) -> None:
        # Not below a test's folder: sockets lie in it, whose paths must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="bn-", dir="/tmp"))
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        self.environment = {
            **self.command.environment(),
            **{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)},
        }
        self.command.extra = {
            name: self.environment[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
        }
        self.network = Network(f"ip link add name wires type bridge && {_has(HEAD, 'wires')}")
        self.command.prefix = self.network.inside
        head = ["--head", "--port", self.port, "--include-dashboard", "false"]
        config = ["--system-config", json.dumps(QUICK_DEATH), "--temp-dir", self.folder / "ray"]
        self.start("head", *head, *config, cpus=0)

    @property
    def address(self) -> str:
        return f"{HEAD}:{self.port}"

    def start(
        self,
        name: str,
        *arguments: object,
        cpus: int = 1,
        hidden: Sequence[Path] = (),
        elsewhere: bool = False,
        **env: str,
    ) -> None:
        """Start a node and wait until it is there; it sees empty folders in place of `hidden`.

        `elsewhere`: it has an address of its own, and a wire that can be cut.
        """
        network, host = (self.wire(name), _host(name)) if elsewhere else (self.network, HEAD)
        where = arguments or ("--address", self.address)
        store = ["--object-store-memory", 80 * 2**20, "--disable-usage-stats", "--block"]
        place = ["--node-ip-address", host, "--num-cpus", cpus, "--num-gpus", 0]
        words = [
            *network.inside,
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            *where,
            *place,
            *store,
        ]
        command = list(map(str, words))
        if hidden:
            mounts = [f"mount -t tmpfs none {shlex.quote(str(path))}" for path in hidden]
            script = " && ".join([*mounts, f"exec {shlex.join(command)}"])
            command = ["unshare", "--mount", "sh", "-c", script]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                command,
                env={**self.environment, "RAY_DISABLE_MEMORY_MONITOR": "1", **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_for_log(name, "This command will now block")

    def wire(self, name: str) -> Network:
        """Make a network for a node, with a wire to the others."""
        network = self.elsewhere[name] = Network("true")
        wire = f"ip link add name {name} type veth peer name wire netns {network.pid}"
        self.network.run(f"{wire} && ip link set dev {name} master wires up")
        network.run(_has(_host(name), "wire"))
        return network

    def cut(self, name: str) -> None:
        """Let nothing through between a node elsewhere and the others, from now on."""
        self.network.run(f"ip link set dev {name} down")

    def mend(self, name: str) -> None:
        """Let everything through again."""
        self.network.run(f"ip link set dev {name} up")

    def wait_for_log(self, name: str, text: str, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while text not in (said := (self.folder / f"{name}.log").read_text(errors="replace")):
            assert self.running[name].poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.1)

    def family(self, name: str) -> list[psutil.Process]:
        """Return the processes of a node, its workers and their jobs among them."""
        try:
            root = psutil.Process(self.running[name].pid)
            return [root, *root.children(recursive=True)]
        except psutil.Error:
            return []

    def signal(self, name: str, number: int) -> None:
        """Send a signal to every process of a node."""
        for process in self.family(name):
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def kill(self, name: str) -> None:
        """Kill a whole node at once, as if its plug were pulled."""
        for _ in range(2):  # what a dying process still started
            for process in self.family(name):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.running.pop(name).wait()
        if name in self.elsewhere:
            self.elsewhere.pop(name).end()

    def stop(self) -> None:
        for name in reversed(list(self.running)):
            self.kill(name)
        self.network.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def pools_of(nodes: Nodes, name: str) -> list[psutil.Process]:
    """Return the trusted processes of a node that carry out jobs."""
    return [one for one in nodes.family(name) if "spawn_main" in _words(one)]


def is_at_work(nodes: Nodes, name: str) -> bool:
    """Say whether a plugin runs on the node now: its process is in the job's folder."""
    for process in nodes.family(name):
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()).name == "scratch" and "/job-" in process.cwd():
                return True
    return False


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def can_be_made() -> bool:
    """Say whether this process may make namespaces: networks with wires, mounts over folders."""
    tried = [
        "unshare",
        "--net",
        "--mount",
        "sh",
        "-c",
        "ip link set lo up && ip link add name one type bridge && mount -t tmpfs n /mnt",
    ]
    try:
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
