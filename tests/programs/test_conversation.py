"""Programs in processes of their own, against a real web server and a real worker."""

import json
import subprocess
import sys
import textwrap
from datetime import timedelta
from functools import cache
from typing import get_args
from uuid import uuid4

import jsonschema_rs
import pytest
from django import forms
from django.test import Client
from django.utils import timezone, translation
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from status import jobs
from status.models import Job, Token
from status.programs import asyncapi
from status.programs.messages import Inbound, Outbound
from status.states import State
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import PROJECT, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]

PREAMBLE = """
import json, sys
from pathlib import Path
from websockets.sync.client import connect

def tell(**message):
    told.append(message)
    socket.send(json.dumps(message))

def hear(type_):
    while True:
        message = json.loads(socket.recv(timeout=30))
        heard.append(message)
        if message["type"] == type_:
            return message

told, heard = [], []
url, secret, *arguments = sys.argv[1:]
socket = connect(url, additional_headers={"Authorization": f"Bearer {secret}"}, proxy=None, max_size=None).__enter__()
"""


def converse(web, secret, script, *arguments):
    """Run a client that knows nothing of Django; returns all it heard."""
    command = [
        sys.executable,
        "-c",
        PREAMBLE + textwrap.dedent(script) + "\nprint(json.dumps([told, heard]))",
    ]
    done = subprocess.run(
        [*command, address(web), secret, *map(str, arguments)],
        cwd=PROJECT.parent,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    told, heard = json.loads(done.stdout)
    for message in told:
        assert sent_schema().is_valid(message), message
    return [as_published(message) for message in heard]


def as_published(message):
    """A message of the server, which must be as the published description says."""
    heard_schema().validate(message)
    return message


@cache
def sent_schema():
    return union_of(Inbound)


@cache
def heard_schema():
    return union_of(Outbound)


def union_of(kinds):
    """The published schema of one of several messages."""
    described = asyncapi.asyncapi()["components"]
    payloads = [described["messages"][kind.__struct_config__.tag]["payload"] for kind in get_args(kinds)]
    return jsonschema_rs.Draft7Validator({"oneOf": payloads, "components": described})


def address(web, path="/ws/jobs/"):
    return web.url.replace("http", "ws") + path


class Program:
    """A socket of a program in this process."""

    def __init__(self, web, secret=None, **headers):
        shown = {"Authorization": f"Bearer {secret}"} if secret else {}
        origin, path = headers.pop("origin", None), headers.pop("path", "/ws/jobs/")
        opening = connect(
            address(web, path), additional_headers=shown | headers, proxy=None, max_size=None, origin=origin
        )
        self.socket = opening.__enter__()

    def tell(self, **message):
        self.socket.send(json.dumps(message))

    def hear(self, kind=None, seconds=30):
        while True:
            message = as_published(json.loads(self.socket.recv(timeout=seconds)))
            if kind in (None, message["type"]):
                return message

    def ask(self, answer, **message):
        self.tell(**message)
        return self.hear(answer)

    def close_code(self):
        with pytest.raises(ConnectionClosed):
            while True:
                self.hear()
        return self.socket.close_code


@pytest.fixture
def talk(program_web):
    opened = []

    def start(*args, **headers):
        opened.append(Program(program_web, *args, **headers))
        return opened[-1]

    yield start
    for program in opened:
        program.socket.close()


def cookie_of(user):
    client = Client()
    client.force_login(user)
    return client, f"sessionid={client.cookies['sessionid'].value}"


# -- whole conversations ---------------------------------------------------------------------------------------


def test_a_program_starts_a_job_and_hears_how_it_goes_to_its_end(
    program_web, worker, secret, alice, tmp_path
):
    heard = converse(
        program_web,
        secret,
        """
        hear("hello")
        tell(type="start", ref="r1", job="count-rows", params={"count": 40, "gate": arguments[0]}, key="k1")
        hear("accepted")
        while hear("job")["job"]["line_count"] < 2:
            pass
        tell(type="start", ref="r2", job="count-rows", params={"count": 40}, key="k1")
        hear("accepted")
        Path(arguments[0]).touch()
        while not hear("job")["job"]["over"]:
            pass
        tell(type="ping", ref=2)
        hear("pong")
        """,
        tmp_path / "gate",
    )
    job = Job.objects.get()
    assert job.owner == alice
    hello, accepted = heard[:2]
    assert (hello["version"], hello["user"], hello["scope"]) == (1, str(alice.pk), "act")
    assert hello["limits"] == {
        "message_bytes": 65536,
        "messages_per_second": 20.0,
        "messages_at_once": 40,
        "watches": 100,
    }
    assert (accepted["ref"], accepted["job"]["id"]) == ("r1", str(job.pk))
    again = next(message for message in heard if message.get("ref") == "r2")
    assert again["job"]["id"] == str(job.pk)
    moves = [message["job"] for message in heard if message["type"] == "job"]
    assert "running" in {move["state"] for move in moves}
    assert "Import" in {
        step["name"] for move in moves for step in move["steps"] if step["state"] == "running"
    }
    done = [move["progress"] or 0 for move in moves]
    assert done == sorted(done)
    last = moves[-1]
    assert (last["state"], last["over"], last["progress"]) == ("succeeded", True, 1.0)
    assert last["result"] == {"url": "/orders/", "label": "See the orders"}
    assert heard[-1] == {"type": "pong", "ref": 2}
    assert [move["over"] for move in moves].count(True) == 1


def test_a_program_cancels_a_job_and_runs_it_again(program_web, worker, secret, tmp_path):
    heard = converse(
        program_web,
        secret,
        """
        tell(type="start", job="until-cancelled", params={"cleanup_path": arguments[0]})
        job = hear("accepted")["job"]["id"]
        for ref in ("first", "second"):
            while hear("job")["job"]["state"] != "running":
                pass
            tell(type="cancel", id=job, ref=ref)
            while not (last := hear("job")["job"])["over"]:
                pass
            assert last["state"] == "cancelled", last
            if ref == "first":
                tell(type="retry", id=job, ref="retry")
                hear("accepted")
        assert last["attempt"] == 2, last
        tell(type="list", state=["cancelled"], limit=1)
        assert [found["id"] for found in hear("jobs")["jobs"]] == [job]
        """,
        tmp_path / "gate",
    )
    accepted = [message["ref"] for message in heard if message["type"] == "accepted"]
    assert accepted == [None, "first", "retry", "second"]


def test_a_program_that_was_away_goes_on_without_a_gap(worker, alice, secret, talk, tmp_path):
    gate = tmp_path / "gate"
    job = jobs.start(tasks.import_rows.s(40, gate=str(gate)), owner=alice)
    first = talk(secret)
    first.tell(type="watch", id=str(job.pk))
    while (known := first.hear("job")["job"])["line_count"] < 2:
        pass
    first.socket.close()
    second = talk(secret)
    wait_until(lambda: Job.objects.get().line_count == 2)
    now = second.ask("job", type="watch", id=str(job.pk))["job"]
    third = talk(secret)
    third.hear("hello")
    assert third.ask("watching", type="watch", ref="w", id=str(job.pk), since=now["version"])["ref"] == "w"
    assert third.ask(None, type="ping") == {"type": "pong", "ref": None}, "nothing has changed"
    gate.touch()
    told = third.hear("job")["job"]
    assert told["version"] != now["version"]
    # The row ends some milliseconds before who watches is told.
    while not told["over"]:
        told = third.hear("job")["job"]
    fourth = talk(secret)
    last = fourth.ask("job", type="watch", id=str(job.pk), since=known["version"])["job"]
    assert (last["state"], last["over"]) == ("succeeded", True)
    # What is over is told also to one who knows: it ends the watch.
    assert fourth.ask("job", type="watch", id=str(job.pk), since=last["version"])["job"] == last


def test_the_log_is_told_without_gap_or_double_also_after_a_break(worker, alice, secret, talk, tmp_path):
    gate = tmp_path / "gate"
    job = jobs.start(tasks.talk.s(400, str(gate)), owner=alice)
    wait_until(lambda: job.lines.count() == 400)
    program = talk(secret)
    first = program.ask("log", type="watch", id=str(job.pk), log=True)
    assert [line["text"] for line in first["lines"]] == [f"line {number}" for number in range(200, 400)]
    program.hear("job")
    # The break: one who has less than the tail gets what lies between from the table.
    second = talk(secret)
    second.tell(type="watch", id=str(job.pk), log=True, after="1.150")
    gate.touch()
    for socket, begins in ((program, 400), (second, 150)):
        told, over = [], False
        while not over:
            message = socket.hear()
            if message["type"] == "log":
                told += message["lines"]
                assert message["next"] == f"1.{told[-1]['number']}"
            over = message["type"] == "job" and message["job"]["over"]
        assert [line["text"] for line in told] == [f"line {number}" for number in range(begins, 800)]
    ended(job)
    late = talk(secret)
    told = late.ask("log", type="watch", id=str(job.pk), log=True, after="1.799")["lines"]
    assert [line["number"] for line in told] == [800]
    assert late.hear("job")["job"]["over"]


def test_a_page_and_a_program_watch_one_job_through_one_subscription(
    worker, alice, secret, program_web, talk, open_page, tmp_path
):
    gate = tmp_path / "gate"
    job = jobs.start(tasks.import_rows.s(40, gate=str(gate)), owner=alice)
    reached(job, State.RUNNING)
    page = open_page(job.get_absolute_url(), alice)
    page.web = program_web
    with page.socket() as socket:
        assert "Import" in socket.recv(timeout=30)
        program = talk(secret)
        program.ask("job", type="watch", id=str(job.pk))
        program.ask("unwatched", type="unwatch", id=str(job.pk))
        program.ask("watching", type="watch", id=str(job.pk))
        gate.touch()
        while not program.hear("job")["job"]["over"]:
            pass
        frame = ""
        while "See the orders" not in frame:
            frame = socket.recv(timeout=30)


def test_a_job_that_is_deleted_under_its_watch_is_told(alice, secret, talk):
    job = Job.objects.create(task="t", title="T", owner=alice)
    program = talk(secret)
    program.ask("job", type="watch", id=str(job.pk))
    watched = str(job.pk)
    job.delete()
    error = program.hear("error")
    assert (error["code"], error["id"]) == ("not-found", watched)
    assert program.ask("pong", type="ping", ref="still here")


def test_it_is_noted_that_the_message_of_a_job_is_out(secret, talk, program_web):
    program = talk(secret)
    program.hear("hello")
    program.ask("accepted", type="start", job="until-cancelled", params={"cleanup_path": "/nowhere"})
    assert Job.objects.get().sent_at is not None
    job = Job.objects.get()
    program.ask("accepted", type="cancel", id=str(job.pk))
    ended(job)


# -- what is wrong keeps the socket open -----------------------------------------------------------------------


def test_errors_name_the_field_and_the_message_and_keep_the_socket_open(alice, secret, talk):
    program = talk(secret)
    program.hear("hello")
    for message, field in [
        ({"type": "start", "ref": 1}, "job"),
        ({"type": "start", "ref": 2, "job": "no-such"}, "job"),
        ({"type": "start", "ref": 3, "job": "count-rows", "params": {"count": "many"}}, "params.count"),
        ({"type": "watch", "ref": 4, "id": "x"}, "id"),
        ({"type": "dance", "ref": 5}, "type"),
        ({"type": "list", "ref": 6, "after": "x"}, "after"),
        ({"type": "list", "ref": 7, "limit": 101}, "limit"),
        ({"type": "ping", "ref": 8, "more": 1}, "more"),
        ({"type": "watch", "ref": 9, "id": str(uuid4()), "log": True, "after": "x"}, "after"),
        ({"type": "watch", "ref": 10, "id": str(uuid4()), "after": "1.1"}, "after"),
    ]:
        error = program.ask(None, **message)
        assert (error["type"], error["ref"], error["code"]) == ("error", message["ref"], "invalid")
        assert [found["field"] for found in error["errors"]] == [field]
    program.socket.send(b"\x00\x01")
    assert "text messages" in program.hear()["detail"]
    program.socket.send("{")
    assert program.hear()["code"] == "invalid"
    assert program.ask(None, type="ping", ref=9) == {"type": "pong", "ref": 9}
    assert not Job.objects.exists()


def test_a_message_that_is_too_large_is_dropped(secret, talk):
    program = talk(secret)
    limits = program.hear("hello")["limits"]
    error = program.ask(None, type="ping", ref="x" * limits["message_bytes"])
    assert error["code"] == "too-large"
    assert program.ask(None, type="ping", ref=1)["type"] == "pong"


def test_messages_that_come_too_fast_are_dropped(secret, talk):
    program = talk(secret)
    at_once = program.hear("hello")["limits"]["messages_at_once"]
    sent = at_once * 3
    for number in range(sent):
        program.tell(type="ping", ref=number)
    answers = [program.hear() for _ in range(sent)]
    assert [answer["type"] for answer in answers[:at_once]] == ["pong"] * at_once
    dropped = [answer for answer in answers if answer["type"] == "error"]
    assert dropped
    assert {answer["code"] for answer in dropped} == {"too-fast"}
    wait_until(lambda: program.ask(None, type="ping", ref="later")["type"] == "pong")


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({"Accept-Language": "ar-EG, de;q=0.5"}, "ar"),
        ({"Accept-Language": "ar", "Cookie": "django_language=de"}, "de"),
        ({}, "en"),
    ],
)
def test_what_is_wrong_is_said_in_the_language_that_the_socket_was_opened_in(secret, talk, headers, language):
    program = talk(secret, **headers)
    program.hear("hello")
    error = program.ask("error", type="start", job="count-rows", params={})
    # A field that every program must fill in: Django's own words, whatever ours say.
    with translation.override(language):
        assert error["errors"][0]["detail"] == str(forms.Field.default_error_messages["required"])


def test_one_watch_too_many_is_refused(alice, program_web, talk, secret):
    made = Job.objects.bulk_create(Job(task="t", title=str(n), owner=alice) for n in range(101))
    program = talk(secret)
    most = program.hear("hello")["limits"]["watches"]
    assert most == 100
    told = []
    for job in made:
        answer = _patiently(program, "watching", type="watch", id=str(job.pk))
        told.append(answer.get("code", answer["type"]))
    assert told == ["watching"] * 100 + ["too-large"]
    assert _patiently(program, "unwatched", type="unwatch", id=str(made[0].pk))["type"] == "unwatched"
    assert _patiently(program, "watching", type="watch", id=str(made[100].pk))["type"] == "watching"


def _patiently(program, answer, **message):
    """Say it again while it is said too fast."""
    while True:
        program.tell(**message)
        while (heard := program.hear())["type"] not in (answer, "error"):
            pass
        if heard.get("code") != "too-fast":
            return heard


# -- who may ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["watch", "cancel", "retry"])
def test_what_one_may_not_see_does_not_exist(alice, bob, talk, kind):
    job = Job.objects.create(task="t", title="T", owner=alice)
    program = talk(Token.make(bob, "bob", Token.Scope.ACT)[1])
    program.hear("hello")
    error = program.ask(None, type=kind, id=str(job.pk))
    assert (error["type"], error["code"]) == ("error", "not-found")
    assert program.ask("jobs", type="list")["jobs"] == []
    job.refresh_from_db()
    assert job.state == State.QUEUED


def test_a_token_that_may_read_watches_and_does_not_act(alice, talk):
    job = Job.objects.create(task="t", title="T", owner=alice)
    program = talk(Token.make(alice, "reader", Token.Scope.READ)[1])
    assert program.hear("hello")["scope"] == "read"
    assert program.ask(None, type="cancel", id=str(job.pk))["code"] == "forbidden"
    assert program.ask(None, type="start", job="count-rows", params={"count": 1})["code"] == "forbidden"
    assert program.ask("job", type="watch", id=str(job.pk))["job"]["state"] == "queued"
    assert Job.objects.get().state == State.QUEUED


def test_an_unknown_token_is_told_so_and_closed(program_web, talk):
    program = talk("status_wrong")
    assert program.hear("error")["code"] == "unauthenticated"
    assert program.close_code() == 4401


def test_nobody_is_told_so_and_closed(program_web, talk):
    program = talk(origin=program_web.url)
    assert program.hear("error")["code"] == "unauthenticated"
    assert program.close_code() == 4401


def test_a_session_needs_a_known_origin(program_web, talk, alice):
    _client, cookie = cookie_of(alice)
    for origin in (None, "http://evil.example"):
        with pytest.raises(InvalidStatus):
            talk(Cookie=cookie, origin=origin)
    program = talk(Cookie=cookie, origin=program_web.url)
    assert program.hear("hello")["scope"] == "act"


def test_a_token_needs_no_origin_and_does_not_open_pages(program_web, secret, talk):
    assert talk(secret).hear("hello")
    with pytest.raises(InvalidStatus):
        Program(program_web, secret, path="/ws/status/")


def test_logging_out_closes_the_sockets_of_the_session_and_no_others(program_web, talk, alice, secret):
    client, cookie = cookie_of(alice)
    other = talk(secret)
    program = talk(Cookie=cookie, origin=program_web.url)
    program.hear("hello")
    client.post("/logout/")
    assert program.close_code() == 4401
    other.hear("hello")
    assert other.ask("pong", type="ping")


def test_revoking_a_token_closes_its_sockets_and_no_others(talk, alice, secret):
    client, _cookie = cookie_of(alice)
    revoked, secret2 = Token.make(alice, "second", Token.Scope.READ)
    program, other = talk(secret2), talk(secret)
    program.hear("hello")
    other.hear("hello")
    client.post(f"/jobs/tokens/{revoked.pk}/revocation/")
    assert program.close_code() == 4401
    assert other.ask("pong", type="ping")


def test_a_token_that_expires_takes_its_sockets_along(talk, alice):
    token, secret = Token.make(alice, "short", Token.Scope.READ, days=1)
    Token.objects.filter(pk=token.pk).update(expires_at=timezone.now() + timedelta(seconds=2))
    program = talk(secret)
    program.hear("hello")
    assert program.ask("pong", type="ping")
    assert "expired on" in program.hear("error")["detail"]
    assert program.close_code() == 4401
    assert "expired on" in talk(secret).hear("error")["detail"]
