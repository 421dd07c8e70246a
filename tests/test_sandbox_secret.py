"""What a request names and no defense may read, and what must be readable all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from plans import plan
from safetensors.torch import load_file, save_file

from benchmark.sandbox.reach import readable
from benchmark.sandbox.seal import landlock_version
from benchmark.store import Store

ROOT = Path(__file__).parents[1]
PRINT = (
    "import sys; from pathlib import Path; from benchmark.sandbox.reach import readable; "
    "print(*readable(map(Path, sys.argv[1:])), sep='\\n')"
)


def test_named_files_in_an_importable_folder_are_not_readable(tmp_path: Path) -> None:
    study = tmp_path / "study"
    for name in ("run.py", "badnets.toml", "images/test/cat/1.png"):
        (study / name).parent.mkdir(parents=True, exist_ok=True)
        (study / name).touch()
    done = subprocess.run(
        [sys.executable, "-c", PRINT, study / "badnets.toml", study / "images"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    inside = [line for line in done.stdout.splitlines() if line.startswith(str(tmp_path))]
    assert inside == [str(study / "run.py")]


def test_packages_in_a_secret_folder_stay_readable_and_the_rest_of_it_does_not(
    tmp_path: Path,
) -> None:
    """`--out .` in a project whose plugin and environment lie in it."""
    for name in ("plugin/__init__.py", "plugin/results/row", "artifacts/ab/weights", "data/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    secret = [tmp_path, tmp_path / "plugin" / "results"]
    found = readable(secret, [tmp_path / "plugin"])
    inside = [path for path in found if path.startswith(str(tmp_path))]
    assert inside == [str(tmp_path / "plugin" / "__init__.py")]
    # The environment that runs this, as if results were kept beside it.
    whole = readable([Path(sys.prefix).parent])
    assert os.path.realpath(sys.prefix) in whole


def test_what_a_command_names_is_secret_to_trials_the_images_of_a_trigger_too(
    tmp_path: Path,
) -> None:
    Image.new("RGBA", (2, 2), "red").save(tmp_path / "patch.png")
    Image.new("L", (2, 2), 255).save(tmp_path / "mask.png")
    (tmp_path / "victim.pt").write_bytes(b"weights")
    (tmp_path / "badnets.toml").write_text(
        'model = "victim.pt"\ntarget = 1\n[trigger]\nimage = "patch.png"\nmask = "mask.png"\n'
        'place = "random"\n',
        encoding="utf-8",
    )
    made = plan(attack_files=(tmp_path / "badnets.toml",), data_dir=tmp_path / "data")
    for planned in made.trials:
        assert {Path(path).name for path in planned.job.setup.secret} == {
            *("badnets.toml", "patch.png", "mask.png", "data"),
        }


CURIOUS = """
from pathlib import Path

from benchmark.api import DefenseSpec, Options, Outcome, hookimpl

STUDY = Path({study!r})


class Curious:
    def __init__(self, options):
        pass

    def repair(self, view, run):
        (STUDY / "run.py").read_text()  # what can be imported can be read
        for name in ("badnets.toml", "victim.safetensors"):
            try:
                (STUDY / name).read_bytes()
            except PermissionError:
                continue
            raise RuntimeError(f"could read {{name}}")
        return Outcome([view.model])


@hookimpl
def bench_defenses():
    return [DefenseSpec("curious", "1", "x", Curious)]
"""


@pytest.mark.skipif(not landlock_version(), reason="nothing is closed off here")
def test_a_defense_cannot_read_the_attack_file_even_where_python_imports_from(
    tiny_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / "run.py").touch()
    with Store.open(tiny_run.out, write=False) as store:
        [victim] = [m for m in store.models() if m.kind == "victim" and m.trigger == "170"]
        save_file(load_file(store.artifacts.path(victim.artifact)), study / "victim.safetensors")
    rows = [
        [[victim.payload["trigger"][c][y][x] for c in range(3)] for x in range(3)] for y in range(3)
    ]
    (study / "badnets.toml").write_text(
        f'model = "victim.safetensors"\ntarget = 1\n[trigger]\npixels = {rows}\nplace = "random"\n',
        encoding="utf-8",
    )
    (tmp_path / "curious.py").write_text(CURIOUS.format(study=str(study)), encoding="utf-8")
    command = tiny_run.command
    path = f"{ROOT}{os.pathsep}{tmp_path}"
    monkeypatch.setattr(command, "extra", {"PYTHONPATH": path})
    asked = ("--plugin", tmp_path / "curious.py", "--defense", "curious")
    words = command.tiny(tmp_path / "out", *asked, "--attack-file", study / "badnets.toml")
    attack = {at for at, word in enumerate(words) if str(word).startswith(("attack.", "base."))}
    done = command(*(word for at, word in enumerate(words) if not {at, at + 1} & attack))
    assert done.returncode == 0, done.stderr
    with Store.open(tmp_path / "out", write=False) as store:
        assert {trial.status for trial in store.trials()} == {"done"}
