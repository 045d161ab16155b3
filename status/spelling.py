"""Numbers and lists as people of each language write them."""

from collections.abc import Iterable

from django.utils.formats import number_format
from django.utils.translation import pgettext


def enumerated(texts: Iterable[str]) -> str:
    """Texts one after the other, with what stands between them in the active language.

    >>> enumerated(["a.jpg", "b.jpg"])
    'a.jpg, b.jpg'
    """
    return pgettext("between the names of a list", ", ").join(texts)


def figure(value: float) -> str:
    """A number in the active language, without decimals that say nothing.

    >>> figure(2.50)
    '2.5'
    """
    return number_format(f"{value:.10g}")
