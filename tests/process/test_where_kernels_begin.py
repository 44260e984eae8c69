"""Promise: where a kernel works, if not in its project, and what of a profile failed is said, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ERAS, Home, Shim, fresh_home

pytestmark = pytest.mark.timeout(180)
BEGIN_THERE = "relative paths begin there"


@pytest.fixture(scope="module", params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """Both eras of the protocol, one after the other."""
    return str(request.param)


@pytest.fixture(scope="module")
def desk(era: str) -> Iterator[Home]:
    """One daemon for all of an era: nothing here ends it."""
    with fresh_home() as home:
        (home.project / "data.csv").write_text("a,b\n1,2\n")
        (home.project / "tools_of_ours.py").write_text("x = 1\n")
        (home.project / "elsewhere").mkdir()
        yield home


@pytest.fixture
def shim(desk: Home, era: str) -> Iterator[Shim]:
    """A client that nothing was said to yet."""
    with desk.shim() as shim:
        shim.open(era)
        yield shim


def _text(shim: Shim, tool: str, **arguments: object) -> str:
    content = shim.call(tool, **arguments)["content"]
    return "\n".join(block["text"] for block in content if block["type"] == "text")


def _run(shim: Shim, code: str, session: str) -> str:
    return _text(shim, "kernel_exec", code=code, session=session)


# Where it works


def test_the_status_says_where_a_kernel_works_that_left_its_project(desk: Home, shim: Shim) -> None:
    _run(shim, "1", "moved")
    assert BEGIN_THERE not in _text(shim, "kernel_status", session="moved")
    _run(shim, "%cd elsewhere", "moved")
    status = _text(shim, "kernel_status", session="moved")
    assert f"the kernel works in {desk.project}/elsewhere, not in {desk.project}: {BEGIN_THERE}" in status
    _run(shim, "import os; os.chdir('..')", "moved")
    assert BEGIN_THERE not in _text(shim, "kernel_status", session="moved")


@pytest.mark.parametrize("tool", ["kernel_exec", "kernel_status", "kernel_list_vars"])
def test_who_comes_to_such_a_kernel_is_told_with_the_first_result_and_once(desk: Home, shim: Shim, tool: str) -> None:
    session = f"for-{tool}"
    assert BEGIN_THERE not in _run(shim, "import os; os.chdir('elsewhere')", session), "it did that itself"
    assert BEGIN_THERE not in _run(shim, "1", session)
    with desk.shim() as later:
        later.open()
        arguments = {"code": "1"} if tool == "kernel_exec" else {}
        assert _text(later, tool, session=session, **arguments).count(BEGIN_THERE) == 1
        assert BEGIN_THERE not in _run(later, "1", session)


def test_nothing_is_said_where_the_first_call_itself_goes_back(desk: Home, shim: Shim) -> None:
    _run(shim, "import os; os.chdir('elsewhere')", "back")
    with desk.shim() as later:
        later.open()
        assert BEGIN_THERE not in _run(later, "os.chdir('..')", "back")
    with desk.shim() as later:
        later.open()
        assert BEGIN_THERE not in _run(later, "1", "back")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("open('data.csv')", "data.csv"),
        ("import pandas as pd\npd.read_csv('data.csv')", "data.csv"),
        ("import polars as pl\npl.read_csv('data.csv')", "data.csv"),
        ("import tools_of_ours", "tools_of_ours.py"),
        ("from pathlib import Path\nPath('./data.csv').read_text()", "data.csv"),
    ],
)
def test_what_is_not_found_from_there_is_said_to_be_in_the_project(
    desk: Home, shim: Shim, code: str, name: str
) -> None:
    _run(shim, f"import os; os.chdir({str(desk.project / 'elsewhere')!r})", "astray")
    shown = _run(shim, code, "astray")
    assert f"{name} is in {desk.project}, but the kernel works in {desk.project}/elsewhere now" in shown
    _run(shim, f"os.chdir({str(desk.project)!r})", "astray")
    assert "the kernel works in" not in _run(shim, code + "\nopen('no such file')", "astray")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("open('nothing.csv')", True),
        ("open('/nothing/at/all.csv')", False),
        ("import nothing_at_all", False),
        ("{'data.csv': 1}['other.csv']", False),
        ("raise ValueError(\"column 'a' not found\")", False),
    ],
)
def test_only_what_a_directory_may_be_to_blame_for_has_words_about_it(
    desk: Home, shim: Shim, code: str, said: bool
) -> None:
    _run(shim, f"import os; os.chdir({str(desk.project / 'elsewhere')!r})", "blame")
    assert ("the kernel works in" in _run(shim, code, "blame")) is said


def test_an_error_of_before_is_not_explained_by_where_the_kernel_works_now(desk: Home, shim: Shim) -> None:
    _run(shim, "import os", "before")
    result = shim.call("kernel_exec", code="open('nothing.csv')", session="before")
    number = int(result["content"][0]["text"].partition("execution ")[2].split()[0])
    _run(shim, "os.chdir('elsewhere')", "before")
    assert "the kernel works in" not in _text(shim, "kernel_output", execution_id=number)


# What failed at the start


def _profile(folder: Path, **files: str) -> dict[str, str]:
    """The variable that has a kernel begin with these: `startup_…` are startup files, the others its configuration."""
    for name, code in files.items():
        place = "startup/" if name.startswith("startup_") else ""
        file = folder / "profile_default" / f"{place}{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    return {"IPYTHONDIR": str(folder)}


FAILED = "as this kernel started, this failed: "


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"startup_0": "1/0", "startup_1": "x = 1"}, ["startup_0.py (and 1 after it not run): ZeroDivisionError"]),
        ({"startup_0": "def f(:\n"}, ["startup_0.py: SyntaxError"]),
        ({"startup_0": "import no_such_thing"}, ["startup_0.py: ModuleNotFoundError: No module named 'no_such_thing'"]),
        ({"ipython_kernel_config": "c = get_config()\nc.X = nothing"}, ["ipython_kernel_config.py: NameError"]),
        ({"ipython_config": "c.InteractiveShellApp.exec_lines = ['1/0']"}, ["1/0: ZeroDivisionError"]),
        (
            {"ipython_config": "c.InteractiveShellApp.extensions = ['no_such_one']"},
            ["no_such_one: ModuleNotFoundError"],
        ),
        ({"startup_0": "x = 1", "ipython_config": "c.InteractiveShell.colors = 'NoColor'"}, []),
        ({f"startup_{n}": f"raise ValueError({chr(0x1F600) * 500!r})" for n in range(5)}, ["4 after it not run"]),
        ({"ipython_config": f"c.InteractiveShellApp.extensions = {[chr(0x1F600) * 500] * 5}"}, [", this failed: "]),
        ({"startup_0": f"raise ValueError({'long ' * 5000!r})"}, ["startup_0.py: ValueError: long long"]),
    ],
)
def test_what_failed_as_a_kernel_started_is_said_with_its_first_result(
    desk: Home, tmp_path: Path, files: dict[str, str], said: list[str]
) -> None:
    with desk.shim(env={**desk.env, **_profile(tmp_path, **files)}) as shim:
        shim.open()
        session = f"profile-{tmp_path.name}"
        first = _run(shim, "40 + 2", session)
        lines = [line for line in first.splitlines() if FAILED in line]
        assert len(lines) == bool(said)
        assert all(part in lines[0] for part in said), lines
        assert "42" in first
        assert FAILED not in _run(shim, "1", session)


def test_each_start_of_a_kernel_is_told_of(desk: Home, tmp_path: Path) -> None:
    profile = _profile(tmp_path, startup_0="1/0")
    with desk.shim(env={**desk.env, **profile}) as shim:
        shim.open()
        assert FAILED in _run(shim, "1", "starts")
        assert FAILED not in _text(shim, "kernel_restart", session="starts")
        assert FAILED in _run(shim, "1", "starts")
        (tmp_path / "profile_default/startup/startup_0.py").write_text("x = 41")
        shim.call("kernel_restart", session="starts")
        mended = _run(shim, "x + 1", "starts")
        assert FAILED not in mended
        assert "42" in mended
