"""A defense that writes down all that it can see in its process; twice, told little and all."""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.api import DefenseSpec, Knowledge, Outcome, Role, View, hookimpl

TELLING = re.compile(r"^/|secret|bw3x3|curious|insider")


def things() -> Iterator[Any]:
    """Yield every object in the process that the collector knows, and what they hold."""
    seen: set[int] = set()
    for thing in gc.get_objects():
        for one in (thing, *gc.get_referents(thing)):
            if id(one) not in seen:
                seen.add(id(one))
                yield one
    frame = sys._getframe()
    while frame is not None:
        yield from frame.f_locals.values()
        frame = frame.f_back


def shape(thing: Any) -> tuple[int, ...]:
    sizes: list[int] = []
    while isinstance(thing, list | tuple) and thing:
        sizes.append(len(thing))
        thing = thing[0]
    return tuple(sizes)


def names(held: Any) -> list[str]:
    return list(held) if isinstance(held, dict) else []


class Curious:
    """Looks around."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def repair(self, view: View, run: Any) -> Outcome:
        import torch

        texts, images, patches = set(), [], []
        for thing in list(things()):
            if isinstance(thing, str) and TELLING.search(thing):
                texts.add(thing[:1000])
            elif isinstance(thing, list | tuple) and shape(thing) == (3, 3, 3):
                patches.append(thing)
            elif isinstance(thing, torch.Tensor) and thing.shape[-2:] == (16, 16):
                images.extend(thing.flatten(0, -4).tolist())
            elif isinstance(thing, torch.Tensor) and thing.shape == (3, 3, 3):
                patches.append(thing.tolist())
        folder = Path.cwd().parent
        descriptors = list(Path("/proc/self/fd").iterdir())
        parts = [folder, *(folder / name for name in ("inbox", "outbox", "scratch"))]
        files = {path for part in parts for path in part.rglob("*") if path.is_file()}
        notes = {
            "arguments": sys.orig_argv,
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
            "temporary": tempfile.gettempdir(),
            "files": {str(path.relative_to(folder)): path.stat().st_size for path in files},
            "request": (folder / "inbox" / "request.json").read_text(encoding="utf-8"),
            "open": [str(path.readlink()) for path in descriptors if path.exists()],
            "fields": sorted(view.granted),
            "float32": [
                torch.backends.cudnn.conv.fp32_precision,
                torch.backends.cuda.matmul.fp32_precision,
            ],
            "older flag": torch.backends.cudnn.allow_tf32,  # raises where it contradicts these
            "vars": sorted(str(name) for held in vars(view).values() for name in names(held)),
            "texts": sorted(text.encode("utf-8", "replace").decode() for text in texts),
            "images": images,
            "patches": patches,
        }
        run.record("notes", text=json.dumps(notes))
        return Outcome([view.model])


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    little = frozenset({Knowledge.WEIGHTS, Knowledge.CLEAN_IMAGES})
    told = {
        "curious": (little, Role.RANKED),
        "insider": (frozenset(Knowledge), Role.ORACLE),
    }
    return [
        DefenseSpec(name, "1", "looks around", Curious, needs=needs, role=role)
        for name, (needs, role) in told.items()
    ]
