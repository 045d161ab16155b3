"""Pages as responses, for the views."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.backends.django import Template
from django.template.loader import get_template

from status import compiled


def render(
    request: HttpRequest, name: str, context: Mapping[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """What `django.shortcuts.render` gives, in less time.

    Args:
        request: what is answered.
        name: the page's template.
        context: its variables, besides those of the context processors.
        status: of the response.

    Example:
        >>> render(request, "status/job.html", {"job": job}).status_code
        200
    """
    found = get_template(name)
    if isinstance(found, Template) and not found.template.engine.debug:
        # With debug, Django tells in which line an error is.
        found = Template(compiled.page(found.template), found.backend)
    return HttpResponse(found.render(dict(context or {}), request), status=status)
