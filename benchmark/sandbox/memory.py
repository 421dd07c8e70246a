"""Texts in memory without a name, which two processes hand each other by a descriptor (Linux)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unnamed_memory() -> Iterator[int]:
    """Yield the descriptor of an empty file that no other process can open by a name."""
    if not hasattr(os, "memfd_create"):  # of some Pythons, built for old systems
        with tempfile.TemporaryFile() as file:
            yield file.fileno()
        return
    descriptor = os.memfd_create("bench")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_text(descriptor: int, text: str) -> None:
    """Write what `read_text` returns, in any process that holds the memory."""
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as file:
        file.write(text)


def read_text(descriptor: int) -> str:
    """Return what was written; empty if nothing was."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, encoding="utf-8", closefd=False) as file:
        return file.read()
