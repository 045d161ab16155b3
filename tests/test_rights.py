"""Every address of the app, for each role: who may does, who may not is refused, and is not offered it either."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from urllib.parse import urljoin, urlsplit
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve, reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from status import access
from status.mail import way_out
from status.models import Attachment, Job, Notification, Preferences, Queue, SavedView, Token
from status.regions import View
from status.roles import ADMINISTRATOR, OPERATOR, VIEWER
from status.states import State
from tests.tasks import add

VISITOR, STRANGER, OWNER = "visitor", "stranger", "owner"
WATCHERS = {OWNER, VIEWER.group, OPERATOR.group, ADMINISTRATOR.group}
PEOPLE = WATCHERS | {STRANGER}
EVERYBODY = PEOPLE | {VISITOR}
ACTORS = {OWNER, OPERATOR.group, ADMINISTRATOR.group}
STAGE = {VIEWER.group, OPERATOR.group, ADMINISTRATOR.group}
STOPPERS = {OPERATOR.group, ADMINISTRATOR.group}
BOSS = {ADMINISTRATOR.group}
FROM_STRANGERS = frozenset({STRANGER})
FROM_MOST = frozenset({STRANGER, OWNER})
NAMESPACES = {"status", "status_api", "status-operations"}


@dataclass(frozen=True)
class Right:
    """Who may, and for whom it does not exist."""

    who: set[str]
    hides: frozenset[str] = frozenset()
    posts: bool = False

    def outcome(self, role: str) -> str:
        if role in self.who:
            return "allowed"
        if role == VISITOR:
            return "login"
        return "absent" if role in self.hides else "forbidden"


JOB, ACT = Right(WATCHERS, hides=FROM_STRANGERS), Right(ACTORS, hides=FROM_STRANGERS, posts=True)
CHANGE = Right(BOSS, posts=True)
RIGHTS = {
    "status:jobs": Right(PEOPLE),
    "status:startables": Right(PEOPLE),
    "status:selection": Right(PEOPLE),
    "status:saved-views": Right(PEOPLE, posts=True),
    "status:saved-view": Right({OWNER}, hides=FROM_STRANGERS, posts=True),
    "status:saved-view-deletion": Right({OWNER}, hides=FROM_STRANGERS, posts=True),
    "status:start": Right(PEOPLE),
    "status:tokens": Right(PEOPLE),
    "status:revocation": Right({OWNER}, hides=FROM_STRANGERS, posts=True),
    "status:audit": Right(BOSS),
    "status:appearance": Right(EVERYBODY, posts=True),
    "status:language": Right(EVERYBODY, posts=True),
    "status:house": Right(STAGE, hides=FROM_MOST),
    "status:queue": Right(STAGE, hides=FROM_MOST),
    "status:queue-pause": Right(STOPPERS, hides=FROM_MOST, posts=True),
    "status:frame": Right(EVERYBODY),
    "status:notifications": Right(PEOPLE),
    "status:notifications-read": Right(PEOPLE, posts=True),
    "status:preferences": Right(PEOPLE),
    "status:no-mail": Right(EVERYBODY),
    "status:preferences-secret": Right(PEOPLE, posts=True),
    "status:preferences-test": Right(PEOPLE, posts=True),
    "status:notification": Right({OWNER}, hides=FROM_STRANGERS),
    "status:notification-read": Right({OWNER}, hides=FROM_STRANGERS, posts=True),
    "status:job": JOB,
    "status:members": JOB,
    "status:log": JOB,
    "status:log-lines": JOB,
    "status:acts": JOB,
    "status:attachment": JOB,
    "status:seen": Right(WATCHERS, hides=FROM_STRANGERS, posts=True),
    "status:cancellation": ACT,
    "status:retry": ACT,
    "status:stop": Right(STOPPERS, hides=FROM_STRANGERS, posts=True),
    "status:schedules": Right(STAGE),
    "status:schedule-moments": Right(STAGE),
    "status:schedule-new": Right(BOSS),
    "status:schedule-preview": Right(BOSS),
    "status:schedule": Right(BOSS),
    "status:schedule-pause": CHANGE,
    "status:schedule-resume": CHANGE,
    "status:schedule-run": CHANGE,
    "status:schedule-deletion": CHANGE,
    "status_api:openapi": Right(EVERYBODY),
    "status_api:asyncapi": Right(EVERYBODY),
    "status_api:jobs": Right(PEOPLE),
    "status_api:job": JOB,
    "status_api:log": JOB,
    "status_api:files": JOB,
    "status_api:file": JOB,
    "status_api:cancellation": ACT,
    "status_api:retry": ACT,
    "status-operations:healthz": Right(EVERYBODY),
    "status-operations:metrics": Right(set()),
}
# Asks every part of the house whether it answers, and so is left to its own test.
LEFT_OUT = {"status-operations:readyz"}
# What belongs to one person exists for nobody else, whatever their role.
PERSONAL = {"status:revocation", "status:notification", "status:notification-read"}
PERSONAL |= {"status:saved-view", "status:saved-view-deletion"}
CONTROLS = {
    *(
        "status:cancellation",
        "status:retry",
        "status:stop",
        "status:audit",
        "status:tokens",
        "status:startables",
    ),
    *("status:schedules", "status:schedule-new", "status:schedule", "status:schedule-pause"),
    *("status:schedule-resume", "status:schedule-run", "status:schedule-deletion"),
}


@pytest.fixture
def stage(settings, alice, django_user_model):
    """A client for each role, and one of everything."""
    settings.STATUS = {**settings.STATUS, "TRACK": ["tests.tasks.*"]}
    call_command("status_groups", stdout=open("/dev/null", "w"))  # noqa: SIM115
    users = {OWNER: alice, STRANGER: django_user_model.objects.create_user("sam")}
    for role in (VIEWER, OPERATOR, ADMINISTRATOR):
        users[role.group] = django_user_model.objects.create_user(role.group)
        users[role.group].groups.add(Group.objects.get(name=role.group))
    clients = {VISITOR: Client()}
    for name, user in users.items():
        Preferences.objects.create(user=user, webhook_url="https://example.com/hook")
        clients[name] = Client()
        clients[name].force_login(user)
    running = {"state": State.RUNNING, "stoppable": False, "started_at": timezone.now(), "worker": "w"}
    job = Job.objects.create(task="t", title="Running", owner=alice, **running)
    Job.objects.create(task="t", title="Failed", owner=alice, state=State.FAILED, finished_at=timezone.now())
    file = Attachment(job=job, name="a.csv", size=1)
    file.file.save("a.csv", ContentFile(b"x"))
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    schedule = PeriodicTask.objects.create(name="on", task=add.name, interval=hourly, args="[1, 2]")
    PeriodicTask.objects.create(name="off", task=add.name, interval=hourly, enabled=False)
    PeriodicTask.objects.create(name="other", task="orders.tasks.other", interval=hourly)
    arguments = {
        "job_id": job.pk,
        "attachment_id": file.pk,
        "schedule_id": schedule.pk,
        "token_id": Token.make(alice, "t", Token.Scope.READ)[0].pk,
        "view_id": SavedView.objects.create(user=alice, name="v", query="state=failed").pk,
        "notification_id": Notification.objects.create(owner=alice, title="n").pk,
        "name": "render-on-the-farm",
        "channel": "webhook",
        "key": way_out(alice).split("/")[-2],
    }
    Queue.objects.create(name="render-on-the-farm")
    return clients, arguments


def patterns(found: list[URLPattern | URLResolver], namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    """All addresses of the app, with their names."""
    for entry in found:
        if isinstance(entry, URLResolver):
            yield from patterns(entry.url_patterns, entry.namespace or namespace)
        elif namespace in NAMESPACES:
            yield f"{namespace}:{entry.name}", entry


def path_of(name: str, arguments: dict[str, object]) -> str:
    pattern = dict(patterns(get_resolver().url_patterns))[name]
    return reverse(name, kwargs={key: arguments[key] for key in pattern.pattern.converters})


def outcome(response) -> str:
    if response.status_code == 401 or (response.status_code == 302 and response.url.startswith("/login/")):
        return "login"
    return {403: "forbidden", 404: "absent"}.get(response.status_code, "allowed")


def test_every_address_says_who_may():
    names = {name for name, _pattern in patterns(get_resolver().url_patterns)}
    assert names - LEFT_OUT == set(RIGHTS), "say in RIGHTS who may, and test it by that"


def check(stage, name: str) -> None:
    """Each role asks for this address; those who may come last, for they may end what the others are refused."""
    clients, arguments = stage
    right = RIGHTS[name]
    path = path_of(name, arguments)
    if name == "status:frame":
        view = View(user="", language="en", timezone="UTC", regions=())
        path += f"?view={access.sign(view)}"
    found, expected = {}, {}
    for role in sorted(clients, key=lambda role: role in right.who):
        response = clients[role].post(path) if right.posts else clients[role].get(path)
        found[role] = outcome(response)
        expected[role] = right.outcome(role)
        if name in PERSONAL and role not in {OWNER, VISITOR}:
            expected[role] = "absent"
    assert found == expected, name


def test_who_may_reads_and_who_may_not_is_refused(stage):
    for name, right in RIGHTS.items():
        if not right.posts:
            check(stage, name)


@pytest.mark.parametrize("name", sorted(name for name, right in RIGHTS.items() if right.posts))
def test_who_may_acts_and_who_may_not_is_refused(stage, name):
    check(stage, name)


def test_who_may_not_see_a_form_may_not_post_to_it(stage):
    clients, arguments = stage
    for name, right in RIGHTS.items():
        for role, client in clients.items():
            if not right.posts and right.outcome(role) != "allowed":
                response = client.post(path_of(name, arguments))
                assert outcome(response) != "allowed" or response.status_code == 405, (name, role, response)


def offered(html: str, page: str) -> set[str]:
    """The paths that a page leads to, posts to or fetches."""
    found = re.findall(r'\s(?:href|action|hx-get|hx-post)="([^"#]+)"', html)
    return {urljoin(page, urlsplit(unescape(address))._replace(fragment="").geturl()) for address in found}


@pytest.mark.parametrize("role", sorted(PEOPLE))
def test_a_role_is_offered_what_it_may_and_nothing_else(stage, role):
    clients, _arguments = stage
    seen, waiting, controls = set(), ["/jobs/"], set()
    while waiting:
        page = waiting.pop()
        seen.add(page)
        response = clients[role].get(page)
        assert outcome(response) == "allowed", page
        if "text/html" not in response.headers["Content-Type"]:
            continue
        for address in offered(response.content.decode(), page):
            try:
                match = resolve(urlsplit(address).path)
            except Resolver404:
                # A static file, or an address elsewhere.
                continue
            if match.namespace not in NAMESPACES:
                continue
            right = RIGHTS[match.view_name]
            if match.view_name not in PERSONAL:
                assert right.outcome(role) == "allowed", f"{page} offers {address}"
            controls.add(match.view_name)
            reads = not right.posts or match.view_name == "status:schedule-deletion"
            if reads and address not in seen and address not in waiting:
                waiting.append(address)
        assert len(seen) < 300
    may = {name for name in CONTROLS if role in RIGHTS[name].who}
    # Who sees no job is offered nothing to do with one.
    assert controls & CONTROLS == may


def test_a_job_that_is_not_there_is_not_there_for_anybody(stage):
    clients, _arguments = stage
    for role in PEOPLE:
        assert clients[role].get(f"/jobs/{uuid4()}/").status_code == 404
