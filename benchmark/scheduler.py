"""What to start next: a graph of tasks, each behind at most one other. No process, no clock.

Results of early blocks come early as long as there is work for everybody. Towards the end of a run
a long chain that begins late would leave the other slots idle, so there the longest goes first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

_TAIL = 2.0
"""The longest chain goes first once it takes more than a half of what is left for each slot. In
`tests/benchmarks/schedule.py` more makes no difference, 1 costs 1 % and 0 up to a quarter."""


@dataclass(frozen=True)
class Task:
    """A job as the scheduler sees it."""

    id: str
    needs: str
    """The task that must be done before; empty, or no task of this graph: none."""
    seconds: float
    """Estimated."""
    block: int
    """Blocks with a low number are finished early."""
    alone: bool = False
    """Whether nothing else may run beside it."""


class Scheduler:
    """Hands out tasks; `done` or `lost` must be said of each one that was handed out."""

    def __init__(self, tasks: Iterable[Task], *, ahead: int, retries: int) -> None:
        """Build the graph; tasks stand behind the ones that they need.

        `ahead` is how many blocks early a task is started that others wait for, `retries` how
        often a lost task is handed out again.
        """
        self._tasks = {task.id: task for task in tasks}
        self._order = {identity: number for number, identity in enumerate(self._tasks)}
        self._waiting: dict[str, list[Task]] = {}
        self._chain = {identity: task.seconds for identity, task in self._tasks.items()}
        self._ahead, self._retries = ahead, retries
        self._lost: dict[str, int] = {}
        self._running: dict[str, Task] = {}
        self._is_alone = False
        self._unstarted_s = sum(self._chain.values())
        self._ready: set[str] = set()
        self._early: list[tuple[int, bool, float, int, str]] = []
        self._long: list[tuple[float, int, str]] = []
        self._link()

    def _link(self) -> None:
        for task in reversed(self._tasks.values()):
            if task.needs in self._tasks:
                if self._order[task.needs] > self._order[task.id]:
                    raise ValueError(f"{task.id} stands before {task.needs}, which it needs")
                self._waiting.setdefault(task.needs, []).append(task)
                behind = self._chain[task.id] + self._tasks[task.needs].seconds
                self._chain[task.needs] = max(self._chain[task.needs], behind)
        for task in self._tasks.values():
            if task.needs not in self._tasks:
                self._make_ready(task)

    def _make_ready(self, task: Task) -> None:
        is_last = task.id not in self._waiting
        rank = task.block if is_last else task.block - self._ahead
        chain, order = self._chain[task.id], self._order[task.id]
        self._ready.add(task.id)
        heapq.heappush(self._early, (rank, is_last, -chain, order, task.id))
        heapq.heappush(self._long, (-chain, order, task.id))

    @property
    def longest_chain_s(self) -> float:
        """The seconds of the longest chain: no number of slots is faster."""
        return max(self._chain.values(), default=0.0)

    @property
    def is_finished(self) -> bool:
        """Whether every task was handed out and is done."""
        return not self._ready and not self._running

    def next(self, slots: int) -> Task | None:
        """Hand out a task if one is ready and one of the `slots` is free."""
        if len(self._running) >= slots or self._is_alone or not self._ready:
            return None
        task = self._tasks[self._first(slots)]
        if task.alone and self._running:
            return None  # it waits until it can be alone, and nothing overtakes it
        self._ready.remove(task.id)
        self._running[task.id] = task
        self._is_alone = task.alone
        self._unstarted_s -= task.seconds
        return task

    def _first(self, slots: int) -> str:
        """Return the ready task that is best started now."""
        while self._long[0][-1] not in self._ready:
            heapq.heappop(self._long)
        while self._early[0][-1] not in self._ready:
            heapq.heappop(self._early)
        longest = -self._long[0][0]
        is_tail = longest * _TAIL * slots >= self._unstarted_s
        return (self._long if is_tail else self._early)[0][-1]

    def done(self, identity: str) -> None:
        """Take a task as done, or as given up; what waited for it is ready."""
        self._end(identity)
        for task in reversed(self._waiting.pop(identity, [])):
            self._make_ready(task)

    def lost(self, identity: str) -> int:
        """Take a task as lost with what ran it.

        Return how often it was lost if it is handed out again; 0 if not: then `done` must be said.
        """
        times = self._lost[identity] = self._lost.get(identity, 0) + 1
        if times > self._retries:
            return 0
        task = self._end(identity)
        self._unstarted_s += task.seconds
        self._make_ready(task)
        return times

    def _end(self, identity: str) -> Task:
        task = self._running.pop(identity)
        self._is_alone = self._is_alone and not task.alone
        return task
