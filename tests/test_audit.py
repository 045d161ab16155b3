"""What people do is written down, in the transaction that does it."""

from datetime import datetime, timedelta
from unittest import mock
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from celery import chord, group
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone

from status import audit, jobs
from status.audit import Actor, Source, Target, Verb, at_command_line, on_page, record
from status.jobs import cancel, retry
from status.models import AuditEntry, Job, Token
from status.sources.prune import prune_audit
from status.states import State
from status.stop import NotStopped, stop
from tests.tasks import add

DAY = timedelta(days=1)


@pytest.fixture
def job(alice):
    return Job.objects.create(task="t", title="Orders of May", owner=alice)


@pytest.fixture
def admin(client, operator):
    """Olga, who may read the trail, and is logged in."""
    operator.user_permissions.add(Permission.objects.get(codename="view_audit"))
    client.force_login(operator)
    return client


def trail() -> list[tuple[str, ...]]:
    """Oldest first."""
    found = AuditEntry.objects.order_by("id")
    return [(row.name, row.verb, row.kind, row.title, row.source) for row in found]


def test_what_is_done_on_pages_is_written(client, alice, job):
    client.force_login(alice)
    client.post(f"/jobs/{job.pk}/cancellation/")
    client.post(f"/jobs/{job.pk}/retry/")
    client.post("/jobs/tokens/", {"name": "nightly", "scope": "read", "days": "30"})
    token = Token.objects.get()
    client.post(f"/jobs/tokens/{token.pk}/revocation/")
    client.post(f"/jobs/tokens/{token.pk}/revocation/")
    assert trail() == [
        ("alice", "cancel", "job", "Orders of May", "page"),
        ("alice", "retry", "job", "Orders of May", "page"),
        ("alice", "make", "token", "nightly", "page"),
        ("alice", "revoke", "token", "nightly", "page"),
    ]


def test_starting_and_starting_again_are_written_once_each(client, alice):
    client.force_login(alice)

    def post(**more):
        file = SimpleUploadedFile("people.csv", b"name,age\nAda,36\n")
        client.post("/jobs/new/profile-csv/", {"file": file, **more})

    post(start_key="one")
    post(start_key="one")
    first = Job.objects.get()
    post(again=str(first.pk))
    assert [row[:3] for row in trail()] == [("alice", "start", "job"), ("alice", "start again", "job")]
    assert AuditEntry.objects.first().details == {"of": str(first.pk)}


def test_what_a_program_does_names_its_token(alice, job):
    secret = Token.make(alice, "nightly import", Token.Scope.ACT)[1]
    program = Client(headers={"Authorization": f"Bearer {secret}"})
    program.post(f"/api/jobs/{job.pk}/cancellation")
    program.post(f"/api/jobs/{job.pk}/retry")
    assert [row[1:] for row in trail()] == [
        ("cancel", "job", "Orders of May", "api"),
        ("retry", "job", "Orders of May", "api"),
    ]
    assert {row.through for row in AuditEntry.objects.all()} == {"nightly import"}


def test_what_is_done_on_the_command_line_names_the_systems_user(job, capsys):
    with mock.patch("getpass.getuser", return_value="root"):
        call_command("jobs", "cancel", str(job.pk))
        call_command("jobs", "retry", str(job.pk))
    assert [row[:2] + row[4:] for row in trail()] == [
        ("root", "cancel", "command"),
        ("root", "retry", "command"),
    ]
    with mock.patch("getpass.getuser", side_effect=OSError):
        assert at_command_line() == Actor(name="", source=Source.COMMAND)


def test_what_changes_nothing_is_not_written(alice, job):
    cancel(job, actor=on_page(alice))
    cancel(job, actor=on_page(alice))
    retry(job, actor=on_page(alice))
    retry(job, actor=on_page(alice))
    running = Job.objects.create(task="t", title="T", owner=alice, state=State.RUNNING)
    cancel(running, actor=on_page(alice))
    cancel(running, actor=on_page(alice))
    assert [row[1] for row in trail()] == ["cancel", "retry", "cancel"]


def test_what_no_person_does_is_not_written(job):
    cancel(job)
    retry(job)
    assert trail() == []


def test_a_workflow_is_cancelled_once(alice):
    whole = jobs.start(chord(group(add.s(1, 2), add.s(3, 4)), add.si(5, 6)), owner=alice, title="Both")
    cancel(whole, actor=on_page(alice))
    retry(whole, actor=on_page(alice))
    assert [row[1:4] for row in trail()] == [("cancel", "job", "Both"), ("retry", "job", "Both")]


def test_neither_is_there_without_the_other(alice, job):
    with (
        mock.patch.object(AuditEntry.objects, "create", side_effect=DatabaseError),
        pytest.raises(DatabaseError),
    ):
        cancel(job, actor=on_page(alice))
    job.refresh_from_db()
    assert job.state == State.QUEUED
    with pytest.raises(RuntimeError), transaction.atomic():
        cancel(job, actor=on_page(alice))
        raise RuntimeError
    job.refresh_from_db()
    assert (job.state, trail()) == (State.QUEUED, [])


def test_a_stop_is_written_as_one_act(alice, job, monkeypatch):
    monkeypatch.setattr("status.stop._ask", lambda job, by, connection: f"ok from {by}" and "ok")
    stop(job, actor=on_page(alice))
    running = {"state": State.RUNNING, "stoppable": True, "started_at": timezone.now()}
    for n in range(2):
        other = Job.objects.create(task="t", title=f"Run {n}", owner=alice, worker="w", **running)
        if n:
            cancel(other, actor=on_page(alice))
        stop(other, actor=on_page(alice))
    assert [row[1:4:2] for row in trail()] == [
        ("cancel", "Orders of May"),
        ("stop", "Run 0"),
        ("cancel", "Run 1"),
        ("stop", "Run 1"),
    ]


def test_what_could_not_be_tried_is_not_written(alice):
    job = Job.objects.create(task="t", title="T", owner=alice, state=State.RUNNING, stoppable=False)
    with pytest.raises(NotStopped):
        stop(job, actor=on_page(alice))
    assert trail() == []


def test_the_trail_outlives_job_and_user(alice, job, admin):
    cancel(job, actor=on_page(alice))
    Job.objects.all().delete()
    alice.delete()
    text = admin.get("/jobs/audit/").content.decode()
    assert "Orders of May" in text
    assert "alice" in text
    assert f"/jobs/{job.pk}/" not in text
    assert AuditEntry.objects.get().subject == str(job.pk)


def test_old_entries_are_pruned(alice, job):
    for days in (1, 400):
        row = record(on_page(alice), Verb.CANCEL, job)
        AuditEntry.objects.filter(pk=row.pk).update(at=timezone.now() - days * DAY)
    assert prune_audit(None) == prune_audit(0) == 0
    with pytest.raises(ValueError, match="from 0"):
        prune_audit(-1)
    assert AuditEntry.objects.count() == 2
    assert prune_audit(365) == 1
    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_command_and_beat_prune_the_trail(settings, alice):
    from status.sources.prune import prune_jobs

    for work in (lambda: call_command("prune_jobs"), prune_jobs):
        row = record(on_page(alice), Verb.PAUSE, Target("queue", "poll", "poll"))
        AuditEntry.objects.filter(pk=row.pk).update(at=timezone.now() - 400 * DAY)
        work()
        assert not AuditEntry.objects.exists()


# -- the page


def test_only_who_may_reads_it(client, alice, operator):
    for user in (alice, operator):
        client.force_login(user)
        assert client.get("/jobs/audit/").status_code == 403
        assert b"/jobs/audit/" not in client.get("/jobs/").content
    client.logout()
    assert client.get("/jobs/audit/").url == "/login/?next=/jobs/audit/"


def test_an_empty_trail_says_so(admin):
    assert "Nothing was done yet" in admin.get("/jobs/audit/").content.decode()
    assert "Nothing fits" in admin.get("/jobs/audit/?name=nobody").content.decode()
    assert b'href="/jobs/audit/"' in admin.get("/jobs/").content


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("name=alice", 2),
        ("verb=pause", 1),
        ("kind=queue", 1),
        ("source=api", 1),
        ("subject=poll", 1),
        ("subject=Orders+of+May", 2),
        ("since=2026-05-04&until=2026-05-04", 3),
        ("since=2026-05-05", 0),
        ("until=2026-05-03", 0),
        ("name=alice&verb=retry", 1),
        ("verb=conquer", 0),
        ("since=tomorrow", 0),
        ("until=9999-12-31", 0),
        ("before=99999999999999999999", 3),
        ("before=x", 3),
    ],
)
def test_filters_narrow_the_trail(admin, alice, bob, job, query, count):
    at = datetime(2026, 5, 4, 23, 30, tzinfo=ZoneInfo("UTC"))
    record(on_page(alice), Verb.CANCEL, job)
    record(Actor(user=alice, source=Source.API, through="t"), Verb.RETRY, job)
    record(on_page(bob), Verb.PAUSE, Target("queue", "poll", "poll"), depth=7)
    AuditEntry.objects.update(at=at)
    text = admin.get(f"/jobs/audit/?{query}").content.decode()
    assert text.count("data-entry=") == count


def test_every_page_costs_the_same_and_none_is_shown_twice(admin, alice, job, django_assert_max_num_queries):
    rows = AuditEntry.objects.bulk_create(
        AuditEntry(name="alice", verb="cancel", source="page", kind="job", subject=str(job.pk), title=str(n))
        for n in range(60)
    )
    # Some at the same moment.
    AuditEntry.objects.filter(pk__lt=rows[40].pk).update(at=timezone.now())
    seen, address = [], "/jobs/audit/?name=alice"
    for _page in range(3):
        with django_assert_max_num_queries(9):
            response = admin.get(address)
        seen += [entry.title for entry in response.context["entries"]]
        address = f"/jobs/audit/?name=alice&before={response.context['older']}"
    assert response.context["older"] is None
    assert len(seen) == len(set(seen)) == 60


@pytest.mark.parametrize(
    "query", ["", "name=alice", "verb=cancel", "kind=job", "subject=x", "since=2026-05-04"]
)
def test_an_index_serves_every_filter(db, query):
    from django.http import QueryDict

    from status.views.audit import AuditFilter

    form = AuditFilter(QueryDict(query))
    assert form.is_valid()
    said = form.narrow(AuditEntry.objects.all())[:26].explain()
    assert "status_audit_" in said or "Seq Scan" in said
    assert "TEMP B-TREE FOR ORDER BY" not in said or "subject" in query


def test_a_title_is_escaped_and_details_are_shown(admin, operator):
    record(on_page(operator), "conquer", Target("castle", "1", "<b>Rock</b>"), towers=4)
    text = admin.get("/jobs/audit/").content.decode()
    assert "&lt;b&gt;Rock" in text
    assert "towers: 4" in text
    assert "conquer" in text


# -- on the page of a job


def test_a_jobs_page_tells_what_people_did(client, alice, bob, operator, job):
    for n in range(audit.MOST_SHOWN + 2):
        record(on_page(operator), Verb.CANCEL if n % 2 else Verb.RETRY, job)
    record(on_page(alice), Verb.CANCEL, Target("job", str(uuid4()), "Another"))
    client.force_login(alice)
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    part = client.get(f"/jobs/{job.pk}/acts/").content.decode()
    for text in (page, part):
        assert text.count("· <bdi>olga</bdi>") == audit.MOST_SHOWN
        assert "alice ·" not in text
    client.force_login(bob)
    assert client.get(f"/jobs/{job.pk}/acts/").status_code == 404
