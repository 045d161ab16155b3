"""Who may see and who may act; the signing of views."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from django.core import signing
from django.db.models import QuerySet

from status import computed, conf, rules
from status.models import Job
from status.regions import Kind, LiveForm, Region, Subject, View

SALT = "status.view"
BEARER = "bearer "
LONGEST_TOKEN = 8000
"""Servers and proxies refuse longer request lines, and say nothing that a page could show."""


def bearer(authorization: str) -> str | None:
    """The token in an `Authorization` header (RFC 6750, 2.1); None if the header shows none.

    >>> bearer("Bearer abc")
    'abc'
    """
    return authorization[len(BEARER) :].strip() if authorization.lower().startswith(BEARER) else None


class Denied(Exception):
    """This user may not see this."""


class NotLoggedIn(Denied):
    """Nobody is logged in, and this is not public."""


def sees_all(user: Any) -> bool:
    """Whether `user` may watch everybody's jobs: with the default rule, permission `status.view_job`."""
    return bool(user.is_authenticated and rules.current().sees_all(user))


def sees_others(user: Any) -> bool:
    """Whether the lists of `user` may hold jobs of others, and so say whose each is."""
    return bool(user.is_authenticated and rules.current().sees_others(user))


def may_watch_job(user: Any, job: Job) -> bool:
    """Whether `user` may watch `job`: with the default rule its owner, and who sees all."""
    return bool(user.is_authenticated and job.pk in rules.current().seen(user, [job]))


def watchable(user: Any, jobs: Collection[Job]) -> set[UUID]:
    """The ids of those of `jobs` that `user` may watch; one query at most."""
    return rules.current().seen(user, jobs) if user.is_authenticated else set()


def may_act(user: Any, job: Job) -> bool:
    """Whether `user` may cancel and retry `job`: its owner, and holders of `status.change_job` who may watch it."""
    return may_watch_job(user, job) and rules.current().may_act(user, job)


def may_delete(user: Any, job: Job) -> bool:
    """Whether `user` may delete `job` once it ended: its owner, and holders of `status.delete_job` who may watch it."""
    return bool(deletable(user, [job]))


def actable(user: Any, jobs: Collection[Job]) -> set[UUID]:
    """The ids of those of `jobs` for which `may_act` is true; one query at most."""
    seen, rule = watchable(user, jobs), rules.current()
    return {job.pk for job in jobs if job.pk in seen and rule.may_act(user, job)}


def deletable(user: Any, jobs: Collection[Job]) -> set[UUID]:
    """The ids of those of `jobs` for which `may_delete` is true; one query at most."""
    seen, rule = watchable(user, jobs), rules.current()
    return {job.pk for job in jobs if job.pk in seen and rule.may_delete(user, job)}


def may_stop(user: Any, job: Job) -> bool:
    """Whether `user` may stop `job` at once: holders of `status.stop_job` who may watch it."""
    return may_watch_job(user, job) and rules.current().may_stop(user, job)


def may_see_schedules(user: Any) -> bool:
    """Whether `user` may look at the schedules: who sees all."""
    return sees_all(user)


def may_change_schedules(user: Any) -> bool:
    """Whether `user` may make, edit, pause, run and delete schedules: holders of `status.change_schedule`."""
    return may_see_schedules(user) and user.has_perm("status.change_schedule")


def may_see_audit(user: Any) -> bool:
    """Whether `user` may read what everybody did: holders of `status.view_audit`."""
    return bool(user.is_authenticated and user.has_perm("status.view_audit"))


def may_see_house(user: Any) -> bool:
    """Whether `user` may look at workers and queues: who sees all."""
    return sees_all(user)


def may_pause(user: Any) -> bool:
    """Whether `user` may pause and resume queues: holders of `status.change_queue` who see all."""
    return sees_all(user) and user.has_perm("status.change_queue")


def may_see_traceback(user: Any) -> bool:
    """Whether `user` may read tracebacks, which show code and values: staff."""
    return bool(user.is_authenticated and user.is_staff)


def may_see_metrics(user: Any) -> bool:
    """Whether `user` may read `/metrics`, which names tasks and counts jobs: staff."""
    return bool(user.is_authenticated and user.is_staff)


def visible_jobs(user: Any) -> QuerySet[Job]:
    """The jobs that `user` may watch, without the members of others."""
    if not user.is_authenticated:
        return Job.objects.none()
    return rules.current().visible(user, Job.objects.filter(parent=None))


def list_scope(user: Any) -> str:
    """Whose jobs the list of `user` holds: `all`, the user's primary key as text, or what the project's rule says."""
    return rules.current().list_scope(user)


def check(user: Any, subjects: frozenset[Subject], jobs: Mapping[Subject, Job | None]) -> None:
    """Let `user` watch all of `subjects`, or raise.

    Args:
        user: from the request or the socket's scope.
        subjects: what the page shows.
        jobs: the row of each job among them; None where there is none.

    Raises:
        NotLoggedIn: nobody is logged in, and not all of it is public.
        Denied: one of them is not for this user.
    """
    if not user.is_authenticated:
        if all(_is_public(subject) for subject in subjects):
            return
        raise NotLoggedIn
    rows = [job for subject in subjects if (job := jobs.get(subject)) is not None]
    seen = rules.current().seen(user, rows)
    for subject in subjects:
        if subject.kind is Kind.JOB:
            job = jobs.get(subject)
            if job is None or job.pk not in seen:
                raise Denied(subject)
        elif not _may_watch_other(user, subject):
            raise Denied(subject)


def _may_watch_other(user: Any, subject: Subject) -> bool:
    """Whether `user` may watch what is no job."""
    if subject.is_list:
        return subject.scope == list_scope(user)
    return computed.may_watch(user, subject.key)


def _is_public(subject: Subject) -> bool:
    if subject.kind is not Kind.TOPIC or computed.is_computed(subject.key):
        return False
    return subject.key in conf.current().public_topics


def sign(view: View) -> str:
    """The view as a token for URLs.

    Raises ValueError when the page has too many regions for one socket.
    """
    templates = list(dict.fromkeys(region.template for region in view.regions))
    regions = [
        [r.subject.kind, r.subject.key, templates.index(r.template), r.id, r.tag, int(r.appends)]
        for r in view.regions
    ]
    payload: dict[str, Any] = {
        "u": view.user,
        "l": view.language,
        "z": view.timezone,
        "t": templates,
        "r": regions,
    }
    if view.bell:
        payload["b"] = 1
    if view.forms:
        payload["f"] = [[form.startable, form.id] for form in view.forms]
    token = signing.dumps(payload, salt=SALT, compress=True)
    if len(token) > LONGEST_TOKEN:
        raise ValueError(
            f"The address of a page's socket has {LONGEST_TOKEN} characters at most, and {len(view.regions)} live "
            "regions take more: show fewer rows at once, or give them shorter ids."
        )
    return token


def unsign(token: str, user: Any) -> View:
    """The view of a token that was signed for `user`.

    Raises:
        NotLoggedIn: it was signed for somebody and nobody is logged in.
        Denied: it is forged, or was signed for another user.
    """
    try:
        payload = signing.loads(token, salt=SALT)
    except signing.BadSignature as error:
        raise Denied("forged") from error
    if payload["u"] and not user.is_authenticated:
        raise NotLoggedIn
    if payload["u"] != user_key(user):
        raise Denied("another user's")
    templates = payload["t"]
    regions = tuple(
        Region(Subject(Kind(kind), key), templates[template], id_, tag, bool(appends))
        for kind, key, template, id_, tag, appends in payload["r"]
    )
    return View(
        user=payload["u"],
        language=payload["l"],
        timezone=payload["z"],
        regions=regions,
        bell="b" in payload,
        forms=tuple(LiveForm(startable, id_) for startable, id_ in payload.get("f", ())),
    )


def user_key(user: Any) -> str:
    """The user's primary key as text; empty for a visitor without login."""
    return str(user.pk) if user.is_authenticated else ""
