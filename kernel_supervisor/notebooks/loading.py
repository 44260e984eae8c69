"""Reading a notebook that exists, so that a session can go on from it and saving it again loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from kernel_supervisor.core.errors import RefusedError, SupervisorError, UnavailableError
from kernel_supervisor.core.forms import UNREADABLE, count_of
from kernel_supervisor.notebooks.asfound import as_meant
from kernel_supervisor.notebooks.history import LOADED_CELL
from kernel_supervisor.paths import read_regular

_LARGEST = 1 << 30
"""Bytes of a notebook."""
_UNREADABLE = {"output_type": "stream", "name": "stderr", "text": UNREADABLE + "\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCell:
    """One cell of a notebook."""

    kind: Literal["code", "markdown"]
    """Raw cells count as markdown; saved again, they are raw."""
    source: str
    outputs: list[dict[str, Any]] = field(default_factory=list)
    execution_count: int | None = None
    cell: dict[str, Any]
    """The cell without source and outputs: its type, id, metadata and attachments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A notebook that was read."""

    cells: list[LoadedCell]
    metadata: dict[str, Any]
    """The notebook's own, with kernelspec, language_info and widget state where it has them."""


def load_notebook(path: Path) -> Loaded:
    """Read the notebook at `path`, of format 3 or 4, as one of format 4.

    Blocks while it reads: call it in a thread. Raises RefusedError for what is not a notebook, and
    UnavailableError where the file cannot be read.
    """
    with _refusing(path):
        plain = json.loads(json.dumps(read_notebook(path)))
        return Loaded(cells=[_loaded(cell) for cell in plain["cells"]], metadata=dict(plain["metadata"]))


def read_notebook(path: Path) -> Any:
    """The notebook at `path` as nbformat's node of format 4. Raises as `load_notebook`."""
    # Not with the module: where a Jupyter server is installed beside us, jsonschema takes two seconds for its formats,
    # and each start of the daemon would pay them.
    import nbformat

    with _refusing(path):
        text = as_meant(read_regular(str(path), _LARGEST), path)
        return nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has no types


def language_of(metadata: Mapping[str, Any]) -> str:
    """What a notebook is written in, as its metadata says; empty where that says nothing."""
    spec, info = (metadata.get(name) for name in ("kernelspec", "language_info"))
    said = [each.get(key) for each, key in ((info, "name"), (spec, "language")) if isinstance(each, dict)]
    return next((each for each in said if isinstance(each, str) and each), "")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except SupervisorError:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise RefusedError(f"path: {path}: {error.strerror}; name a notebook that exists") from error
    except OSError as error:
        raise UnavailableError(f"{path} could not be read: {error.strerror or error}") from error
    except Exception as error:  # there is nothing that nbformat does not raise
        why = str(error) or type(error).__name__
        raise RefusedError(f"path: {path} is not a notebook that Jupyter can read: {why}") from error


def messages_of(loaded: LoadedCell, *, msg_id: str) -> Iterator[dict[str, Any]]:
    """`loaded` as messages of iopub, as jupyter_client has them, whose request was `msg_id`.

    Kept in a message log, they give the cell back: the first carries what is neither source nor output, the
    rest are its outputs. Where an `execute_input` follows them, the cell was run again, and what that run
    shows stands in their place.
    """
    yield _message(LOADED_CELL, {**loaded.cell, "execution_count": loaded.execution_count}, msg_id, 0)
    for number, output in enumerate(loaded.outputs, start=1):
        content = {key: value for key, value in output.items() if key != "output_type"}
        yield _message(output["output_type"], content, msg_id, number)


def _loaded(cell: dict[str, Any]) -> LoadedCell:
    """A cell as it is kept. Raises ValueError for what is none: nbformat reads that too, and only logs it."""
    source, outputs = cell["source"], cell.get("outputs", [])
    if not isinstance(source, str) or not isinstance(cell.get("metadata", {}), dict):
        raise ValueError("a cell's source is no text, or its metadata no object")
    if not isinstance(outputs, list):
        raise ValueError("a cell's outputs are no list")
    return LoadedCell(
        kind="code" if cell["cell_type"] == "code" else "markdown",
        source=source,
        outputs=[each if _is_output(each) else dict(_UNREADABLE) for each in outputs],
        execution_count=count_of(cell),
        cell={key: value for key, value in cell.items() if key not in ("source", "outputs", "execution_count")},
    )


def _is_output(output: Any) -> bool:
    types = ("stream", "display_data", "execute_result", "error")
    return isinstance(output, dict) and output.get("output_type") in types


def _message(msg_type: str, content: dict[str, Any], msg_id: str, number: int) -> dict[str, Any]:
    now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
    header = {"msg_id": f"{msg_id}-loaded-{number}", "msg_type": msg_type, "date": now}
    return {
        "header": header,
        "parent_header": {"msg_id": msg_id, "username": ""},
        "metadata": {},
        "content": content,
        "buffers": [],
    }
