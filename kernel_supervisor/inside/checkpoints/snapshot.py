"""What the frozen copy of a kernel's process does: has variables looked at, then written, and says so in a manifest."""

from __future__ import annotations

import array
import contextlib
import json
import os
import platform
import sys
import time
from typing import Any

beside: Any = globals().get("beside")
"""`saving.beside`, which loads this module and puts itself here before."""
FORMAT = 1
DECORATED = "decorated"
"""The kind of a closure around a function: a variable, since it may share what it holds."""
_LOOKING, _SETTLING = 0.4, 0.1
"""The shares of the time after which nothing is looked at any more, and that is left for putting things into place."""
_SLOWEST = 30e6
"""Bytes a second that a disk takes at least: a large variable has so much more time to be written."""
_TRIES = 2
"""What ended a worker may have been another variable's, of before."""
_NO_TIME = "there was no time left for it"
_NONE: tuple[None, str, set[int]] = (None, "", set())


def save(kernel: Any, content: Any, threads: list[str], begun: Any) -> None:
    """Write the checkpoint that `content` asks for; `begun` is called once nothing but that is left to do."""
    began = time.monotonic()
    beside("calm").calm_down(content["deadline_s"])
    folders = beside("listing").folders()
    os.chdir("/")
    objects = beside("objects")
    try:
        snapshot = Snapshot(kernel, content, began)
        begun()
        snapshot.take()
        manifest = {**snapshot.manifest(), "path": folders, "threads": threads, "held_ms": begun.held_ms}
        manifest["took_s"] = round(time.monotonic() - began, 3)
        objects.write_whole(os.path.join(content["into"], "manifest.json"), json.dumps(manifest).encode())
    except objects.StoreError as error:
        _fail(content["into"], "the checkpoint could not be written: %s" % error)
    finally:
        beside("workers").end_children()


def _fail(folder: str, why: str) -> None:
    objects = beside("objects")
    with contextlib.suppress(objects.StoreError):  # that is why
        objects.write_whole(os.path.join(folder, "failed.json"), json.dumps({"why": why}).encode())


class Snapshot:
    """One checkpoint on its way."""

    def __init__(self, kernel: Any, content: Any, began: float) -> None:
        listing, secrets = beside("listing"), beside("secrets")
        self.content, self.began = content, began
        self.values = listing.user_variables(kernel.shell)
        self.wanted = set(self.values if content.get("only") is None else content["only"])
        self.secrets = secrets.Secrets(content.get("secret_names"), getattr(kernel, "_supervisor_typed", None))
        self.objects = beside("objects").Objects(content["objects"])
        desk = beside("desk").Desk(kernel.shell.user_ns, self.secrets, self.objects, content.get("name_bytes", 1 << 62))
        self.workers = beside("workers").Workers(desk.answer)
        self.code = beside("listing").code_run(kernel.shell)
        self.left = content.get("total_bytes", 1 << 62)
        self.names: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        self.imports: dict[str, str] = {}
        self.definitions: dict[str, Any] = {}
        self.units: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.modules: set[str] = set()
        self.asides: dict[str, str] = {}
        self.shared: list[list[str]] = []

    def take(self) -> None:
        """All of it, but for the manifest. Raises StoreError."""
        self.objects.sweep(self.content["deadline_s"])
        try:
            definitions = self.find_definitions()
            looked = self.look(self.sort_out(definitions))
            self.write(beside("units").joined({name: each["shares"] for name, each in looked.items()}), looked)
            self.define(definitions, looked)
            self.workers.close()
            self.objects.settle(self.asides)
        finally:
            self.objects.sweep(self.content["deadline_s"])

    def sort_out(self, definitions: Any) -> list[str]:
        """The names that are to be looked at: what is a module or a secret is known by now."""
        listing, rest = beside("listing"), []
        for name in sorted(self.wanted & set(self.values)):
            module = listing.module_name(self.values[name])
            if not module and name not in definitions and self.secrets.is_one(name, self.values[name]):
                self.missing[name] = "its name says that it is secret"
            elif module:
                self.imports[name] = module
            elif name not in definitions or definitions[name]["kind"] == DECORATED:
                rest.append(name)
        return rest

    def find_definitions(self) -> dict[str, Any]:
        """The functions and classes that were made here."""
        found = self.ask(["definitions"], 1.0).get("definitions") or {}
        return {name: each for name, each in found.items() if name in self.values}

    def look(self, names: list[str]) -> dict[str, Any]:
        """What there is to know of each before it is written; those that cannot be saved are missing then."""
        looked = {}
        for name in names:
            found = self.ask(["look", [name]], _LOOKING)
            if "why" in found:
                self.missing[name] = found["why"]
            else:
                looked[name] = found
        groups = beside("units").overlapping({name: each["memory"] for name, each in looked.items()})
        self.shared = [sorted(group) for group in groups]
        return looked

    def write(self, units: list[list[str]], looked: dict[str, Any]) -> None:
        """Write the units, small ones first: most are there then where there is not room for all."""
        copies = {name for group in self.shared for name in group}
        sizes = [(sum(looked[name]["bytes"] for name in unit), unit) for unit in units]
        for size, names in sorted(sizes):
            number, why, _ = self.put(["write", names, self.left], names, size / _SLOWEST)
            for name in names:
                if why:
                    self.missing[name] = why
                else:
                    saved = {"type": looked[name]["type"], "bytes": looked[name]["bytes"], "unit": number}
                    self.names[name] = {**saved, "copies": name in copies or looked[name]["copied"]}

    def define(self, definitions: dict[str, Any], looked: dict[str, Any]) -> None:
        """Write the definitions that are asked for, and that others need; whoever needs what is not there, is not."""
        saved, owners = self.held_elsewhere(looked), self.owners(looked)
        todo = [name for name in definitions if name in self.wanted]
        todo += [need for each in looked.values() for need in each["needs"]]
        while todo:
            name = todo.pop()
            if name in self.definitions or name in self.missing or name not in definitions:
                continue
            each = definitions[name]
            if each["kind"] == DECORATED and (name not in self.names or not each["source"]):
                continue  # it is a variable, whose source is here for other Pythons
            number, why, shares = (
                self.put(["define", [name], self.left, saved], []) if each["kind"] != DECORATED else _NONE
            )
            secret = self.secrets.found_in(each["source"].encode("utf-8", "surrogatepass"))
            if secret or (why and not each["source"]):
                self.missing[name] = secret or why
            else:
                needs = {*each["needs"], *(self.units[number]["needs"] if number is not None else ())}
                copies = any(owners.setdefault(part, number) != number for part in shares)
                self.definitions[name] = {**each, "unit": number, "needs": sorted(needs - {name}), "copies": copies}
                todo += needs
        lost = {name: self.missing[name] for name in definitions if name in self.missing}
        for name in [name for name in self.names if lost.keys() & set(self.units[self.names[name]["unit"]]["needs"])]:
            need = min(lost.keys() & set(self.units[self.names[name]["unit"]]["needs"]))
            self.missing[name] = "needs %s, which is not saved: %s" % (need, lost[need])
            del self.names[name]

    def held_elsewhere(self, looked: dict[str, Any]) -> dict[str, list[str]]:
        """The saved variables that others hold, too, each with the definitions that its unit needs."""
        held = [name for name in self.names if id(self.values[name]) in looked[name]["shares"]]
        return {name: self.units[self.names[name]["unit"]]["needs"] for name in held}

    def owners(self, looked: dict[str, Any]) -> dict[int, int | None]:
        """The unit of each object that more than one name may have."""
        return {part: each["unit"] for name, each in self.names.items() for part in looked[name]["shares"]}

    def put(self, task: Any, names: list[str], more_s: float = 0.0) -> tuple[int | None, str, set[int]]:
        """Have a unit written: its number, or why it is not; and what it shares, where a definition is written.

        Raises StoreError.
        """
        found = self.ask(task, 1 - _SETTLING, more_s)
        if "why" in found:
            return None, found["why"], set()
        stream, *buffers = found["placed"]
        for each in found["placed"]:
            if each["aside"] and each["object"] not in self.asides:
                self.asides[each["object"]] = each["aside"]
                self.left -= each["bytes"]
        kept = [{"object": each["object"], "bytes": each["bytes"], "readonly": each["readonly"]} for each in buffers]
        unit = {"names": names, "stream": stream["object"], "stream_bytes": stream["bytes"], "buffers": kept}
        unit = {**unit, "needs": found["needs"], "modules": found["modules"]}
        self.modules.update(found["modules"])
        same = (*names, None, *(each["object"] for each in found["placed"]))
        if same not in self.numbers:  # definitions that need each other have one, whole
            self.numbers[same] = len(self.units)
            self.units.append(unit)
        return self.numbers[same], "", found.get("shares", set())

    def ask(self, task: Any, share: float, more_s: float = 0.0) -> dict[str, Any]:
        """What a worker says; why there is nothing, in words, where it does not. Raises StoreError."""
        most = self.content["name_s"] + more_s
        workers, why, blob = beside("workers"), "", b""
        for _ in range(_TRIES):
            seconds = min(most, self.began + share * self.content["deadline_s"] - time.monotonic())
            if seconds <= 0:
                return {"why": why or _NO_TIME}
            try:
                found, blob = self.workers.ask(task, seconds)
                break
            except workers.LostError as error:
                if error.status is None:
                    is_late = seconds >= most
                    return {"why": "it took longer than %.3g s" % seconds if is_late else _NO_TIME}
                why = beside("refusals").of_end(error.status)
        else:
            return {"why": why}
        if "fatal" in found:
            raise beside("objects").StoreError(found["fatal"])
        if "why" not in found:
            found["shares"] = set(array.array("Q", blob))
        return dict(found)

    def manifest(self) -> dict[str, Any]:
        """What is saved, and what is not."""
        sizes = {unit["stream"]: unit["stream_bytes"] for unit in self.units}
        sizes.update((each["object"], each["bytes"]) for unit in self.units for each in unit["buffers"])
        return {
            "format": FORMAT,
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "executable": sys.executable,
            "prefix": sys.prefix,
            "modules": beside("listing").versions(self.modules),
            "bytes": sum(sizes.values()),
            "written": sum(sizes[name] for name in self.asides if name in sizes),
            "names": {name: self.names[name] for name in self.values if name in self.names},
            "units": self.units,
            "definitions": self.definitions,
            "imports": self.imports,
            "loaded": beside("listing").loaded_beneath(self.imports, self.code),
            "missing": self.missing,
            "shared": self.shared,
            "unknown": sorted(self.wanted - set(self.values)),
        }
