"""What to say of code that does otherwise in a kernel than at a prompt, in one line each; only where it is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernel_supervisor.core.parsing import parsed

_COMMAND = re.compile(r"^[ \t]*!(?!=)", re.MULTILINE)
"""Not `x = !…`, which has no input from the start."""
_SCRIPT = re.compile(r"\A\s*%%(?:bash|sh|script)\b")
_BEHIND = re.compile(r"[^&>|\s]\s*&\s*$", re.MULTILINE)
_LARGEST = 100_000
_NO_INPUT = (
    "A ! command cannot be given input here: if it waits for some, interrupt it and give the answer in the command "
    "(an option such as -y, `echo … |`, `< /dev/null`)."
)
_KEPT_OPEN = (
    "A cell of %%bash ends only when what it started with & has closed its output, too: "
    "`nohup … > file 2>&1 &` lets that run on alone."
)
_NO_STEPS = "breakpoint() stops nothing in this kernel: nobody could step. Look at variables by printing them there."


def while_it_runs(source: str) -> str:
    """Of what runs and asks for nothing; empty where nothing is to be said."""
    source = source[:_LARGEST]
    if _SCRIPT.match(source):
        return _KEPT_OPEN if _BEHIND.search(source) else ""
    return _NO_INPUT if _COMMAND.search(source) else ""


def once_it_is_over(source: str) -> str:
    """Of what came to its end without an error; empty where nothing is to be said."""
    if "breakpoint()" not in source or "breakpointhook" in source or len(source) > _LARGEST:
        return ""
    tree = parsed(source)
    return _NO_STEPS if tree is not None and any(map(_is_breakpoint, run_at_once(tree))) else ""


def run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in code outside of functions."""
    for each in ast.iter_child_nodes(node):
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield each
            yield from run_at_once(each)


def _is_breakpoint(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "breakpoint"
