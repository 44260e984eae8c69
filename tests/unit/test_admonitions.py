"""Promise: what MyST adds to Markdown reads as words, and code stays as it is."""

from __future__ import annotations

import pytest

from kernel_supervisor.notebooks.admonitions import without_myst


@pytest.mark.parametrize("fence", [":::", "```", "::::"])
def test_an_admonition_is_a_quotation_with_its_title(fence: str) -> None:
    source = f"before\n\n{fence}{{note}}\nSome *words*\n\nand more.\n{fence}\n\nafter"
    assert without_myst(source) == "before\n\n> **Note**\n>\n> Some *words*\n>\n> and more.\n\nafter"


def test_a_title_is_kept_and_options_are_not() -> None:
    assert without_myst(":::{warning} Mind it\n:class: dropdown\nwords\n:::") == "> **Warning: Mind it**\n>\n> words"
    assert without_myst(":::{admonition} My own\nwords\n:::") == "> **My own**\n>\n> words"


def test_roles_are_their_text_and_targets_go() -> None:
    source = "(moves)=\n\n# Moves\n\nSee {ref}`moves-user`, {ref}`the moves <moves-user>`, {class}`~emcee.Move`."
    assert without_myst(source) == "\n# Moves\n\nSee moves-user, the moves, `emcee.Move`."
    assert without_myst("the :class:`Sampler` of :ref:`that`") == "the `Sampler` of that"
    assert without_myst("with {math}`a^2`") == "with $a^2$"
    assert without_myst("{py:class}`A`, {cite:p}`b`, ``{ref}`c` ``, {sub}`d`") == "`A`, b, ``{ref}`c` ``, <sub>d</sub>"
    assert without_myst(":::{note}\nsee ``{ref}`c` `` and {ref}`d`\n:::") == "> **Note**\n>\n> see ``{ref}`c` `` and d"


def test_one_directive_after_another_is_read_and_code_between_them_is_left() -> None:
    source = "```{note}\na\n```\n\n```{tip}\nb\n```\n\n```\n{ref}`c`\n```\n\n{ref}`d`"
    assert without_myst(source) == "> **Note**\n>\n> a\n\n> **Tip**\n>\n> b\n\n```\n{ref}`c`\n```\n\nd"


def test_code_and_formulas_are_set_and_of_other_directives_no_word_is_lost() -> None:
    assert without_myst("```{code-block} python\n:linenos:\nf()\n```") == "```python\nf()\n```"
    assert without_myst("```{math}\n:label: e\na^2\n```") == "$$\na^2\n$$"
    assert without_myst("```{figure} a.png\n:name: f\nwords\n```") == "```\n{figure} a.png\n:name: f\nwords\n```"


@pytest.mark.parametrize(
    "source",
    ["the set {a}`b`", "``{ref}`a` ``", "  ```\n  {ref}`a`\n  ```", ":::{note}\nnever closed"],
)
def test_what_only_looks_like_it_is_left(source: str) -> None:
    assert without_myst(source) == source


@pytest.mark.parametrize(
    "source",
    [
        *("```\n:::{note}\nwords\n:::\n```", "```python\nf = {ref}\n```", "a `{x}` b `{y}`", "{{ jinja }}", "(a)=1"),
        *("a set {a}`b`", "``{ref}`x` `` is how", "in ``:class:`A` `` too", "f{math}`x`", "{{ref}}`x`", "{note}`x`"),
    ],
)
def test_what_is_none_of_it_is_left(source: str) -> None:
    assert without_myst(source) == source
