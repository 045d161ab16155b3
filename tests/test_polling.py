"""The short way of polled frames beside Django's own: the same answers."""

import asyncio
import re
from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from django.core.asgi import get_asgi_application
from django.db import OperationalError
from django.template import engines
from django.test import Client, RequestFactory, override_settings

from status import polling
from status.models import Job
from status.notifications import notify
from status.polling import PolledFrames
from status.states import State
from status.visitors import read_visitors

pytestmark = pytest.mark.django_db(transaction=True)

DJANGO = get_asgi_application()


@pytest.fixture
def job(alice):
    return Job.objects.create(task="t", title="Orders of May", owner=alice, state=State.RUNNING)


def view_of(user, job):
    request = RequestFactory().get("/")
    request.user = user
    page = (
        engines["django"]
        .from_string("{% load status %}{% live job %}{% live_bell %}{% live_socket %}")
        .render({"job": job}, request)
    )
    return re.search(r"view=([^&\"]+)", page)[1]


def ask(application, url, **request):
    """Status, headers and body of an answer; what differs from one moment to the next is taken out."""
    return async_to_sync(asked)(application, url, **request)


async def asked(application, url, *, method="GET", host="testserver", user=None, root=""):
    """The same where a loop runs."""
    headers = [(b"host", host.encode())]
    if user is not None:
        client = Client()
        await client.aforce_login(user)
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    where, _, query = url.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": root + where,
        "root_path": root,
        "query_string": query.encode(),
        "headers": headers,
    }
    sent, messages = [], iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def send(message):
        sent.append(message)

    async def receive():
        return next(messages, None) or await asyncio.Future()

    await application(scope, receive, send)
    start, *bodies = sent
    passing = rb"told=[\d.]+|expires=[^;]+|status_told=[\d.]+|sessionid=\w+"
    found = {
        (name.lower(), re.sub(passing, b"", value)) for name, value in start["headers"] if name != b"Expires"
    }
    return start["status"], found, re.sub(passing, b"", b"".join(body.get("body", b"") for body in bodies))


class Counting:
    """Django's application, and how often it was asked."""

    def __init__(self):
        self.count = 0

    async def __call__(self, scope, receive, send):
        self.count += 1
        await DJANGO(scope, receive, send)


@pytest.mark.parametrize("who", ["alice", "bob", "nobody"])
@pytest.mark.parametrize("saved", [False, True])
def test_the_short_way_answers_as_django_does(alice, bob, job, who, saved):
    user = {"alice": alice, "bob": bob, "nobody": None}[who]
    query = urlencode({"view": view_of(alice, job), "told": "1"})
    notify(alice, "Something new")
    django = Counting()
    with override_settings(SESSION_SAVE_EVERY_REQUEST=saved):
        short = ask(PolledFrames(django), f"/jobs/frame/?{query}", user=user)
        reference = ask(DJANGO, f"/jobs/frame/?{query}", user=user)
    assert short == reference
    assert django.count == 0
    status, headers, body = short
    assert status == 200
    assert (b"Orders of May" in body or b"data-job-state" in body) == (who == "alice")
    assert (b"Something new" in body) == (who == "alice")
    assert {b"content-security-policy", b"x-frame-options", b"x-content-type-options", b"cache-control"} <= {
        name for name, value in headers
    }


@pytest.mark.parametrize("query", ["view=forged", "", "view=%ff%fe", "view=" + "x" * 9000, "told=x&turn=y"])
def test_a_frame_that_nobody_signed_is_refused_as_django_does(alice, query):
    short = ask(PolledFrames(DJANGO), f"/jobs/frame/?{query}", user=alice)
    assert short == ask(DJANGO, f"/jobs/frame/?{query}", user=alice)
    assert short[0] == 200
    assert b"hx-trigger" not in short[2]


def test_a_host_that_is_not_ours_is_refused_as_django_does(alice, job):
    url = f"/jobs/frame/?{urlencode({'view': view_of(alice, job)})}"
    short = ask(PolledFrames(DJANGO), url, user=alice, host="evil.example")
    assert short[0] == ask(DJANGO, url, user=alice, host="evil.example")[0] == 400
    assert b"data-job-state" not in short[2]


@pytest.mark.parametrize(
    ("method", "where"),
    [("POST", "/jobs/frame/"), ("HEAD", "/jobs/frame/"), ("GET", "/jobs/"), ("GET", "/x/jobs/frame/")],
)
def test_all_else_goes_to_django(alice, method, where):
    django = Counting()
    ask(PolledFrames(django), where, method=method, user=alice)
    assert django.count == 1


def test_a_project_below_a_path_of_its_own_has_the_short_way_as_well(alice, job):
    django = Counting()
    url = f"/jobs/frame/?{urlencode({'view': view_of(alice, job)})}"
    status, _headers, body = ask(PolledFrames(django), url, user=alice, root="/below")
    assert (status, django.count) == (200, 0)
    assert b'hx-get="/below/jobs/frame/' in body


def test_a_project_without_the_pages_goes_to_django(alice):
    django = Counting()
    with override_settings(ROOT_URLCONF=()):
        ask(PolledFrames(django), "/jobs/frame/", user=alice)
    assert django.count == 1


def test_many_who_poll_the_same_at_once_share_what_is_read(
    alice, job, settings, client, django_assert_num_queries
):
    settings.STATUS = {"FRAME_SECONDS": 3600}
    client.force_login(alice)
    query = {"view": view_of(alice, job)}
    client.get("/jobs/frame/", query)
    # The session, the user, and the two of the bell.
    with django_assert_num_queries(4):
        assert b"data-job-state" in client.get("/jobs/frame/", query).content


def test_what_was_painted_for_another_is_not_shown_to_who_may_not_see_it(alice, bob, job, settings, client):
    settings.STATUS = {"FRAME_SECONDS": 3600}
    for user, sees in ((alice, True), (bob, False)):
        client.force_login(user)
        response = client.get("/jobs/frame/", {"view": view_of(user, job)})
        assert (b"data-job-state" in response.content) == sees


def test_sessions_of_all_who_ask_at_once_are_read_together_and_not_again(alice, bob, job, monkeypatch):
    read = []

    def counting(keys):
        keys = list(keys)
        read.append(len(keys))
        return read_visitors(keys)

    def never(request):
        raise AssertionError("Django has read the user by itself.")

    monkeypatch.setattr(polling, "read_visitors", counting)
    # Fails where AuthenticationMiddleware looks elsewhere for a user who was read before.
    monkeypatch.setattr("django.contrib.auth.get_user", never)
    application = PolledFrames(DJANGO)
    url = f"/jobs/frame/?{urlencode({'view': view_of(alice, job)})}"

    together = asyncio.Barrier(3)

    async def when_all_are_there(scope, receive, send):
        await together.wait()
        await application(scope, receive, send)

    async def ask_all():
        people = (alice, bob, alice)
        return await asyncio.gather(*(asked(when_all_are_there, url, user=user) for user in people))

    found = async_to_sync(ask_all)()
    assert [b"data-job-state" in body for _status, _headers, body in found] == [True, False, True]
    assert read == [3]


def test_a_database_that_is_down_is_answered_as_django_does(alice, job, monkeypatch):
    def broken(keys):
        raise OperationalError("gone")

    monkeypatch.setattr(polling, "read_visitors", broken)
    url = f"/jobs/frame/?{urlencode({'view': view_of(alice, job)})}"
    assert ask(PolledFrames(DJANGO), url, user=alice) == ask(DJANGO, url, user=alice)
