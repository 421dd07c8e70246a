"""torchvision's verified download, made to give up soon where there is no internet."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.errors import UserError

_PROBE_SECONDS = 15.0
_STALL_SECONDS = 20.0


def fetch(official: Any, name: str, root: Path) -> None:
    """Download and unpack the torchvision data set `official` into `root`.

    Raises `UserError` if the server cannot be reached within 15 seconds, if the download stalls
    for 20, or if what came is not the official archive.
    """
    refusal = _probe(official.url)
    if refusal:
        raise _failed(name, refusal)
    try:
        with _socket_timeout(_STALL_SECONDS):
            official(root, train=False, download=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise _failed(name, _reason(error)) from error


def _failed(name: str, reason: str) -> UserError:
    return UserError(f"cannot download {name}: {reason}", "give its files with --data-dir")


def _probe(url: str) -> str:
    """Return why the server does not answer, or an empty string.

    In a thread of its own, because looking up a name has no time limit.
    """
    answer = [f"no answer within {_PROBE_SECONDS:.0f} seconds"]

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):
                answer[0] = ""
        except (OSError, ValueError) as error:
            answer[0] = _reason(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return answer[0]


def _reason(error: Exception) -> str:
    """Return the innermost reason in one line."""
    reason = getattr(error, "reason", None) or error
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return str(text).splitlines()[0]


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
