"""A leaderboard as it is shown: a title, sections of rows, and the notes below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmark.report.bootstrap import ENOUGH
from benchmark.report.ranking import DEAR
from benchmark.report.rows import Row
from benchmark.report.setting import numbers_in_words

_LETTERS = {
    "weights": "W",
    "clean images": "C",
    "trigger size": "S",
    "target class": "T",
    "trigger pixels": "P",
}
NOTHING = "-"


@dataclass(frozen=True)
class Board:
    """The rows of one group, in order."""

    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Its name, and the triggers and seeds of its trials."""
        return f"{self.name} · {self.over}"

    @property
    def name(self) -> str:
        """Data set, model, attack grid and setting."""
        row = self.rows[0]
        return " · ".join(filter(None, (row.dataset, row.model, row.attack, row.setting)))

    @property
    def over(self) -> str:
        """The triggers and seeds of its trials, such as `8 triggers, seeds 0 to 7`."""
        triggers = sorted({name for row in self.rows for name in row.triggers})
        seeds = sorted({number for row in self.rows for number in row.seeds})
        one = f"trigger {triggers[0]}" if triggers else ""
        which = f"{len(triggers)} triggers" if len(triggers) > 1 else one
        over = f"{which}, seed{'s' if len(seeds) > 1 else ''} {numbers_in_words(seeds)}"
        # Several targets, or seeds that not all triggers had: the two numbers do not tell it.
        victims = max(row.trials for row in self.rows)
        full = victims == max(1, len(triggers)) * len(seeds)
        return over if full else f"{over}, {victims} victims"

    @property
    def sections(self) -> list[list[Row]]:
        """The rows by role: floor, controls, ranked, oracles; none is empty."""
        return [list(rows) for _, rows in groupby(self.rows, key=lambda row: row.role)]

    @property
    def notes(self) -> list[str]:
        """What a reader must know to read the figures; one sentence each."""
        found = [
            _control_note(self.rows),
            _knowledge_note(self.rows),
            *_claim_notes(self.rows),
            *self.trial_notes,
            _look_note(self.rows),
            _lost_note(self.rows),
            _repeats_note(self.rows),
            _interval_note(self.rows),
        ]
        return [note for note in found if note]

    @property
    def trial_notes(self) -> list[str]:
        """Which trials are in no average."""
        notes = (_untaken_note, _failed_note, _incomplete_note)
        return [found for note in notes if (found := note(self.rows))]


def boards(rows: Sequence[Row]) -> list[Board]:
    """Return one board a group; `rows` as `ranking.ranked` returns them."""
    return [Board(tuple(found)) for _, found in groupby(rows, key=lambda row: row.group)]


def knows(row: Row) -> str:
    """Return what the defense is told, a letter each; `legend` explains them."""
    return " ".join(_LETTERS.get(item, item) for item in _in_order(row.knowledge)) or NOTHING


def _in_order(knowledge: Sequence[str]) -> list[str]:
    places = list(_LETTERS)
    return sorted(knowledge, key=lambda k: places.index(k) if k in places else len(places))


def _control_note(rows: Sequence[Row]) -> str:
    if all(row.backdoored for row in rows):
        return ""
    return (
        "Control arm: these models were never attacked. Nobody is ranked; ASR is how often a "
        "stamp that nobody planted is answered with the target class."
    )


def _claim_notes(rows: Sequence[Row]) -> list[str]:
    right = [
        f"{_named(row, rows)} in {percent(row.detection_mean)} % of {row.averaged} trials"
        for row in rows
        if row.detection_mean is not None
    ]
    wrong = [
        f"{_named(row, rows)} in {percent(row.false_alarm_mean)} % of {row.models} models"
        for row in rows
        if row.false_alarm_mean is not None
    ]
    found = [f"Right target class named: {', '.join(right)}."] if right else []
    return found + ([f"False alarm: {', '.join(wrong)}."] if wrong else [])


def _named(row: Row, rows: Sequence[Row]) -> str:
    """Return the defense's name, and its options where another row has the name too."""
    several = sum(one.defense == row.defense for one in rows) > 1
    return f"{row.defense} {row.shown}" if several else row.defense


def _knowledge_note(rows: Sequence[Row]) -> str:
    told = {item for row in rows for item in row.knowledge}
    used = [f"{letter} {name}" for name, letter in _LETTERS.items() if name in told]
    return f"A defense is told: {', '.join(used)}." if used else ""


def _untaken_note(rows: Sequence[Row]) -> str:
    victims = {item for row in rows for item in row.attack_failed}
    if not victims:
        return ""
    seeds = len({number for row in rows for number in row.seeds}) > 1
    targets = len({item.target for item in victims}) > 1
    shown = []
    for item in sorted(victims, key=lambda v: (v.trigger, v.target, v.seed)):
        words = [f"target {item.target}"] * targets + [f"seed {item.seed}"] * seeds
        which = f" ({', '.join(words)})" if words else ""
        shown.append(f"{item.trigger}{which} at {percent(item.asr)} %")
    return f"The attack did not take; in no average, undefended ASR: {', '.join(shown)}."


def _failed_note(rows: Sequence[Row]) -> str:
    if not any(row.failed for row in rows):
        return ""
    return "Failed trials, in parentheses, are in no average; bench trials --failed tells why."


def _incomplete_note(rows: Sequence[Row]) -> str:
    if not any(row.incomplete for row in rows):
        return ""
    return (
        "incomplete: averaged over fewer trials than others of this leaderboard; who lacks trials "
        "of a rival has no rank."
    )


def _look_note(rows: Sequence[Row]) -> str:
    if not any(row.look for row in rows):
        return ""
    return (
        "look: better than the oracle, which knows the trigger, by more than its interval; "
        "find out why before you believe it."
    )


def _lost_note(rows: Sequence[Row]) -> str:
    if not any(row.accuracy_lost for row in rows):
        return ""
    return (
        f"accuracy lost: more than {100 * DEAR:.0f} points of clean accuracy; a model that hardly "
        "classifies obeys no trigger either."
    )


def _repeats_note(rows: Sequence[Row]) -> str:
    if not any(row.repeats > 1 for row in rows):
        return ""
    return "of N models: a trial repairs N models and counts with their mean; the spread is theirs."


def _interval_note(rows: Sequence[Row]) -> str:
    given = [row.units for row in rows if row.asr_after_ci_low is not None]
    if given:
        of = "95 % bootstrap over attacks and seeds"
        few = f", too narrow where these are under {ENOUGH}" if min(given) < ENOUGH else ""
        return f"After the mean: ± standard deviation over trials; {of}{few}."
    return "After the mean: ± standard deviation over trials; too few attacks for an interval."


def percent(value: float | None) -> str:
    """Return a fraction in percent with one decimal, or a dash."""
    return NOTHING if value is None else f"{100 * value:.1f}"
