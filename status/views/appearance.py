"""What readers choose for their own eyes, kept in a cookie: light or dark, and the language."""

from collections.abc import Iterable

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from status.appearance import COOKIE, Appearance
from status.models import Preferences

YEAR_SECONDS = 365 * 24 * 3600


@require_POST
@login_not_required
def create(request: HttpRequest) -> HttpResponse:
    """Keep the choice between light and dark, and go back to the page where it was made."""
    chosen = request.POST.get("appearance", "")
    if chosen not in Appearance.values:
        return _unknown(Appearance.values)
    response = _back(request)
    if chosen == Appearance.SYSTEM:
        response.delete_cookie(COOKIE, samesite="Lax")
    else:
        response.set_cookie(
            COOKIE, chosen, max_age=YEAR_SECONDS, httponly=True, samesite="Lax", secure=request.is_secure()
        )
    return response


@require_POST
@login_not_required
def speak(request: HttpRequest) -> HttpResponse:
    """Keep the language in the cookie that Django's LocaleMiddleware reads, and go back to the page.

    Who is told by e-mail or webhook is told in it as well from now on.
    """
    chosen, offered = request.POST.get("language", ""), dict(settings.LANGUAGES)
    if chosen not in offered:
        return _unknown(offered)
    if request.user.is_authenticated:
        Preferences.objects.filter(pk=request.user.pk).update(language=chosen)
    response = _back(request)
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        chosen,
        max_age=YEAR_SECONDS,
        path=settings.LANGUAGE_COOKIE_PATH,
        domain=settings.LANGUAGE_COOKIE_DOMAIN,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure(),
    )
    return response


def _unknown(known: Iterable[str]) -> HttpResponse:
    return HttpResponseBadRequest(_("Choose one of these: %(choices)s.") % {"choices": ", ".join(known)})


def _back(request: HttpRequest) -> HttpResponse:
    """To the page where the choice was made, if it is one of ours."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        back = "/"
    return redirect(back)
