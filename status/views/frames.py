"""The frame of a page over HTTP, for when its socket is dead."""

import time

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_cookie

from status import access, conf, rendering
from status.regions import Kind, View
from status.rendering import PaintedPage
from status.told import COOKIE, COOKIE_SECONDS, Told

_painted: dict[object, tuple[float, PaintedPage]] = {}
"""What was painted within the last `FRAME_SECONDS`, and until when it is good: a page gets no more frames than one
in that time, and where sockets are refused many ask for the same."""


@login_not_required
@require_GET
@never_cache
@vary_on_cookie
def detail(request: HttpRequest) -> HttpResponse:
    """What the socket would send on connect, under the same access rules."""
    try:
        view = access.unsign(request.GET.get("view", ""), request.user)
        painted = _paint(view)
        jobs = {s: shown.job for s, shown in painted.found.items() if s.kind is Kind.JOB}
        access.check(request.user, view.subjects, jobs)
    except access.Denied:
        # 200: htmx swaps nothing of an error, and the page shall say why it stands still.
        return HttpResponse(rendering.last_beat("refused"))
    before = Told.of_query(request.GET, rendering.TOAST_SLOTS)
    text, told = rendering.whole_frame(view, painted, before)
    response = HttpResponse(text)
    if told != before:
        _note_told(response, told)
    return response


def _note_told(response: HttpResponse, told: Told) -> None:
    """For the page's socket, when it comes back."""
    response.set_cookie(
        COOKIE,
        told.stamp,
        max_age=COOKIE_SECONDS,
        secure=bool(settings.SESSION_COOKIE_SECURE),
        httponly=True,
        samesite="Lax",
    )


def _paint(view: View) -> PaintedPage:
    now = time.monotonic()
    until, painted = _painted.get(view.look, (0.0, None))
    if painted is not None and now < until:
        return painted
    for look, (end, _old) in list(_painted.items()):
        if end <= now:
            _painted.pop(look, None)
    painted = rendering.paint(view)
    _painted[view.look] = now + conf.current().frame_seconds, painted
    return painted
