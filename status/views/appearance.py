"""The choice between light and dark."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from status.appearance import COOKIE, Appearance

YEAR_SECONDS = 365 * 24 * 3600


@require_POST
@login_not_required
def create(request: HttpRequest) -> HttpResponse:
    """Keep the choice in a cookie, and go back to the page where it was made."""
    chosen = request.POST.get("appearance", "")
    if chosen not in Appearance.values:
        choices = ", ".join(Appearance.values)
        return HttpResponseBadRequest(_("Choose one of these: %(choices)s.") % {"choices": choices})
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = redirect(back)
    if chosen == Appearance.SYSTEM:
        response.delete_cookie(COOKIE, samesite="Lax")
    else:
        response.set_cookie(
            COOKIE, chosen, max_age=YEAR_SECONDS, httponly=True, samesite="Lax", secure=request.is_secure()
        )
    return response
