"""`core.markup`: what an HTML document says, quickly, whatever state it is in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.amounts import size
from kernel_supervisor.outputs.markup import READ_AT_MOST, readable, shorten_data


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain &lt;words&gt; &amp; more", "plain <words> & more"),
        ("<p>one</p>\n\n<p>two</p>", "one\ntwo"),
        ("a < b <3", "a < b <3"),
        ("<!-- a comment > -->seen<!DOCTYPE html>", "seen"),
        ("<SCRIPT>if (a < b) {}</script >seen<style>p {}</style>", "seen"),
        ("<head>never closed", "never closed"),
        ('<img alt="a > b" src="x.png">', "[image: a > b]"),
        ("<video src=clip.mp4 controls></video>", "[video: clip.mp4]"),
        ("<table><tr><td>1<td>2<tr><td>3<td>4</table>", "1 | 2\n3 | 4"),
        ("<svg><text>drawn</text></svg>", ""),
        ("<script>only()</script>", ""),
    ],
)
def test_documents_are_read(html: str, text: str) -> None:
    assert readable(html) == text


def test_a_very_long_document_says_what_was_not_read() -> None:
    text = readable("word " * 40_000)
    assert text.endswith(f"[… {200_000 - READ_AT_MOST:,} characters of HTML not read …]")


def test_embedded_data_is_named() -> None:
    assert shorten_data(f"![x](data:image/png;base64,{'A' * 4000}) y") == "![x](data:image/png (3 kB)) y"
    assert shorten_data("data:,short") == "data:,short"


def test_sizes_in_words() -> None:
    assert [size(count) for count in (9, 1500, 2_500_000)] == ["9 bytes", "2 kB", "2.5 MB"]


PARTS = st.sampled_from(
    [
        "<",
        ">",
        "</",
        "<!--",
        "-->",
        "<a ",
        "<td>",
        "<pre>",
        "</pre>",
        "<script>",
        "'",
        '"',
        "=",
        "&",
        "&#x;",
        "<img alt='",
    ]
)


@given(st.lists(PARTS | st.text(max_size=5), max_size=40).map("".join))
def test_any_document_is_read_once(html: str) -> None:
    assert "\n\n" not in readable(html)
