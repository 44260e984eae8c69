"""Promise: a checkpoint has what the kernel has, once, as far as it may be saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoint_support import Checkpoint, saved_kernel
from tests.process.test_recorder import Recorded, short
from tests.support import until_now

__all__ = ["saved_kernel", "short"]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def kernel(saved_kernel: Recorded) -> Recorded:
    return saved_kernel


def test_only_what_changed_is_written_again(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run("import numpy as np\nlarge = np.arange(10**6); small = np.arange(10**5); few = [1, 2]; f = large[::-1]")
    first = Checkpoint(kernel, tmp_path)
    written = first.manifest()["written"]
    assert written == first.manifest()["bytes"] > 8 * 10**6
    objects = {path: path.stat().st_ino for path in first.objects.iterdir()}
    assert Checkpoint(kernel, tmp_path).manifest()["written"] == 0
    kernel.run("small[7] = -1")
    third = Checkpoint(kernel, tmp_path)
    assert 0 < third.manifest()["written"] < 810_000
    assert third.values()["small"][7] == -1
    assert (first.values()["small"][7], first.values()["few"]) == (7, [1, 2])
    assert {path: path.stat().st_ino for path in objects} == objects, "what is there stays"
    assert {path.stat().st_mode & 0o777 for path in (*third.objects.iterdir(), *third.into.iterdir())} == {0o600}


IN_PLACE = {
    "view[3] = -5": "v['large'][-4] == -5",
    "np.negative(large, out=large)": "v['large'][2] == -2",
    "large.sort()": "v['large'][0] == -999_999",
    "ctypes.memset(large.ctypes.data + 80, 7, 8)": "v['large'][10] == 0x0707070707070707",
    "memoryview(raw)[5] = 3": "v['raw'][5] == 3",
    "held = (ctypes.c_char * 9).from_buffer(raw); ctypes.memset(held, 4, 1); del held": "v['raw'][0] == 4",
}
"""What changes a variable without a word of its name, or by C, and what is so then."""


def test_what_changes_in_place_is_never_called_unchanged(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run("import ctypes, numpy as np\nlarge = np.arange(10**6); view = large[::-1]; raw = bytearray(10**5)")
    Checkpoint(kernel, tmp_path).manifest()
    for change, check in IN_PLACE.items():
        kernel.run(change)
        checkpoint = Checkpoint(kernel, tmp_path)
        assert checkpoint.manifest()["written"] >= 10**5, change
        assert eval(check, {"v": checkpoint.values("large", "raw")}), change


def test_what_belongs_together_is_one_unit_and_shared_memory_is_named(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run(
        "import numpy as np, json as j, os.path, urllib.request\nimport xml.dom.minidom\n"
        "inner = [1]; one = [inner]; two = [inner]; alone = [1]; a = np.arange(10**5); view = a[10:]; b = a + 1\n"
        "_mine = 3; Out_ = 4\n"
        "def f(): return g() + one[0][0]\ndef g(): return 1\nclass C: pass\nc = C()"
    )
    asked = Checkpoint(kernel, tmp_path)
    manifest = asked.manifest()
    assert sorted(unit["names"] for unit in manifest["units"] if len(unit["names"]) > 1) == [["inner", "one", "two"]]
    values = asked.values()
    assert values["one"][0] is values["two"][0] is values["inner"]
    assert manifest["shared"] == [["a", "view"]]
    assert [name for name, each in manifest["names"].items() if each["copies"]] == ["a", "view"]
    imports = {"np": "numpy", "j": "json", "os": "os", "urllib": "urllib", "xml": "xml"}
    assert manifest["imports"] == imports
    assert manifest["loaded"] == ["os.path", "urllib.request", "xml.dom.minidom"]
    assert (values["f"](), type(values["c"])) == (2, values["C"])
    assert {name: each["needs"] for name, each in manifest["definitions"].items()} == {"f": [], "g": [], "C": []}
    assert manifest["missing"] == {}
    assert manifest["names"]["a"]["type"] == "numpy.ndarray"
    assert set(manifest["names"]) == {"inner", "one", "two", "alone", "a", "view", "b", "_mine", "Out_", "c"}
    some = Checkpoint(kernel, tmp_path, only=["one", "j", "nothing"]).manifest()
    assert (list(some["names"]), list(some["imports"])) == (["one"], ["j"])
    assert (some["missing"], some["unknown"]) == ({}, ["nothing"])


SECRET = "correct-horse-battery-47"


TYPED = "typed, and kept nowhere"


SECRETS = f"""
import os, getpass
typed = getpass.getpass()
os.environ.update(SERVICE_TOKEN={SECRET!r}, SOME_SETTING='a value of length', NUMBER='12345678')
os.environ.update(URL='db://u:pass@host')
token = os.environ['SERVICE_TOKEN']; header = 'Bearer ' + token; deep = {{'a': [(token,)]}}
setting = 'a value of length'
as_bytes = token.encode(); of_typed = [typed, 1]; environment = dict(os.environ)
table = ['a value of length']
url = ['db://u:pass@host']
my_password = 'what is it'; home = os.environ.get('HOME'); number = '12345678'; harmless = [home, number, 'typed']
class Tells:
    def __reduce__(self): raise ValueError('it is ' + token)
tells = Tells()
"""


def test_what_is_secret_is_in_no_file(kernel: Recorded, tmp_path: Path) -> None:
    cell = kernel.client.execute(SECRETS, allow_stdin=True)
    kernel.client.get_stdin_msg(timeout=60)
    kernel.client.input(TYPED)
    assert kernel.client._recv_reply(cell, timeout=60)["content"]["status"] == "ok"
    kernel.run("pass")  # its idle status tells that the one before is over
    asked = Checkpoint(kernel, tmp_path, secret_names=["(?i)password", "("])
    manifest = asked.manifest()
    missing = manifest["missing"]
    of_token = "holds the value of SERVICE_TOKEN, a variable of the environment"
    assert {name for name, why in missing.items() if why == of_token} >= {"token", "header", "deep", "as_bytes"}
    assert missing["setting"] == "holds the value of SOME_SETTING, a variable of the environment"
    assert missing["typed"] == missing["of_typed"] == "holds what was typed as a password (getpass() returned it)"
    assert missing["my_password"] == "its name says that it is secret"
    assert missing["tells"] == "saving it failed"
    assert missing["url"] == "holds the value of URL, a variable of the environment"
    assert "a variable of the environment" in missing["environment"]
    assert {"home", "number", "harmless", "table"} <= set(manifest["names"])
    for path in (*asked.objects.iterdir(), *asked.into.iterdir()):
        assert SECRET.encode() not in path.read_bytes()
        assert TYPED.encode() not in path.read_bytes()


def test_a_busy_kernel_says_so_at_once(kernel: Recorded, tmp_path: Path) -> None:
    cell = kernel.client.execute("input()", allow_stdin=True)
    kernel.client.get_stdin_msg(timeout=60)
    assert Checkpoint(kernel, tmp_path).reply == {"status": "busy"}
    kernel.client.input("")
    assert kernel.client._recv_reply(cell, timeout=60)["content"]["status"] == "ok"
    until_now(lambda: Checkpoint(kernel, tmp_path).reply["status"] == "ok", "it is free again")


def test_a_kernel_that_uses_a_graphics_card_is_refused_with_the_reason(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run(
        "import mmap\nfile = open('libcuda.so.1', 'wb+'); file.write(b'x' * 4096); file.flush()\n"
        "driver = mmap.mmap(file.fileno(), 4096)"
    )
    reply = Checkpoint(kernel, tmp_path).reply
    assert reply["status"] == "refused"
    assert "graphics card" in reply["why"]


def test_what_is_too_much_is_named_and_the_rest_is_saved(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run("import numpy as np\nlarge, medium = np.arange(10**6), np.arange(10**5)")
    kernel.run("small, huge = [1], list(range(10**7))")
    manifest = Checkpoint(kernel, tmp_path, name_bytes=20 << 20, total_bytes=1 << 20).manifest()
    assert set(manifest["names"]) == {"medium", "small"}
    assert manifest["missing"]["large"] == "the checkpoint has no room left for it"
    assert manifest["missing"]["huge"] == "it is larger than 20 MB, and the disk has no room for more"
    assert manifest["written"] <= 1 << 20
