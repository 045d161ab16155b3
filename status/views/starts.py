"""Starting a job from a page."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID, uuid4

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.datastructures import MultiValueDict
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import HttpResponseClientRedirect

from status import access, files, jobs, registry
from status.models import Attachment, Job
from status.registry import Startable

KEY_FIELD = "start_key"

# So many names of files stand in a job's title.
_NAMES_IN_TITLE = 3


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
        job = _started(entry, form, request) if form.is_valid() else None
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
    }
    # 200, not 422: htmx swaps only successful answers, and this one holds the form with its errors.
    return render(request, "status/start.html", context)


def _started(entry: Startable, form: forms.Form, request: HttpRequest) -> Job | None:
    """The job, or None when the startable refused, which the form then says."""
    try:
        return start_from_form(entry, form, request.user, request.POST.get(KEY_FIELD, ""))
    except ValidationError as error:
        form.add_error(None, error)
        return None


def start_from_form(entry: Startable, form: forms.Form, user: Any, key: str) -> Job:
    """Start `entry` with the data of a valid form; its files become input attachments.

    Args:
        entry: what to start.
        form: a valid one.
        user: becomes the job's owner.
        key: names the page's form, so that a double click starts one job.

    Raises:
        ValidationError: the startable's function refused what the form let pass; nothing is left behind.

    Example:
        >>> start_from_form(startables["profile-csv"], form, request.user, key="").title
        'Profile a CSV: people.csv'
    """
    job_id = uuid4()
    data = cast(QueryDict, form.data)
    uploads = {name: found for name, value in form.cleaned_data.items() if (found := _uploads(value))}
    attachments: list[Attachment] = []
    with _deleted_on_error(attachments):
        for name, upload in ((name, upload) for name, found in uploads.items() for upload in found):
            attachments.append(_attachment(job_id, name, upload))
    arguments = {name: _argument(value) for name, value in form.cleaned_data.items()}
    for name in uploads:
        ids = [str(attachment.pk) for attachment in attachments if attachment.field == name]
        arguments[name] = ids if isinstance(form.cleaned_data[name], list) else ids[0]
    with transaction.atomic(), _deleted_on_error(attachments):
        # Before the job's own row, which the database asks for only at the commit: a function that makes a
        # canvas reads them.
        Attachment.objects.bulk_create(attachments)
        job = jobs.start(
            entry.signature(arguments),
            owner=user,
            title=_title(entry, [upload for found in uploads.values() for upload in found]),
            key=f"form:{user.pk}:{key}"[:200] if key else None,
            startable=entry.name,
            params={name: data.getlist(name) for name in form.fields if name in data},
            job_id=job_id,
        )
        if job.pk != job_id:
            Attachment.objects.filter(job_id=job_id).delete()
    if job.pk != job_id:
        files.delete(attachments)
    return job


def _uploads(value: Any) -> "list[UploadedFile[Any]]":
    """The uploads in the cleaned value of a field."""
    values = value if isinstance(value, list) else [value]
    return values if values and all(isinstance(item, UploadedFile) for item in values) else []


def _title(entry: Startable, uploads: "Sequence[UploadedFile[Any]]") -> str:
    if not uploads:
        return str(entry.title)
    names = ", ".join(str(upload.name) for upload in uploads[:_NAMES_IN_TITLE])
    more = len(uploads) - _NAMES_IN_TITLE
    if more > 0:
        names = ngettext("%(names)s and %(count)d more", "%(names)s and %(count)d more", more) % {
            "names": names,
            "count": more,
        }
    return f"{entry.title}: {names}"


@contextmanager
def _deleted_on_error(attachments: Iterable[Attachment]) -> Iterator[None]:
    """Delete the files if this fails; not around a COMMIT, which may have been done though it raises."""
    try:
        yield
    except Exception:
        files.delete(attachments)
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
