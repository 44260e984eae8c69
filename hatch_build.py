"""What the build adds to the metadata: the README, whose links lead somewhere from a package index, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Readme(MetadataHookInterface):
    """The README, with whole addresses for links to our own files and sections."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put it there."""
        files, pictures = (f"{metadata['urls']['Source']}/{kind}/main/" for kind in ("blob", "raw"))
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = re.sub(r'(!\[[^\]]*\]\(|<img src=")([^):"]+)', rf"\1{pictures}\2", text)
        text = re.sub(r"\]\((#[^)]+)\)", rf"]({files}README.md\1)", text)
        text = re.sub(r"\]\(([^):]+)\)", rf"]({files}\1)", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
