"""What the fuzz tests share: the real entry point on finished results, and damage to files."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from benchmark.cli import main
from benchmark.store import Store

PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
# No shell can pass a NUL; a byte that is no UTF-8 becomes one of 128 lone surrogates, others never.
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF
)
WORDS = st.text(LETTERS, max_size=20)


class Fuzzed:
    """The real entry point, called in this process on a copy of finished results."""

    def __init__(self, command, out: Path) -> None:
        self.command, self.out = command, out
        self.state = self.content()

    def content(self) -> dict[str, bytes]:
        files = (p for p in sorted(self.out.rglob("*")) if p.is_file() and p.name != ".lock")
        return {str(p): p.read_bytes() for p in files}

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Return status, output, error output; an exception that gets out is a traceback."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "oe")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["bench", *map(str, arguments)])
            patch.setenv("BENCH_CACHE_DIR", str(self.command.home / "cache"))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                    status = 0
                except SystemExit as end:
                    status = end.code or 0
        printed, said = (stream.buffer.getvalue().decode() for stream in (out, err))
        assert "Traceback" not in printed + said
        assert "unexpected error" not in said
        if not said.startswith("Usage: "):  # which has the user's own words as they were typed
            lines = (printed + said).replace("\t", " ").split("\n")
            assert all(map(str.isprintable, lines)), (printed, said)
        return status, printed, said

    def refused(self, *arguments: object) -> str:
        """Expect status 2, one line or a usage message, and results as they were."""
        status, printed, said = self(*arguments)
        assert (status, printed) == (2, ""), (arguments, said)
        last = said.splitlines()[-1]
        assert last.startswith("bench: ") or said.startswith("Usage: "), said
        assert self.content() == self.state
        return said

    def answered(self, *arguments: object) -> int:
        """Expect status 0 or 2 and results as they were."""
        status, printed, said = self(*arguments)
        assert status in (0, 2), (arguments, said)
        assert (said if status or "export" in arguments else printed).strip()  # to a file
        assert self.content() == self.state
        return status


@contextlib.contextmanager
def fuzzed(tiny_run, folder: Path) -> Iterator[Fuzzed]:
    """A copy of a finished run in `folder`, to be thrown things at; its trials are there after."""
    bench = Fuzzed(tiny_run.command, tiny_run.copy(folder / "results"))
    before = Path.cwd()
    os.chdir(folder)  # what a wild path names lies here
    try:
        yield bench
    finally:
        os.chdir(before)
    with Store.open(bench.out, write=False) as store:
        assert len(list(store.trials())) == 8


def tiny(bench: Fuzzed, *arguments: object) -> list[object]:
    """The request that the results answer; the arguments are what is thrown."""
    return bench.command.tiny(bench.out, "--defense", "shake", *arguments)


MUTATION = st.tuples(
    st.sampled_from(["cut", "double", "flip", "insert"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 60),
    st.binary(min_size=1, max_size=8),
)


def mutated(content: bytes, mutations) -> bytes:
    for kind, place, size, what in mutations:
        at = int(place * len(content))
        head, body, tail = content[:at], content[at : at + size], content[at + size :]
        if kind == "cut":
            content = head + tail
        elif kind == "double":
            content = head + body + body + tail
        elif kind == "flip":
            content = head + bytes(byte ^ what[0] for byte in body[:1]) + body[1:] + tail
        else:
            content = head + what + body + tail
        content = content or b"\0"
    return content
