"""Everything that a report tells, read from a results folder once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from benchmark.records import ModelRecord, TrialRecord
from benchmark.report.boards import Board, boards
from benchmark.report.leaderboard import leaderboard
from benchmark.report.rows import Row
from benchmark.store import ArtifactStore, Store
from benchmark.store.schema import no_results

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Contents:
    """The trials of a folder, the models under them, and the leaderboards made of them."""

    frame: pd.DataFrame
    """As `Store.trials_frame()` returns it."""
    boards: list[Board]
    trials: list[TrialRecord]
    models: Mapping[str, ModelRecord]
    artifacts: ArtifactStore

    def labels(self, board: Board) -> dict[str, str]:
        """Return what each row of `board` is called in a figure, by its `variant_id`.

        The defense's name; its options, its version and the start of its identity only where what
        comes before is that of another row too.
        """
        named = {
            row.variant_id: (row.defense, row.variant, row.version, row.variant_id[:8])
            for row in board.rows
        }
        return {key: _shortest(parts, [*named.values()]) for key, parts in named.items()}

    @cached_property
    def label_of(self) -> dict[tuple[str, str], str]:
        """The same for every leaderboard: (group, variant_id) → label."""
        return {
            (board.rows[0].group, key): label
            for board in self.boards
            for key, label in self.labels(board).items()
        }

    def base_of(self, victim: ModelRecord | None) -> ModelRecord | None:
        """Return the clean model from which `victim` was made, if both are stored."""
        return self.models.get(str(victim.payload.get("base", ""))) if victim else None

    def data_of(self, victim: ModelRecord | None) -> str:
        """Return the fingerprint of the data of `victim`; empty if it is not stored."""
        base = self.base_of(victim) or victim
        return str(base.payload.get("data", "")) if base else ""


def read_contents(store: Store) -> Contents:
    """Read `store`; a folder without trials is a `UserError`."""
    frame = store.trials_frame()
    if frame.empty:
        raise no_results(store.out)
    rows: list[Row] = leaderboard(frame)
    models = {model.id: model for model in store.models()}
    places = {(row.group, row.variant_id): at for at, row in enumerate(rows)}
    # A run that writes meanwhile may have added a trial, and with it a row, since the first read.
    trials = sorted(store.trials(among={*frame["trial"]}), key=lambda t: _order(places, t))
    return Contents(frame, boards(rows), trials, models, store.artifacts)


def _order(places: Mapping[tuple[str, str], int], trial: TrialRecord) -> tuple[int, str, int, int]:
    """Trials stand in the order of the leaderboards' rows."""
    return places[trial.group, trial.variant_id], trial.trigger, trial.target, trial.seed


def _shortest(parts: tuple[str, ...], others: list[tuple[str, ...]]) -> str:
    for length in range(1, len(parts) + 1):
        if sum(other[:length] == parts[:length] for other in others) == 1:
            break
    return " ".join(filter(None, parts[:length]))
