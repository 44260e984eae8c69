"""folium's maps: where they lie, what is on them by kind and layer, and the first texts of it."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, Iterator

from .plain import clipped, loaded, public_name, short
from .traces import FEW, count, quoted

_BEFORE = 10_000
"""Parts of a map that are looked at."""
_PARTS_OF_PARTS = ("Popup", "Tooltip", "Icon", "ElementAddToElement", "LayerControl")
_GROUPS = ("FeatureGroup", "MarkerCluster", "FeatureGroupSubGroup", "Choropleth")


def folium_map(shown: Any, plain: str) -> str | None:
    """A map, or the page around it."""
    found = shown if _kind(shown) == "Map" else next((part for part in _children(shown) if _kind(part) == "Map"), None)
    if found is None:
        return None
    held = vars(found)
    parts = list(itertools.islice(_all_parts(found), _BEFORE))
    where = held.get("location")
    middle = f" around {_pair(where)}" if _is_pair(where) else ""
    zoom = (held.get("options") or {}).get("zoom")
    outside = list(itertools.islice(_outside(found), _BEFORE))
    said = [*_tiles(found), *_counted(outside), *_data(parts), *_layers(found), *_bounds(parts), *_texts(parts)]
    title = held.get("_parent")
    name = quoted(vars(title).get("title")) if title is not None and _kind(title) == "Figure" else ""
    level = f", zoom {short(zoom)}" if zoom is not None else ""
    return clipped(f"folium map{name}{middle}{level}: " + ("; ".join(said) or "nothing on it"), 1500)


def _kind(part: Any) -> str:
    """The name of a class of folium's or branca's own; nothing for any other."""
    name = public_name(type(part))
    return name.rpartition(".")[2] if name.startswith(("folium.", "branca.")) else ""


def _children(part: Any) -> list[Any]:
    held: Any = vars(part).get("_children") if _kind(part) else None
    return list(held.values()) if type(held) is loaded("collections", "OrderedDict") else []


def _all_parts(part: Any, deep: int = 8) -> Iterator[Any]:
    """What is on a map, also within its layers."""
    for child in _children(part) if deep else ():
        yield child
        yield from _all_parts(child, deep - 1)


def _outside(part: Any) -> Iterator[Any]:
    """What is on a map beside its groups, which are counted by themselves."""
    for child in _children(part):
        if _kind(child) not in _GROUPS:
            yield child
            yield from _all_parts(child)


def _tiles(shown: Any) -> list[str]:
    names = [clipped(str(vars(part).get("tile_name"))) for part in _children(shown) if _kind(part) == "TileLayer"]
    return ["tiles " + ", ".join(names[:FEW])] if names else []


def _counted(parts: list[Any]) -> list[str]:
    """How many there are of each kind."""
    kinds = Counter(_kind(part) for part in parts)
    hidden = (*_PARTS_OF_PARTS, *_GROUPS, "TileLayer", "Html", "", "GeoJson", "HeatMap", "Element")
    return [f"{name} × {many:,}" for name, many in kinds.most_common() if name not in hidden]


def _data(parts: list[Any]) -> list[str]:
    """Of layers that have many places or shapes, how many."""
    said = []
    for part in [part for part in parts if _kind(part) in ("GeoJson", "HeatMap")][:FEW]:
        data = vars(part).get("data")
        features = data.get("features") if type(data) is dict else data
        of, many = "feature" if type(data) is dict else "point", count(features)
        plural = "s" * (many != 1)
        said.append(f"{_kind(part)}{_layer_name(part)} of {many:,} {of}{plural}{_fields(features)}")
    return said


def _fields(features: Any) -> str:
    """What is known of each feature, by name."""
    first = features[0] if type(features) is list and features and type(features[0]) is dict else {}
    known = first.get("properties")
    names = [clipped(name) for name in known if type(name) is str] if type(known) is dict else []
    return f" with {', '.join(names[:FEW])}" if names else ""


def _layer_name(part: Any) -> str:
    name = vars(part).get("layer_name")
    return quoted(name) if type(name) is str and "_" + str(vars(part).get("_id")) not in name else ""


def _layers(shown: Any) -> list[str]:
    groups = [part for part in _children(shown) if _kind(part) in _GROUPS]
    said = []
    for group in groups[:FEW]:
        inner = Counter(_kind(part) for part in _all_parts(group) if _kind(part) not in _PARTS_OF_PARTS)
        few = [f"{name} × {many:,}" for name, many in inner.most_common(FEW) if name not in ("", "Html", "Element")]
        said.append(f"{_kind(group)}{_layer_name(group)} of {', '.join(few) or 'nothing'}")
    return [*said, f"and {len(groups) - FEW} more groups"] if len(groups) > FEW else said


def _bounds(parts: list[Any]) -> list[str]:
    """Between which latitudes and longitudes the places lie."""
    places = [place for part in parts if _kind(part) for place in _places(part)]
    if len(places) < 2:
        return [f"at {_pair(place)}" for place in places]
    lat, lon = [place[0] for place in places], [place[1] for place in places]
    return [f"lat {short(min(lat))} … {short(max(lat))}, lon {short(min(lon))} … {short(max(lon))}"]


def _places(part: Any) -> list[Any]:
    held = vars(part)
    several = held.get("locations") or (held.get("data") if _kind(part) == "HeatMap" else None)
    listed = several[:_BEFORE] if type(several) is list else [held.get("location")]
    return [place for place in listed if _is_pair(place)]


def _is_pair(place: Any) -> bool:
    return type(place) in (list, tuple) and len(place) >= 2 and all(type(each) in (int, float) for each in place[:2])


def _pair(place: Any) -> str:
    return f"{short(place[0])}, {short(place[1])}"


def _texts(parts: list[Any]) -> list[str]:
    """What its popups and tooltips say."""
    said = []
    for kind, called in (("Popup", "popups"), ("Tooltip", "tooltips")):
        of_kind = [part for part in parts if _kind(part) == kind]
        texts = [text for text in map(_text, of_kind[:FEW]) if text]
        more = f" and {len(of_kind) - FEW:,} more" if len(of_kind) > FEW else ""
        said += [f"{called} {', '.join(texts)}{more}"] if texts else []
    return said


def _text(part: Any) -> str:
    if _kind(part) == "Tooltip":
        return quoted(vars(part).get("text")).strip()
    inner = vars(part).get("html")
    texts = [vars(child).get("data") for child in _children(inner) if _kind(child) == "Html"]
    return quoted(" ".join(text for text in texts if type(text) is str)).strip()
