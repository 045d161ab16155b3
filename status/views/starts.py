"""Starting a job from a page."""

from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.datastructures import MultiValueDict
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import HttpResponseClientRedirect

from status import access, live_forms, registry
from status.audit import on_page
from status.forms import focus_first_error
from status.models import Attachment, Job
from status.pages import render
from status.registry import Startable
from status.starts import KEY_FIELD, key_of, start_from_form


@require_GET
@login_required
def choose(request: HttpRequest) -> HttpResponse:
    """What I may start."""
    return render(request, "status/startables.html", {"startables": registry.allowed(request.user)})


@require_http_methods(["GET", "POST"])
@login_required
def new(request: HttpRequest, name: str) -> HttpResponse:
    """The form of one startable; a valid POST starts the job and answers with its page."""
    entry = registry.startables.get(name)
    if entry is None:
        raise Http404(f"Nothing can be started under the name {name!r}.")
    if not registry.may_start(request.user, entry):
        raise PermissionDenied
    again = _job_again(request)
    kept = _inputs_of(again) if again is not None else {}
    if request.method == "GET":
        form = entry.form(initial=_initial(entry, again.params) if again is not None else None)
    else:
        form = entry.form(request.POST, _with_kept(request.FILES, kept))
        job = _started(entry, form, request, again) if form.is_valid() else None
        if job is not None:
            if getattr(request, "htmx", False):
                return HttpResponseClientRedirect(job.get_absolute_url())  # type: ignore[no-any-return]
            return redirect(job)
    key = request.POST.get(KEY_FIELD) or uuid4().hex
    if kept:
        form.use_required_attribute = False
    context = {
        "startable": entry,
        "form": form,
        "key_field": KEY_FIELD,
        "key": key,
        "again": again,
        "kept": kept.values(),
        "is_live": not live_forms.why_not(form),
    }
    focus_first_error(form)
    # 200, not 422: htmx swaps only successful answers, and this one holds the form with its errors.
    return render(request, "status/start.html", context)


def _started(entry: Startable, form: forms.Form, request: HttpRequest, again: Job | None) -> Job | None:
    """The job, or None when the startable refused, which the form then says."""
    try:
        key = key_of("form", request.user, request.POST.get(KEY_FIELD, ""))
        return start_from_form(entry, form, request.user, key, actor=on_page(request.user), again=again)
    except ValidationError as error:
        form.add_error(None, error)
        return None


def _job_again(request: HttpRequest) -> Job | None:
    """The job that this form shall start again, if the user may watch it."""
    try:
        job = Job.objects.find(UUID(request.POST.get("again") or request.GET["again"]))
    except (KeyError, ValueError):
        return None
    return job if job is not None and access.may_watch_job(request.user, job) else None


def _initial(entry: Startable, params: dict[str, list[Any]]) -> dict[str, Any]:
    """The form's data of the earlier job as initial values."""
    fields = entry.form.base_fields
    return {
        name: values if getattr(fields[name].widget, "allow_multiple_selected", False) else values[-1]
        for name, values in params.items()
        if name in fields and values
    }


def _inputs_of(job: Job) -> dict[str, list[Attachment]]:
    """The files that the earlier job was given, by form field, in the order in which they were chosen."""
    inputs: dict[str, list[Attachment]] = {}
    found = job.attachments.filter(role=Attachment.Role.INPUT).exclude(field="")
    for attachment in found.order_by("created_at", "pk"):
        inputs.setdefault(attachment.field, []).append(attachment)
    return inputs


def _with_kept(
    files: "MultiValueDict[str, UploadedFile[Any]]", kept: dict[str, list[Attachment]]
) -> "MultiValueDict[str, UploadedFile[Any]]":
    """The uploads, and for fields without one the files of the earlier job, as if they had been sent again."""
    files = files.copy()
    for name, attachments in kept.items():
        if name not in files:
            files.setlist(name, [_as_upload(attachment) for attachment in attachments])
    return files


def _as_upload(attachment: Attachment) -> "UploadedFile[Any]":
    opened = attachment.file.open("rb")
    return UploadedFile(file=opened, name=attachment.name, size=attachment.size)
