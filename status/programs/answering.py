"""The frame around each view for programs: who asks, and how a refusal is answered."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from status.programs.callers import Caller, by_session, by_token, has_token
from status.programs.refusals import Refused
from status.programs.wire import JobDocument, Problem
from status.spelling import enumerated

SAFE = {"GET", "HEAD", "OPTIONS"}
View = Callable[..., Any]


def answer(document: msgspec.Struct, *, status: int = 200, **headers: str) -> HttpResponse:
    """A document as an HTTP answer; `_` in a header's name stands for `-`."""
    kind = "application/problem+json" if isinstance(document, Problem) else "application/json"
    response = HttpResponse(msgspec.json.encode(document), content_type=kind, status=status)
    response["Cache-Control"] = "private, no-cache"
    response["Vary"] = "Authorization, Cookie"
    for name, value in headers.items():
        response[name.replace("_", "-")] = value
    return response


def answer_job(request: HttpRequest, document: JobDocument) -> HttpResponse:
    """One job, or 304 for who has it as it is (RFC 9110, 13.1.2)."""
    response = answer(document, ETag=f'"{document.version}"')
    if not {document.version, "*"} & versions_known(request):
        return response
    del response["Content-Type"]
    return HttpResponse(status=304, headers=dict(response.items()))


def versions_known(request: HttpRequest) -> set[str]:
    """The versions of a job that the sender says it has, in `If-None-Match`."""
    tags = request.headers.get("If-None-Match", "").split(",")
    return {tag.strip().removeprefix("W/").strip('"') for tag in tags} - {""}


def refuse(refused: Refused) -> HttpResponse:
    """A refusal as an HTTP answer (RFC 9457)."""
    response = answer(refused.problem, status=refused.problem.status)
    if refused.code == "unauthenticated":
        # RFC 6750, 3; a browser asks nobody for a password because of it.
        response["WWW-Authenticate"] = "Bearer"
    return response


class _Csrf(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> Any:
        text = _('%s Send the cookie "csrftoken" as the header "X-CSRFToken", or use a token.') % reason
        raise Refused("forbidden", text)


def caller_of(request: HttpRequest) -> Caller:
    """Who sent `request`; what a session changes needs the CSRF token. Reads the database.

    Raises:
        Refused: nobody, or the token is not good.
    """
    authorization = request.headers.get("Authorization", "")
    if has_token(authorization):
        return by_token(authorization)
    caller = by_session(request.user)
    if request.method not in SAFE:
        # The views are exempt, for a token needs no such thing; here Django's own check is made up for.
        check = _Csrf(lambda _request: HttpResponse())
        check.process_request(request)
        check.process_view(request, _checked, (), {})
    return caller


def _checked(request: HttpRequest) -> HttpResponse:
    """Stands for a view that is not exempt."""
    return HttpResponse()


def for_programs(view: View) -> View:
    """Give a view the caller as its second argument, and answer what it refuses."""

    @csrf_exempt
    @login_not_required
    @wraps(view)
    def framed(request: HttpRequest, **kwargs: Any) -> Any:
        try:
            return view(request, caller_of(request), **kwargs)
        except Refused as refused:
            return refuse(refused)

    return framed


def for_programs_async(view: View) -> View:
    """As `for_programs`, for a view that awaits."""

    @csrf_exempt
    @login_not_required
    @wraps(view)
    async def framed(request: HttpRequest, **kwargs: Any) -> Any:
        try:
            caller = await sync_to_async(caller_of)(request)
            return await view(request, caller, **kwargs)
        except Refused as refused:
            return refuse(refused)

    return framed


def must_be(request: HttpRequest, methods: Sequence[str]) -> None:
    """Raise `Refused` for a request with another method."""
    if request.method not in methods:
        raise Refused("not-allowed", _("Use %s.") % enumerated(methods))


def number(request: HttpRequest, name: str, default: int, least: int, most: int) -> int:
    """A whole number from the query.

    Raises:
        Refused: it is none, or not from `least` to `most`.
    """
    text = request.GET.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not least <= int(text) <= most:
        raise Refused.because_of(
            name, _("A number from %(least)d to %(most)d.") % {"least": least, "most": most}
        )
    return int(text)
