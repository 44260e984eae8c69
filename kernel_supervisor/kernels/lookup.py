"""Looks at a kernel's variables from its control channel, while a cell may be running.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. An execute request would
break the running cell's `input()` and steal its figures; these handlers leave no trace in the history, in
`_` or in the execution count. Listing calls no code of an object whose exact type is not known here;
inspecting calls `repr` of what was asked for. Both work in a thread of their own and answer in time, whatever
an object does.
"""

from __future__ import annotations

import ast
import asyncio
import difflib
import inspect
import reprlib
import sys
import threading
import types
from typing import Any, Callable

VARIABLES = "supervisor_variables_request"
INSPECT = "supervisor_inspect_request"
DEADLINE_S = 2.0
SHORT = 80
LONG = 4000
_SUMMARY = reprlib.Repr()
_SUMMARY.maxstring = _SUMMARY.maxother = _SUMMARY.maxlong = SHORT
_PLAIN = (int, float, complex, bool, str, bytes, bytearray, type(None))
_CONTAINERS = (list, tuple, dict, set, frozenset, range)


def install(kernel: Any) -> None:
    """Add the two requests to the control channel of `kernel`. Their replies end in `_reply`."""
    kernel.control_handlers[VARIABLES] = _answering(kernel, variables)
    kernel.control_handlers[INSPECT] = _answering(kernel, look)


def _answering(kernel: Any, question: Callable[[Any, dict[str, Any]], dict[str, Any]]) -> Any:
    async def handle(stream: Any, ident: Any, parent: Any) -> None:
        content = await _in_time(lambda: question(kernel.shell, parent["content"]))
        reply_type = parent["header"]["msg_type"].replace("_request", "_reply")
        kernel.session.send(stream, reply_type, content, parent=parent, ident=ident)

    return handle


async def _in_time(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[dict[str, Any]] = loop.create_future()

    def settle(result: dict[str, Any]) -> None:
        if not done.done():
            done.set_result(result)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - an object may raise anything; it is the answer
            result = {"status": "error", "ename": type(error).__name__, "evalue": _message(error)}
        loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=run, name="supervisor-lookup", daemon=True).start()
    try:
        return await asyncio.wait_for(done, DEADLINE_S)
    except asyncio.TimeoutError:
        return {"status": "error", "ename": "TimeoutError", "evalue": f"no answer within {DEADLINE_S:g} s"}


def _message(error: BaseException) -> str:
    return _text(lambda: str(error))


def variables(shell: Any, content: dict[str, Any]) -> dict[str, Any]:
    """The user's variables: `{"status": "ok", "variables": [{name, type, shape, bytes, value}, …]}`."""
    return {"status": "ok", "variables": [_row(name, value) for name, value in _user_variables(shell)]}


def look(shell: Any, content: dict[str, Any]) -> dict[str, Any]:
    """What `content["expression"]` is; where a name in it does not exist, the names that are near."""
    expression = str(content.get("expression", "")).strip()
    try:
        tree = ast.parse(expression, mode="eval").body
        value = _walk(tree, shell.user_ns)
    except SyntaxError:
        return _unusable(expression)
    except _UnsupportedError:
        return _unusable(expression)
    except NameError as error:
        names = [name for name, _ in _user_variables(shell)]
        near = difflib.get_close_matches(str(error.args[0]), names, 5, 0.5)
        return {"status": "missing", "name": str(error.args[0]), "near": near}
    return {"status": "ok", **_describe(expression, value, content.get("detail", ""))}


class _UnsupportedError(ValueError):
    """An expression that would run code of the user's."""


def _unusable(expression: str) -> dict[str, Any]:
    evalue = f"{expression!r} is not a name, an attribute or an item, such as df, df.columns or model.layers[0]"
    return {"status": "error", "ename": "ValueError", "evalue": evalue}


def _walk(node: ast.AST, namespace: dict[str, Any]) -> Any:
    """The value of names, attributes and items; nothing is called but what those call."""
    if isinstance(node, ast.Name):
        if node.id in namespace:
            return namespace[node.id]
        builtins = namespace.get("__builtins__", {})
        builtins = builtins if isinstance(builtins, dict) else vars(builtins)
        if node.id in builtins:
            return builtins[node.id]
        raise NameError(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_walk(node.value, namespace), node.attr)
    if isinstance(node, ast.Subscript):
        return _walk(node.value, namespace)[_key(node.slice, namespace)]
    raise _UnsupportedError


def _key(node: ast.AST, namespace: dict[str, Any]) -> Any:
    if type(node).__name__ == "Index":  # Python 3.8
        node = node.value  # type: ignore[attr-defined]  # ast.Index of 3.8 has it
    if isinstance(node, ast.Slice):
        return slice(*(None if part is None else _key(part, namespace) for part in (node.lower, node.upper, node.step)))
    if isinstance(node, ast.Tuple):
        return tuple(_key(element, namespace) for element in node.elts)
    if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
        return _walk(node, namespace)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise _UnsupportedError from None


def _user_variables(shell: Any) -> list[tuple[str, Any]]:
    hidden = shell.user_ns_hidden
    missing = object()
    return [
        (name, value)
        for name, value in sorted(dict(shell.user_ns).items())
        if not name.startswith("_") and hidden.get(name, missing) is not value
    ]


def _row(name: str, value: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": _type_name(type(value)),
        "shape": _shape(value),
        "bytes": _bytes(value),
        "value": _short(value),
    }


def _type_name(kind: type) -> str:
    module = type.__getattribute__(kind, "__module__")
    name = str(type.__getattribute__(kind, "__qualname__"))
    if module in ("builtins", "__main__") or not isinstance(module, str):
        return name
    return module.partition(".")[0] + "." + name


def _known(value: Any, *names: str) -> bool:
    """Whether the exact type of `value` is `module:Class`, of a module that is loaded."""
    for name in names:
        module, _, attribute = name.partition(":")
        loaded = sys.modules.get(module)
        if loaded is not None and type(value) is vars(loaded).get(attribute):
            return True
    return False


def _shape(value: Any) -> str:
    if _known(value, "numpy:ndarray", "pandas:DataFrame", "pandas:Series", "polars:DataFrame", "polars:Series"):
        return " × ".join(map(str, value.shape)) or "scalar"
    if _known(value, "torch:Tensor"):
        return " × ".join(map(str, tuple(value.shape))) or "scalar"
    if type(value) in (str, bytes, bytearray, *_CONTAINERS):
        return str(len(value))
    return ""


def _bytes(value: Any) -> int | None:
    if _known(value, "numpy:ndarray"):
        return int(value.nbytes)
    if _known(value, "pandas:DataFrame"):
        return int(value.memory_usage(deep=False).sum())
    if _known(value, "pandas:Series"):
        return int(value.memory_usage(deep=False))
    if _known(value, "polars:DataFrame", "polars:Series"):
        return int(value.estimated_size())
    if _known(value, "torch:Tensor"):
        return int(value.element_size() * value.nelement())
    return sys.getsizeof(value) if type(value) in (*_PLAIN, *_CONTAINERS) else None


def _short(value: Any) -> str:
    if type(value) is types.ModuleType:
        return f"module {vars(value).get('__name__', '')}"
    if type(value) is types.FunctionType:
        return f"{value.__name__}{_signature(value)}"[:SHORT]
    if type(value) is type:
        return f"class {_type_name(value)}"
    if _known(value, "numpy:ndarray"):
        return f"{value.dtype}, {_SUMMARY.repr(value.ravel()[:5].tolist())}"[:SHORT]
    if _known(value, "pandas:DataFrame", "polars:DataFrame"):
        return "columns " + _SUMMARY.repr([str(column) for column in list(value.columns)[:7]])
    if _known(value, "pandas:Series", "polars:Series", "torch:Tensor"):
        return str(value.dtype)
    if type(value) in _PLAIN:
        return _SUMMARY.repr(value)
    if type(value) in _CONTAINERS:
        return _SUMMARY.repr(value) if _all_plain(value) else f"{type(value).__name__} of {len(value)}"
    return ""


def _all_plain(value: Any) -> bool:
    """Whether a look at the first few elements calls nobody's code."""
    if type(value) is range:
        return True
    import itertools

    first = itertools.islice(value.items() if type(value) is dict else value, 8)
    flat = itertools.chain.from_iterable(pair if type(value) is dict else (pair,) for pair in first)
    return all(type(element) in _PLAIN for element in flat)


def _describe(expression: str, value: Any, detail: str) -> dict[str, Any]:
    described = {
        "expression": expression,
        "type": _type_name(type(value)),
        "shape": _text(lambda: _shape(value)),
        "bytes": _bytes(value),
        "repr": _text(lambda: _full(value)),
    }
    if callable(value):
        described["signature"] = _signature(value)
    if isinstance(value, (type, types.ModuleType)) or callable(value):
        described["docstring"] = _text(lambda: inspect.getdoc(value) or "")[:LONG]
    if detail == "source":
        described["source"] = _text(lambda: inspect.getsource(inspect.unwrap(value)))[: 5 * LONG]
    return described


def _full(value: Any) -> str:
    if type(value) in _CONTAINERS and len(value) > 200:
        summary = reprlib.Repr()
        summary.maxlist = summary.maxtuple = summary.maxset = summary.maxdict = summary.maxfrozenset = 50
        return summary.repr(value)
    if type(value) in (str, bytes, bytearray) and len(value) > LONG:
        return f"{value[: LONG // 2]!r} … {value[-LONG // 4 :]!r} ({len(value)} in all)"
    text = repr(value)
    return text if len(text) <= LONG else f"{text[:LONG]} … ({len(text)} characters in all)"


def _signature(value: Any) -> str:
    try:
        return str(inspect.signature(value))
    except (TypeError, ValueError):
        return ""


def _text(read: Callable[[], str]) -> str:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - what an object raises when looked at is what there is to show
        return f"<{type(error).__name__} while looking at it>"
