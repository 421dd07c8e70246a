"""What `bench report` writes."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import UserError
from benchmark.report.escape import printable
from benchmark.report.html.contents import read_contents
from benchmark.report.html.page import page
from benchmark.report.whole import check_place, write_whole
from benchmark.store import Store


def write_page(
    store: Store, file: Path, title: str, command: str, cache_dir: Path, most: int
) -> None:
    """Write the HTML report of `store` to `file`, whole or not at all.

    `command` is what was typed, for the page to tell; up to `most` trials get a t-SNE.
    """
    check_place(file)
    text = page(
        read_contents(store),
        title=title,
        command=printable(command),
        cache_dir=cache_dir,
        most_costly=most,
    )
    write_whole(file, lambda unfinished: _write_text(unfinished, text))


def write_figures(store: Store, folder: Path, most: int) -> int:
    """Write every figure to `folder` as SVG, PDF, PNG and CSV; return how many there are.

    Up to `most` trials get figures of their own.
    """
    from benchmark.report.html.figures import save_all

    contents = read_contents(store)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return save_all(contents, folder, most)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot write to {folder}: {reason}") from error


def _write_text(file: Path, text: str) -> None:
    # A name may hold half of a surrogate pair, which no UTF-8 file can.
    file.write_bytes(text.encode("utf-8", "backslashreplace"))
