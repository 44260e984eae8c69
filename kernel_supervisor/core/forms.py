"""What a message has in it, put into the form that Jupyter's protocol gives it: nobody behind the border asks again.

Kernels send what user code gives them. What can be shown is kept; in the place of the rest stands that it cannot be
read. https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Content = dict[str, Any]
UNREADABLE = "[one output could not be read]"
_LARGEST = 2**53
"""From here on numbers are not the same to all who read them."""
_DEEPEST = 400
"""Objects and arrays in each other: not all who read or write what is deeper can."""


def formed(msg_type: str, content: Any) -> Content:
    """The content of a message of that type, all that its type must have in it of the right type.

    `content` was just read: what lies too deep in it is taken out there.
    """
    form = _FORMS.get(msg_type)
    found = content if isinstance(content, dict) else {}
    for deepest in at_depth(found, _DEEPEST):
        deepest.clear()
        deepest.update({"": UNREADABLE}) if isinstance(deepest, dict) else deepest.append(UNREADABLE)
    return {**found, **form(found)} if form is not None else found


def at_depth(value: Any, depth: int) -> list[Any]:
    """The objects and arrays that are `depth` deep in others, `value` the first of them."""
    found = _nested((value,))
    for _ in range(depth):
        if not found:
            break
        found = [part for each in found for part in _nested(each.values() if isinstance(each, dict) else each)]
    return found


def _nested(values: Iterable[Any]) -> list[Any]:
    return [each for each in values if type(each) in (dict, list)]


def count_of(content: Mapping[str, Any]) -> int | None:
    """The execution count in a message's content, where it has one that can be."""
    count = content.get("execution_count")
    return count if type(count) is int and 0 <= count < _LARGEST else None


def _object(value: Any) -> Content:
    return value if isinstance(value, dict) else {}


def _text(value: Any, otherwise: str = "") -> str:
    return value if isinstance(value, str) else otherwise


def _stream(content: Content) -> Content:
    return {"name": _text(content.get("name"), "stdout"), "text": _text(content.get("text"), UNREADABLE + "\n")}


def _bundle(data: Any) -> Content:
    return data if isinstance(data, dict) else {"text/plain": UNREADABLE} if data is not None else {}


def _display(content: Content) -> Content:
    metadata, transient = _object(content.get("metadata")), _object(content.get("transient"))
    shown_as = transient.get("display_id")
    return {
        "data": _bundle(content.get("data", UNREADABLE)),
        "metadata": {mime: each for mime, each in metadata.items() if "/" not in mime or isinstance(each, dict)},
        "transient": {**transient, "display_id": shown_as if isinstance(shown_as, str | int) else ""},
    }


def _error(content: Content) -> Content:
    lines = content.get("traceback") or []
    return {
        "ename": _text(content.get("ename"), "error"),
        "evalue": _text(content.get("evalue"), UNREADABLE),
        "traceback": [_text(line, UNREADABLE) for line in lines] if isinstance(lines, list) else [UNREADABLE],
    }


def _reply(content: Content) -> Content:
    payload = content.get("payload") or []
    form = {"payload": [_page(each) for each in (payload if isinstance(payload, list) else [payload])]}
    return form if content.get("status") == "ok" else {**_error(content), **form}


def _page(payload: Any) -> Content:
    if not isinstance(payload, dict):
        return {"source": "page", "data": _bundle(payload)}
    return {**payload, "data": _bundle(payload["data"])} if "data" in payload else payload


def _comm(content: Content) -> Content:
    return {"comm_id": _text(content.get("comm_id")), "data": _object(content.get("data"))}


def _kernel(content: Content) -> Content:
    language = _object(content.get("language_info"))
    return {"language_info": {**language, "name": _text(language.get("name"))} if language else {}}


_FORMS: dict[str, Callable[[Content], Content]] = {
    "stream": _stream,
    **dict.fromkeys(("display_data", "update_display_data", "execute_result"), _display),
    "error": _error,
    "execute_reply": _reply,
    **dict.fromkeys(("comm_open", "comm_msg", "comm_close"), _comm),
    "inspect_reply": lambda content: {"data": _bundle(content.get("data"))},
    "kernel_info_reply": _kernel,
}
