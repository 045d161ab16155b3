"""Cancelling, retrying and deleting many jobs: a job of its own, which says how far it is and what it left out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from celery import shared_task
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext, pgettext, pgettext_lazy

from status import access, audit, jobs
from status.filters import Filters
from status.listing import Listing
from status.live import current_job
from status.models import Job
from status.progress import log, step
from status.sources.prune import remove
from status.states import State

NAME = "status.act_on_jobs"
BATCH = 100
MOST_NAMED = 50
"""So many jobs that were left out are named in the log; the others are counted."""

LEFT_OUT = 30
WORK = gettext_noop("Jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that can be done with many jobs."""

    label: Any
    """On the button."""
    icon: str
    title: Callable[[int], Any]
    """What it is called, with so many jobs."""
    takes: Any
    """To whom it may be done, for people."""
    allowed: Callable[[Any, Collection[Job]], set[UUID]]
    """With which of these jobs somebody may do it."""
    refuses: Callable[[Job], str]
    """Why it cannot be done with a job; empty if it can."""


def _refuses_cancel(job: Job) -> str:
    if not job.is_live:
        return _("it has ended")
    return _("it was asked already") if job.is_cancelling else ""


def _refuses_retry(job: Job) -> str:
    return (
        "" if job.state in {State.FAILED, State.CANCELLED} else _("it has neither failed nor was cancelled")
    )


def _refuses_delete(job: Job) -> str:
    return _("it has not ended") if job.is_live else ""


ACTIONS = {
    "cancel": Action(
        label=gettext_lazy("Cancel"),
        icon="status/icons/stop.html",
        title=lambda count: ngettext("Cancel %(count)s job", "Cancel %(count)s jobs", count),
        takes=gettext_lazy("Only jobs that have not ended are cancelled."),
        allowed=access.actable,
        refuses=_refuses_cancel,
    ),
    "retry": Action(
        label=gettext_lazy("Retry"),
        icon="status/icons/again.html",
        title=lambda count: ngettext("Retry %(count)s job", "Retry %(count)s jobs", count),
        takes=gettext_lazy("Only jobs that failed or were cancelled are retried."),
        allowed=access.actable,
        refuses=_refuses_retry,
    ),
    "delete": Action(
        label=pgettext_lazy("button", "Delete"),
        icon="status/icons/delete.html",
        title=lambda count: ngettext("Delete %(count)s job", "Delete %(count)s jobs", count),
        takes=gettext_lazy(
            "Only jobs that have ended are deleted, with their logs and files. They do not come back."
        ),
        allowed=access.deletable,
        refuses=_refuses_delete,
    ),
}


def begin(
    action: str, user: Any, *, title: str, chosen: list[UUID] | None, query: str, until: datetime
) -> Job:
    """Start the job that does `action` with jobs, as `user`.

    Args:
        action: a key of `ACTIONS`.
        user: becomes its owner; it does what this user may, as it is then.
        title: of the job.
        chosen: the jobs; None: all that `query` lets through.
        query: filters, see `status.filters.Filters.query`.
        until: jobs made later are none of these.

    Returns:
        The job.

    Example:
        >>> begin("retry", user, title="Retry 3 jobs", chosen=[a.pk, b.pk, c.pk], query="", until=timezone.now())
    """
    pks = None if chosen is None else [str(pk) for pk in chosen]
    arguments = {
        "action": action,
        "user": str(user.pk),
        "pks": pks,
        "query": query,
        "until": until.isoformat(),
    }
    with transaction.atomic():
        job = jobs.start(act_on_jobs.s(**arguments), owner=user, title=title, repeatable=True)
        audit.record(audit.on_page(user), audit.Verb.START, job)
    return job


@shared_task(name=NAME, ignore_result=True)
def act_on_jobs(action: str, user: str, pks: list[str] | None, query: str, until: str) -> dict[str, Any]:
    """Do `action` with each of the jobs that `user` may do it with; see `begin`.

    Returns:
        The address of the list that the jobs were chosen from.
    """
    work = _Work(action, ACTIONS[action])
    filters = Filters.read(dict(parse_qsl(query)))
    limits = filters.but(until=min(filter(None, (datetime.fromisoformat(until), filters.until))))
    with step(_(WORK)) as progress:
        progress.update(0, total=_total(user, pks, limits), unit=pgettext("after a number", "jobs"))
        for batch in _batches(user, pks, limits):
            # Read for each batch: rights may be taken away meanwhile.
            who = get_user_model()._default_manager.filter(pk=user, is_active=True).first()
            work.do(who, batch, progress.advance)
    work.report()
    return {"url": f"{reverse('status:jobs')}?{filters.address}", "label": _("To the list")}


def _total(user: str, pks: list[str] | None, limits: Filters) -> int | None:
    if pks is not None:
        return len(pks)
    count = Listing(_scope(user), limits).total()
    return None if count.more else count.number


def _scope(user: str) -> str:
    who = get_user_model()._default_manager.filter(pk=user).first()
    return access.list_scope(who) if who is not None else user


def _batches(user: str, pks: list[str] | None, limits: Filters) -> Iterator[list[Job]]:
    """The jobs, so many at once; what is done with those before does not matter to those to come."""
    if pks is not None:
        for first in range(0, len(pks), BATCH):
            yield list(Job.objects.filter(pk__in=pks[first : first + BATCH], parent=None))
        return
    listing, after = Listing(_scope(user), limits), None
    while True:
        page = listing.page(BATCH, after=after)
        yield page.jobs
        after = page.older
        if after is None:
            return


class _Work:
    """What was done and left out."""

    def __init__(self, name: str, action: Action) -> None:
        self._name, self._action = name, action
        self.done = 0
        self.left_out: Counter[str] = Counter()
        live = current_job()
        self._own = live.id if live is not None else None

    def do(self, user: Any, batch: list[Job], advance: Callable[[], None]) -> None:
        """Do it with a batch; raises JobCancelled in between."""
        allowed = set() if user is None else self._action.allowed(user, batch)
        if self._name == "delete":
            able = [job for job in batch if self._is_able(allowed, job)]
            pks = [job.pk for job in able]
            remove(pks, actor=audit.on_page(user))
            kept = set(Job.objects.filter(pk__in=pks).values_list("pk", flat=True))
            for job in able:
                self._note(job, _("something still needs it") if job.pk in kept else "")
            for _job in batch:
                advance()
            return
        for job in batch:
            if self._is_able(allowed, job):
                self._note(job, self._one(user, job))
            advance()

    def _is_able(self, allowed: set[UUID], job: Job) -> bool:
        reason = self._action.refuses(job)
        if job.pk not in allowed:
            reason = _("you may not")
        elif job.pk == self._own:
            reason = _("it is this one")
        if reason:
            self._note(job, reason)
        return not reason

    def _one(self, user: Any, job: Job) -> str:
        """Cancel or retry; returns why not, or nothing."""
        actor = audit.on_page(user)
        if self._name == "cancel":
            jobs.cancel(job, actor=actor)
            return ""
        try:
            jobs.retry(job, actor=actor)
        except IntegrityError:
            return _("another job with the same key is under way")
        return ""

    def _note(self, job: Job, reason: str) -> None:
        if not reason:
            self.done += 1
            return
        self.left_out[reason] += 1
        if sum(self.left_out.values()) <= MOST_NAMED:
            title = Truncator(job.title).chars(80)
            log(
                _("Left out: %(title)s (%(id)s): %(reason)s")
                % {"title": title, "id": job.pk, "reason": reason},
                level=LEFT_OUT,
            )

    def report(self) -> None:
        """Say how it went."""
        log(
            ngettext("Done with %(count)d job.", "Done with %(count)d jobs.", self.done)
            % {"count": self.done}
        )
        for reason, count in self.left_out.most_common():
            log(
                ngettext("Left out %(count)d job: %(reason)s.", "Left out %(count)d jobs: %(reason)s.", count)
                % {"count": count, "reason": reason},
                level=LEFT_OUT,
            )
