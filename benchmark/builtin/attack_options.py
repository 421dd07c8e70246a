"""Options of the shipped attacks: which instances of the grid, and how to poison."""

from __future__ import annotations

from benchmark.builtin.triggers import BlackWhiteOptions, ColourOptions
from benchmark.recipe import Poisoning


class BlackWhiteAttack(BlackWhiteOptions, Poisoning):
    """Options of `bw3x3`; the poisoning defaults are the paper's (supplement, C)."""


class ColourAttack(ColourOptions, Poisoning):
    """Options of `rgb3x3`; the poisoning defaults are the paper's (supplement, C)."""
