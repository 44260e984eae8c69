"""Promise: what Markdown has as pictures comes along from where it may, or is named in its place."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from kernel_supervisor.notebooks.shown.choosing import name_of
from kernel_supervisor.notebooks.shown.pictures import tags_as_markdown, with_pictures_attached
from tests.notebooks_corpus.nbf import v4

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c494441"
    "54789c63606060000000040001f61738550000000049454e44ae426082"
)


def attached(source: str, folder: Path, **more: object) -> tuple[str, dict[str, object], list[str]]:
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell(source, **more)])
    remarks = with_pictures_attached(notebook, folder, name_of, fetch=False)
    (cell,) = notebook.cells
    return cell.source, cell.get("attachments", {}), remarks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (below := tmp_path / "book" / "pictures").mkdir(parents=True)
    (below / "a b.png").write_bytes(PNG)
    (tmp_path / "outside.png").write_bytes(PNG)
    (tmp_path / "book" / "damaged.png").write_bytes(PNG[:-16])
    (tmp_path / "book" / "key.pem").write_text("secret")
    (tmp_path / "book" / "link.png").symlink_to(tmp_path / "outside.png")
    return tmp_path / "book"


@pytest.mark.parametrize(
    "source",
    [
        "![it](pictures/a%20b.png)",
        "![it](<pictures/a%20b.png> 'title')",
        "![it][ref]\n\n[ref]: pictures/a%20b.png",
        '<img src="pictures/a b.png" width=30>',
        "<IMG alt='x' src='pictures/a%20b.png'/>",
    ],
)
def test_files_in_the_folder_come_along(source: str, folder: Path) -> None:
    new, attachments, remarks = attached(source, folder)
    assert len(attachments) == 1
    assert "attachment:ks-1.png" in new
    assert remarks == []


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("../outside.png", "which is not in the notebook's folder"),
        ("link.png", "which is not in the notebook's folder"),
        ("/etc/passwd", "which is not in the notebook's folder"),
        ("key.pem", "which is no picture"),
        ("gone.png", "which is not there"),
        ("https://example.org/a.png", "which is on the network (the option fetch-images has it fetched)"),
        ("damaged.png", "which is damaged"),
        ("data:image/png;base64,iVBORw0KGgo=", "which is damaged"),
        ("attachment:gone.png", "which is not attached"),
        ("file:///etc/passwd", "which is not there"),
    ],
)
def test_what_cannot_is_named_in_its_place_and_in_the_answer(address: str, why: str, folder: Path) -> None:
    for source in (f"See ![the words]({address}).", f"See <img src='{address}' alt='the words'>."):
        new, attachments, remarks = attached(source, folder)
        assert not attachments
        assert why.replace("'", "&#x27;") in new or why in new, new
        assert "the words" in new
        (remark,) = remarks
        assert remark.startswith("cell 1: the picture ")
        assert why in remark


def test_code_and_what_is_attached_already_is_left(folder: Path) -> None:
    source = "`![a](gone.png)`\n\n```\n![a](gone.png)\n<img src=gone.png>\n```\n\n![b](attachment:b.png) ![c](data:,)"
    new, attachments, remarks = attached(source, folder, attachments={"b.png": {"image/png": b64encode(PNG).decode()}})
    assert new == source
    assert list(attachments) == ["b.png"]
    assert remarks == []


def test_a_tag_is_markdown_with_its_size_for_engines_that_know_no_tags() -> None:
    assert (
        tags_as_markdown('<img src="attachment:a.png" alt="it" width="30" height="5em">')
        == "![it](attachment:a.png){width=30}"
    )
    assert tags_as_markdown("`<img src=a>`") == "`<img src=a>`"
