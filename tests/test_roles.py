import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command

from status.roles import ADMINISTRATOR, OPERATOR, ROLES, VIEWER


def held(group: str) -> set[str]:
    return set(Group.objects.get(name=group).permissions.values_list("codename", flat=True))


def test_the_groups_have_their_permissions(db, capsys):
    call_command("status_groups")
    assert {role.group: held(role.group) for role in ROLES} == {
        role.group: set(role.permissions) for role in ROLES
    }
    assert "Job viewers: view_job" in capsys.readouterr().out


def test_a_second_run_keeps_what_somebody_added_and_adds_what_is_missing(db, capsys):
    call_command("status_groups")
    group = Group.objects.get(name=VIEWER.group)
    group.permissions.add(Permission.objects.get(codename="stop_job"))
    Group.objects.get(name=OPERATOR.group).permissions.remove(Permission.objects.get(codename="stop_job"))
    capsys.readouterr()
    call_command("status_groups")
    assert held(VIEWER.group) == {"view_job", "stop_job"}
    assert held(OPERATOR.group) == set(OPERATOR.permissions)
    assert capsys.readouterr().out.splitlines() == [
        "Job viewers: nothing new",
        "Job operators: stop_job",
        f"{ADMINISTRATOR.group}: nothing new",
    ]


def test_permissions_that_are_not_there_yet_are_told(db):
    Permission.objects.filter(codename="view_audit").delete()
    with pytest.raises(CommandError, match="no permission view_audit yet: run manage.py migrate first"):
        call_command("status_groups")
    assert not Group.objects.exists()


def test_each_role_may_what_the_one_below_it_may():
    assert set(VIEWER.permissions) < set(OPERATOR.permissions) < set(ADMINISTRATOR.permissions)
