"""Whether records of one identity, made on different machines, say the same."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, fields
from itertools import groupby
from operator import itemgetter
from typing import Any

from benchmark.records import ModelRecord, TrialRecord
from benchmark.store.codec import Record

_NO_NUMBERS = frozenset(
    {"error", "seconds", "peak_memory_mib", "environment", "log", "series", "run", "finished"}
    | {"setting", "variant", "min_asr", "dataset", "trigger", "group"}
)
"""What two runs of one job may differ in: measurements of the machine, words, how it was asked for,
and what files and folders were called, which is in no identity. `series` holds diagnostics, among
which a plugin may note the time."""

_OF_METRICS = frozenset({"metrics", "spread", "empty"})
"""What tells of a trial metric by metric. Two runs of one trial need not have had the same metrics:
these are in no identity."""


@dataclass(frozen=True)
class Difference:
    """The first field in which two records of one identity differ, and both values."""

    field: str
    one: Any
    other: Any


@dataclass(frozen=True)
class Choice:
    """The record that is taken of all that have its identity."""

    source: int
    """The number of the folder that it comes from."""
    record: Record
    mended: bool
    """Whether it takes the place of a failed one."""
    contradicts: tuple[tuple[int, Difference], ...]
    """The folders whose record differs, and in what."""


def key_of(record: Record) -> str:
    """Return the identity."""
    return record.id if isinstance(record, ModelRecord) else record.trial


def choose(
    streams: Sequence[Iterable[Record]],
    believed: int | None,
    counts: Callable[[int, Record], bool],
) -> Iterator[Choice]:
    """Yield a choice for each identity; every stream is in the order of identities.

    A finished record is taken before a failed one, then `believed`'s, then the first; in its place
    one that says the same and has more metrics. A record of a stream for which `counts` says no is
    not looked at.
    """
    numbered = (_numbered(n, stream, counts) for n, stream in enumerate(streams))
    merged = heapq.merge(*numbered, key=itemgetter(0, 1))
    for _, group in groupby(merged, key=itemgetter(0)):
        yield _choice([(number, record) for _, number, record in group], believed)


def _numbered(
    number: int, stream: Iterable[Record], counts: Callable[[int, Record], bool]
) -> Iterator[tuple[str, int, Record]]:
    for record in stream:
        if counts(number, record):
            yield key_of(record), number, record


def builds_on(record: Record) -> str:
    """Return the identity of the model that a record's job started from; empty for a base."""
    return record.victim if isinstance(record, TrialRecord) else record.payload.get("base", "")


def _choice(found: Sequence[tuple[int, Record]], believed: int | None) -> Choice:
    done = [(number, record) for number, record in found if record.status == "done"]
    pool = done or found
    first = next((one for one in pool if one[0] == believed), pool[0])
    source, taken = _with_most_metrics(first, done)
    differing = _differing(taken, done)
    if differing and first[0] == believed:  # the others are at odds, and it is to settle that
        source, taken = first
        differing = _differing(taken, done)
    return Choice(
        source=source,
        record=taken,
        mended=0 < len(done) < len(found),
        contradicts=tuple(differing),
    )


def _with_most_metrics(
    first: tuple[int, Record], done: Sequence[tuple[int, Record]]
) -> tuple[int, Record]:
    """Return `first`, or a finished record that says all that it says, and has metrics besides."""
    best = first
    for one in done:
        if _measured(one[1]) > _measured(best[1]) and difference(best[1], one[1]) is None:
            best = one
    return best


def _differing(taken: Record, done: Sequence[tuple[int, Record]]) -> list[tuple[int, Difference]]:
    return [(n, found) for n, record in done if (found := difference(taken, record)) is not None]


def difference(one: Record, other: Record) -> Difference | None:
    """Return the first difference in what two finished records say, if there is one.

    A metric that only one of them has says nothing against the other.
    """
    both = _measured(one) & _measured(other)
    for name in (field.name for field in fields(one) if field.name not in _NO_NUMBERS):
        values = [getattr(record, name) for record in (one, other)]
        if name in _OF_METRICS:
            values = [{key: value[key] for key in value if key in both} for value in values]
        found = _difference(name, *values)
        if found is not None:
            return found
    return None


def _measured(record: Record) -> Set[str]:
    return record.metrics.keys() if isinstance(record, TrialRecord) else frozenset()


def _difference(name: str, one: Any, other: Any) -> Difference | None:
    """Look into dictionaries, so that a person reads `metrics.asr` and two numbers."""
    if one == other:
        return None
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            found = _difference(f"{name}.{key}", one.get(key), other.get(key))
            if found is not None:
                return found
    return Difference(name, one, other)
