"""Looks at a kernel's variables from its control channel, while a cell may be running.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. An execute request would
break the running cell's `input()` and steal its figures; these handlers leave no trace in the history, in
`_` or in the execution count. Listing calls no code of an object whose exact type is not known here;
inspecting calls `repr` of what was asked for. Both work in a thread of their own and answer in time, whatever
an object does; what it prints meanwhile belongs to the request, not to the cell that runs.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import difflib
import inspect
import itertools
import sys
import threading
import time
import types
from keyword import iskeyword
from typing import Any, Callable, Optional

globals()["__builtins__"] = dict(vars(builtins))  # what user code puts into `builtins` does not reach what follows

VARIABLES = "supervisor_variables_request"
INSPECT = "supervisor_inspect_request"
DEADLINE_S = 2.0
LISTING_S = 1.0
SIGN_S = 0.2
ROWS = 2000
SHORT = 80
_COLUMNS = 7
LONG = 4000
_PLAIN = frozenset(map(id, (int, float, complex, bool, str, bytes, bytearray, type(None))))
_TEXTS = frozenset(map(id, (str, bytes, bytearray)))
_SEQUENCES = frozenset(map(id, (list, tuple, set, frozenset)))
_CONTAINERS = _SEQUENCES | frozenset(map(id, (dict, range)))
_FRAMES = ("pandas:DataFrame", "polars:DataFrame")
_ARRAYS = ("numpy:ndarray", "numpy:memmap")
_SHAPED = (*_FRAMES, *_ARRAYS, "pandas:Series", "polars:Series", "torch:Tensor")
_FETCHING = ("duckdb", "_duckdb", "ibis", "pyspark")
"""Libraries whose `repr` runs a query."""
_Summary = Optional[Callable[[Any, str], Optional[str]]]
_STUCK_LIMIT = 8
_stuck: list[threading.Thread] = []


def install(kernel: Any, summary: _Summary = None) -> None:
    """Add the two requests to the control channel of `kernel`. Their replies end in `_reply`.

    `summary` says more than `repr` of what is large, as `formatter.install` returns it.
    """
    kernel.control_handlers[VARIABLES] = _answering(kernel, variables)
    kernel.control_handlers[INSPECT] = _answering(kernel, lambda shell, content: look(shell, content, summary))


def _answering(kernel: Any, question: Callable[[Any, dict[str, Any]], dict[str, Any]]) -> Any:
    async def handle(stream: Any, ident: Any, parent: Any) -> None:
        header = parent["header"]
        signs = asyncio.ensure_future(_give_signs(kernel, parent))
        try:
            content = await _in_time(lambda: question(kernel.shell, parent["content"]), header, parent["content"])
        finally:
            signs.cancel()
        reply_type = header["msg_type"].replace("_request", "_reply")
        kernel.session.send(stream, reply_type, _sendable(content), parent=parent, ident=ident)

    return handle


async def _give_signs(kernel: Any, parent: Any) -> None:
    """Say now and then that it is being looked at: who asks is to know a slow look from one that C code holds up."""
    while True:
        await asyncio.sleep(SIGN_S)
        topic, content = kernel._topic("status"), {"execution_state": "busy"}
        kernel.session.send(kernel.iopub_socket, "status", content, parent=parent, ident=topic)


def _sendable(content: Any) -> Any:
    """`content` with nothing that JSON in UTF-8 cannot carry."""
    if type(content) is str:
        return content.encode("utf-8", "backslashreplace").decode("utf-8")
    if type(content) is list:
        return [_sendable(element) for element in content]
    return {key: _sendable(value) for key, value in content.items()} if type(content) is dict else content


class _GivenUpError(BaseException):
    """Raised in a thread whose time is over, so that an endless `__repr__` does not go on for ever."""


async def _in_time(work: Callable[[], dict[str, Any]], header: Any, content: dict[str, Any]) -> dict[str, Any]:
    deadline_s = content.get("deadline_s", DEADLINE_S)
    _stuck[:] = [thread for thread in _stuck if thread.is_alive()]
    if len(_stuck) >= _STUCK_LIMIT and "expression" in content:
        return _error("TimeoutError", f"{len(_stuck)} objects that were looked at before still do not answer")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[dict[str, Any]] = loop.create_future()

    def settle(result: dict[str, Any]) -> None:
        if not done.done():
            done.set_result(result)

    def run() -> None:
        try:
            _print_elsewhere(header)
            result = work()
        except BaseException as error:  # noqa: BLE001 - an object may raise anything; it is the answer
            result = _error(_name_of(type(error)), _text(lambda error=error: str(error)))  # type: ignore[misc]  # a lambda's default
        with contextlib.suppress(RuntimeError):  # the kernel ends
            loop.call_soon_threadsafe(settle, result)

    thread = threading.Thread(target=run, name="supervisor-lookup", daemon=True)
    thread.start()
    try:
        return await asyncio.wait_for(done, deadline_s)
    except asyncio.TimeoutError:
        _stuck.append(thread)
        _give_up(thread)
        return _error("TimeoutError", f"no answer within {deadline_s:g} s")


def _error(ename: str, evalue: str) -> dict[str, Any]:
    return {"status": "error", "ename": ename, "evalue": evalue[:LONG]}


def _give_up(thread: threading.Thread) -> None:
    import ctypes  # 5 ms, and rarely needed

    target, error = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_GivenUpError)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(target, error)


def _print_elsewhere(header: Any) -> None:
    """What this thread prints or displays gets the request as its parent: it is in nobody's cell."""
    for stream in (sys.stdout, sys.stderr):
        variable = getattr(stream, "_parent_header", None)
        if variable is not None and type(variable).__name__ == "ContextVar":
            variable.set(header)


def variables(shell: Any, content: dict[str, Any]) -> dict[str, Any]:
    """The user's variables: `{"status": "ok", "variables": [{name, type, shape, bytes, value}, …], "left_out": n}`.

    Where `content` has a `filter` or a `type`, those whose name or type has it in it. At most ROWS of them, or `most`,
    and as many as there is time for; `left_out` counts the others.
    """
    in_name, in_type = str(content.get("filter", "")).lower(), str(content.get("type", "")).lower()
    wanted = [
        (name, value)
        for name, value in _user_variables(shell)
        if in_name in name.lower() and (not in_type or in_type in _type_name(type(value)).lower())
    ]
    end = time.monotonic() + min(LISTING_S, content.get("deadline_s", DEADLINE_S) / 2)
    most = min(ROWS, int(content.get("most", ROWS)))
    in_time = itertools.takewhile(lambda _: time.monotonic() <= end, wanted[:most])
    rows = [_row(name, value) for name, value in in_time]
    return {"status": "ok", "variables": rows, "left_out": len(wanted) - len(rows)}


def look(shell: Any, content: dict[str, Any], summary: _Summary = None) -> dict[str, Any]:
    """What `content["expression"]` is; where a name in it does not exist, the names that are near."""
    expression = str(content.get("expression", "")).strip()
    try:
        value = _walk(_tree(expression), shell.user_ns)
    except (SyntaxError, _UnsupportedError):
        evalue = f"{expression!r} is not a name, an attribute or an item, such as df, df.columns or model.layers[0]"
        return {**_error("ValueError", evalue), "to_be_run": True}
    except _MissingError as error:
        names = [name for name, _ in _user_variables(shell) if len(name) < 100][:ROWS]
        near = difflib.get_close_matches(error.args[0], names, 5, 0.5)
        return {"status": "missing", "name": error.args[0], "near": near}
    return {"status": "ok", **_describe(expression, value, content.get("detail", ""), summary)}


class _UnsupportedError(ValueError):
    """An expression that would run code of the user's."""


class _MissingError(NameError):
    """A name that does not exist."""


def _tree(expression: str) -> ast.AST:
    """What an expression is. Names are not parsed: in CPython 3.11 a cell that is parsed meanwhile might fail of it."""
    first, *names = expression.split(".")
    if not expression.isascii() or not all(each.isidentifier() and not iskeyword(each) for each in (first, *names)):
        return ast.parse(expression, mode="eval").body
    node: ast.expr = ast.Name(first, ast.Load())
    for name in names:
        node = ast.Attribute(node, name, ast.Load())
    return node


def _walk(node: ast.AST, namespace: dict[str, Any]) -> Any:
    """The value of names, attributes and items; nothing is called but what those call."""
    if type(node) is ast.Name:
        if node.id in namespace:
            return namespace[node.id]
        if hasattr(builtins, node.id):
            return getattr(builtins, node.id)
        raise _MissingError(node.id)
    if type(node) is ast.Attribute:
        return getattr(_walk(node.value, namespace), node.attr)
    if type(node) is ast.Subscript:
        return _walk(node.value, namespace)[_key(node.slice, namespace)]
    raise _UnsupportedError


def _key(node: ast.AST, namespace: dict[str, Any]) -> Any:
    if type(node).__name__ == "Index":  # Python 3.8
        node = node.value  # type: ignore[attr-defined]  # ast.Index of 3.8 has it
    if type(node) is ast.Slice:
        return slice(*(None if part is None else _key(part, namespace) for part in (node.lower, node.upper, node.step)))
    if type(node) is ast.Tuple:
        return tuple(_key(element, namespace) for element in node.elts)
    if type(node) in (ast.Name, ast.Attribute, ast.Subscript):
        return _walk(node, namespace)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise _UnsupportedError from None


def _user_variables(shell: Any) -> list[tuple[str, Any]]:
    """Sorted by name. A key that is no exact string could run code when it is compared, and no code can name it."""
    hidden, missing, namespace = shell.user_ns_hidden, object(), dict(shell.user_ns)
    names = sorted(name for name in namespace if type(name) is str and not name.startswith("_"))
    return [(name, namespace[name]) for name in names if hidden.get(name, missing) is not namespace[name]]


def _row(name: str, value: Any) -> dict[str, Any]:
    shown = name if len(name) <= SHORT and name.isprintable() else _clipped(repr(name[:SHORT]))
    row: dict[str, Any] = {"name": shown, "type": _type_name(type(value)), "shape": "", "bytes": None, "value": ""}
    try:
        row.update(shape=_shape(value), bytes=_bytes(value), value=_short(value))
    except Exception as error:  # noqa: BLE001 - a container that the running cell changes, a table that is broken
        row["value"] = f"<{_name_of(type(error))} while looking at it>"
    return row


def _clipped(text: str, width: int = SHORT) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _name_of(kind: type) -> str:
    return str(type.__dict__["__name__"].__get__(kind))


def _type_name(kind: type) -> str:
    """From the class itself: a metaclass may have properties of these names."""
    module = type.__dict__["__module__"].__get__(kind)
    name = str(type.__dict__["__qualname__"].__get__(kind))
    if type(module) is not str or module in ("builtins", "__main__"):
        return _clipped(name)
    return _clipped(module.partition(".")[0] + "." + name)


def _known(value: Any, *names: str) -> bool:
    """Whether the exact type of `value` is `module:Class`, of a module that is loaded. No module is asked."""
    for name in names:
        module, _, attribute = name.partition(":")
        loaded = sys.modules.get(module)
        if loaded is None or not issubclass(type(loaded), types.ModuleType):
            continue
        if _namespace(loaded).get(attribute) is type(value):
            return True
    return False


def _namespace(module: types.ModuleType) -> dict[str, Any]:
    """What a module has, read past a `__getattribute__` that would load it."""
    descriptor: Any = vars(types.ModuleType)["__dict__"]
    found: dict[str, Any] = descriptor.__get__(module)
    return found


def _shape(value: Any) -> str:
    if _known(value, *_SHAPED):
        return " × ".join(map(str, tuple(value.shape))) or "scalar"
    if id(type(value)) in _CONTAINERS | _TEXTS:
        return str(len(value))
    return ""


def _bytes(value: Any) -> int | None:
    kind = id(type(value))
    if kind in _PLAIN or kind in _CONTAINERS:
        return sys.getsizeof(value)
    if _known(value, *_ARRAYS):
        return int(value.nbytes)
    if _known(value, "pandas:DataFrame") and value.shape[1] <= 1000:
        return int(value.memory_usage(deep=False).sum())
    if _known(value, "pandas:Series"):
        return int(value.memory_usage(deep=False))
    if _known(value, "polars:DataFrame", "polars:Series"):
        return int(value.estimated_size())
    if _known(value, "torch:Tensor"):
        return int(value.element_size() * value.nelement())
    return None


def _short(value: Any) -> str:
    kind = type(value)
    if id(kind) in _PLAIN or id(kind) in _CONTAINERS:
        return _clipped(_literal(value))
    if kind is types.ModuleType:
        return _clipped("module " + _literal(_namespace(value).get("__name__")).strip("'"))
    if kind is types.FunctionType:
        return _clipped(_call(value))
    if kind is type:
        return f"class {_type_name(value)}"
    if _known(value, *_ARRAYS):
        few = f", {_literal(value.flat[:5].tolist())}" if value.dtype.kind in "biufcmMSU" else ""
        return _clipped(str(value.dtype) + few)
    if _known(value, *_FRAMES):
        more = ", …" if len(value.columns) > _COLUMNS else ""
        names = ", ".join(_literal(column).strip("'") for column in list(value.columns[:_COLUMNS]))
        return _clipped("columns " + names + more, 200)
    if _known(value, "pandas:Series", "polars:Series", "torch:Tensor"):
        return _clipped(str(value.dtype))
    return ""


def _literal(value: Any, depth: int = 2) -> str:
    """A plain value, or the first few of plain values; the type of anything else."""
    kind = type(value)
    if kind is int and value.bit_length() > 1000:
        return f"int of {value.bit_length():,} bits"
    if kind is str or kind is bytes or kind is bytearray:
        return repr(value) if len(value) <= SHORT else repr(value[:SHORT])[:SHORT] + "…"
    if id(kind) in _PLAIN or kind is range:
        return repr(value)
    if id(kind) not in _CONTAINERS:
        return f"<{_type_name(kind)}>"
    if not depth:
        return f"{kind.__name__} of {len(value)}"
    more = ", …" if len(value) > 6 else ""
    if kind is dict:
        pairs = list(itertools.islice(value.items(), 6))
        return "{%s%s}" % (", ".join(f"{_literal(k, depth - 1)}: {_literal(v, depth - 1)}" for k, v in pairs), more)
    inner = ", ".join(_literal(element, depth - 1) for element in list(itertools.islice(value, 6))) + more
    brackets = {id(list): "[%s]", id(tuple): "(%s,)" if len(value) == 1 else "(%s)", id(frozenset): "frozenset({%s})"}
    return brackets.get(id(kind), "{%s}" if inner else "set()") % inner


def _call(function: types.FunctionType) -> str:
    """A function's name and parameters. `inspect.signature` would call the `repr` of its defaults."""
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    names = list(code.co_varnames[: code.co_argcount])
    defaults = function.__defaults__ or ()
    for index, default in enumerate(defaults, len(names) - len(defaults)):
        names[index] += f"={_literal(default, 1)}"
    extra = list(code.co_varnames[count : count + 2])
    names += ["*" + extra.pop(0)] if code.co_flags & inspect.CO_VARARGS else ["*"] if code.co_kwonlyargcount else []
    for name in code.co_varnames[code.co_argcount : count]:
        default = (function.__kwdefaults__ or {}).get(name, inspect.Parameter.empty)
        names.append(name if default is inspect.Parameter.empty else f"{name}={_literal(default, 1)}")
    names += ["**" + extra.pop(0)] if code.co_flags & inspect.CO_VARKEYWORDS else []
    return f"{code.co_name}({', '.join(names)})"


def _describe(expression: str, value: Any, detail: str, summary: _Summary) -> dict[str, Any]:
    described: dict[str, Any] = {
        "expression": expression,
        "type": _type_name(type(value)),
        "shape": _text(lambda: _shape(value)),
        "bytes": None,
        "repr": _text(lambda: _full(value, summary)),
    }
    with contextlib.suppress(Exception):
        described["bytes"] = _bytes(value)
    if callable(value):
        described["signature"] = _text(lambda: _signature(value))[:LONG]
    if callable(value) or issubclass(type(value), (type, types.ModuleType)):
        described["docstring"] = _text(lambda: inspect.getdoc(value) or "")[:LONG]
    if detail == "source":
        described["source"] = _text(lambda: inspect.getsource(inspect.unwrap(value)))[: 5 * LONG]
    return described


def _full(value: Any, summary: _Summary) -> str:
    kind = type(value)
    if _type_name(kind).partition(".")[0] in _FETCHING:
        return f"{_type_name(kind)}: not looked into, since that could run a query"
    if id(kind) in _TEXTS and len(value) > LONG:
        return f"{value[: LONG // 2]!r} … {value[-LONG // 4 :]!r} ({len(value)} in all)"
    if kind is int and value.bit_length() > 1000:
        return _literal(value)
    if id(kind) in _SEQUENCES and len(value) > 200:
        first = list(itertools.islice(value, 50))
        text = f"first: {', '.join(map(_item, first))}, …"
    elif kind is dict and len(value) > 200:
        pairs = list(itertools.islice(value.items(), 50))
        text = f"first: {', '.join(f'{_item(k)}: {_item(v)}' for k, v in pairs)}, …"
    else:
        text = repr(value)
    said = None
    if summary is not None:
        with contextlib.suppress(Exception):
            said = summary(value, text)
    return said or (text if len(text) <= LONG else f"{text[:LONG]} … ({len(text)} characters in all)")


def _item(value: Any) -> str:
    return _clipped(_literal(value) if id(type(value)) in _PLAIN | _CONTAINERS else repr(value), 2 * SHORT)


def _signature(value: Any) -> str:
    try:
        return str(inspect.signature(value))
    except (TypeError, ValueError):
        return ""


def _text(read: Callable[[], str]) -> str:
    try:
        return read()
    except _GivenUpError:
        raise
    except BaseException as error:  # noqa: BLE001 - what an object raises when looked at is what there is to show
        return f"<{_name_of(type(error))} while looking at it>"
