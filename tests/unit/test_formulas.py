"""Promise: formulas are set as TeX sets them, by browsers that know no more than MathML's core."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from kernel_supervisor.notebooks.shown.formulas import mathml


def parts(tex: str) -> ElementTree.Element:
    """The formula, without what is wrapped around a block."""
    found = mathml(tex, is_block=False)
    assert found is not None, tex
    return ElementTree.fromstring(found)


def of_kind(tex: str, tag: str) -> list[ElementTree.Element]:
    return [each for each in parts(tex).iter() if each.tag.rpartition("}")[2] == tag]


@pytest.mark.parametrize(
    ("tex", "forms"),
    [
        (r"a = -1", ["prefix"]),
        (r"m = -1.007 - n", ["prefix", None]),
        (r"2 \times -3", ["prefix"]),
        (r"(-1)", ["prefix"]),
        (r"(a) - b", [None]),
        (r"n! - 1", [None]),
        (r"f(x) - 1", [None]),
        (r"|-2| - 1", ["prefix", None]),
        (r"|x| - 1", [None]),
        (r"a, -b", ["prefix"]),
        (r"\mathrm{m} - 1", [None]),
        (r"x' - 1", [None]),
    ],
)
def test_a_sign_is_none_between_two_numbers(tex: str, forms: list[str | None]) -> None:
    minus = [each for each in of_kind(tex, "mo") if each.text in ("−", "-")]
    assert [each.get("form") for each in minus] == forms


@pytest.mark.parametrize("tex", [r"\mathrm{m}", r"\mathrm m", r"\text{m}", r"\int f\,\mathrm{d} x", r"\mathrm{ m }"])
def test_one_letter_in_roman_is_upright(tex: str) -> None:
    upright = {each.text for each in (*of_kind(tex, "mtext"), *of_kind(tex, "mi")) if each.tag.endswith("mtext")}
    assert upright & {"m", "d"}


def test_names_of_several_letters_stay_what_they_were() -> None:
    letters = of_kind(r"\mathrm{log} + \mathrm{dx}", "mi")
    assert "".join(str(each.text) for each in letters) == "logdx"
    assert {each.get("mathvariant") for each in letters} == {"normal"}


def test_columns_stand_where_tex_has_them() -> None:
    def styles(tex: str) -> list[str]:
        return [each.get("style", "") for each in of_kind(tex, "mtd")]

    assert styles(r"\begin{cases} 1 & x \\ 2 & y \end{cases}") == ["text-align:left"] * 4
    assert styles(r"\begin{array}{lr} a & b \end{array}") == ["text-align:left", "text-align:right"]
    right, left = styles(r"\begin{align} a &= b \end{align}")
    assert right == "text-align:right;padding-right:0"
    assert left == "text-align:left;padding-left:0"
    assert styles(r"\begin{pmatrix} 1 & 2 \end{pmatrix}") == ["", ""]
