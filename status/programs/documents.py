"""The two descriptions, for whoever asks: they say nothing that is not in the source."""

import msgspec
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from status.programs import asyncapi, openapi


@require_safe
@login_not_required
def of_http(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document."""
    return HttpResponse(msgspec.json.encode(openapi.openapi()), content_type="application/json")


@require_safe
@login_not_required
def of_socket(request: HttpRequest) -> HttpResponse:
    """The AsyncAPI document."""
    return HttpResponse(msgspec.json.encode(asyncapi.asyncapi()), content_type="application/json")
