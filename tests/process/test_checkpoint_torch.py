"""Promise: torch's tensors and modules come back from a checkpoint as they were, without what they do not show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pickled import manifest, read, written

pytestmark = pytest.mark.timeout(900)
"""Torch is large: it is installed once for a checkout."""

TORCH = ["torch==2.13.0+cpu", "numpy", "--extra-index-url", "https://download.pytorch.org/whl/cpu"]
MODEL = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 3)
        self.second = torch.nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("mean", torch.ones(3))
    def forward(self, x):
        return self.second(self.first(x)) + self.mean
model = Net()
optimizer = torch.optim.Adam(model.parameters())
given = torch.ones(1, 3)
optimizer.zero_grad()
model(given).sum().backward()
optimizer.step()
answer = model(given).detach()
"""
KINDS = {
    "tensors": (
        "import torch\ntensors = [torch.arange(5), torch.ones(2, 3, dtype=torch.bfloat16), torch.tensor([True]),\n"
        "torch.arange(24.0).reshape(4, 6).T, torch.arange(24.0).reshape(4, 6)[:, ::2], torch.tensor(5.0),\n"
        "torch.zeros(0, 3), torch.tensor([1 + 2j]), torch.ones(3).expand(4, 3), torch.ones(300, 300)]",
        "same(v, was)\nv[3][0, 0] = 7",
    ),
    "part": ("import torch\npart = torch.zeros(10_000_000)[5:15]", ""),
    "gradients": (
        "import torch\ngradients = torch.ones(3, requires_grad=True)\n(gradients * 2).sum().backward()",
        "same(v, was)\nassert v.grad.tolist() == [2, 2, 2] and v.is_leaf",
    ),
    "model": (
        MODEL,
        "assert v.first.weight is v.second.weight and torch.equal(v(given), answer)\n"
        "assert optimizer.param_groups[0]['params'][0] is v.first.weight and len(list(v.parameters())) == 3\n"
        "assert isinstance(v.first.weight, torch.nn.Parameter) and isinstance(v, Net) and optimizer.state",
    ),
    "sparse": ("import torch\nsparse = torch.eye(3).to_sparse()", "assert torch.equal(v.to_dense(), was.to_dense())"),
    "generator": (
        "import torch\ngenerator = torch.Generator().manual_seed(5)",
        "assert torch.equal(torch.rand(2, generator=v), torch.rand(2, generator=was))",
    ),
    "words": (
        "import torch\nwords = [torch.float32, torch.device('cpu'), torch.Size([1, 2])]",
        "assert v == was and v[0] is torch.float32",
    ),
}


@pytest.fixture(scope="module")
def python(pytestconfig: pytest.Config) -> str:
    """An interpreter with torch for CPUs."""
    prefix = Path(pytestconfig.cache.mkdir("torch")) / "environment"
    interpreter = prefix / "bin/python"
    if not (prefix / "whole").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(prefix)], check=True)
        install = [str(interpreter), "-m", "pip", "install", "-q", "--no-input", "--retries", "0", *TORCH]
        done = subprocess.run(install, capture_output=True, text=True, timeout=800, check=False)
        if done.returncode:
            pytest.skip("torch for CPUs cannot be had here: " + "".join(re.findall(r"ERROR: .*", done.stderr)[-1:]))
        (prefix / "whole").touch()
    return str(interpreter)


def test_tensors_and_modules_come_back_as_they_were(python: str, tmp_path: Path) -> None:
    checkpoint = written(python, tmp_path, [cell for cell, _ in KINDS.values()])
    found = read(python, checkpoint, KINDS)
    assert found["told"]["missing"] == {}
    assert {kind: said for kind, said in found["failed"].items() if said} == {}
    told = manifest(checkpoint)
    part = told["units"][told["names"]["part"]["unit"]]
    assert part["stream_bytes"] < 1000
    assert part["buffers"] == []
