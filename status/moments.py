"""Times as people of each language write them."""

from datetime import datetime
from functools import lru_cache

from django.utils.formats import date_format
from django.utils.timezone import get_current_timezone_name, localtime
from django.utils.translation import get_language, pgettext_lazy

_FORMS = {
    "j M Y, H:i": pgettext_lazy("a time, in the letters of Django's date filter", "j M Y, H:i"),
    "j M Y, H:i:s": pgettext_lazy("a time, in the letters of Django's date filter", "j M Y, H:i:s"),
    "j M, H:i": pgettext_lazy("a time, in the letters of Django's date filter", "j M, H:i"),
    "D j M Y, H:i:s": pgettext_lazy("a time, in the letters of Django's date filter", "D j M Y, H:i:s"),
    "D H:i": pgettext_lazy("a time, in the letters of Django's date filter", "D H:i"),
}
"""Forms that differ by language: their order, and what stands between."""

WITH_ZONE = " T"


def written(at: datetime, form: str) -> str:
    """A time in the active language and time zone.

    Args:
        at: the time, with its zone.
        form: as Django's `date` filter takes it, or the name of a format of Django's; with " T" at its end the
            name of the time zone follows.

    Example:
        >>> written(datetime(2026, 5, 4, 12, tzinfo=UTC), "j M Y, H:i T")
        '4 May 2026, 12:00 UTC'
    """
    return _written(at, form, get_language(), get_current_timezone_name())


@lru_cache(2000)
def _written(at: datetime, form: str, language: str | None, timezone: str) -> str:
    """Kept: lists show the same times to many, again and again. Both names only tell what is kept apart."""
    zone = WITH_ZONE if form.endswith(WITH_ZONE) else ""
    bare = form.removesuffix(WITH_ZONE)
    return date_format(localtime(at), str(_FORMS.get(bare, bare)) + zone, use_l10n=True)
