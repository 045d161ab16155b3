"""`{% memo %}` and `{% paint %}`: what was rendered from the same values is used again."""

from collections.abc import Hashable
from functools import lru_cache
from operator import attrgetter
from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, TextNode
from django.template.defaulttags import LoadNode
from django.template.library import InclusionNode, SimpleBlockNode, SimpleNode
from django.template.loader_tags import ExtendsNode, IncludeNode
from django.templatetags.i18n import LanguageNode
from django.templatetags.tz import LocalTimeNode, TimezoneNode
from django.utils import timezone, translation
from django.utils.safestring import SafeString

from status.cells import PLACES
from status.resolving import resolver

MOST_KEPT = 2000
"""So many renderings are kept of one block, then it begins anew."""


LOOK = "_look"
"""The name under which a context holds the language and time zone in which all of it is rendered."""


def look() -> tuple[str | None, str]:
    """The active language and time zone. To ask costs microseconds, so a context may hold it: see `keeps_look`."""
    return translation.get_language(), timezone.get_current_timezone_name()


class MemoNode(template.Node):
    """A block that is rendered once for each combination of the values that it names."""

    def __init__(
        self, nodelist: NodeList, of: FilterExpression, names: str, others: list[FilterExpression]
    ) -> None:
        """`names`: attributes of what `of` gives, with spaces between; `others`: what else counts."""
        self.nodelist = nodelist
        self._of, self._values = resolver(of, ignore_failures=True), attrgetter(*names.split())
        self._others = [resolver(other, ignore_failures=True) for other in others]
        self._kept: dict[Hashable, SafeString] = {}

    def render(self, context: template.Context) -> SafeString:
        """As it was rendered from these values before, in this language, time zone and way to escape."""
        try:
            key = self._key(context)
            kept = self._kept.get(key)
        except (AttributeError, TypeError):
            # What is shown is no job, or has a value that cannot be a key: it is rendered as any other.
            return self._render_anew(context)
        if kept is None:
            kept = self._render_anew(context)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = kept
        return kept

    def _key(self, context: template.Context) -> Hashable:
        return (
            self._values(self._of(context)),
            tuple([other(context) for other in self._others]),
            context.get(LOOK) or look(),
            context.autoescape,
            context.use_l10n,
        )

    def _render_anew(self, context: template.Context) -> SafeString:
        # It serves every region, so it holds no region's cells.
        with context.push({PLACES: None}):
            return self.nodelist.render(context)


class PaintNode(template.Node):
    """`{% include %}` for a partial of a fixed name, which is looked up once."""

    def __init__(self, name: str, values: dict[str, FilterExpression]) -> None:
        self.name = name
        self._values = {key: resolver(value, ignore_failures=False) for key, value in values.items()}
        self._template: template.Template | None = None
        self._memo: MemoNode | None = None

    def render(self, context: template.Context) -> SafeString:
        """The partial in this context; where it is one memo, without a context of its own."""
        found, memo = self.found(context)
        if not self._values:
            return memo.render(context) if memo else self._render_in(found, context)
        with context.push(self.values_in(context)):
            return memo.render(context) if memo else found.render(context)

    def _render_in(self, found: template.Template, context: template.Context) -> SafeString:
        with context.push():
            return found.render(context)

    def found(self, context: template.Context) -> tuple[template.Template, MemoNode | None]:
        """The partial, and where it is one memo, that."""
        return self._template or self._load(context), self._memo

    def values_in(self, context: template.Context) -> dict[str, Any]:
        """What the partial gets besides the variables that are there."""
        return {name: value(context) for name, value in self._values.items()}

    def _load(self, context: template.Context) -> template.Template:
        """Kept as long as the template that this node is in: the loader drops both together."""
        assert context.template is not None
        found = self._template = context.template.engine.get_template(self.name)
        nodes = [node for node in found.nodelist if not isinstance(node, LoadNode) and not _is_blank(node)]
        if len(nodes) == 1 and isinstance(nodes[0], MemoNode):
            self._memo = nodes[0]
        return found


def _is_blank(node: template.Node) -> bool:
    return isinstance(node, TextNode) and not node.s.strip()


@lru_cache(500)
def keeps_look(found: template.Template) -> bool:
    """Whether nothing in `found`, or in what it includes, can render in another language or time zone.

    Of tags that are not Django's or ours nobody knows.
    """
    return _keep_look(found, {found.name})


def _keep_look(found: template.Template, seen: set[str | None]) -> bool:
    for node in found.nodelist.get_nodes_by_type(template.Node):
        if isinstance(node, LanguageNode | TimezoneNode | LocalTimeNode | ExtendsNode):
            return False
        if isinstance(node, SimpleNode | SimpleBlockNode | InclusionNode):
            if not _is_known(node.func.__module__):
                return False
        elif not _is_known(type(node).__module__):
            return False
        if not isinstance(node, IncludeNode | PaintNode):
            continue
        name = node.name if isinstance(node, PaintNode) else node.template.var
        if not isinstance(name, str):
            return False
        if name not in seen:
            seen.add(name)
            if not _keep_look(found.engine.get_template(name), seen):
                return False
    return True


def _is_known(module: str) -> bool:
    return module.partition(".")[0] in {"django", "status"}
