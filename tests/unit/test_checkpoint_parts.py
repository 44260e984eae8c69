"""What belongs together in a checkpoint, and what is secret in one."""

from __future__ import annotations

import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.inside.checkpoints import borrowed, listing, refusals, units
from kernel_supervisor.inside.checkpoints.objects import Objects, TooMuchError
from kernel_supervisor.inside.checkpoints.secrets import Secrets
from kernel_supervisor.inside.checkpoints.snapshot import Snapshot
from kernel_supervisor.inside.questions import _remember
from kernel_supervisor.kernels.checkpoints import code

NAMES = st.text("abcdef", min_size=1, max_size=2)


@given(st.dictionaries(NAMES, st.sets(st.integers(0, 20), max_size=4)))
def test_units_are_what_shares_objects_and_nothing_else(shares: dict[str, set[int]]) -> None:
    found = units.joined(shares)
    assert sorted(name for unit in found for name in unit) == sorted(shares)
    of = {name: number for number, unit in enumerate(found) for name in unit}
    for one in shares:
        for other in shares:
            assert not shares[one] & shares[other] or of[one] == of[other]
    for unit in found:
        reached, ahead = {unit[0]}, [unit[0]]
        while ahead:
            one = ahead.pop()
            ahead += [other for other in shares if shares[other] & shares[one] and other not in reached]
            reached |= set(ahead)
        assert reached == set(unit)


RANGE = st.tuples(st.integers(0, 100), st.integers(1, 20)).map(lambda pair: [pair[0], pair[0] + pair[1]])


@given(st.dictionaries(NAMES, st.lists(RANGE, max_size=3)))
def test_shared_memory_is_what_has_bytes_in_common(memory: dict[str, list[list[int]]]) -> None:
    together = {name: group for group in map(set, units.overlapping(memory)) for name in group}

    def bytes_of(name: str) -> set[int]:
        return {each for start, end in memory[name] for each in range(start, end)}

    for one in memory:
        others = {other for other in memory if other != one and bytes_of(one) & bytes_of(other)}
        assert others <= together.get(one, set())
        assert bool(others) == (one in together)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    for name, value in {
        "DB_PASSWORD": "s3cret-enough",
        "DEPLOYED": "production",
        "N": "1234567890",
        "PIN": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOME_FOLDER", "/a/folder:/another/one")
    monkeypatch.setenv("PWD", "/a/project")
    monkeypatch.setenv("CLOUD_CREDENTIALS", __file__)
    monkeypatch.setenv("CLOUD_SECRET_KEY", "/kZ8v+3f/begins/with/a/slash")
    monkeypatch.setenv("SESSION_ID", "x9f8e7d6c5b4a3f2e1d0")
    monkeypatch.setenv("PWD", "/where/it/was/started")
    monkeypatch.setenv("DB_PWD", "/also-secret")
    return Secrets(["(?i)^hidden"])


def test_a_variable_equal_to_one_of_the_environment_is_secret(secrets: Secrets) -> None:
    assert "DB_PASSWORD" in secrets.refuse_whole("s3cret-enough")
    assert "DEPLOYED" in secrets.refuse_whole("production")
    assert "DB_PASSWORD" in secrets.refuse_whole(b"s3cret-enough")
    assert [secrets.refuse_whole(each) for each in ("1234567890", "/a/folder:/another/one", "1", "", b"\xff")] == [
        ""
    ] * 5


def test_within_larger_values_only_what_looks_like_a_secret_is_one(secrets: Secrets) -> None:
    assert "DB_PASSWORD" in secrets.refuse("s3cret-enough")
    assert "SESSION_ID" in secrets.refuse("x9f8e7d6c5b4a3f2e1d0")
    assert secrets.refuse("production") == ""
    assert "DB_PASSWORD" in secrets.found_in(b"a=s3cret-enough;")
    assert "DB_PASSWORD" in secrets.found_in("in an array of texts: s3cret-enough".encode("utf-32-le"))
    assert secrets.found_in(b"production") == ""
    assert secrets.found_in(b"/a/project/module.py, " + __file__.encode()) == "", "where code stands is in streams"
    assert "CLOUD_SECRET_KEY" in secrets.refuse("/kZ8v+3f/begins/with/a/slash")
    assert (secrets.is_named("Hidden_thing"), secrets.is_named("thing_hidden")) == (True, False)


@pytest.mark.parametrize(
    ("value", "is_secret"),
    [
        *((value, True) for value in ("text", b"bytes", {"user": "me", "word": "x"}, ["a"], object())),
        *((value, False) for value in (512, True, None, ["a"] * 100, dict.fromkeys(range(100)))),
    ],
)
def test_by_its_name_alone_a_number_or_much_of_anything_is_no_secret(
    secrets: Secrets, value: object, is_secret: bool
) -> None:
    assert secrets.is_one("hidden_tokens", value) is is_secret
    assert not secrets.is_one("tokens_of_a_text", value)


def test_the_folder_in_which_a_kernel_was_started_is_no_secret(secrets: Secrets) -> None:
    assert secrets.refuse_whole("/where/it/was/started") == ""
    assert secrets.found_in(b"open('/where/it/was/started/table.csv')") == ""
    assert "DB_PWD" in secrets.found_in(b"x/also-secret")


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("OPENAI_API_KEY", "sk-abcdefghijklmnop1234", True),
        ("DATABASE_URL", "postgres://user:word@host/base", True),
        ("WEB_HOOK", "https://chat.example/T00/B00/abcdefghijklmnop", True),
        ("SERVICE_TOKEN", "/kZ8v+3f/begins/with/a/slash", True),
        ("TOKEN_FOR_FILE", "abcdefghijk", True),
        ("API_KEY_PATH", "no-folder-in-this-1", True),
        ("TOKEN_FILE", "/home/somebody/token", False),
        ("DB_PASSWORD_FILE", "/run/secrets/db_password", False),
        ("TOKEN_PATH", "secrets/token.json", False),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/home/somebody/that-is-gone.json", False),
        ("DATA_DIR", "/data", False),
        ("DATA_DIR", "/data of ours/new tables", False),
        ("DATA_DIR", "tables/of/today", False),
        ("LAKE", "s3://bucket/tables", False),
        ("HOME", "/home/somebody", False),
        ("PWD", "/home/somebody/project", False),
        ("USER", "somebody", False),
        ("LANG", "de_DE.UTF-8", False),
    ],
)
def test_where_something_is_is_no_secret_and_a_key_is(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, is_secret: bool
) -> None:
    monkeypatch.setenv(name, value)
    assert bool(Secrets(()).refuse_whole(value)) is is_secret


def test_who_one_is_stays_no_secret_where_another_variable_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("AUTHOR", "somebody")
    assert Secrets(()).refuse_whole("somebody") == ""
    monkeypatch.setenv("DB_PASSWORD", "somebody")
    assert "DB_PASSWORD" in Secrets(()).refuse_whole("somebody")


class Counted(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)


def _compared_for(count: int) -> int:
    snapshot = object.__new__(Snapshot)
    snapshot.units, snapshot.numbers, snapshot.asides, snapshot.modules, snapshot.left = [], {}, {}, set(), 0
    answers: dict[str, Any] = {"needs": [], "modules": []}
    Counted.compared = 0
    for number in range(2 * count):
        placed = {"object": f"{number % count}", "bytes": 1, "aside": "", "readonly": True}
        snapshot.ask = lambda *_, placed=placed: {**answers, "placed": [placed]}  # type: ignore[method-assign]
        assert snapshot.put(["write"], [Counted(f"v{number % count}")]) == (number % count, "", set())
    assert len(snapshot.units) == count
    return Counted.compared


def test_many_units_are_told_apart_without_comparing_each_with_all() -> None:
    assert _compared_for(400) <= 4 * 400


def test_what_was_typed_is_known_again_and_is_nowhere() -> None:
    kernel: Any = types.SimpleNamespace()
    for typed in ("correct horse", "abc", 7, None, "\ud800 half"):
        _remember(kernel, typed)
    secrets = Secrets((), kernel._supervisor_typed)
    assert "password" in secrets.refuse("correct horse")
    assert "password" in secrets.refuse("\ud800 half")
    assert [secrets.refuse(each) for each in ("abc", "correct hors_", "correct horse ")] == [""] * 3
    assert "horse" not in repr(vars(kernel))


def test_objects_are_written_once_and_stand_aside_until_all_are(tmp_path: Any) -> None:
    objects = Objects(str(tmp_path))
    first = objects.put([b"one", b"two"], 100)
    assert [path.name.startswith(".") for path in tmp_path.iterdir()] == [True]
    objects.settle({first["object"]: first["aside"]})
    assert [path.name for path in tmp_path.iterdir()] == [first["object"]]
    assert objects.put([b"onetwo"], 0) == {"object": first["object"], "bytes": 6, "aside": ""}
    (tmp_path / first["object"]).write_bytes(b"torn")
    assert objects.put([b"onetwo"], 6)["aside"]
    with pytest.raises(TooMuchError):
        objects.put([b"onetwo"], 5)
    objects.sweep(60)
    assert [path.name for path in tmp_path.iterdir()] == [first["object"]]


def test_names_are_the_users_own() -> None:
    given_ = {"In": [], "_": 1, "__": 1, "_i12": "", "_12": 0, "_ih": [], "__doc__": "", "_mine": 1, "x": 2, 3: 4}
    given_ |= {"__builtins__": 1, "__annotations__": {}, "__version__": "3.1"}
    shell = types.SimpleNamespace(user_ns={**given_, "Out": "mine"}, user_ns_hidden={"In": given_["In"], "Out": {}})
    assert listing.user_variables(shell) == {"_mine": 1, "x": 2, "Out": "mine", "__version__": "3.1"}


def test_sizes_and_ends_read_well() -> None:
    assert refusals.of_size(16 << 30) == "it is larger than 16 GB, and the disk has no room for more"
    assert refusals.of_size(1536 << 10) == "it is larger than 1.5 MB, and the disk has no room for more"
    assert refusals.of_end(-11) == "saving it ended the process (SIGSEGV)"


def test_what_streams_name_of_cloudpickle_is_there_whichever_3_1_is_installed() -> None:
    assert borrowed.hindrance(code()) == ""
    cloudpickle = borrowed.cloudpickle()
    named = """_builtin_type _class_setstate _file_reconstructor _function_setstate _get_dataclass_field_type_sentinel
        _make_cell _make_dict_items _make_dict_keys _make_dict_values _make_empty_cell _make_function
        _make_skeleton_class _make_skeleton_enum _make_typevar dynamic_subimport subimport"""
    assert cloudpickle.__name__ == "_kernel_supervisor_cloudpickle", "as in checkpoints that stand"
    assert [name for name in named.split() if not callable(getattr(cloudpickle, name, None))] == []
