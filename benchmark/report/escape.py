"""Names that others chose, made harmless for the place where they are shown."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~$&!])")
_LIGATURE = re.compile(r"(-(?=-)|[?!](?=`)|`(?=`)|'(?='))")
_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet computes if a cell of text begins with it."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\ttfamily\char34}",
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
    "→": r"$\to$",
    "·": r"$\cdot$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}
# What pdflatex knows without a package; other marks and letters are written by their number.
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "="},
    **{"\u0306": "u", "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H"},
    **{"\u030c": "v", "\u0327": "c"},
}


def printable(text: str) -> str:
    """Return one line: what moves the cursor, colours or turns the text becomes its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """Return the same lines, each `printable`."""
    return "\n".join(printable(line.expandtabs()) for line in text.split("\n"))


def csv_cell(value: Any) -> Any:
    """Return a value for a CSV file: no text has controls or is a formula to a spreadsheet."""
    if not isinstance(value, str):
        return value
    shown = "\n".join(map(printable, value.split("\n")))
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def markdown(text: str) -> str:
    """Return `text` so that a Markdown table cell shows it and nothing else."""
    return _MARKDOWN.sub(r"\\\1", printable(text))


def latex(text: str) -> str:
    """Return `text` so that LaTeX typesets it, whatever is in it, with any engine and encoding."""
    escaped = "".join(map(_latex_character, printable(text)))
    return _LIGATURE.sub(r"\1{}", escaped)


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character.isascii():
        return character
    base, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) == 1 and marks[0] in _ACCENTS and base.isascii() and base.isalpha():
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"{{\\ttfamily U+{ord(character):04X}}}"
