"""Where in a plugin's own source something happens. No torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

from benchmark.loading.origin import Origin

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_DEVICE = re.compile(r"(cuda|mps)(:\d*)?")


def source_root(origin: Origin) -> Path:
    """Return the plugin's file, or the folder of its outermost package.

    For what is built in, that of its module's own package: the outermost one is the harness.
    """
    if origin.kind == "file":
        return Path(origin.path)
    module = origin.module.partition(":")[0].strip()
    outermost_first = accumulate(module.split("."), "{}.{}".format)
    inner = [module.rpartition(".")[0]]
    for name in inner if origin.kind == "builtin" else outermost_first:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin:  # a namespace has none: it is nobody's own
            file = Path(found.origin)
            return file.parent if found.submodule_search_locations else file
    return Path(origin.path or os.devnull)


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
    """Yield all nodes but those that only ask or tell: comparisons, cases, keys, docstrings."""
    keys = tree.keys if isinstance(tree, ast.Dict) else []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Compare | ast.pattern) or node in keys or _is_text(node):
            continue
        yield node
        yield from _walk(node)


def _is_text(node: ast.AST) -> bool:
    """Say whether a node is a statement that is only a text, such as a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def names_a_device(node: ast.AST) -> bool:
    """Say whether a node chooses an accelerator by itself: `x.cuda()`, `"cuda:0"`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("cuda", "set_default_device")
    return isinstance(node, ast.Constant) and bool(_DEVICE.fullmatch(str(node.value)))
