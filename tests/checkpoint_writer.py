"""A script: runs cells in a `__main__` of its own and writes a checkpoint of it, without the forks of a real one.

python checkpoint_writer.py CODE CLOUDPICKLE CELLS.json INTO
"""

from __future__ import annotations

import builtins
import gc
import hashlib
import importlib.util
import json
import linecache
import os
import sys
import threading
import types
from pathlib import Path
from typing import Any


def loaded(code: str, name: str) -> Any:
    """A module of the product's by its path, as kernels have it."""
    spec = importlib.util.spec_from_file_location(f"_kernel_supervisor_{name}", f"{code}/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def empty_main() -> dict[str, Any]:
    """The namespace of a `__main__` in which nothing is."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    vars(module)["__builtins__"] = builtins
    return vars(module)


def run_cells(cells: list[str], namespace: dict[str, Any]) -> None:
    """As IPython does: the source of each is in `linecache`, under a name of its own."""
    for number, cell in enumerate(cells):
        file = f"/tmp/ipykernel_{os.getpid()}/{number}.py"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        exec(compile(cell, file, "exec", 0, dont_inherit=True), namespace)


def with_room(work: Any) -> None:
    """Run `work` in a thread with a large stack, as the workers of a checkpoint do."""
    threading.stack_size(512 << 20)
    sys.setrecursionlimit(200_000)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


class Writer:
    """Writes objects and a manifest."""

    def __init__(self, code: str, cloudpickle: str, namespace: dict[str, Any], into: Path) -> None:
        saving = loaded(code, "saving")
        assert saving.beside("borrowed").hindrance({"cloudpickle": cloudpickle}) == ""
        self.pickling = saving.beside("pickling")
        self.it = self.pickling.Pickling(namespace, lambda text: "a secret" if text == "s3cr3t-t0ken" else "")
        self.namespace, self.into = namespace, into
        self.manifest: dict[str, Any] = {"format": 1, "python": sys.version.split()[0], "units": [], "missing": {}}
        self.manifest |= {"implementation": sys.implementation.name, "names": {}, "definitions": {}, "imports": {}}

    def write(self) -> None:
        """All of it."""
        definitions = self.it.definitions()
        alone: dict[str, Any] = {}
        for name, value in list(self.namespace.items()):
            if name.startswith("__"):
                continue
            if isinstance(value, types.ModuleType) and value.__spec__ is not None:
                self.manifest["imports"][name] = value.__name__
                continue
            self._refusing(
                [name], lambda name=name, value=value: alone.__setitem__(name, self.it.pickle({name: value}))
            )
        for name, told in definitions.items():
            self._define(name, told)
        values = {name: pickled for name, pickled in alone.items() if self._is_value(name)}
        for group in _joined(values):
            pickled = (
                values[group[0]] if len(group) == 1 else self.it.pickle({name: self.namespace[name] for name in group})
            )
            self._refusing(group, lambda group=group, pickled=pickled: self._save(group, pickled))
        versions = {name: getattr(module, "__version__", "") for name, module in sys.modules.items() if "." not in name}
        self.manifest["modules"] = {
            name: version for name, version in versions.items() if isinstance(version, str) and version
        }
        (self.into / "manifest.json").write_text(json.dumps(self.manifest))

    def _save(self, group: list[str], pickled: Any) -> None:
        unit = self._unit(group, pickled)
        for name in group:
            self.manifest["names"][name] = {"type": "", "bytes": 0, "unit": unit, "copies": pickled.copied}

    def _is_value(self, name: str) -> bool:
        told = self.it.definitions().get(name)
        return told is None or told.kind == "decorated"

    def _define(self, name: str, told: Any) -> None:
        entry = {"kind": told.kind, "source": told.source, "needs": sorted(told.needs), "unit": None}
        if told.kind != "decorated":

            def define() -> None:
                pickled = self.it.pickle_definition(name, {})
                entry["unit"] = self._unit([], pickled)

            self._refusing([name], define)
            if told.source:
                self.manifest["missing"].pop(name, None)
        self.manifest["definitions"][name] = entry

    def _refusing(self, names: list[str], work: Any) -> None:
        try:
            work()
        except self.pickling.RefusedValue as error:
            self.manifest["missing"] |= dict.fromkeys(names, str(error))

    def _unit(self, names: list[str], pickled: Any) -> int:
        rehearsed = self.it.rehearse(pickled) if pickled.doubtful else ""
        if rehearsed:
            raise self.pickling.RefusedValue(rehearsed)
        buffers = [
            {"object": self._object(each), "bytes": each.nbytes, "readonly": each.readonly} for each in pickled.buffers
        ]
        told = {"names": names, "stream": self._object(pickled.stream), "stream_bytes": len(pickled.stream)}
        told |= {"buffers": buffers, "needs": sorted(pickled.needs), "modules": sorted(pickled.modules)}
        self.manifest["units"].append(told)
        return len(self.manifest["units"]) - 1

    def _object(self, content: Any) -> str:
        name = hashlib.sha256(content).hexdigest()
        path = self.into / "objects" / name
        path.write_bytes(content)
        path.chmod(0o600)
        return name


def _joined(values: dict[str, Any]) -> list[list[str]]:
    """The names, those together that share something."""
    groups: list[tuple[set[str], set[int]]] = []
    for name, pickled in values.items():
        mine = ({name}, set(pickled.shares))
        for other in [group for group in groups if group[1] & mine[1]]:
            groups.remove(other)
            mine = (mine[0] | other[0], mine[1] | other[1])
        groups.append(mine)
    return [sorted(names) for names, _ in groups]


def write(code: str, cloudpickle: str, namespace: dict[str, Any], into: Path) -> None:
    """Write a checkpoint of a namespace into the folder `into`."""
    os.umask(0o077)
    (into / "objects").mkdir(parents=True)
    gc.disable()
    with_room(lambda: Writer(code, cloudpickle, namespace, into).write())


def main(code: str, cloudpickle: str, cells: str, into: str) -> None:
    """Write a checkpoint into the folder `into`."""
    namespace = empty_main()
    run_cells(json.loads(Path(cells).read_text()), namespace)
    write(code, cloudpickle, namespace, Path(into))
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
