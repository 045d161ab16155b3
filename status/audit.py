"""The audit trail: who did what to what, when and from where.

Written by whoever lets people act, in the transaction of the act: both are there, or neither. What a program of the
project's does by itself, such as a task that cancels a job, is no person's act and is not in it.
"""

import getpass
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import router

from status.models import AuditEntry, Job
from status.models.audit import Source, Verb
from status.models.statements import Select, slot

__all__ = ["Actor", "Source", "Target", "Verb", "at_command_line", "of_job", "on_page", "record"]

MOST_SHOWN = 10
"""Entries on the page of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and from where."""

    user: Any = None
    """None: somebody without an account here, at the command line."""
    name: str = ""
    """Of somebody without an account; else it is the user's."""
    source: Source
    through: str = ""
    """The name of the token that a program showed."""

    @property
    def label(self) -> str:
        """The name that people know."""
        return self.name if self.user is None else str(self.user.get_username())


@dataclass(frozen=True, slots=True)
class Target:
    """What was acted on, if it is no job: `Target("queue", "poll", "poll")`."""

    kind: str
    id: str
    title: str


def on_page(user: Any) -> Actor:
    """Somebody who is logged in and uses a page.

    >>> on_page(request.user).source
    Source.PAGE
    """
    return Actor(user=user, source=Source.PAGE)


def at_command_line() -> Actor:
    """Whoever runs this process, by the name that the system knows."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # In a container a process may run as a number that has no name.
        name = ""
    return Actor(name=name, source=Source.COMMAND)


def record(actor: Actor | None, verb: str, subject: Job | Target, **details: Any) -> AuditEntry | None:
    """Write into the audit trail that somebody did something; call it in the transaction that does it.

    Args:
        actor: who, and from where; None: no person did it, and nothing is written.
        verb: one of `Verb`, or a word of your own of 20 characters at most.
        subject: a job, or a `Target`; its id and title are kept when it is deleted.
        details: what else is worth knowing, as JSON: numbers, what was changed. No secrets.

    Returns:
        The entry, if one was written.

    Example:
        >>> with transaction.atomic():
        ...     pause(queue)
        ...     record(on_page(request.user), Verb.PAUSE, Target("queue", "poll", "poll"))
    """
    if actor is None:
        return None
    target = subject if isinstance(subject, Target) else Target("job", str(subject.pk), subject.title)
    return AuditEntry.objects.create(
        user_key="" if actor.user is None else str(actor.user.pk),
        name=actor.label[:150],
        verb=verb,
        source=actor.source,
        through=actor.through[:100],
        kind=target.kind,
        subject=target.id[:200],
        title=target.title[:255],
        details=details,
    )


def of_job(job: Job) -> list[AuditEntry]:
    """What was done to a job last, newest first; `MOST_SHOWN` at most."""
    return _last_of_job(router.db_for_read(AuditEntry)).run(subject=str(job.pk))


@lru_cache
def _last_of_job(alias: str) -> Select[AuditEntry]:
    of_job = AuditEntry.objects.using(alias).filter(subject=slot(AuditEntry, "subject"), kind="job")
    return Select(of_job[:MOST_SHOWN])
