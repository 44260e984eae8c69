"""Promise: what is released is whole, says what it is, and has nothing in it that is ours alone."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

from tests.packages.conftest import ROOT, Built

UNITS = {"kernel_supervisor/units/systemd": ROOT / "systemd", "kernel_supervisor/units/launchd": ROOT / "launchd"}


def _files(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _metadata(files: dict[str, bytes]) -> Message:
    (name,) = [name for name in files if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(files[name])


def _stand_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_has_every_file_of_the_packages_and_the_units_and_nothing_else(built: Built) -> None:
    expected = {f"{name}/{file}": content for name in ("kernel_supervisor", "mcp_shim")
                for file, content in _stand_in(ROOT / name).items()}  # fmt: skip
    for name, folder in UNITS.items():
        expected |= {f"{name}/{file}": content for file, content in _stand_in(folder).items()}
    files = _files(built.wheel)
    product = {name: content for name, content in files.items() if ".dist-info/" not in name}
    assert product.keys() == expected.keys()
    assert product == expected
    for needed in ("py.typed", "demo/penguins.csv", "units/systemd/kernel-supervisor.service"):
        assert f"kernel_supervisor/{needed}" in files
    about = {name.split(".dist-info/")[1] for name in files.keys() - product.keys()}
    assert about == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_sdist_makes_the_wheel_that_the_checkout_makes(built: Built, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--installer", "uv", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=100)
    (direct,) = tmp_path.iterdir()
    assert direct.name == built.wheel.name
    assert _files(direct) == _files(built.wheel)


def test_sdist_has_what_its_readers_and_its_tests_need(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    needed = {"README.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "noxfile.py", "tests/conftest.py", ".ci/run"}
    assert needed <= names
    assert not [name for name in names if re.search(r"__pycache__|^\.(venv|nox|git/)", name)]


def test_metadata_says_who_where_and_for_which_pythons(built: Built) -> None:
    files = _files(built.wheel)
    said = _metadata(files)
    assert said["Author"]
    assert {"Source", "Issues", "Changelog"} <= {url.split(",")[0] for url in said.get_all("Project-URL", [])}
    text = "\n".join(said.get_all("Classifier", []))
    minors = [int(minor) for minor in re.findall(r"Python :: 3\.(\d+)$", text, re.MULTILINE)]
    assert minors == list(range(10, 14))
    assert said["Requires-Python"] == f">=3.{minors[0]}"
    version = re.search(r'__version__ = "(.*)"', files["kernel_supervisor/__init__.py"].decode())
    assert version is not None
    assert said["Version"] == version[1]


def test_links_of_the_description_lead_somewhere_from_a_package_index(built: Built) -> None:
    said = _metadata(_files(built.wheel))
    assert said["Description-Content-Type"] == "text/markdown"
    body = said.get_payload(decode=True)
    assert isinstance(body, bytes)
    text = body.decode()
    ours = re.findall(r"\]\(https://github.com/[\w-]+/[\w-]+/blob/main/([^)#]+)", text)
    assert {"SECURITY.md", "README.md", "benchmarks/README.md"} <= set(ours)
    ours += re.findall(r"(?:\]\(|src=\")https://github.com/[\w-]+/[\w-]+/raw/main/([^)\"]+)", text)
    assert {"docs/terminal.svg", "docs/plot.png"} <= set(ours)
    assert [file for file in ours if not (ROOT / file).is_file()] == []
    assert re.findall(r"\]\((?!https://)[^)]*\)", text) == []


def test_an_index_takes_both(built: Built) -> None:
    check = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", str(built.wheel), str(built.sdist)]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
