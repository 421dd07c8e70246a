"""What a process prints, kept within bounds."""

from __future__ import annotations

import os
import threading

_LOG_END = 32 * 1024


class BoundedLog:
    """Keeps the first and the last 32 KiB of a pipe, however much is printed; closes it."""

    def __init__(self, pipe: int) -> None:
        self._head, self._tail, self._size = bytearray(), bytearray(), 0
        self._pipe = pipe
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        with os.fdopen(self._pipe, "rb", buffering=0) as stream:
            while chunk := stream.read(65536):
                self._size += len(chunk)
                room = _LOG_END - len(self._head)
                self._head += chunk[:room]
                self._tail = (self._tail + chunk[room:])[-_LOG_END:]

    def text(self) -> str:
        """Return what was kept; says how much was left out."""
        self._thread.join(timeout=2)
        left_out = self._size - len(self._head) - len(self._tail)
        gap = f"\n… {left_out} bytes left out …\n".encode() if left_out > 0 else b""
        return (bytes(self._head) + gap + bytes(self._tail)).decode("utf-8", errors="replace")
