"""The roles in which people use the console, as groups of permissions. Owners need none: their jobs are theirs."""

from dataclasses import dataclass

from django.contrib.auth.models import Group, Permission


@dataclass(frozen=True, slots=True)
class Role:
    """A group, and what it may at least."""

    group: str
    permissions: tuple[str, ...]
    """Codenames, of this app."""


VIEWER = Role("Job viewers", ("view_job",))
OPERATOR = Role("Job operators", (*VIEWER.permissions, "change_job", "stop_job", "change_queue"))
ADMINISTRATOR = Role(
    "Job administrators", (*OPERATOR.permissions, "delete_job", "change_schedule", "view_audit")
)
ROLES = (VIEWER, OPERATOR, ADMINISTRATOR)


def make_groups() -> dict[str, list[str]]:
    """Make the groups that are not there, and give each the permissions that it lacks; nothing is taken away.

    Returns:
        For each group the codenames that it was given now.

    Raises:
        LookupError: the permissions are not in the database.

    Example:
        >>> make_groups()
        {'Job viewers': ['view_job'], 'Job operators': [], 'Job administrators': []}
    """
    known = {row.codename: row for row in Permission.objects.filter(content_type__app_label="status")}
    missing = sorted({name for role in ROLES for name in role.permissions} - known.keys())
    if missing:
        raise LookupError(f"There is no permission {', '.join(missing)} yet: run manage.py migrate first.")
    given = {}
    for role in ROLES:
        group, _made = Group.objects.get_or_create(name=role.group)
        held = set(group.permissions.values_list("pk", flat=True))
        fresh = [name for name in role.permissions if known[name].pk not in held]
        group.permissions.add(*(known[name] for name in fresh))
        given[role.group] = fresh
    return given
