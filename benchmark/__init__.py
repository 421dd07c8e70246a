"""A plugin-based benchmark harness for defenses against neural backdoors."""

__version__ = "0.1.0"
