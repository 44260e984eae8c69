"""Promise: what surprises an agent is said in one line, only where it is so."""

from __future__ import annotations

import json
import os
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ERAS, RESULT, Home, Shim, fresh_home

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """Both eras of the protocol, one after the other."""
    return str(request.param)


@pytest.fixture(scope="module")
def desk(era: str) -> Iterator[Home]:
    """One daemon for all of an era: nothing here ends it."""
    with fresh_home() as home:
        yield home


@pytest.fixture(scope="module")
def shim(desk: Home, era: str) -> Iterator[Shim]:
    with desk.shim() as shim:
        shim.open(era)
        yield shim


def _shown(shim: Shim, code: str, session: str) -> str:
    content = shim.call("kernel_exec", code=code, session=session)["content"]
    return "\n".join(block["text"] for block in content if block["type"] == "text")


# Cells by their names


def test_warnings_and_printed_tracebacks_name_the_cell(shim: Shim) -> None:
    warned = _shown(shim, "import warnings\ndef old():\n    warnings.warn('old')\nold()", "names")
    assert "Cell In[1], line 3: UserWarning: old" in warned
    later = _shown(shim, "old()", "names")
    assert "another cell, line 3: UserWarning: old" in later
    printed = _shown(shim, "import traceback\ntry:\n    1/0\nexcept Exception: traceback.print_exc()", "names")
    assert "Cell In[3], line 3, in <module>" in printed
    assert "ipykernel_" not in warned + later + printed


def test_what_a_cell_prints_of_such_a_file_itself_stays(shim: Shim) -> None:
    shown = _shown(shim, "import inspect\nprint(inspect.currentframe().f_code.co_filename)", "plain")
    assert "/ipykernel_" in shown


def test_a_crash_names_the_cell_and_counts_the_kernels_own_frames(shim: Shim) -> None:
    told = _shown(shim, "import ctypes\ndef crash():\n    ctypes.string_at(0)\ncrash()", "crash")
    assert "Cell In[1], line 3 in crash\n  Cell In[1], line 4 in <module>\n  … " in told
    assert "frames of the kernel itself …" in told
    assert "interactiveshell" not in told
    assert "string_at" in told


# Modules that were changed


def _write(path: Path, text: str) -> None:
    """A file that is surely older than what is run next, and another one than before."""
    before = path.stat().st_mtime if path.exists() else 0.0
    path.write_text(text)
    os.utime(path, (time.time() - 5, max(before + 1, time.time() - 3600)))


CHANGED = "was changed on disk after execution"


@pytest.mark.parametrize(
    ("imports", "uses"),
    [("import {0}", "{0}.f()"), ("from {0} import f", "f()"), ("import {0} as other", "other.f()")],
)
def test_a_module_that_was_changed_since_it_was_imported_is_named_once(
    desk: Home, shim: Shim, imports: str, uses: str, request: pytest.FixtureRequest
) -> None:
    name = f"helpers_{abs(hash(request.node.callspec.id))}"
    session, file = f"changed-{name}", desk.project / f"{name}.py"
    _write(file, "def f(): return 'first'")
    assert CHANGED not in _shown(shim, imports.format(name), session)
    assert CHANGED not in _shown(shim, uses.format(name), session), "it is as it was"
    _write(file, "def f(): return 'second'")
    assert CHANGED not in _shown(shim, "1 + 1", session), "it is not used"
    told = _shown(shim, uses.format(name), session)
    assert "'first'" in told, "the kernel goes on with the old one"
    assert f"{name}.py {CHANGED}" in told
    assert f"importlib.reload({name})" in told
    assert CHANGED not in _shown(shim, uses.format(name), session), "it was said"
    mended = _shown(
        shim, f"import importlib, {name}; importlib.reload({name}); from {name} import f; {uses.format(name)}", session
    )
    assert CHANGED not in mended
    _write(file, "def f(): return 'third'")
    assert CHANGED in _shown(shim, f"{name}.f()", session)


CHANGED_FILES = {
    "of a package, imported from it": ({"a_pk/__init__": "", "a_pk/a": "1"}, "from a_pk import a", "a_pk/a", "a.x"),
    "behind a package": ({"b_pk/__init__": "from .b import x", "b_pk/b": "1"}, "import b_pk", "b_pk/b", "b_pk.x"),
    "behind a module": ({"c_one": "import c_two", "c_two": "1"}, "import c_one", "c_two", "c_one.c_two.x"),
    "of a namespace": ({"d_ns/inner": "1"}, "import d_ns.inner as i", "d_ns/inner", "i.x"),
    "imported where it may fail": (
        {"e_mod": "1"},
        "try:\n    import e_mod\nexcept ImportError: ...",
        "e_mod",
        "e_mod.x",
    ),
    "in a circle": ({"f_one": "import f_two", "f_two": "import f_one"}, "import f_one", "f_two", "f_one"),
}


def _write_modules(desk: Home, modules: dict[str, str]) -> None:
    for name, code in modules.items():
        file = desk.project / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        _write(file, f"{code}\nx = 1\n" if "import" in code else f"x = 1  # {code}\n" if code else "")


@pytest.mark.parametrize(("modules", "imports", "changed", "uses"), CHANGED_FILES.values(), ids=CHANGED_FILES)
def test_a_file_that_an_import_has_read_is_named_wherever_it_stands(
    desk: Home, shim: Shim, modules: dict[str, str], imports: str, changed: str, uses: str
) -> None:
    session = changed.replace("/", "-")
    _write_modules(desk, modules)
    _shown(shim, imports, session)
    assert CHANGED not in _shown(shim, uses, session)
    _write(desk.project / f"{changed}.py", "x = 2")
    told = _shown(shim, uses, session)
    assert f"{changed.rpartition('/')[2]}.py {CHANGED}" in told
    assert f"importlib.reload({changed.replace('/', '.')})" in told
    assert CHANGED not in _shown(shim, uses, session)


def test_nothing_is_said_of_a_file_that_is_as_it_was_or_of_a_name_that_is_another(desk: Home, shim: Shim) -> None:
    for name in ("touched", "taken", "defined"):
        _write(desk.project / f"{name}.py", "x = 1")
    _shown(shim, "import touched, taken, defined", "as-it-was")
    _write(desk.project / "touched.py", "x = 1")
    assert CHANGED not in _shown(shim, "touched.x", "as-it-was")
    _shown(shim, "taken = 5\ndef defined(): return 6", "as-it-was")
    for name in ("taken", "defined"):
        _write(desk.project / f"{name}.py", "x = 2")
    assert CHANGED not in _shown(shim, "taken, defined()", "as-it-was")


def test_a_module_whose_file_was_removed_or_renamed_is_named_once(desk: Home, shim: Shim) -> None:
    file = desk.project / "renamed_module.py"
    _write(file, "x = 41")
    _shown(shim, "import renamed_module", "removed")
    file.rename(desk.project / "its_new_name.py")
    told = _shown(shim, "renamed_module.x + 1", "removed")
    assert "42" in told
    assert "imported as renamed_module, is no longer there" in told
    assert "no longer there" not in _shown(shim, "renamed_module.x", "removed")


@pytest.mark.parametrize("code", ["%load_ext autoreload\n%autoreload 2", "import sys; sys.path.insert(0, 'elsewhere')"])
def test_nothing_is_said_where_modules_are_read_anew_or_from_elsewhere(desk: Home, shim: Shim, code: str) -> None:
    name = "auto" if "auto" in code else "elsewhere"
    file = desk.project / f"{name}_module.py"
    _write(file, "x = 1")
    _shown(shim, code, name)
    _shown(shim, f"import {name}_module", name)
    _write(file, "x = 2")
    assert CHANGED not in _shown(shim, f"{name}_module.x", name)


def test_a_fresh_kernel_has_read_what_is_there_now(desk: Home, shim: Shim) -> None:
    file = desk.project / "fresh_module.py"
    _write(file, "x = 1")
    _shown(shim, "import fresh_module", "fresh")
    _write(file, "x = 2")
    shim.call("kernel_restart", session="fresh")
    assert CHANGED not in _shown(shim, "import fresh_module; fresh_module.x", "fresh")


# pip


def test_an_environment_without_pip_is_told_what_installs_there(desk: Home, tmp_path: Path) -> None:
    venv.create(desk.project / ".venv", with_pip=False, symlinks=True)
    try:
        with desk.shim("--session", "without-pip") as shim:
            shim.open()
            shown = _shown(shim, "import sys; get_ipython().system(f'{sys.executable} -m pip install tiny')", "")
            silent = _shown(shim, "print('No module named pip is what it says')", "")
            other = _shown(shim, f"!{sys.executable} -m pip install pip", "")
    finally:
        os.rename(desk.project / ".venv", tmp_path / "venv")
    assert "No module named pip" in shown
    (line,) = (line for line in shown.splitlines() if line.startswith("pip is not in this kernel's environment"))
    assert "PACKAGE" in line
    assert "pip is not in" not in silent
    assert "Requirement already satisfied" in other
    assert line in other, "that pip is of another Python, and installs there"


# What cannot be carried


def test_half_a_surrogate_pair_is_named_with_its_place(shim: Shim) -> None:
    call = {"name": "kernel_exec", "arguments": {"code": "x = '\ud83d'"}}
    shim.write(json.dumps({"jsonrpc": "2.0", "id": "half", "method": "tools/call", "params": call}).encode())
    error = shim.answer("half")["error"]["message"]
    assert "params.arguments.code: its character 6, U+D83D" in error


# What does otherwise here than at a prompt


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("!read x", "cannot be given input here"),
        ("if True:\n    !read x", "cannot be given input here"),
        ("y = !sleep 600", ""),
        ("%%bash\nsleep 600 &\necho begun", "closed its output"),
        ("%%bash\nsleep 600 && echo done", ""),
        ("import time\nif 1 != 2: time.sleep(600)", ""),
        ("input()", ""),
    ],
)
def test_a_command_that_may_wait_for_ever_is_explained_while_it_runs(shim: Shim, code: str, words: str) -> None:
    session = f"shell-{abs(hash(code))}"
    result = shim.call("kernel_exec", code=code, session=session, timeout=1)
    try:
        lines = result["content"][0]["text"].splitlines()
        assert result["_meta"][RESULT]["status"] in ("running", "waiting for input"), result
        assert [line for line in lines if "cannot be given" in line or "closed its output" in line] == [
            line for line in lines if words and words in line
        ]
        assert not words or any(words in line for line in lines)
    finally:
        shim.call("kernel_restart", session=session, force=True)


def test_a_console_that_interrupts_do_not_end_is_told_how_it_ends(shim: Shim) -> None:
    asks = _shown(shim, "x = 5\nimport code; code.interact(local=globals())", "console")
    assert "Interrupts do not end code.interact(), kernel_reply(execution_id=" in asks
    assert "stops it" not in asks
    told = shim.call("kernel_interrupt", session="console")["content"][0]["text"]
    assert "still runs: it catches KeyboardInterrupt, at line 2" in told
    assert "text='raise SystemExit') does." in told
    ended = shim.call("kernel_reply", session="console", text="raise SystemExit")
    assert ended["_meta"][RESULT]["status"] == "error"
    assert "5" in _shown(shim, "x", "console"), "the kernel has its variables"


@pytest.mark.parametrize("code", ["input('>>> ')", "interaction = input('Which one? ')"])
def test_a_question_that_an_interrupt_ends_has_no_such_words(shim: Shim, code: str) -> None:
    asks = _shown(shim, code, "question")
    assert "stops it" in asks
    assert "interact()" not in asks
    assert "(interrupted)" in shim.call("kernel_interrupt", session="question")["content"][0]["text"]


def test_a_cell_that_asks_again_after_each_interrupt_is_said_to(shim: Shim) -> None:
    code = "while True:\n    try:\n        x = input('again ')\n        break\n    except KeyboardInterrupt: pass"
    _shown(shim, code, "again")
    told = shim.call("kernel_interrupt", session="again")["content"][0]["text"]
    assert "It asks again for a line of input: again · answer: kernel_reply(" in told
    assert "C code" not in told
    assert shim.call("kernel_reply", session="again", text="y")["_meta"][RESULT]["status"] == "ok"


def test_a_breakpoint_is_not_passed_over_in_silence(shim: Shim) -> None:
    assert "breakpoint() stops nothing" in _shown(shim, "x = 1\nbreakpoint()\nprint('on')", "break")
    for code in ("def f():\n    breakpoint()", "print('breakpoint()')", "x = 2"):
        assert "stops nothing" not in _shown(shim, code, "break")


def test_a_number_that_is_too_long_is_named_with_its_place(shim: Shim) -> None:
    call = json.dumps({"name": "kernel_exec", "arguments": {"code": "41 + 1", "timeout": "N"}, **shim.said})
    line = f'{{"jsonrpc": "2.0", "id": 17, "method": "tools/call", "params": {call}}}'
    shim.write(line.replace('"N"', "9" * 5000).encode())
    error = shim.answer(17)["error"]["message"]
    assert "params.arguments.timeout: a number of 5,000 digits" in error
    shim.write(line.replace("17", "18").replace('"N"', "60").encode())
    assert "42" in str(shim.answer(18)["result"])
