"""The process that converts one notebook: `… -m …convert KIND IPYNB RESULT OPTION DEADLINE`.

It says what it does in answers: `{"progress": …}`, and at the end `{"engine": …}` or what is wrong.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from kernel_supervisor.core.answers import answer
from kernel_supervisor.core.errors import RefusedError, SupervisorError
from kernel_supervisor.notebooks.html import write_html
from kernel_supervisor.notebooks.loading import read_notebook
from kernel_supervisor.notebooks.pdf import write_pdf


def main() -> int:
    """Convert, and return the exit code."""
    kind, ipynb, result, option, deadline = sys.argv[1:]
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(int(float(deadline)) + 5)  # should the one who waits for us be gone
    try:
        notebook = read_notebook(Path(ipynb))
        if kind == "html":
            _say(progress="writing HTML")
            write_html(notebook, Path(ipynb), Path(result), theme=option)
            _say(engine="nbconvert")
        else:
            engine, missing = write_pdf(notebook, Path(ipynb), Path(result), option, lambda words: _say(progress=words))
            _say(engine=engine, missing=missing)
    except SupervisorError as error:
        fault = "refused" if isinstance(error, RefusedError) else "unavailable"
        _say(**{fault: str(error)})
        return 1
    return 0


def _say(**words: str) -> None:
    os.write(1, answer(words))


if __name__ == "__main__":
    sys.exit(main())
