"""What readers choose for their own eyes: light, dark or as the system says, and the language."""

from collections.abc import Mapping

from django.conf import settings
from django.db.models import TextChoices
from django.utils.translation import get_language_info
from django.utils.translation import gettext_lazy as _

COOKIE = "status-appearance"
CHOOSES_LANGUAGE = "django.middleware.locale.LocaleMiddleware"


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


def offered_languages() -> list[tuple[str, str]]:
    """The codes of the languages that a reader can choose, with what each calls itself.

    Returns:
        Nothing where LocaleMiddleware is not installed, or the project has one language, or has not said which:
        Django's own list has all that Django knows.

    Example:
        >>> offered_languages()
        [('en', 'English'), ('ar', 'العربيّة'), ('de', 'Deutsch')]
    """
    # The stubs lack it.
    is_said = settings.is_overridden("LANGUAGES")  # type: ignore[misc]
    if not is_said or CHOOSES_LANGUAGE not in settings.MIDDLEWARE:
        return []
    if len(settings.LANGUAGES) < 2:
        return []
    return [(code, _own_name(code, str(name))) for code, name in settings.LANGUAGES]


def _own_name(code: str, name: str) -> str:
    try:
        return str(get_language_info(code)["name_local"])
    except KeyError:
        # A language that Django does not know.
        return name
