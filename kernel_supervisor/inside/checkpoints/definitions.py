"""Which functions and classes people wrote in `__main__`, by what name they are known, and what their source is.

Runs *inside* kernels, loaded by `pickling.py`: stdlib only, Python 3.8 and later. Nothing of the user's is called.
Sources are those of the cells, which IPython leaves with `linecache`, and of files.
"""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import re
import textwrap
import types
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

CACHED: Any = type(functools.lru_cache(maxsize=None)(len))
_OF_IPYTHON = re.compile(r"_{1,3}$|_i{1,3}$|_i?\d+$")
"""Names that IPython binds to what cells returned."""
_NEW_LOCALS = 0x2
_FUTURE = "from __future__ import annotations\n"
"""What an earlier cell has said for all later ones, and a source has to say again."""
_Statement = Any


class Definition:
    """A function or class by name. `kind`: function, lambda, cached (by `lru_cache`), class; or decorated: a closure,
    which is saved as an ordinary value and is here for its source alone. `needs` are the names that running the source
    looks up; `file` and `line` are where it stands."""

    __slots__ = ("file", "kind", "line", "needs", "source")

    def __init__(self, kind: str, source: str = "", needs: Any = (), file: str = "", line: int = 0) -> None:
        self.kind, self.source, self.needs, self.file, self.line = kind, source, frozenset(needs), file, line


class Definitions:
    """What is defined in one namespace."""

    def __init__(self, namespace: Dict[str, Any]) -> None:
        self.namespace = namespace
        self._sources = _Sources()
        self._kinds: Dict[int, str] = {}
        self._names: Dict[int, str] = {}
        self._all: Dict[str, Definition] = {}
        for name, value in list(namespace.items()):
            kind = "" if type(name) is not str or _OF_IPYTHON.match(name) else self._kind(value)
            if not kind:
                continue
            if id(value) not in self._names or name == _own_name(value):
                self._names[id(value)], self._kinds[id(value)] = name, kind

    def all(self) -> Dict[str, Definition]:
        """Each definition by its name."""
        for key, name in self._names.items():
            if name not in self._all:
                self._all[name] = self._definition(name, self.namespace[name], self._kinds[key])
        return self._all

    def place(self, name: str) -> Optional[Tuple[str, int, str]]:
        """File, line and text of a definition that stands in a cell."""
        told = self.all().get(name)
        if told is None or not _cell(told.file, {""}):
            return None
        text = told.source[len(_FUTURE) :] if told.source.startswith(_FUTURE) else told.source
        return told.file, told.line, text

    def path(self, value: Any) -> str:
        """By which name a function or class is found: "f", "Outer.Inner"; "" where it is not a definition."""
        found = self._names.get(id(value), "")
        if found:
            return found if self._kinds[id(value)] != "decorated" else ""
        root, *rest = _qualified(value).split(".")
        outer = self.namespace.get(root) if rest else None
        if outer is None or self._kinds.get(id(outer)) != "class":
            return ""
        inner = outer
        for part in rest:
            if not issubclass(type(inner), type):
                return ""
            inner = _space(inner).get(part)
            inner = inner.__func__ if type(inner) is staticmethod else inner
        return ".".join([self._names[id(outer)], *rest]) if inner is value else ""

    def _kind(self, value: Any) -> str:
        if type(value) is types.FunctionType:
            if value.__globals__ is not self.namespace:
                return "decorated" if self._wrapped(value) else ""
            if value.__closure__:
                return "decorated"
            return "lambda" if value.__name__ == "<lambda>" else "function"
        if type(value) is CACHED:
            inner = vars(value).get("__wrapped__")
            mine = type(inner) is types.FunctionType and inner.__globals__ is self.namespace
            return "cached" if mine and not inner.__closure__ else "decorated" if mine else ""
        if issubclass(type(value), type):
            return "class" if _space(value).get("__module__") == self.namespace.get("__name__") else ""
        return ""

    def _wrapped(self, value: Any) -> Optional[types.FunctionType]:
        """The function of this namespace that decorators were put around."""
        for _ in range(20):
            if type(value) not in (types.FunctionType, CACHED):
                return None
            inner = vars(value).get("__wrapped__")
            if inner is None:
                break
            value = inner
        return value if type(value) is types.FunctionType and value.__globals__ is self.namespace else None

    def _definition(self, name: str, value: Any, kind: str) -> Definition:
        if kind == "class":
            found, functions = self._sources.of_class(name, value), list(_space(value).values())
        else:
            function = self._wrapped(value)
            found = function and self._sources.of_function(name, function, decorated=function is not value)
            functions = [function]
        if not found:
            return Definition(kind)
        file, line, source = found
        codes = [each.__code__ for each in functions if type(each) is types.FunctionType]
        if any(code.co_flags & __future__.annotations.compiler_flag for code in codes):
            source = _FUTURE + source
        return Definition(kind, source, (_looked_up(source) & set(self.namespace)) - {name, "__name__"}, file, line)


class _Sources:
    """The statements of cells and files, parsed once."""

    def __init__(self) -> None:
        self._statements: Dict[str, List[_Statement]] = {}

    def of_function(self, name: str, function: Any, *, decorated: bool) -> Optional[Tuple[str, int, str]]:
        """File, line and text of the statement that defines `function` and nothing else."""
        code = function.__code__
        for node in self._of_file(code.co_filename):
            if not _start(node) <= code.co_firstlineno <= (node.end_lineno or 0):
                continue
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                fits = node.name == code.co_name and _start(node) == code.co_firstlineno
                if fits and (node.decorator_list or not decorated):
                    return self._text(code.co_filename, node)
            elif _assigns(node) and isinstance(node.value, ast.Lambda) and not decorated:
                return self._text(code.co_filename, node)
        return None

    def of_class(self, name: str, value: Any) -> Optional[Tuple[str, int, str]]:
        """File, line and text of the statement that defines a class, known by its methods or by its name alone."""
        if "<locals>" in _qualified(value):
            return None
        own, wanted = _space(value), {name, value.__name__}
        codes = [each.__code__ for each in own.values() if type(each) is types.FunctionType]
        files = [code.co_filename for code in codes if code.co_filename in linecache.cache]
        first = own.get("__firstlineno__", 0)
        for file in dict.fromkeys(files if files else reversed(list(linecache.cache))):
            if not files and not _cell(file, wanted):
                continue
            for node in reversed(self._of_file(file)):
                if isinstance(node, ast.ClassDef) and node.name in wanted:
                    if not first or first == _start(node):
                        return self._text(file, node)
                elif _assigns(node) and isinstance(node.value, ast.Call) and node.targets[0].id in wanted:
                    return self._text(file, node)
        return None

    def _of_file(self, file: str) -> List[_Statement]:
        if file not in self._statements:
            try:
                tree = compile("".join(linecache.getlines(file)), file, "exec", ast.PyCF_ONLY_AST | 0x2000)
                self._statements[file] = list(_at_top(tree.body))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                self._statements[file] = []
        return self._statements[file]

    def _text(self, file: str, node: _Statement) -> Tuple[str, int, str]:
        lines = linecache.getlines(file)[_start(node) - 1 : node.end_lineno]
        return file, _start(node), textwrap.dedent("".join(lines))


def place_of(code: Any) -> Optional[Tuple[str, int, str]]:
    """Where the source of a function from a cell stands, and its text, so that tracebacks have it after a restore."""
    entry: Any = linecache.cache.get(code.co_filename)
    if entry is None or len(entry) != 4 or entry[1] is not None:  # none, or a file, which is where it was
        return None
    last = max([code.co_firstlineno, *(line for _, line in _lines(code))])
    text = "".join(entry[2][code.co_firstlineno - 1 : last])
    return (code.co_filename, code.co_firstlineno, text) if text else None


def _lines(code: Any) -> Iterator[Tuple[int, int]]:
    import dis  # loaded already, by cloudpickle

    yield from ((0, line) for _, line in dis.findlinestarts(code) if line)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _lines(constant)


def _at_top(statements: List[_Statement]) -> Iterator[_Statement]:
    """The statements of a cell, and those under its `if`, `try`, `with` and loops."""
    for node in statements:
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for field in ("body", "orelse", "finalbody", "handlers"):
            inner = getattr(node, field, None)
            if isinstance(inner, list):
                yield from _at_top(inner)


def _start(node: _Statement) -> int:
    decorators = getattr(node, "decorator_list", None) or [node]
    return int(min(node.lineno, decorators[0].lineno))


def _assigns(node: _Statement) -> bool:
    return isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)


def _cell(file: str, names: Set[str]) -> bool:
    entry: Any = linecache.cache.get(file)
    if entry is None or len(entry) != 4 or entry[1] is not None:
        return False
    return any(name in line for line in entry[2] for name in names)


def _looked_up(source: str) -> Set[str]:
    """The names that running `source` looks up: decorators, defaults, bases, what stands in the body of a class."""
    try:
        code = compile(source, "<definition>", "exec", 0x2000)
    except (SyntaxError, ValueError):
        return set()
    return _names_in(code)


def _names_in(code: Any) -> Set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType) and (
            not constant.co_flags & _NEW_LOCALS or (constant.co_name.startswith("<") and constant.co_name != "<lambda>")
        ):
            names |= _names_in(constant)
    return names


def _own_name(value: Any) -> str:
    return _qualified(value) or str(getattr(value, "__name__", ""))


def _qualified(value: Any) -> str:
    name = getattr(value, "__qualname__", "")
    return name if type(name) is str else ""


def _space(kind: Any) -> Any:
    """The dict of a class, past a metaclass's own `__dict__`."""
    return type.__dict__["__dict__"].__get__(kind)
