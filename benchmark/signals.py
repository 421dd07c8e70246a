"""What Ctrl-C and a scheduler's SIGTERM mean while a run goes on, and while it stops. No torch."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


def stops_as_interrupts() -> AbstractContextManager[None]:
    """Treat SIGTERM like Ctrl-C, so that a scheduler's stop is as clean as a person's."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    return _answering(interrupt, signal.SIGTERM)


def undisturbed() -> AbstractContextManager[None]:
    """Let an impatient second Ctrl-C not cut off what the first one is answered with."""
    return _answering(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM)


@contextmanager
def _answering(handler: Any, *signals: signal.Signals) -> Iterator[None]:
    before = {one: signal.signal(one, handler) for one in signals}
    try:
        yield
    finally:
        for one, handler_before in before.items():
            signal.signal(one, handler_before)
