"""The font of formulas: a browser sets large brackets, sums and roots only from one that has a table for mathematics.

`stix-two-math.woff2` is STIX Two Math with the signs that formulas have, made by fontTools:
`pyftsubset --unicodes=… --layout-features=ssty,flac,dtls --no-hinting --flavor=woff2`. Its licence is in `OFL.txt`.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from pathlib import Path

_FONT = Path(__file__).with_name("stix-two-math.woff2")
_NAME = "STIX Two Math"


@cache
def style() -> str:
    """A style sheet's rules for the formulas of a page, the font in them."""
    source = f"url(data:font/woff2;base64,{b64encode(_FONT.read_bytes()).decode()}) format('woff2')"
    return (
        f"@font-face {{ font-family: '{_NAME}'; src: {source}; }}\nmath {{ font-family: '{_NAME}', math; }}\n"
        ".ks-formula { display: block; max-width: 100%; padding: 0.2em 0; overflow: auto hidden; }\n"
    )
