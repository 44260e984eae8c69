"""Figures in one line: what is drawn. Models of scikit-learn: what they were set to, and whether they are fitted."""

from __future__ import annotations

import itertools
from typing import Any

from .plain import clipped, loaded, short, type_name
from .traces import quoted

_MANY = 6


def matplotlib_figure(figure: Any, plain: str) -> str | None:
    """What stands on each of its axes."""
    axes = list(figure.axes)
    said = [_axes(each) for each in axes[:_MANY]]
    more = "; and %s more axes" % (len(axes) - _MANY) if len(axes) > _MANY else ""
    head = "matplotlib figure" if axes else "matplotlib figure, empty"
    title = figure._suptitle.get_text() if figure._suptitle is not None else ""
    return clipped("{}{}: {}{}".format(head, quoted(title), "; ".join(said), more) if axes else head, 1000)


def matplotlib_animation(animation: Any, plain: str) -> str | None:
    """How many frames there are, how fast they follow each other, and what its figure shows; none is drawn."""
    held = vars(animation)
    drawn = held.get("_framedata")
    many = len(drawn) if type(drawn) is list else held.get("_save_count")
    said = [f"{many:,} frames" if type(many) is int else "frames without a known end"]
    said += [f"{short(held['_interval'])} ms apart"] if held.get("_interval") else []
    said += [] if held.get("_repeat") else ["shown once"]
    figure = held.get("_fig")
    is_figure = type(figure) is loaded("matplotlib.figure", "Figure")
    shown = matplotlib_figure(figure, "") if is_figure and not _is_open(figure) else None
    return "matplotlib animation: " + ", ".join(said) + (f"; its {shown}" if shown else "")


def _is_open(figure: Any) -> bool:
    """Whether pyplot has it: then it is shown for itself, as the cell ends."""
    kept = loaded("matplotlib._pylab_helpers", "Gcf")
    return kept is not None and any(each.canvas.figure is figure for each in list(kept.figs.values()))


def _axes(axes: Any) -> str:
    if type(axes) is not loaded("matplotlib.axes", "Axes") and not type_name(type(axes)).startswith("matplotlib."):
        return type_name(type(axes))
    drawn = []
    for kind, artists in (("line", axes.lines), ("image", axes.images)):
        drawn += ["{} {}{}".format(len(artists), kind, "s" * (len(artists) != 1))] if len(artists) else []
    groups = {type_name(type(each)).rpartition(".")[2] for each in itertools.islice(axes.collections, 50)}
    drawn += sorted(groups)
    drawn += [f"{len(axes.patches)} patches"] if len(axes.patches) else []
    names = [str(line.get_label()) for line in list(axes.lines)[:_MANY]]
    labels = ", ".join(clipped(name) for name in names if not name.startswith("_"))
    parts = [" ".join(drawn) if len(drawn) < 2 else ", ".join(drawn) or "nothing drawn"]
    for axis, label in (("x", axes.get_xlabel()), ("y", axes.get_ylabel())):
        parts.append(axis + quoted(label) if label else "")
    parts.append("labelled " + labels if labels else "")
    return "axes{} with {}".format(quoted(axes.get_title()), ", ".join(filter(None, parts)) or "nothing drawn")


def estimator(model: Any, plain: str) -> str | None:
    """The parameters that `text/plain` names, and the attributes that fitting gives; no attribute is computed."""
    if not _is_estimator(model):
        return None
    held = _fitted(model)
    if held:
        learnt = (f"{name} = {_learnt(value)}" for name, value in itertools.islice(held.items(), 20))
        state = "fitted: " + ", ".join(learnt)
    elif _steps(model):
        done = [name for name, step in _steps(model) if _is_fitted(step)]
        state = "fitted: " + ", ".join(map(clipped, done[:20])) if done else "not fitted"
    else:
        state = "" if _tells_itself(model) else "not fitted"
    return f"{plain[:1500]}\n{state}" if state else None


def _is_estimator(model: Any) -> bool:
    base = loaded("sklearn.base", "BaseEstimator")
    return base is not None and issubclass(type(model), base) and type(getattr(model, "__dict__", None)) is dict


def _fitted(model: Any) -> dict[str, Any]:
    """By scikit-learn's convention: what fitting gives has a name that ends in `_`."""
    held = vars(model).items()
    return {name: value for name, value in held if type(name) is str and name.endswith("_") and name[0] != "_"}


def _steps(model: Any) -> list[tuple[str, Any]]:
    """What a Pipeline or FeatureUnion consists of: it is as fitted as they are, and has no such attribute itself."""
    parts = vars(model).get("steps") or vars(model).get("transformer_list")
    pairs = parts if type(parts) is list else []
    return [(pair[0], pair[1]) for pair in pairs if type(pair) is tuple and len(pair) == 2 and type(pair[0]) is str]


def _is_fitted(model: Any) -> bool:
    if not _is_estimator(model):
        return False
    return bool(_fitted(model)) or any(_is_fitted(step) for _name, step in _steps(model))


def _tells_itself(model: Any) -> bool:
    """Whether its class has an answer of its own, as of one that has nothing to learn."""
    mro = type.__dict__["__mro__"].__get__(type(model))
    return any("__sklearn_is_fitted__" in type.__dict__["__dict__"].__get__(kind) for kind in mro)


def _learnt(value: Any) -> str:
    if type(value) is not loaded("numpy", "ndarray"):
        return short(value, 60)
    few = value.size <= 8 and value.dtype.kind in "biufUS"
    return clipped(str(value.tolist()), 80) if few else f"array {value.shape} {value.dtype}"
