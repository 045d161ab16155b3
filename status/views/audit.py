"""The audit trail: all of it for administrators, and what was done to one job for who may watch that."""

from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from status import access, audit, conf
from status.models import AuditEntry, Job
from status.models.audit import KINDS, Source, Verb
from status.pages import render
from status.views.jobs import visible_job

LARGEST_ID = 2**63 - 1
DAY: dict[str, Any] = {
    "widget": forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
    # A day before or after these may have no midnight in UTC.
    "validators": [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2999, 12, 31))],
}


class AuditFilter(forms.Form):
    """Narrows the trail; what is left empty does not."""

    name = forms.CharField(label=_("Who"), max_length=150, required=False)
    verb = forms.ChoiceField(
        label=_("What was done"), choices=[("", _("Anything")), *Verb.choices], required=False
    )
    kind = forms.ChoiceField(
        label=_("To what"), choices=[("", _("Anything")), *KINDS.items()], required=False
    )
    subject = forms.CharField(label=_("Title or id, all of it"), max_length=255, required=False)
    source = forms.ChoiceField(
        label=_("Where"), choices=[("", _("Anywhere")), *Source.choices], required=False
    )
    since = forms.DateField(label=_("From day"), required=False, **DAY)
    until = forms.DateField(label=_("To day"), required=False, **DAY)

    def narrow(self, entries: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """Those of `entries` that fit a valid form; days are those of the active time zone."""
        wanted = self.cleaned_data
        for name in ("name", "verb", "kind", "source"):
            if wanted[name]:
                entries = entries.filter(**{name: wanted[name]})
        if wanted["subject"]:
            entries = entries.filter(Q(subject=wanted["subject"]) | Q(title=wanted["subject"]))
        if wanted["since"]:
            entries = entries.filter(at__gte=_midnight(wanted["since"]))
        if wanted["until"]:
            entries = entries.filter(at__lt=_midnight(wanted["until"] + timedelta(days=1)))
        return entries


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


@require_GET
@login_required
def index(request: HttpRequest) -> HttpResponse:
    """What everybody did, newest first; with `?before=<id>` what came before that."""
    if not access.may_see_audit(request.user):
        raise PermissionDenied
    form = AuditFilter(request.GET)
    entries = form.narrow(AuditEntry.objects.all()) if form.is_valid() else AuditEntry.objects.none()
    before = _entry(request.GET.get("before", ""))
    if before is not None:
        # The first condition follows from the second, and is one that an index can serve.
        entries = entries.filter(Q(at__lt=before.at) | Q(at=before.at, pk__lt=before.pk), at__lte=before.at)
    size = conf.current().page_size
    rows = list(entries[: size + 1])
    filters = _filters(request.GET)
    context = {
        "form": form,
        "entries": rows[:size],
        "links": _links(request.user, rows[:size]),
        "older": rows[size - 1].pk if len(rows) > size else None,
        "is_older": before is not None,
        "is_filtered": bool(filters),
        "filters": filters,
    }
    return render(request, "status/audit.html", context)


@require_GET
@login_required
def of_job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The part of a job's page that tells what people did to it."""
    job = visible_job(request, job_id)
    return render(request, "status/acts.html", {"job": job, "acts": audit.of_job(job)})


def _entry(text: str) -> AuditEntry | None:
    """The entry of an id in an address; None for none, and for what is no id."""
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > LARGEST_ID:
        return None
    return AuditEntry.objects.filter(pk=int(text[:20])).first()


def _filters(query: QueryDict) -> str:
    """What narrows the trail, for the address of another page of it."""
    return urlencode({name: query[name] for name in AuditFilter.base_fields if query.get(name)})


def _links(user: Any, entries: list[AuditEntry]) -> set[str]:
    """The ids of the jobs among the subjects that are still there for `user`."""
    ids = {entry.subject for entry in entries if entry.kind == "job"}
    found = list(Job.objects.filter(pk__in=ids).only("pk", "owner")) if ids else []
    return {str(pk) for pk in access.watchable(user, found)}
