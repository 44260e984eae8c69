"""`core.tracebacks`: errors as IPython 7 to 9 write them, told exception first; `tracebacks.json` holds real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.outputs.tracebacks import cell_counts, explain, folds

RECORDED: dict[str, dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("tracebacks.json").read_text(encoding="utf-8")
)
VERSIONS = sorted(RECORDED)
NEWEST = RECORDED["9.18.1"]


def told(name: str, version: str = "9.18.1") -> str:
    error = RECORDED[version][name]
    return explain(error, current=error["count"], cells={43: 512})


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "7.34.0"])
def test_exception_comes_first_then_the_cells_with_the_line_marked(version: str) -> None:
    assert told("func", version) == (
        "ZeroDivisionError: division by zero\n\n"
        "Cell In[2], line 5\n      2     y = 1\n      3     return y/x\n----> 5 f(0)\n\n"
        "Cell In[2], line 3, in f(x)\n      1 def f(x):\n      2     y = 1\n----> 3     return y/x"
    )


def test_old_ipython_names_cells_the_same_way() -> None:
    text = told("func", "7.34.0")
    assert text.startswith("ZeroDivisionError: division by zero\n\nCell In[2], line 5\n")
    assert "\n\nCell In[2], line 3, in f(x)\n" in text
    assert "<ipython-input" not in text


@pytest.mark.parametrize("version", VERSIONS)
def test_library_frames_are_one_line_each(version: str) -> None:
    text = told("json", version)
    assert text.startswith("JSONDecodeError: Expecting property name")
    assert "----> 2 json.loads('{bad')" in text
    lines = [line for line in text.split("\n") if line.startswith("  json/")]
    assert lines[0] == "  json/__init__.py:346 in loads: return _default_decoder.decode(s)"
    assert len(lines) == 3
    assert folds(RECORDED[version]["json"])


def test_full_traceback_shows_library_code_too() -> None:
    text = explain(NEWEST["json"], current=4, full=True)
    assert "    353     obj, end = self.scan_once(s, idx)" in text.replace("--> 353", "    353")
    assert not folds(NEWEST["func"])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_users_own_modules_are_shown_with_their_code(version: str) -> None:
    assert '---> 10     raise RuntimeError("inside the library")' in told("lib", version)


def test_a_long_run_of_library_frames_is_counted() -> None:
    frame = "File /usr/lib/python3.12/deep.py:{0}, in f(x)\n----> {0}     g()\n"
    frames = [frame.format(number) for number in range(1, 31)]
    text = explain({"ename": "E", "evalue": "v", "traceback": ["-" * 75, TITLE, CELL, *frames, "E: v"]})
    assert "  … 18 more library frames …" in text
    assert "  deep.py:1 in f: g()" in text
    assert "  deep.py:30 in f: g()" in text
    assert "deep.py:15" not in text


@pytest.mark.parametrize("version", VERSIONS)
def test_causes_follow_what_they_caused(version: str) -> None:
    text = told("chain", version)
    assert text.startswith("ValueError: bad value\n\nCell In[5], line 6\n")
    assert "\n\nCaused by:\nKeyError: 'k'\n\nCell In[5], line 3, in g()\n" in text


def test_an_error_in_handling_another_names_it() -> None:
    assert "\n\nRaised while handling:\nZeroDivisionError: division by zero\n\n" in told("ctx")


def test_notes_stand_with_the_message() -> None:
    assert told("notes").startswith("ValueError: with note\nfirst note\nsecond note\n\nCell In[7], line 4\n")


@pytest.mark.parametrize("version", ["7.34.0", "8.12.3", "8.37.0", "9.18.1"])
def test_syntax_error_keeps_its_caret(version: str) -> None:
    assert told("syntax", version) == "SyntaxError: invalid syntax\n\nCell In[8], line 1\n    x = = 3\n        ^"


def test_syntax_error_of_8_0_keeps_its_caret() -> None:
    assert told("syntax", "8.0.1") == "SyntaxError: invalid syntax\n\nInput In [8]\n    x = = 3\n        ^"


@pytest.mark.parametrize("version", VERSIONS)
def test_syntax_error_in_a_module_names_cell_and_module(version: str) -> None:
    text = told("importsyn", version)
    assert text.startswith("SyntaxError: '(' was never closed\n\n  ")
    assert "[25]" in text
    assert "brokenmod.py" in text
    assert "interactiveshell" not in text
    assert text.count("was never closed") == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_code_of_an_earlier_execution_names_it(version: str) -> None:
    text = told("late", version)
    assert text.startswith("LookupError: in earlier cell\n\nCell In[44], line 1\n----> 1 later()\n\n")
    assert "\n\nCell In[43], line 2 (execution 512), in later()\n" in text
    assert cell_counts(RECORDED[version]["late"]) == {43, 44}


def test_code_of_an_unknown_earlier_execution_is_called_that() -> None:
    assert "Cell In[43], line 2 (an earlier cell), in later()" in explain(NEWEST["late"], current=44)


def test_repeated_frames_stay_counted() -> None:
    assert "… the same frame 990 more times …" in told("recursion")


def test_message_that_looks_like_a_frame_stays_a_message() -> None:
    text = told("multi")
    assert text.startswith("ValueError: line one\nline two\n  Cell In[9], line 3\n\nCell In[14], line 1\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exit", "SystemExit: 3\nThe cell is over; the kernel runs on, with its variables."),
        ("group", "ExceptionGroup: many (2 sub-exceptions)"),
        ("minerr", "ZeroDivisionError: division by zero"),
        ("nomsg", "RuntimeError\n\nCell In[13], line 1\n----> 1 raise RuntimeError"),
    ],
)
def test_short_errors(name: str, expected: str) -> None:
    assert told(name) == expected


def test_other_modes_put_the_exception_first_too() -> None:
    assert told("plainerr").startswith("RuntimeError: inside the library\n\n  Cell In[32], line 2\n")
    assert told("docerr").startswith("ZeroDivisionError: division by zero\n\n")
    assert "        x = 0" in told("verberr")


def test_another_language_is_shown_whole() -> None:
    error = {
        "ename": "ERROR",
        "evalue": "no such thing",
        "traceback": ["\x1b[31mError in f():\x1b[0m", "1: g()", "2: f()"],
    }
    assert explain(error) == "ERROR: no such thing\n\nError in f():\n1: g()\n2: f()"


def test_an_error_without_traceback_is_its_summary() -> None:
    assert explain({"ename": "KeyError", "evalue": "'x'", "traceback": []}) == "KeyError: 'x'"
    assert explain({}) == "error"


TITLE = "E                         Traceback (most recent call last)"
CELL = "Cell In[1], line 1\n----> 1 g()\n"
ELEMENTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "-" * 75,
            TITLE,
            CELL,
            "E: v",
            "Traceback (most recent call last):",
            '  File "<ipython-input-3-ab>", line 1',
            "File /usr/lib/python3.12/a.py:3, in f(x)\n----> 3 y",
            "<stdin> in f",
            "    [... skipping similar frames: r]",
            "\nThe above exception was the direct cause of the following exception:\n",
            "Cell In[2], line 1, in <module>",
        ]
    ),
)


@given(st.text(max_size=20), st.text(max_size=20), st.lists(ELEMENTS, max_size=12), st.booleans())
def test_nothing_written_is_lost(name: str, value: str, traceback: list[str], full: bool) -> None:
    text = explain({"ename": name, "evalue": value, "traceback": ["unique-mark", *traceback]}, current=1, full=full)
    assert text.encode("utf-8")
    assert "unique-mark" in text


@given(st.sampled_from(VERSIONS), st.data())
def test_any_part_of_a_real_traceback_is_told(version: str, data: st.DataObject) -> None:
    error = RECORDED[version][data.draw(st.sampled_from(sorted(RECORDED[version])))]
    kept = data.draw(st.lists(st.sampled_from(error["traceback"] or [""]), max_size=8))
    assert explain({**error, "traceback": kept}).strip()


def test_code_that_cython_compiled_is_library_code() -> None:
    head = "File pandas/_libs/index.pyx:172, in pandas._libs.index.IndexEngine.get_loc()"
    frame = f"{head}\n--> 172 'Could not get source, probably due dynamically evaluated source code.'"
    text = explain({"ename": "KeyError", "evalue": "'b'", "traceback": [frame, "KeyError: 'b'"]})
    assert text == "KeyError: 'b'\n\n  pandas/_libs/index.pyx:172 in pandas._libs.index.IndexEngine.get_loc"


def test_frozen_modules_and_code_from_strings_are_named_plainly() -> None:
    frozen = "File <frozen importlib._bootstrap>:1204, in _gcd_import(name, package, level)"
    string = "File <string>:2, in f()\n      1 'Could not get source, probably due dynamically evaluated source code.'"
    text = explain({"ename": "E", "evalue": "", "traceback": [frozen, string, "E: "]})
    assert text == "E\n\n  importlib._bootstrap:1204 in _gcd_import\n\nFile <string>:2, in f() (source not available)"


def test_frames_that_ipython_skipped_are_counted_with_those_it_showed() -> None:
    frame = "Cell In[1], line 2, in f(n)\n----> 2 f(n)"
    skipped = "    [... skipping similar frames: f at line 2 (970 times)]"
    text = explain({"ename": "R", "evalue": "deep", "traceback": [frame, frame, skipped, frame, "R: deep"]})
    assert text == f"R: deep\n\n{frame}\n\n  … the same frame 972 more times …"
