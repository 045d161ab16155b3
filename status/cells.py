"""Cells: the parts of a region that are swapped by themselves while nothing around them changes."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

PLACES = "_places"
"""The name under which a context holds its region's `Places`; a template cannot write one with an underscore."""

_ID = re.compile(r"-?[A-Za-z][\w-]*", re.ASCII)
# As `(.*?)<!--/cell-->` finds, in half the time.
_CELL = re.compile(r"<!--cell ([\w-]+)-->([^<]*(?:<(?!!--/cell-->)[^<]*)*)<!--/cell-->")


class Places:
    """The ids that the cells of one rendering of a region take.

    >>> places = Places("live-5d41"); places.take("-done"), places.take("-done")
    ('live-5d41-done', None)
    """

    __slots__ = ("_region", "_taken")

    def __init__(self, region: str) -> None:
        self._region = region
        self._taken: set[str] = set()

    def take(self, name: str) -> str | None:
        """The id of the region's own cell `name`; None for the second of that name, which so is no cell."""
        if name in self._taken:
            return None
        self._taken.add(name)
        return self._region + name


class Painted:
    """What a region was painted with; its cells are told apart once, for all pages that show it."""

    __slots__ = ("_pieces", "html")

    def __init__(self, html: str) -> None:
        self.html = html
        self._pieces: list[str] | None = None

    @property
    def pieces(self) -> list[str]:
        """In turn what stands around the cells, the id of a cell, and what stands in it."""
        if self._pieces is None:
            self._pieces = _CELL.split(self.html)
        return self._pieces


def changed_cells(before: Painted, after: Painted) -> dict[str, str] | None:
    """What stands now in the cells that differ, by their ids; None where more than cells differs."""
    old, new = before.pieces, after.pieces
    if old[0::3] != new[0::3] or old[1::3] != new[1::3]:
        return None
    cells = zip(new[1::3], old[2::3], new[2::3], strict=True)
    return {key: inner for key, held, inner in cells if inner != held}


class CellNode(template.Node):
    """`{% cell %}`; what it says about itself that never changes is put together once."""

    def __init__(
        self,
        nodelist: NodeList,
        id_: FilterExpression,
        tag: FilterExpression | str,
        attributes: dict[str, FilterExpression],
    ) -> None:
        self.nodelist = nodelist
        self._id, self._tag, self._attributes = id_, tag, attributes
        fixed = [value for value in (id_, tag, *attributes.values()) if isinstance(value, FilterExpression)]
        self._is_fixed = not any(value.is_var or value.filters for value in fixed)
        self._start: tuple[str, str, str] | None = None

    def render(self, context: template.Context) -> SafeString:
        """The element with what stands in it."""
        return self.around(self.nodelist.render(context), context)

    def around(self, inner: str, context: template.Context) -> SafeString:
        """The element with `inner`; one of a region's own where there is no region has no id, and is no cell."""
        name, tag, extra = self._start or self._put_together(context)
        key: str | None = name
        if name[0] == "-":
            places = context.get(PLACES)
            key = None if places is None else places.take(name)
        if key is None:
            return SafeString(f"<{tag}{extra}>{inner}</{tag}>")
        return SafeString(f'<{tag} id="{key}"{extra}><!--cell {key}-->{inner}<!--/cell--></{tag}>')

    def _put_together(self, context: template.Context) -> tuple[str, str, str]:
        name = self._id.resolve(context)
        if not isinstance(name, str) or not _ID.fullmatch(name):
            raise template.TemplateSyntaxError(
                f"{{% cell %}} needs an id of letters, digits, - and _, not {name!r}."
            )
        tag = self._tag if isinstance(self._tag, str) else self._tag.resolve(context)
        values = {key: value.resolve(context) for key, value in self._attributes.items()}
        start = name, str(tag), format_attributes(values)
        if self._is_fixed:
            self._start = start
        return start


def format_attributes(attributes: Mapping[str, Any]) -> str:
    """Attributes as HTML; `_` in a name becomes `-`, so that `data_job` can be written in a template tag."""
    values = tuple(attributes.values())
    kinds = tuple(map(type, values))
    if _TEXTS.issuperset(kinds):
        return _format_texts(tuple(attributes), values, kinds)
    return _format(attributes.items())


_TEXTS = {str, SafeString}


@lru_cache(2000)
def _format_texts(names: tuple[str, ...], values: tuple[str, ...], kinds: tuple[type, ...]) -> str:
    """Kept, for the same stand in each row of a list. A text is equal to the same one that is marked safe."""
    return _format(zip(names, values, strict=True))


def _format(attributes: Iterable[tuple[str, Any]]) -> str:
    return mark_safe(  # noqa: S308  # Each was escaped.
        "".join(
            format_html(' {}="{}"', name.replace("_", "-"), value)
            for name, value in attributes
            if value is not None and value is not False
        )
    )
