"""Starting a job from a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID, uuid4

from celery import current_app
from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.datastructures import MultiValueDict
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import HttpResponseClientRedirect

from status import access, files, jobs, registry
from status.models import Attachment, Job
from status.registry import Startable

KEY_FIELD = "start_key"


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
        if form.is_valid():
            job = start_from_form(entry, form, request.user, request.POST.get(KEY_FIELD, ""))
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
    }
    # 200, not 422: htmx swaps only successful answers, and this one holds the form with its errors.
    return render(request, "status/start.html", context)


def start_from_form(entry: Startable, form: forms.Form, user: Any, key: str) -> Job:
    """Start `entry` with the data of a valid form; its files become input attachments.

    Args:
        key: names the page's form, so that a double click starts one job.
    """
    job_id = uuid4()
    data = cast(QueryDict, form.data)
    uploads = {name: value for name, value in form.cleaned_data.items() if isinstance(value, UploadedFile)}
    attachments: dict[str, Attachment] = {}
    with _deleted_on_error(attachments):
        for name, upload in uploads.items():
            attachments[name] = _attachment(job_id, name, upload)
    arguments = {name: _argument(value) for name, value in form.cleaned_data.items()}
    arguments |= {name: str(attachment.pk) for name, attachment in attachments.items()}
    title = str(entry.title)
    if uploads:
        title = f"{title}: {', '.join(str(upload.name) for upload in uploads.values())}"
    with transaction.atomic(), _deleted_on_error(attachments):
        job = jobs.start(
            current_app.signature(entry.task, kwargs=arguments),
            owner=user,
            title=title,
            key=f"form:{user.pk}:{key}"[:200] if key else None,
            startable=entry.name,
            params={name: data.getlist(name) for name in form.fields if name in data},
            job_id=job_id,
        )
        if job.pk == job_id:
            Attachment.objects.bulk_create(attachments.values())
    if job.pk != job_id:
        files.delete(attachments.values())
    return job


@contextmanager
def _deleted_on_error(attachments: dict[str, Attachment]) -> Iterator[None]:
    """Delete the files if this fails; not around a COMMIT, which may have been done though it raises."""
    try:
        yield
    except Exception:
        files.delete(attachments.values())
        raise


def _job_again(request: HttpRequest) -> Job | None:
    """The job that this form shall start again, if the user may watch it."""
    try:
        job = Job.objects.filter(pk=UUID(request.POST.get("again") or request.GET["again"])).first()
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


def _inputs_of(job: Job) -> dict[str, Attachment]:
    """The files that the earlier job was given, by form field."""
    inputs = job.attachments.filter(role=Attachment.Role.INPUT).exclude(field="")
    return {attachment.field: attachment for attachment in inputs}


def _with_kept(
    files: "MultiValueDict[str, UploadedFile[Any]]", kept: dict[str, Attachment]
) -> "MultiValueDict[str, UploadedFile[Any]]":
    """The uploads, and for fields without one the file of the earlier job, as if it had been sent again."""
    files = files.copy()
    for name, attachment in kept.items():
        if name not in files:
            opened = attachment.file.open("rb")
            files[name] = UploadedFile(file=opened, name=attachment.name, size=attachment.size)
    return files


def _attachment(job_id: UUID, field: str, upload: "UploadedFile[Any]") -> Attachment:
    """The upload as an attachment, its content stored, its row not yet."""
    name = str(upload.name)
    attachment = Attachment(
        job_id=job_id, field=field, role=Attachment.Role.INPUT, name=name, size=upload.size or 0
    )
    attachment.file.save(name, upload, save=False)
    return attachment


def _argument(value: Any) -> Any:
    if isinstance(value, models.Model):
        return value.pk
    if isinstance(value, models.QuerySet):
        return [item.pk for item in value]
    return value
