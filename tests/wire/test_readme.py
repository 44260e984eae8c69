"""Promise: what README and docs say of tools, commands, variables and set-up is what there is."""

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
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _table(page: str, heading: str = "") -> dict[str, list[str]]:
    """The names in the first column of a page's table, with what is in backquotes in the last one."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0] if heading else text
    rows = re.findall(r"^\| `([^`]+)` \|(?:.*\|)?([^|]*)\|$", section, re.MULTILINE)
    return {name: re.findall(r"`([^`]+)`", last) for name, last in rows}


def _help(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_docs_list_every_tool_with_its_arguments() -> None:
    assert _table("tools") == {name: list(tool.model.model_fields) for name, tool in TOOLS.items()}


def test_docs_list_every_command_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^    ([\w-]+)(?:  |$)", _help(capsys), re.MULTILINE)
    assert commands, "the form of argparse's help is another"
    options = {name: set(re.findall(r"--[\w-]+", _help(capsys, name).split("options:")[1])) for name in commands}
    expected = {name: found - {"--help"} for name, found in options.items()}
    assert {name: set(found) for name, found in _table("command-line").items()} == expected


def test_docs_list_every_environment_variable() -> None:
    sources = Path(kernel_supervisor.__file__).parent.rglob("*.py")
    named = {name for path in sources for name in re.findall(r"KERNEL_SUPERVISOR_[A-Z_]+", path.read_text("utf-8"))}
    assert set(_table("environments", "Environment variables")) == named


def test_readme_test_command_is_what_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    (command,) = [line for line in script if line.startswith("python3 ")]
    assert command + "\n" in BLOCKS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_lead_only_to_what_there_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^):]+)\)|src=\"([^\":]+)\"", text)
    for link in (first or second for first, second in links):
        path, _, section = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_file(), link
        assert not section or section in _sections(target), link


def _sections(page: Path) -> list[str]:
    """What GitHub calls its headings in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]


def test_every_page_can_be_found_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", README))
    assert linked == {page.name for page in PAGES[1:]}


def test_changelog_has_the_version_that_is_installed() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[?([\d.]+)", changelog, re.MULTILINE)[0] == kernel_supervisor.__version__
