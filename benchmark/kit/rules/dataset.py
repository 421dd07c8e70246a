"""The rules of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from benchmark.data import load_split, prepare
from benchmark.data_summary import fingerprint
from benchmark.errors import UserError
from benchmark.executors.scratch import temporary
from benchmark.kit.findings import Book, Rule
from benchmark.kit.places import line_of_error
from benchmark.kit.watch import changed, global_state, stir_global_generators
from benchmark.specs import DatasetSpec


def judge_dataset(
    spec: DatasetSpec,
    source: Any,
    options: BaseModel,
    data_dir: Path | None,
    root: Path,
    book: Book,
) -> None:
    """Prepare the data set in an empty cache, as a first run does, and load it once more."""
    stir_global_generators(1)
    with temporary("bench-kit-") as cache:
        try:
            prepared = prepare(spec, options, data_dir, Path(cache))
            train, test = (load_split(prepared, split) for split in ("train", "test"))
        except Exception as error:
            _note(error, root, book)
            return
        book.reached(Rule.DEVICE, Rule.GLOBALS, Rule.DETERMINISM)
        stir_global_generators(2)
        state = global_state()  # libraries are imported by now, and some draw while they are
        again = source.load(data_dir, Path(cache))
        for name in changed(state, global_state()):
            mend = "draw from a generator of your own, seeded by an option"
            book.fail(Rule.GLOBALS, f"{name} is not as it was before", mend=mend)
    counts = f"{len(train.labels)} training and {len(test.labels)} test images"
    book.reached(Rule.ARTIFACT, what=f"{counts} prepared and read back")
    _judge_again(fingerprint(again), prepared.fingerprint, book)
    _judge_names(spec, prepared.class_names, book)
    tensors = (again.train.images, again.train.labels, again.test.images, again.test.labels)
    if any(tensor.device != torch.device("cpu") for tensor in tensors):
        mend = "return tensors on the CPU; the harness moves them"
        book.fail(Rule.DEVICE, "the images are not on the CPU", mend=mend)


def _note(error: Exception, root: Path, book: Book) -> None:
    where = line_of_error(error, root)
    contract = isinstance(error, UserError) and "data set '" in str(error)
    book.fail(
        Rule.CONTRACT if contract else Rule.ARTIFACT,
        str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}",
        where=where,
        mend="images are uint8 of shape (count, 3, height, width), labels int64 from 0; info in "
        "the spec says how many classes and which size"
        if contract
        else "give --data-dir if it reads files; raise UserError, naming the file, for a bad one",
    )


def _judge_again(found: str, first: str, book: Book) -> None:
    if found != first:
        book.fail(
            Rule.DETERMINISM,
            "load() gave other images or labels when it was called again",
            mend="read files in sorted order, and draw from a generator seeded by an option",
        )


def _judge_names(spec: DatasetSpec, names: tuple[str, ...], book: Book) -> None:
    if names and len(names) != spec.info.num_classes:
        book.fail(
            Rule.CONTRACT,
            f"there are {len(names)} class names for {spec.info.num_classes} classes",
            mend="name every class, or none",
        )
