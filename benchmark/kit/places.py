"""Where in a plugin's own source something happens. No torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmark.loading.origin import Origin

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def source_root(origin: Origin) -> Path:
    """Return the plugin's file, or the folder of the module that its package declares."""
    if origin.kind == "file":
        return Path(origin.path)
    found = importlib.util.find_spec(origin.module.partition(":")[0].strip())
    if found is None or not found.origin:
        return Path(origin.path or os.devnull)
    file = Path(found.origin)
    return file.parent if "." in origin.module else file


def is_inside(file: str, root: Path) -> bool:
    """Say whether a file is the plugin's own."""
    return file == str(root) or file.startswith(str(root) + os.sep)


def current_line(root: Path) -> str:
    """Return `file:line` of the innermost frame that is the plugin's; empty if none is."""
    frame = inspect.currentframe()
    while frame is not None:
        if is_inside(frame.f_code.co_filename, root):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def last_line(log: str, root: Path) -> str:
    """Return `file:line` of the last line of a printed traceback that is the plugin's."""
    own = [f"{file}:{line}" for file, line in _FRAME.findall(log) if is_inside(file, root)]
    return own[-1] if own else ""


def line_of_error(error: BaseException, root: Path) -> str:
    """Return `file:line` where the plugin raised, or called what raised."""
    trace, where = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if is_inside(file, root):
            where = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return where


def definition(thing: object) -> str:
    """Return `file:line` of a class or function; empty for one that has no source."""
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""


def lines_where(root: Path, wrong: Callable[[ast.AST], bool]) -> Iterator[str]:
    """Yield `file:line` of every syntax node of the plugin's source that is `wrong`."""
    files = sorted(root.rglob("*.py")) if root.is_dir() else [root]
    for file in files:
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        yield from dict.fromkeys(
            f"{file}:{getattr(node, 'lineno', 0)}" for node in _walk(tree) if wrong(node)
        )


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those inside a comparison, which only ask."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.Compare):
            yield node
            yield from _walk(node)


def names_a_device(node: ast.AST) -> bool:
    """Say whether a node chooses an accelerator by itself: `x.cuda()`, `"cuda:0"`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("cuda", "set_default_device")
    return isinstance(node, ast.Constant) and str(node.value).partition(":")[0] in ("cuda", "mps")
