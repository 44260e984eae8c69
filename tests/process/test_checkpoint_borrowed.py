"""Promise: checkpoints are made with the cloudpickle that was installed with us, and no other."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_supervisor import inside
from kernel_supervisor.kernels.checkpoints import code
from tests.checkpoint_support import Checkpoint
from tests.process.test_recorder import Recorded, recorded, short

__all__ = ["short"]
pytestmark = pytest.mark.timeout(120)
CLOSURE = "def outer(n):\n    return lambda: n\ninner = outer(41)"
SEES_NOTHING = "assert not [name for name in sys.modules if '_kernel_supervisor' in name or 'cloudp' in name]"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that we are installed into without what we need."""
    shutil.copytree(Path(inside.__file__).parent, tmp_path / "site/kernel_supervisor/inside")
    return tmp_path / "site"


def _asked(kernel: Recorded, site: Path, tmp_path: Path) -> Checkpoint:
    """As a daemon of a version before asks, which names no file."""
    return Checkpoint(kernel, tmp_path, code=str(site / "kernel_supervisor/inside/checkpoints"), cloudpickle=None)


def test_users_own_cloudpickle_is_let_alone(
    short: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # what is restored brings its own
    (tmp_path / "cloudpickle.py").write_text("raise SystemExit('it is the user who may run this')")
    with recorded(short("theirs")) as kernel:
        kernel.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{CLOSURE}")
        assert Checkpoint(kernel, tmp_path).values("inner")["inner"]() == 41
        kernel.run(SEES_NOTHING)
        assert kernel.reply["content"]["status"] == "ok"


def test_who_names_no_file_of_it_gets_the_one_beside_us(short: Callable[[str], Path], site: Path) -> None:
    (site / "cloudpickle").mkdir()
    shutil.copy(code()["cloudpickle"], site / "cloudpickle")
    with recorded(short("beside")) as kernel:
        kernel.run(CLOSURE)
        assert _asked(kernel, site, site.parent).values("inner")["inner"]() == 41


def test_where_it_is_gone_is_said_with_what_to_do(short: Callable[[str], Path], site: Path) -> None:
    with recorded(short("gone")) as kernel:
        kernel.run(CLOSURE)
        reply = _asked(kernel, site, site.parent).reply
        said = f"is not at {site}/cloudpickle/cloudpickle.py, where it belongs: install kernel-supervisor again"
        assert reply == {"status": "refused", "why": f"cloudpickle {said}"}
