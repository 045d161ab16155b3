"""`{% memo %}`: what was rendered from the same values is used again."""

from collections.abc import Hashable
from operator import attrgetter

from django import template
from django.template.base import FilterExpression, NodeList
from django.utils import timezone, translation
from django.utils.safestring import SafeString

from status.cells import PLACES
from status.resolving import resolver

MOST_KEPT = 2000
"""So many renderings are kept of one block, then it begins anew."""


LOOK = "_look"
"""The name under which a context holds the language and time zone in which all of it is rendered."""


def look() -> tuple[str | None, str]:
    """The active language and time zone. To ask costs microseconds, so a context may hold it: see `status.looks`."""
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
