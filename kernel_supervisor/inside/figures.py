"""Shows matplotlib's figures where its backend shows none: one that only draws into files, such as Agg.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. IPython's inline backend shows
what a cell leaves open; a program, a module or an environment variable that asks for another one takes that away, and
the cell has no output. Here `plt.show()` and the end of a cell show what is open then, each figure once as it stands,
and leave it open, as such a backend does. Backends that show figures themselves are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import sys
import weakref
from typing import Any, Callable

_SILENT = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}
"""matplotlib's backends that draw into files alone."""
_MOST = 20
"""Figures that are shown for one cell."""
_INSTALLED = "_supervisor_figures"


def install(shell: Any, after: Callable[..., None]) -> None:
    """Show figures in this shell. `after` does something to a module once it is imported."""
    if getattr(shell, _INSTALLED, None) is not None:
        return
    figures = Figures(shell)
    setattr(shell, _INSTALLED, figures)
    after("matplotlib.figure", lambda module: figures.take(module.Figure))
    after("matplotlib.pyplot", figures.follow)


class Figures:
    """What was shown of the figures of one shell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.shown: Any = weakref.WeakKeyDictionary()
        """By figure: a digest of its picture as it was shown last."""
        self.count = 0
        """How many this cell has shown."""
        self.left_out: list[int] = []

    def take(self, cls: Any) -> None:
        """Have a figure that is a cell's value be seen, until a backend says how."""
        formatter = self.shell.display_formatter.formatters["image/png"]
        if cls not in formatter.type_printers:
            formatter.for_type(cls, self.picture)

    def follow(self, pyplot: Any) -> None:
        """Show what is open at each `show()` and at the end of each cell."""
        show = pyplot.show

        @functools.wraps(show)
        def showing(*args: Any, **kwargs: Any) -> Any:
            if not self.is_silent():
                return show(*args, **kwargs)
            return self.show()

        pyplot.show = showing
        self.shell.events.register("pre_execute", self.begin)
        self.shell.events.register("post_execute", self.end)

    def is_silent(self) -> bool:
        """Whether the present backend shows nothing by itself; where none was needed yet there is none."""
        settings: Any = vars(sys.modules["matplotlib"])["rcParams"]
        return str(dict.__getitem__(settings, "backend")).lower() in _SILENT

    def is_for_inline(self) -> bool:
        """Whether IPython's inline backend, which was there before, is about to show what is open, and to close it."""
        inline: Any = sys.modules.get("matplotlib_inline.backend_inline")
        is_asked = inline is not None and inline.flush_figures in self.shell.events.callbacks["post_execute"]
        return is_asked and inline.show._draw_called is True

    def begin(self) -> None:
        """A cell begins."""
        self.count, self.left_out = 0, []

    def end(self) -> None:
        """A cell ends: show what it leaves open, as far as that has changed since it was shown."""
        with contextlib.suppress(Exception):  # a matplotlib that does it in another way
            if self.is_silent() and not self.is_for_inline():
                self.show()
        if self.left_out:
            numbers = ", ".join(map(str, self.left_out[:_MOST]))
            more = "%d more figures are open and not shown (%s): " % (len(self.left_out), numbers)
            print(more + "display(plt.figure(NUMBER)) shows one, plt.close('all') closes all")
            self.left_out = []

    def show(self) -> None:
        """Show what is open and was not shown as it stands."""
        helpers: Any = sys.modules["matplotlib._pylab_helpers"]
        for manager in helpers.Gcf.get_all_fig_managers():
            figure = manager.canvas.figure
            if not figure.stale and figure in self.shown:
                continue
            if self.count >= _MOST:
                if manager.num not in self.left_out:
                    self.left_out.append(manager.num)
                continue
            before = self.shown.get(figure)
            data = self.picture(figure)
            if data is not None and self.shown[figure] != before:
                self.count += 1
                self.shell.display_pub.publish({"image/png": data, "text/plain": repr(figure)}, {})

    def picture(self, figure: Any) -> bytes | None:
        """A figure as PNG; None where nothing is in it. It counts as shown."""
        if not figure.axes and not figure.lines:
            return None
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=figure.dpi, bbox_inches="tight", facecolor=figure.get_facecolor())
        data = drawn.getvalue()
        self.shown[figure] = hashlib.sha256(data).digest()
        figure.stale = False
        return data
