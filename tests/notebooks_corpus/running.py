"""Running cells in a real kernel, its messages recorded as the supervisor records them, or through nbclient."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from kernel_supervisor.core.model import (
    Execution,
    ExecutionId,
    ExecutionStatus,
    Mark,
    Message,
    MessageId,
    SessionName,
)
from kernel_supervisor.notebooks.history import Entry
from kernel_supervisor.records.messagelog import MessageLogWriter, encode_message, read
from tests.notebooks_corpus.nbf import v4

_DEADLINE_S = 60
_STATUS: dict[str, ExecutionStatus] = {"ok": "ok", "error": "error", "aborted": "aborted"}


def record(sources: Sequence[str], log: Path) -> tuple[list[Entry], dict[str, Any]]:
    """Run `sources` in a new kernel that logs to `log`; their entries, and the content of its kernel_info_reply."""
    manager, client = start_new_kernel(kernel_name="python3")
    writer = MessageLogWriter(log)
    try:
        asked = client.kernel_info()
        about = next(reply for reply in iter(client.get_shell_msg, None) if reply["parent_header"]["msg_id"] == asked)
        executions = [_run(client, writer, number, source) for number, source in enumerate(sources, start=1)]
    finally:
        writer.close()
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        client.context.term()
        manager.context.term()
    return entries(log, executions), about["content"]


def entries(log: Path, executions: Sequence[Execution]) -> list[Entry]:
    """`executions` with their messages, read from `log` once."""
    messages: dict[str, list[Message | Mark]] = defaultdict(list)
    for _, item in read(log):
        messages[item.parent_id].append(item)
    return [Entry(execution=one, messages=partial(messages.__getitem__, str(one.msg_id))) for one in executions]


def _run(client: Any, writer: MessageLogWriter, number: int, source: str) -> Execution:
    asked = client.execute(source, allow_stdin=False, stop_on_error=False)
    while True:
        message = client.get_iopub_msg(timeout=_DEADLINE_S)
        writer.append(encode_message("iopub", message))
        if message["parent_header"].get("msg_id") == asked and message["content"].get("execution_state") == "idle":
            break
    reply = client.get_shell_msg(timeout=_DEADLINE_S)
    writer.append(encode_message("shell", reply))
    return Execution(
        id=ExecutionId(number),
        session=SessionName("corpus"),
        kind="code",
        source=source,
        status=_STATUS[reply["content"]["status"]],
        msg_id=MessageId(asked),
        client="the corpus",
    )


def through_nbclient(notebook: Any, folder: Path | None = None) -> Any:
    """`notebook` (a node) run by nbclient from top to bottom, in `folder`."""
    # Under pytest ipykernel would not watch its file descriptors.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    NotebookClient(
        notebook,
        timeout=_DEADLINE_S,
        kernel_name="python3",
        allow_errors=True,
        iopub_timeout=_DEADLINE_S,
        resources={"metadata": {"path": str(folder)}} if folder else {},
    ).execute(env=environment)
    return notebook


def notebook_of(sources: Sequence[str]) -> Any:
    """A notebook of code cells that have not run."""
    return v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])


def joined(outputs: Sequence[Any]) -> list[dict[str, Any]]:
    """`outputs` with adjacent streams of one name joined: where a stream is cut into messages is chance."""
    result: list[dict[str, Any]] = []
    for output in outputs:
        last = result[-1] if result else {}
        if output["output_type"] == "stream" == last.get("output_type") and output["name"] == last["name"]:
            last["text"] += output["text"]
        else:
            result.append(dict(output))
    return result


_CHANCE = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # identifiers
    r"|0x[0-9a-f]{6,}|ipykernel_\d+/\d+\.py"  # addresses, and the files that IPython invents for cells
)


def without_chance(value: Any, names: dict[str, str] | None = None) -> Any:
    """`value` with what differs from run to run replaced, by names in the order of first appearance."""
    names = {} if names is None else names
    if isinstance(value, str):
        return _CHANCE.sub(lambda found: names.setdefault(found[0], f"CHANCE-{len(names)}"), value)
    if isinstance(value, dict):
        return {without_chance(key, names): without_chance(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [without_chance(item, names) for item in value]
    return cast(Any, value)


def comparable(notebook: Any) -> dict[str, Any]:
    """`notebook` without what we add: our own metadata, and cell ids where there were none."""
    plain: dict[str, Any] = json.loads(json.dumps(notebook))
    plain["metadata"].pop("kernel_supervisor", None)
    for cell in plain["cells"]:
        cell["metadata"].pop("kernel_supervisor", None)
        cell.pop("id", None)
        if "outputs" in cell:
            cell["outputs"] = joined(cell["outputs"])
    return {"cells": plain["cells"], "metadata": plain["metadata"]}
