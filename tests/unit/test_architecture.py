"""ARCHITECTURE.md stays true: its map names what there is, and nothing else; its files exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
MAP = TEXT.split("## The map")[1].split("\n## ")[0]


def test_the_map_names_every_package_and_nothing_else() -> None:
    rows = re.findall(r"^\| (`.*?) \|", MAP, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    package = ROOT / "kernel_supervisor"
    modules = {f"kernel_supervisor/{path.name}" for path in package.glob("*.py") if path.name != "__init__.py"}
    packages = {f"kernel_supervisor/{path.parent.name}" for path in package.glob("*/__init__.py")}
    assert named == modules | packages | {"mcp_shim", "systemd", "launchd", "plugin", "tests", "docs", "benchmarks"}


def test_every_file_it_names_exists() -> None:
    places = [ROOT, ROOT / "kernel_supervisor"]
    ours = ("kernel_supervisor", "mcp_shim", "tests", "benchmarks")  # and not what is installed beside them
    files = [*ROOT.glob("*"), *(path for folder in ours for path in (ROOT / folder).rglob("*.*"))]
    for name in re.findall(r"`([\w/*]+\.(?:py|md|toml))`", TEXT):
        assert any(list(place.glob(name)) for place in places) or any(path.match(name) for path in files), name


def test_the_five_changes_begin_where_it_says() -> None:
    table = TEXT.split("## Five changes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", table, re.MULTILINE)[1:]
    assert [change for change, _, _ in rows] == [
        "a tool", "a kind of kernel", "how text is cut", "an export format", "what is kept how long"
    ]  # fmt: skip
    for _, begin, then in rows:
        for name, members in re.findall(r"`([\w/]+\.py)`(?: \((`.*?`)\))?", f"{begin} {then}"):
            source = (ROOT / "kernel_supervisor" / name).read_text("utf-8")
            for member in re.findall(r"`(\w+)`", members):
                assert re.search(rf"^(?:class |def )?{member}\b", source, re.MULTILINE), f"{member} in {name}"


def test_every_dependency_is_explained() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()  # not by tomllib: Python 3.10 has none
    needed = re.search(r"^dependencies = \[(.*?)^\]", pyproject, re.DOTALL | re.MULTILINE)
    extras = re.findall(r"^(?:demo|pdf|svg) = \[(.*?)\]", pyproject, re.MULTILINE)
    assert needed
    table = TEXT.split("## Why each dependency")[1]
    for name in re.findall(r'"([\w-]+)[<>=]', needed[1] + " ".join(extras)):
        assert re.search(rf"\b{re.escape(name)}\b", table), name
