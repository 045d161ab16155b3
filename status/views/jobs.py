"""One job's page."""

from uuid import UUID

from django.contrib.auth.decorators import login_not_required, login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_safe

from status import access, audit, registry
from status.arguments import arguments_of
from status.models import Job
from status.pages import render
from status.programs import acts
from status.programs.answering import answer_job, for_programs
from status.programs.callers import Caller
from status.programs.wire import describe
from status.runs import failed_alike, runs_like
from status.telling import note_seen

PAGE, DOCUMENT = "text/html", "application/json"


def visible_job(request: HttpRequest, job_id: UUID) -> Job:
    """The job of that id, for who may watch it; for others it does not exist."""
    job = Job.objects.read(job_id)
    if job is None or not access.may_watch_job(request.user, job):
        raise Http404("No such job.")
    if job.owner_id == request.user.pk:
        job.owner = request.user  # type: ignore[assignment]  # It is nobody without a name.
    return job


@require_safe
@login_not_required
def detail(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """One job: its page, or for who prefers JSON the document that programs get (RFC 9110, 12.5.1)."""
    wants_json = request.get_preferred_type([PAGE, DOCUMENT]) == DOCUMENT
    response: HttpResponse = (_document if wants_json else _page)(request, job_id=job_id)
    patch_vary_headers(response, ["Accept"])
    return response


@for_programs
def _document(request: HttpRequest, caller: Caller, job_id: UUID) -> HttpResponse:
    return answer_job(request, describe(acts.find(caller, job_id)))


@login_required
def _page(request: HttpRequest, job_id: UUID) -> HttpResponse:
    job = visible_job(request, job_id)
    if not job.is_live:
        note_seen(request.user, job)
    context = {
        "job": job,
        "may_act": access.may_act(request.user, job),
        "may_stop": access.may_stop(request.user, job),
        "startable": _startable(request, job),
        "acts": audit.of_job(job),
        "may_see_traceback": access.may_see_traceback(request.user),
        "runs": runs_like(job, request.user),
        "alike": failed_alike(job, request.user),
        "arguments": arguments_of(job),
    }
    return render(request, "status/job.html", context)


def _startable(request: HttpRequest, job: Job) -> registry.Startable | None:
    """What the job was started from, if this user may start it again."""
    entry = registry.startables.get(job.startable)
    return entry if entry is not None and registry.may_start(request.user, entry) else None


@require_GET
@login_required
def log(request: HttpRequest, job_id: UUID) -> StreamingHttpResponse:
    """The whole log as a text file."""
    job = visible_job(request, job_id)
    lines = job.lines.order_by("attempt", "number").iterator(chunk_size=1000)
    rows = (f"{line.at.isoformat(timespec='milliseconds')}\t{line.level}\t{line.text}\n" for line in lines)
    response = StreamingHttpResponse(rows, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{job.pk}.log"'
    return response
