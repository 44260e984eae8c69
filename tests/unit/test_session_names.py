"""Promise: a session's name means one session of one project, and what older versions called it leads there still."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.core import names
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import SessionName, SessionRecord
from kernel_supervisor.sessions import naming

A, B, OTHER_A = "/home/me/analysis", "/home/me/billing", "/srv/analysis"
ODD = ["/", "/home/me/ä ß", "/x/" + "y" * 200, "/x/a:b", "/x/\udcff\udcfe", "/x/ ", "/x/-", "/x/CON.", "/x/a\nb"]


def record(name: str, directory: str, old_name: str = "", created_at: float = 0.0) -> SessionRecord:
    return SessionRecord(name=SessionName(name), directory=directory, old_name=old_name, created_at=created_at)


def known(*records: SessionRecord) -> tuple[naming.Projects, dict[SessionName, SessionRecord]]:
    projects = naming.Projects()
    for each in records:
        projects.learn(each)
    return projects, {each.name: each for each in records}


def test_a_word_is_a_session_of_the_project_and_nothing_is_its_own() -> None:
    projects, sessions = known()
    assert naming.resolve("", A, projects, sessions) == ("analysis/", A)
    assert naming.resolve("explore", A, projects, sessions) == ("analysis/explore", A)
    assert naming.resolve("explore", B, projects, sessions) == ("billing/explore", B)
    assert naming.resolve("analysis", A, projects, sessions) == ("analysis/", A), "called by its folder"


def test_a_project_that_has_only_other_sessions_gets_its_own_one() -> None:
    projects, sessions = known(record("analysis/explore", A), record("analysis/x", A, "x"))
    assert naming.resolve("", A, projects, sessions) == ("analysis/", A)
    assert naming.resolve("analysis", A, projects, sessions) == ("analysis/", A)


def test_a_session_that_is_called_as_its_folder_is_meant_where_it_is_there() -> None:
    projects, sessions = known(record("analysis/", A), record("analysis/analysis", A))
    assert naming.resolve("analysis", A, projects, sessions) == ("analysis/analysis", A)
    assert naming.resolve("", A, projects, sessions) == ("analysis/", A)


def test_a_spelled_name_is_the_same_session_from_everywhere() -> None:
    projects, sessions = known(record("analysis/", A), record("analysis/explore", A))
    for name in sessions:
        for directory in (A, B, OTHER_A):
            assert naming.resolve(name, directory, projects, sessions) == (name, A)


def test_a_word_that_is_another_projects_folder_is_not_that_project() -> None:
    projects, sessions = known(record("analysis/", A))
    assert naming.resolve("analysis", B, projects, sessions) == ("billing/analysis", B)


def test_two_directories_of_one_name_are_told_apart_and_stay_so() -> None:
    projects, sessions = known(record("analysis/", A))
    other, directory = naming.resolve("", OTHER_A, projects, sessions)
    assert directory == OTHER_A
    assert re.fullmatch(r"analysis-[0-9a-f]{8}/", other)
    assert naming.resolve(other, B, projects, sessions) == (other, OTHER_A)
    assert naming.resolve("", A, projects, sessions) == ("analysis/", A)
    alone, _ = known(record(other, OTHER_A))
    assert alone.folder(OTHER_A) == other[:-1], "also once the first one is forgotten"


def test_a_directory_that_nobody_works_in_any_more_keeps_no_name_from_others() -> None:
    projects, _ = known()
    assert projects.folder(A) == "analysis"
    assert projects.folder(OTHER_A) != "analysis"
    projects.release([OTHER_A], [])
    assert projects.folder(OTHER_A) != "analysis", "it was told its name"
    assert projects.folder("/third/analysis") == "analysis"


@pytest.mark.parametrize(
    "wrong", ["a/b", "a/b/c", "/home/me/analysis", "/b", "a/", "analysis/b\nc", "x" * 81, "a:b", "..\0"]
)
def test_what_is_no_name_is_refused_with_what_to_do(wrong: str) -> None:
    projects, sessions = known(record("analysis/", A))
    with pytest.raises(RefusedError, match=r"(?s)session.*(use letters|plain word)"):
        naming.resolve(wrong, A, projects, sessions)


@pytest.mark.parametrize("directory", ODD)
def test_every_directory_has_names_that_can_be_given_back(directory: str) -> None:
    projects, sessions = known()
    for word in ("", "explore", "x" * 80, "über uns +1@home.2_-"):
        name, _ = naming.resolve(word, directory, projects, sessions)
        assert naming.resolve(name, B, projects, sessions) == (name, directory)
        assert name.isprintable()


def test_one_letter_may_be_written_in_two_ways() -> None:
    projects, sessions = known()
    composed, decomposed = (naming.resolve(word, A, projects, sessions) for word in ("\u00fcber", "u\u0308ber"))
    assert composed == decomposed


# Who is meant by a command that ends something


def test_a_word_means_this_projects_else_the_only_one_else_it_is_refused_with_all() -> None:
    explore = record("analysis/explore", A)
    _, one = known(record("analysis/", A), explore)
    assert naming.meant("explore", B, one) == explore
    assert naming.meant("analysis", B, one) == one[SessionName("analysis/")]
    assert naming.meant("nothing", B, one) is None
    assert naming.meant("", A, one) is None
    assert "did you mean" in naming.missing("explor", one)
    _, two = known(explore, record("analysis-12345678/explore", OTHER_A))
    assert naming.meant("explore", A, two) == explore
    assert naming.meant("analysis-12345678/explore", A, two) != explore
    with pytest.raises(RefusedError, match=r'"analysis-12345678/explore", "analysis/explore"'):
        naming.meant("explore", B, two)
    _, both = known(record("explore/", "/x/explore"), explore)
    with pytest.raises(RefusedError, match=r'"analysis/explore", "explore/"'):
        naming.meant("explore", B, both)


# What older versions called their sessions


def test_old_sessions_belong_to_their_recorded_directory() -> None:
    crc = names.mark(OTHER_A)
    old = [("analysis", A), ("explore", A), (f"analysis-{crc}", OTHER_A), (f"explore-{crc}", OTHER_A), ("lone", B)]
    folders: dict[str, str] = {}
    assert names.inherit(old, folders, ()) == {
        "analysis": ("analysis", ""),
        "explore": ("analysis", "explore"),
        f"analysis-{crc}": (f"analysis-{crc}", ""),
        f"explore-{crc}": (f"analysis-{crc}", "explore"),
        "lone": ("billing", "lone"),
    }
    assert folders == {A: "analysis", OTHER_A: f"analysis-{crc}", B: "billing"}


def test_an_old_word_leads_on_in_its_own_project_and_is_pointed_at_from_others() -> None:
    projects, sessions = known(record("analysis/explore", A, "explore"), record("billing/x", B, f"x-{names.mark(B)}"))
    assert naming.resolve("explore", A, projects, sessions) == ("analysis/explore", A)
    assert naming.resolve(f"x-{names.mark(B)}", B, projects, sessions) == ("billing/x", B)
    assert naming.resolve("explore", B, projects, sessions) == ("billing/explore", B)
    assert [each.name for each in naming.old_ones("explore", B, sessions)] == ["analysis/explore"]
    assert naming.old_ones("explore", A, sessions) == []
    assert projects.folder("/x/explore") != "explore", "an old URI of that word means the old session"


_DIRECTORIES = st.sampled_from([A, B, OTHER_A, "/", "/x/explore", "/y/explore"])
_WORDS = st.sampled_from(["analysis", "explore", "root", "x", *(f"explore-{names.mark(d)}" for d in (A, "/x/explore"))])


@given(st.dictionaries(_WORDS, _DIRECTORIES), st.dictionaries(_WORDS, _DIRECTORIES))
def test_whatever_is_on_record_every_session_has_a_name_of_its_own(old: dict[str, str], later: dict[str, str]) -> None:
    folders: dict[str, str] = {}
    first = names.inherit(old.items(), folders, ())
    spelled = [names.spelled(*each) for each in first.values()]
    more = {key: directory for key, directory in later.items() if key not in old}
    second = names.inherit(more.items(), folders, spelled)
    everything = spelled + [names.spelled(*each) for each in second.values()]
    assert len(set(everything)) == len(old) + len(more)
    assert len(set(folders.values())) == len(folders)
    for key, (folder, _) in {**first, **second}.items():
        assert folders[{**old, **more}[key]] == folder


# Projects that were moved


def test_only_a_directory_that_is_gone_can_have_been_moved_here(tmp_path: Path) -> None:
    here, there, gone = tmp_path / "new/analysis", tmp_path / "old/analysis", tmp_path / "gone/analysis"
    for each in (here, there):
        each.mkdir(parents=True)
    lives, lost, named = record("1", str(there)), record("2", str(gone)), record("3", str(gone), created_at=1.0)
    assert naming.moved_to(str(here), [lives], {}) == []
    assert naming.moved_to(str(here), [lives, lost, named], {}) == [named, lost]
    assert naming.moved_to(str(tmp_path), [lost], {}) == []


def test_a_notebook_that_stands_here_tells_of_a_project_that_was_renamed(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    wrote = SessionRecord(name=SessionName("gone/"), directory=gone, notebooks={f"{gone}/out/report.ipynb": "f"})
    assert naming.moved_to(str(tmp_path), [wrote], {}) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out/report.ipynb").touch()
    assert naming.moved_to(str(tmp_path), [wrote], {}) == [wrote]
