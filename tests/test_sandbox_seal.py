"""A sealed process, from inside: what it was granted works, and nothing else does."""

import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from benchmark.sandbox.disk import LEAST, Disk, counted
from benchmark.sandbox.files import read_back
from benchmark.sandbox.reach import readable, sources
from benchmark.sandbox.seal import around, landlock_version

needs_landlock = pytest.mark.skipif(not landlock_version(), reason="the kernel has no Landlock")

PROBE = """
import json, os, subprocess, sys
from pathlib import Path
from benchmark.sandbox.seal import Reach, seal
home = Path(sys.argv[1])
path = lambda name: str(home / name)
seal(Reach(read=(path("read"), path("one.txt"), path("missing")), write=(path("write"),),
           use=(path("use"),), listed=(path("listed"),)))
found = {}
def attempt(what, action):
    try:
        action()
        found[what] = "yes"
    except OSError as error:
        found[what] = type(error).__name__
attempt("read a file", lambda: (home / "read/deep/a.txt").read_text())
attempt("read one file", lambda: (home / "one.txt").read_text())
attempt("list what is read", lambda: os.listdir(home / "read"))
attempt("write where it reads", lambda: (home / "read/deep/a.txt").write_text(""))
attempt("make where it reads", lambda: (home / "read/new").write_text(""))
attempt("use a file", lambda: (home / "use/a.txt").write_text("used"))
attempt("make where it uses", lambda: (home / "use/new").write_text(""))
attempt("write", lambda: (home / "write/new").write_text("new"))
attempt("make a folder", lambda: (home / "write/folder").mkdir())
attempt("move", lambda: os.rename(home / "write/new", home / "write/folder/new"))
attempt("remove", lambda: os.remove(home / "write/folder/new"))
attempt("see names", lambda: os.listdir(home / "listed"))
attempt("read what is listed", lambda: (home / "listed/a.txt").read_text())
attempt("list its home", lambda: os.listdir(home))
attempt("read a secret", lambda: (home / "secret/a.txt").read_text())
attempt("follow a link", lambda: (home / "read/link").read_text())
attempt("move a secret", lambda: os.rename(home / "secret/a.txt", home / "write/a.txt"))
attempt("link a secret", lambda: os.link(home / "secret/a.txt", home / "write/b.txt"))
child = os.fork()
if child == 0:
    try:
        (home / "secret/a.txt").read_text()
    except OSError:
        os._exit(7)
    os._exit(0)
found["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(found))
"""


@needs_landlock
def test_a_sealed_process_and_its_children_do_what_was_granted_and_no_more(tmp_path, python):
    for name in ("read/deep", "use", "write", "listed", "secret"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.txt").write_text("text", encoding="utf-8")
    (tmp_path / "one.txt").write_text("text", encoding="utf-8")
    (tmp_path / "read" / "link").symlink_to(tmp_path / "secret" / "a.txt")
    found = json.loads(python(PROBE, str(tmp_path)).stdout)
    allowed = {
        *("read a file", "read one file", "list what is read", "use a file", "write"),
        *("make a folder", "remove", "see names"),
    }
    if landlock_version() >= 2:
        allowed.add("move")
    assert {what for what, got in found.items() if got == "yes"} == allowed
    assert found["child"] == 7
    assert (tmp_path / "secret" / "a.txt").read_text(encoding="utf-8") == "text"


MEMORY = """
import sys
from pathlib import Path
from benchmark.sandbox.mounts import own_mounts
name = Path("/dev/shm") / sys.argv[1]
name.write_text("common")
own, full = "own /dev/shm" in own_mounts(1, Path.cwd()), False
seen = name.exists()
if own:
    try:
        Path("/dev/shm/large").write_bytes(b"x" * 2**21)
    except OSError:
        full = True
print(own, seen, full)
"""


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="the system has no /dev/shm")
def test_shared_memory_is_its_own_and_bounded_where_the_system_lets_it(python, tmp_path):
    name = f"bench-test-{os.getpid()}"
    try:
        own, seen, full = python(MEMORY, name).stdout.split()
    finally:
        Path("/dev/shm", name).unlink()
    assert (own, seen, full) in {("True", "False", "True"), ("False", "True", "False")}


NOTES = """
import json, os, sys
from pathlib import Path
from benchmark.sandbox.mounts import own_mounts
home = Path(sys.argv[1])
os.chdir(home / "own")
has, done = own_mounts(1, home / "own"), []
def attempt(what, action):
    try:
        action()
        done.append(what)
    except OSError:
        pass
for name in ("kept.txt", "own/mine.txt"):
    attempt(f"time of {name}", lambda: os.utime(home / name, (77, 77)))
    attempt(f"permissions of {name}", lambda: os.chmod(home / name, 0o640))
    attempt(f"content of {name}", lambda: (home / name).write_text("a note"))
attempt("new file", lambda: Path("new").write_text("here"))
attempt("new file in memory", lambda: Path("/dev/shm/new").write_text("here"))
attempt("device", lambda: Path("/dev/null").write_text("here"))
attempt("name of a thread", lambda: Path("/proc/self/comm").write_text("here"))
print(json.dumps([has, done]))
"""


def test_no_note_is_left_in_times_and_permissions_where_the_system_lets_it(python, tmp_path):
    (tmp_path / "own").mkdir()
    for name in ("kept.txt", "own/mine.txt"):
        (tmp_path / name).write_text("text", encoding="utf-8")
    has, done = json.loads(python(NOTES, str(tmp_path)).stdout)
    if "read-only rest" not in has:
        pytest.skip("the system lets nobody make mounts here")
    own = [f"{what} of own/mine.txt" for what in ("time", "permissions", "content")]
    assert done == [*own, "new file", "new file in memory", "device", "name of a thread"]
    assert (tmp_path / "kept.txt").stat().st_mtime != 77
    assert (tmp_path / "own" / "new").read_text(encoding="utf-8") == "here"


def test_around_covers_everything_but_the_secret(tmp_path):
    for name in ("a", "b/c", "b/results/deep", "b/d", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b" / "file").touch()
    (tmp_path / "b" / "link").symlink_to(tmp_path / "b" / "results")
    secret = [tmp_path / "b" / "results", tmp_path / "not there"]
    found = around([tmp_path / "a", tmp_path / "b", tmp_path / "b/results/deep"], secret)
    assert sorted(found) == [str(tmp_path / name) for name in ("a", "b/c", "b/d", "b/file")]


def test_a_results_folder_in_the_sources_is_not_readable(tmp_path):
    """Somebody works in a checkout that is installed as it is, and keeps results there."""
    source = tmp_path / "project"
    for name in ("package/__init__.py", "results/old/run.py", "data/cifar/test.bin"):
        (source / name).parent.mkdir(parents=True)
        (source / name).touch()
    code = (
        "import sys; from pathlib import Path; from benchmark.sandbox.reach import readable; "
        "print(*readable([Path(sys.argv[1])]), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source / "results")],
        env={**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{Path(__file__).parent.parent}"},
        capture_output=True,
        text=True,
        check=True,
    )
    inside = [line for line in done.stdout.splitlines() if line.startswith(str(tmp_path))]
    assert inside == [str(source / "package")]


def test_of_a_package_with_results_in_it_a_plugin_reads_the_rest(tmp_path):
    """Somebody has `__init__.py` in the root of a project, and keeps everything below it."""
    for name in ("__init__.py", "defense.py", "helper.py", "tools/more.py", "weights.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("results/results.sqlite", "data/test.bin"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "tools" / "inner").mkdir()  # results that lie deeper
    secret, module = [tmp_path / "results", tmp_path / "tools" / "inner"], tmp_path / "defense.py"
    importable = ["__init__.py", "defense.py", "helper.py", "tools/more.py"]
    for is_package, rest in ((False, []), (True, ["data", "weights.bin"])):
        found = readable(secret, sources(module, is_package=is_package))
        inside = [path for path in found if path.startswith(str(tmp_path))]
        assert sorted(inside) == sorted(str(tmp_path / name) for name in importable + rest)
    (tmp_path / "__init__.py").unlink()
    assert sources(module, is_package=False) == []


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "long", "moved folder"])
def test_only_plain_files_are_read_back(tmp_path, kind):
    folder = tmp_path / "outbox"
    folder.mkdir()
    path, secret = folder / "result.json", tmp_path / "secret"
    secret.write_bytes(b"secret")
    match kind:
        case "link":
            path.symlink_to(secret)
        case "hard link":
            path.hardlink_to(secret)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "long":
            path.write_bytes(b"x" * 11)
        case "moved folder":
            folder.rename(tmp_path / "elsewhere")
            (tmp_path / "elsewhere" / "result.json").write_bytes(b"x")
            folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):  # noqa: PT011  which one is the system's to say
        read_back(path, 10)


def test_a_plain_file_is_read_back(tmp_path):
    (tmp_path / "result.json").write_bytes(b"0123456789")
    assert read_back(tmp_path / "result.json", 10) == b"0123456789"


def test_what_is_occupied_is_the_files_and_not_what_they_point_to(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(os.urandom(2**20))
    (tmp_path / "link").symlink_to(sys.executable)
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(2**30)
    *_, found = counted(tmp_path)
    assert 2**20 <= found < 2**20 + 2**16


def test_what_holds_nothing_counts_too(tmp_path):
    for number in range(100):
        (tmp_path / f"folder {number}").mkdir()
        (tmp_path / f"file {number}").touch()
    *_, found = counted(tmp_path)
    assert found >= 200 * LEAST


def test_what_lies_too_deep_to_be_named_counts_as_more_than_any_limit(tmp_path):
    name, here = "d" * 200, os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    *_, found = counted(tmp_path)
    assert math.isinf(found)


CLOSED = """
import sys
from pathlib import Path
from benchmark.sandbox.disk import counted
from benchmark.sandbox.seal import Reach, seal
folder = Path(sys.argv[1])
seal(Reach(listed=(str(folder / "open"),)))
print(*(list(counted(folder / name))[-1:] for name in ("open", "closed")))
"""


@needs_landlock
def test_a_folder_that_cannot_be_looked_into_counts_as_more_than_any_limit(tmp_path, python):
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 4096)
    assert python(CLOSED, str(tmp_path)).stdout.split() == ["[4096.0]", "[inf]"]


def test_many_files_are_counted_a_little_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.sandbox.disk._PIECE_S", 0.0)
    for number in range(50):
        (tmp_path / str(number)).touch()
    disk, seen = Disk(tmp_path), [0.0]
    while seen[-1] < 50 * LEAST / 2**20:
        disk.look()
        seen.append(disk.mib)
    steps = {round((after - before) * 2**20 / LEAST) for before, after in pairwise(seen)}
    assert steps == {0, 1}
