"""Promise: how a document is wanted is understood, or refused with what is understood."""

from __future__ import annotations

import pytest

from kernel_supervisor import kernelspecs
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.notebooks.wishes import Wishes, from_words, wishes_in


def test_all_of_them_are_understood_and_reach_another_process() -> None:
    wishes = wishes_in(["no-code", "page=Letter", "fetch-images", "template=classic", "session-kernel"], {})
    assert wishes == Wishes(page="letter", with_code=False, fetch_images=True, template="classic", session_kernel=True)
    assert from_words(wishes.words()) == wishes


@pytest.mark.parametrize("said", ["nocode", "page=a3", "template=", "page"])
def test_another_is_refused_with_those_that_there_are(said: str) -> None:
    with pytest.raises(RefusedError, match="no-code, page=a4, page=letter"):
        wishes_in([said], {})


@pytest.mark.parametrize(
    ("env", "page"),
    [
        ({}, "a4"),
        ({"LANG": "C.UTF-8"}, "a4"),
        ({"LANG": "en_US.UTF-8"}, "letter"),
        ({"LANG": "en_US.UTF-8", "LC_PAPER": "de_DE.UTF-8"}, "a4"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "fr_CA"}, "letter"),
    ],
)
def test_the_paper_is_that_of_the_locale(env: dict[str, str], page: str) -> None:
    assert wishes_in([], env).page == page


def test_a_sessions_kernelspec_is_called_as_the_command_line_calls_it() -> None:
    found = kernelspecs.of_session("My Project/äb c")
    assert found["name"] == "supervised-session-my-project-b-c"
    assert found["display_name"] == "session My Project/äb c (supervised)"
