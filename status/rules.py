"""Whose jobs are whose: the rule that a project may replace by `STATUS["ACCESS"]`. Only `status.access` asks it."""

from collections.abc import Collection
from functools import cache
from typing import Any, final
from uuid import UUID

from django.db.models import QuerySet
from django.utils.module_loading import import_string

from status import conf
from status.models import Job
from status.regions import scope_of_rule


class Rule:
    """Write `visible` in a class of your own, and whatever else is to be different.

    All methods get a user who is logged in. What `visible` leaves out does not exist for that user: in lists, on
    pages, over sockets, for programs, and neither do its files.

    Example:
        >>> class TenantRule(Rule):
        ...     def visible(self, user, jobs):
        ...         return jobs.filter(owner__profile__tenant=user.profile.tenant)
    """

    def visible(self, user: Any, jobs: QuerySet[Job]) -> QuerySet[Job]:
        """Those of `jobs` that `user` may watch; of members of workflows as well, which have the whole's owner."""
        raise NotImplementedError(
            f'{type(self).__qualname__}, which STATUS["ACCESS"] names, has no visible().'
        )

    def seen(self, user: Any, jobs: Collection[Job]) -> set[UUID]:
        """The ids of those of `jobs` that `user` may watch; one query."""
        ids = [job.pk for job in jobs]
        return set(self.visible(user, Job.objects.filter(pk__in=ids)).order_by().values_list("pk", flat=True))

    def may_act(self, user: Any, job: Job) -> bool:
        """Whether `user`, who may watch `job`, may cancel and retry it: its owner, and who has `status.change_job`."""
        return bool(job.owner_id == user.pk or user.has_perm("status.change_job"))

    def may_delete(self, user: Any, job: Job) -> bool:
        """Whether `user`, who may watch `job`, may delete it once it has ended: its owner, and who has
        `status.delete_job`.
        """
        return bool(job.owner_id == user.pk or user.has_perm("status.delete_job"))

    def may_stop(self, user: Any, job: Job) -> bool:
        """Whether `user`, who may watch `job`, may stop it at once: who has `status.stop_job`."""
        return bool(user.has_perm("status.stop_job"))

    def sees_all(self, user: Any) -> bool:
        """Whether what belongs to nobody in particular is shown, such as schedules: who has `status.view_job`."""
        return bool(user.has_perm("status.view_job"))

    def sees_others(self, user: Any) -> bool:
        """Whether lists say whose each job is."""
        return True

    def list_scope(self, user: Any) -> str:
        """What names the list of `user` to the hub."""
        return scope_of_rule(str(user.pk))


@final
class OwnerRule(Rule):
    """The default: one's own jobs, and everybody's with the permission `status.view_job`."""

    def visible(self, user: Any, jobs: QuerySet[Job]) -> QuerySet[Job]:
        """All, or one's own."""
        return jobs if self.sees_all(user) else jobs.filter(owner=user)

    def seen(self, user: Any, jobs: Collection[Job]) -> set[UUID]:
        """As `visible`, without a query."""
        return {job.pk for job in jobs if job.owner_id == user.pk or self.sees_all(user)}

    def sees_others(self, user: Any) -> bool:
        """Only where not all of them are one's own."""
        return self.sees_all(user)

    def list_scope(self, user: Any) -> str:
        """All, or one's own: then only jobs of one's own wake the page."""
        return "all" if self.sees_all(user) else str(user.pk)


def load(path: str) -> Rule:
    """The rule of that dotted path.

    Raises:
        ImportError: there is nothing under that path.
        TypeError: it is no subclass of `Rule`, or one of `OwnerRule`, whose `seen` knows nothing of another `visible`.
    """
    found = import_string(path)
    if not (isinstance(found, type) and issubclass(found, Rule)):
        raise TypeError(f"{path} is no subclass of status.rules.Rule.")
    if issubclass(found, OwnerRule) and found is not OwnerRule:
        raise TypeError(f"{path} is a subclass of OwnerRule: make it one of status.rules.Rule.")
    return found()


@cache
def _loaded(path: str) -> Rule:
    return load(path)


def current() -> Rule:
    """The rule in force; raises as `load` does."""
    return _loaded(conf.current().access)
