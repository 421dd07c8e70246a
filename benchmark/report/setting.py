"""What the trials of one leaderboard were set to: the preset and options, out of their texts.

Trials of several runs may stand on one leaderboard, and each holds the setting of its own run. What
they differ in chose which trials there are, so it is true of some of them only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from benchmark.builtin.triggers import ColourOptions
from benchmark.preset import preset_names
from benchmark.specs import choosing_options

_BEFORE_AN_OPTION = re.compile(r", (?=[a-z_]+\.[\w.]+=)")
_CHOICES = tuple(f"attack.{name}=" for name in sorted(choosing_options(ColourOptions)))
"""Starts of what says which triggers and targets: the trials themselves tell, and all of them."""


def parts_of(settings: Iterable[str]) -> list[str]:
    """Return the preset and the options that all of these settings have, as the first has them."""
    first, *others = (_BEFORE_AN_OPTION.split(text) for text in dict.fromkeys(settings))
    return [part for part in first if all(part in other for other in others)]


def shipped_preset(parts: Iterable[str]) -> str:
    """Return the shipped preset among what `parts_of` found; an empty text if there is none.

    A preset of somebody's own is called by its file's name, which no command elsewhere could name.
    """
    return next((part for part in parts if part in preset_names()), "")


def board_setting(settings: Iterable[str]) -> str:
    """Return what heads a leaderboard of trials with these settings: no choice of trials in it."""
    return ", ".join(part for part in parts_of(settings) if not part.startswith(_CHOICES))


def chosen_triggers(settings: Iterable[str]) -> bool:
    """Say whether a run with one of these settings chose its triggers with `attack.triggers`."""
    return any("attack.triggers=" in text for text in settings)


def numbers_in_words(numbers: Sequence[int]) -> str:
    """Return sorted numbers, such as seeds: `3`, `0 to 7`, or `0, 2, 5`."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))
