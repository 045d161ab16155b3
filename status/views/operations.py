"""For the machines that run this: alive, ready, metrics."""

import importlib.util
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from status import access, conf, health


@never_cache
@require_safe
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """Alive: this process answers; nothing else is asked."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
@login_not_required
async def readyz(request: HttpRequest) -> JsonResponse:
    """Ready: database, channel layer, broker and hub answer; else 503, which says what does not."""
    checks = await health.readiness(with_hub=isinstance(request, ASGIRequest))
    ready = all(said == health.OK for said in checks.values())
    body: dict[str, Any] = {"status": "ready" if ready else "not ready", "checks": checks}
    return JsonResponse(body, status=200 if ready else 503)


@never_cache
@require_safe
@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics of this process, for staff and for who has the token."""
    if not _has_token(request) and not access.may_see_metrics(request.user):
        if request.user.is_authenticated:
            return HttpResponse("Only for staff.\n", status=403, content_type="text/plain")
        text = 'Log in as staff, or send "Authorization: Bearer" with STATUS["METRICS_TOKEN"].\n'
        headers = {"WWW-Authenticate": 'Bearer realm="metrics"'}
        return HttpResponse(text, status=401, content_type="text/plain", headers=headers)
    if importlib.util.find_spec("prometheus_client") is None:
        text = "The package prometheus-client is not installed: pip install prometheus-client\n"
        return HttpResponse(text, status=501, content_type="text/plain")
    from status.metrics import exposition

    content, content_type = exposition(request.headers.get("Accept", ""))
    return HttpResponse(content, content_type=content_type)


def _has_token(request: HttpRequest) -> bool:
    """Whether the request carries the token (RFC 6750); compared in constant time."""
    token, given = conf.current().metrics_token, access.bearer(request.headers.get("Authorization", ""))
    return bool(token) and given is not None and constant_time_compare(given, token)
