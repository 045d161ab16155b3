"""HTTP for programs."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from asgiref.sync import SyncToAsync, sync_to_async
from django.core.exceptions import RequestDataTooBig, TooManyFilesSent
from django.db import connections
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.urls import reverse
from django.utils.translation import gettext as _

from status.hub import get_hub
from status.models import Attachment, Job
from status.programs import acts
from status.programs.answering import (
    answer,
    answer_job,
    for_programs,
    for_programs_async,
    must_be,
    number,
    versions_known,
)
from status.programs.callers import Caller
from status.programs.lines import MOST_LINES, lines_after
from status.programs.refusals import Refused
from status.programs.requests import StartRequest, misread, read
from status.programs.wire import (
    FileList,
    JobDocument,
    LineList,
    describe,
    describe_file,
    describe_line,
    is_older,
    place_text,
    read_place,
)
from status.views import attachments

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 60

_start_decoder = msgspec.json.Decoder(StartRequest)


@for_programs
def jobs(request: HttpRequest, caller: Caller) -> HttpResponse:
    """GET lists jobs, POST starts one."""
    must_be(request, ["GET", "HEAD", "POST"])
    if request.method == "POST":
        return _accepted(_start(request, caller))
    limit = number(request, "limit", 25, 1, acts.MOST_LISTED)
    return answer(acts.listed(caller, request.GET.getlist("state"), request.GET.get("after"), limit))


def _start(request: HttpRequest, caller: Caller) -> Job:
    # First: what is not to be started is not read.
    caller.must_act()
    try:
        if request.content_type == "multipart/form-data":
            return _start_with_files(request, caller)
        asked = read(request.body, _start_decoder)
    except RequestDataTooBig as error:
        raise Refused("too-large", _("Send less, or files as multipart/form-data.")) from error
    except (MultiPartParserError, TooManyFilesSent) as error:
        raise Refused.because_of("", str(error)) from error
    return acts.start(caller, asked.job, asked.params, asked.key)


def _start_with_files(request: HttpRequest, caller: Caller) -> Job:
    """With `job`, `key`, and each parameter under its own name as `params.<name>`, as a form sends them."""
    params: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for name, values in request.POST.lists():
        if name.startswith("params."):
            params[name.removeprefix("params.")] = values
        else:
            fields[name] = values[-1]
    files = request.FILES.copy()
    for name in list(files):
        if not name.startswith("params."):
            raise Refused.because_of(name, _("A file belongs to a parameter: params.<name>."))
        files.setlist(name.removeprefix("params."), files.getlist(name))
        del files[name]
    try:
        asked = msgspec.convert(fields | {"params": params}, StartRequest)
    except msgspec.MsgspecError as error:
        raise misread(error) from error
    return acts.start(caller, asked.job, asked.params, asked.key, files)


def _accepted(job: Job) -> HttpResponse:
    return answer(describe(job), status=202, Location=reverse("status_api:job", args=[job.pk]))


@for_programs_async
async def job(request: HttpRequest, caller: Caller, job_id: UUID) -> HttpResponse:
    """One job. With `wait`, the answer comes when it has changed or ended, or after so many seconds.

    With `If-None-Match` it waits until the job is another than that (RFC 9110, 13.1.2), else until it has ended.
    """
    must_be(request, ["GET", "HEAD"])
    seconds = number(request, "wait", 0, 0, LONGEST_WAIT_SECONDS)
    known = versions_known(request)

    def is_news(document: JobDocument) -> bool:
        if not known:
            return document.over
        return document.version not in known and not all(is_older(document.version, tag) for tag in known)

    document = describe(await sync_to_async(acts.find)(caller, job_id))
    if seconds and not is_news(document):
        let_go_of_thread()
        try:
            document = await _newer(document, is_news, seconds)
        except Refused:
            raise
        except Exception as error:
            logger.exception("Job %s: a request could not wait", job_id)
            raise Refused(
                "failed", _("The server cannot wait at present. Ask without `wait`, or later.")
            ) from error
    return answer_job(request, document)


async def _newer(
    document: JobDocument, is_news: Callable[[JobDocument], bool], seconds: float
) -> JobDocument:
    """The job when it is news, or as it is after so many seconds; held by nothing but the hub's subscription."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), get_hub().listen(document.id) as listener:
            async for job in listener.jobs():
                document = describe(job)
                if is_news(document):
                    break
            else:
                if not document.over:
                    raise Refused("not-found", _("The job was deleted."))
    return document


def let_go_of_thread() -> None:
    """Give back the thread, and with it the database connection, that Django keeps for a request under way.

    Where Django runs under ASGI each request has a thread of its own for what is not asynchronous, from its first use
    to the end of the request; the next use makes another. A middleware that cannot be asynchronous holds it whatever
    is done here.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    thread = SyncToAsync.context_to_thread_executor.pop(context, None) if context else None
    if thread is not None:
        thread.submit(connections.close_all)
        thread.shutdown(wait=False)


@for_programs
def log(request: HttpRequest, caller: Caller, job_id: UUID) -> HttpResponse:
    """The log, oldest lines first, from behind `after`."""
    must_be(request, ["GET", "HEAD"])
    limit = number(request, "limit", MOST_LINES, 1, MOST_LINES)
    after = _place(request.GET.get("after", "0.0"))
    found = lines_after(acts.find(caller, job_id).pk, after, limit + 1)
    shown = found[:limit]
    return answer(
        LineList(
            lines=[describe_line(line) for line in shown],
            next=place_text(shown[-1].place if shown else after),
            more=len(found) > limit,
        )
    )


def _place(text: str) -> tuple[int, int]:
    try:
        return read_place(text)
    except ValueError as error:
        raise Refused.because_of("after", _("Not the `next` of a page of lines.")) from error


@for_programs
def files(request: HttpRequest, caller: Caller, job_id: UUID) -> HttpResponse:
    """The files that the job was given or that it made, oldest first."""
    must_be(request, ["GET", "HEAD"])
    found = acts.find(caller, job_id).attachments.order_by("created_at", "pk")
    return answer(
        FileList(
            files=[
                describe_file(entry, reverse("status_api:file", args=[job_id, entry.pk])) for entry in found
            ]
        )
    )


@for_programs
def file(
    request: HttpRequest, caller: Caller, job_id: UUID, attachment_id: UUID
) -> HttpResponse | FileResponse:
    """One file."""
    must_be(request, ["GET", "HEAD"])
    found: Attachment | None = acts.find(caller, job_id).attachments.filter(pk=attachment_id).first()
    response = None if found is None else attachments.download(found)
    if response is None:
        raise Refused("not-found", _("There is no such file, or it is no longer kept."))
    return response


@for_programs
def cancellation(request: HttpRequest, caller: Caller, job_id: UUID) -> HttpResponse:
    """POST cancels a job."""
    must_be(request, ["POST"])
    return _accepted(acts.cancel(caller, job_id))


@for_programs
def retry(request: HttpRequest, caller: Caller, job_id: UUID) -> HttpResponse:
    """POST runs a failed or cancelled job again."""
    must_be(request, ["POST"])
    return _accepted(acts.retry(caller, job_id))
