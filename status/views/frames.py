"""The frame of a page over HTTP, for when its socket is dead."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from status import access, rendering
from status.regions import Kind


@login_not_required
@require_GET
@never_cache
def detail(request: HttpRequest) -> HttpResponse:
    """What the socket would send on connect, under the same access rules."""
    try:
        view = access.unsign(request.GET.get("view", ""), request.user)
        found = rendering.load(view.subjects)
        jobs = {s: shown.job for s, shown in found.items() if s.kind is Kind.JOB}
        access.check(request.user, view.subjects, jobs)
    except access.Denied:
        # 200: htmx swaps nothing of an error, and the page shall say why it stands still.
        return HttpResponse(rendering.last_beat("refused"))
    return HttpResponse(rendering.whole_frame(view, found))
