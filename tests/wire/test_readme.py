"""Promise: what the README says of tools, commands, variables and set-up is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kernel_supervisor
from kernel_supervisor.cli.main import main
from kernel_supervisor.mcp.registry import TOOLS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def _table(heading: str) -> dict[str, list[str]]:
    """The names in the first column of a section's table, with what is in backquotes in the last one."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \|(?:.*\|)?([^|]*)\|$", section, re.MULTILINE)
    return {name: re.findall(r"`([^`]+)`", last) for name, last in rows}


def _help(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_readme_lists_every_tool_with_its_arguments() -> None:
    assert _table("The tools") == {name: list(tool.model.model_fields) for name, tool in TOOLS.items()}


def test_readme_lists_every_command_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^    ([\w-]+)(?:  |$)", _help(capsys), re.MULTILINE)
    assert commands, "the form of argparse's help is another"
    options = {name: set(re.findall(r"--[\w-]+", _help(capsys, name).split("options:")[1])) for name in commands}
    expected = {name: found - {"--help"} for name, found in options.items()}
    assert {name: set(found) for name, found in _table("The command line").items()} == expected


def test_readme_lists_every_environment_variable() -> None:
    sources = Path(kernel_supervisor.__file__).parent.rglob("*.py")
    named = {name for path in sources for name in re.findall(r"KERNEL_SUPERVISOR_[A-Z_]+", path.read_text("utf-8"))}
    assert set(_table("Environment variables")) == named


def test_readme_test_command_is_what_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    (command,) = [line for line in script if line.startswith("python3 ")]
    assert command + "\n" in BLOCKS


def test_readme_names_only_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_changelog_has_the_version_that_is_installed() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[?([\d.]+)", changelog, re.MULTILINE)[0] == kernel_supervisor.__version__
