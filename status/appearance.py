"""Light or dark: as the system says, or as the reader chose."""

from collections.abc import Mapping

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

COOKIE = "status-appearance"


class Appearance(TextChoices):
    """What a reader can choose; the values are those of CSS's `color-scheme`, but for the system's."""

    SYSTEM = "system", _("As the system")
    LIGHT = "light", _("Light")
    DARK = "dark", _("Dark")

    @property
    def color_scheme(self) -> str:
        """The content of the page's `<meta name="color-scheme">` (HTML, 4.2.5.1).

        >>> Appearance.SYSTEM.color_scheme
        'light dark'
        """
        return "light dark" if self is Appearance.SYSTEM else str(self.value)

    @property
    def offered(self) -> "list[Appearance]":
        """All there is to choose from, for a template that holds one of them."""
        return list(Appearance)


def chosen(cookies: Mapping[str, str]) -> Appearance:
    """What the cookie says; as the system, if it says nothing that is known.

    >>> chosen({"status-appearance": "dark"}).color_scheme
    'dark'
    """
    try:
        return Appearance(cookies.get(COOKIE, ""))
    except ValueError:
        return Appearance.SYSTEM
