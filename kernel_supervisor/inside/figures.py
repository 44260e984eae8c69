"""Shows matplotlib's figures where its backend shows none: one that only draws into files, such as Agg.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. IPython's inline backend shows
what a cell leaves open of its own; a program, a module or an environment variable that asks for another one takes that
away, and the cell has no output. Here `plt.show()` and the end of a cell show what is open then, each figure once as it
stands, and leave it open, as such a backend does. Backends that show figures themselves are left alone.
"""

from __future__ import annotations

import functools
import hashlib
import io
import sys
import weakref
from typing import Any, Callable

_SILENT = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template", "nbagg", "notebook", "webagg"}
"""matplotlib's backends that draw into files alone, or into a page that no agent sees."""
_MOST = 20
"""Figures that are shown at the end of one cell."""
_LARGEST = 8000
"""Pixels of a picture's longer side: more takes gigabytes and minutes."""


def install(shell: Any, after: Callable[..., None]) -> None:
    """Show figures in this shell. `after` does something to a module once it is imported."""
    figures = Figures(shell)
    after("matplotlib.figure", lambda module: figures.take(module.Figure))
    after("matplotlib.pyplot", figures.follow)


class Figures:
    """What was shown of the figures of one shell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.shown: Any = weakref.WeakKeyDictionary()
        """By figure: a digest of its picture as it was shown last."""
        self.drawn: Any = weakref.WeakSet()
        """Those that others have drawn since, as a file is written: that leaves them as if nothing had changed."""
        self.behind: Any = weakref.WeakSet()
        """Those that were open when a backend gave way to another, which shows its own alone."""

    def take(self, cls: Any) -> None:
        """Have a figure that is a cell's value be seen, until a backend says how."""
        formatter = self.shell.display_formatter.formatters["image/png"]
        if cls not in formatter.type_printers:
            formatter.for_type(cls, self.picture)

    def follow(self, pyplot: Any) -> None:
        """Show what is open at each `show()` and at the end of each cell."""
        show, switch = pyplot.show, pyplot.switch_backend

        @functools.wraps(show)
        def showing(*args: Any, **kwargs: Any) -> Any:
            if not self.is_silent():
                return show(*args, **kwargs)
            return self.show()

        @functools.wraps(switch)
        def switching(*args: Any, **kwargs: Any) -> Any:
            self.behind.update(manager.canvas.figure for manager in managers())
            return switch(*args, **kwargs)

        pyplot.show, pyplot.switch_backend = showing, switching
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

    def end(self) -> None:
        """A cell ends: show what it leaves open, as far as that has changed since it was shown."""
        try:
            if not self.is_for_inline():
                self.show(_MOST)
        except KeyboardInterrupt:
            print("Interrupted while what the cell left open was drawn; plt.show() shows the rest", file=sys.stderr)
        except Exception:  # noqa: BLE001 - a matplotlib that does it in another way
            return

    def show(self, most: int = sys.maxsize) -> None:
        """Show what is open and was not shown as it stands. Of what is more than `most` is told."""
        left_out, all_of_them = [], self.is_silent()
        for manager in managers():
            figure = manager.canvas.figure
            is_as_shown = figure in self.shown and not figure.stale and figure not in self.drawn
            if is_as_shown or not (all_of_them or figure in self.behind):
                continue
            if most <= 0:
                left_out.append(manager.num)
                self.settle(figure, b"")
            elif self.publish(manager.num, figure):
                most -= 1
        if left_out:
            numbers = ", ".join(map(str, left_out[:_MOST]))
            more = "%d more figures are open and not shown (%s): " % (len(left_out), numbers)
            print(more + "display(plt.figure(NUMBER)) shows one, plt.close('all') closes all")

    def publish(self, number: int, figure: Any) -> bool:
        """Show a figure, where it looks otherwise than before; whether it was shown. One that fails spoils itself."""
        before = self.shown.get(figure)
        try:
            data = self.picture(figure)
        except BaseException as error:
            self.settle(figure, b"")
            if not isinstance(error, Exception):
                raise
            told = "Figure %s cannot be drawn: %s: %s" % (number, type(error).__name__, error)
            print("%s (plt.figure(%s).canvas.draw() shows where)" % (told.strip(), number), file=sys.stderr)
            return False
        if data is None or self.shown[figure] == before:
            return False
        self.shell.display_pub.publish({"image/png": data, "text/plain": repr(figure)}, {})
        return True

    def picture(self, figure: Any) -> bytes | None:
        """A figure as PNG; None where nothing is in it. It counts as shown."""
        if len(figure.get_children()) < 2:  # its background
            return None
        try:
            data = drawn(figure, "tight")
        except Exception:  # noqa: BLE001 - anything may fail; what lies far outside makes it too large
            data = drawn(figure, None)
        self.settle(figure, hashlib.sha256(data).digest())
        return data

    def settle(self, figure: Any, digest: bytes) -> None:
        """Take a figure, as it stands, for shown."""
        self.shown[figure] = digest
        figure.stale = False
        figure.canvas.mpl_connect("draw_event", self.saw)  # once, however often it is asked for
        self.drawn.discard(figure)

    def saw(self, event: Any) -> None:
        """A figure is drawn by whomever."""
        self.drawn.add(event.canvas.figure)


def managers() -> list[Any]:
    """Of all figures that are open."""
    helpers: Any = sys.modules["matplotlib._pylab_helpers"]
    return list(helpers.Gcf.get_all_fig_managers())


def drawn(figure: Any, box: str | None) -> bytes:
    """A figure as PNG, in as many pixels as it asks for, within what is sensible."""
    data, dpi = io.BytesIO(), min(figure.dpi, _LARGEST / max(figure.get_size_inches()))
    figure.savefig(data, format="png", dpi=dpi, bbox_inches=box, facecolor=figure.get_facecolor())
    return data.getvalue()
