"""Doing something with many jobs."""

from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone

from status import bulk
from status.models import Attachment, AuditEntry, Job, LogLine
from status.states import State

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(bulk, "log", lambda text, *args, **options: lines.append(text))
    return lines


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    messages = []
    monkeypatch.setattr(
        "celery.canvas.Signature.apply_async", lambda self, **options: messages.append(self.task)
    )
    return messages


def make(owner, state=State.QUEUED, title="T", **columns):
    ended = timezone.now() if state in {State.SUCCEEDED, State.FAILED, State.CANCELLED} else None
    signature = {"task": "tests.tasks.add", "args": [1, 2], "kwargs": {}, "options": {}}
    values = {"sent_at": timezone.now(), "finished_at": ended, "signature": signature, **columns}
    return Job.objects.create(task="tests.tasks.add", title=title, owner=owner, state=state, **values)


def run(action, user, jobs=None, query="", until=None):
    pks = None if jobs is None else [str(job.pk) for job in jobs]
    until = (until or timezone.now()).isoformat()
    return bulk.act_on_jobs(action=action, user=str(user.pk), pks=pks, query=query, until=until)


def states(*jobs):
    for job in jobs:
        job.refresh_from_db()
    return [job.state for job in jobs]


def test_chosen_jobs_are_retried_and_the_others_left_out_by_name(alice, said):
    failed, cancelled = make(alice, State.FAILED), make(alice, State.CANCELLED)
    done, running = make(alice, State.SUCCEEDED, "Fine"), make(alice, State.RUNNING)
    run("retry", alice, [failed, cancelled, done, running])
    assert states(failed, cancelled, done, running) == ["queued", "queued", "succeeded", "running"]
    assert "Done with 2 jobs." in said
    assert "Left out 2 jobs: it has neither failed nor was cancelled." in said
    assert any(line.startswith(f"Left out: Fine ({done.pk})") for line in said)


def test_chosen_jobs_are_cancelled(alice, said):
    queued, running, done = make(alice), make(alice, State.RUNNING), make(alice, State.SUCCEEDED)
    asked = make(alice, State.RUNNING, cancel_requested_at=timezone.now())
    run("cancel", alice, [queued, running, done, asked])
    assert states(queued, running, done) == ["cancelled", "running", "succeeded"]
    assert running.is_cancelling
    assert {"Left out 1 job: it has ended.", "Left out 1 job: it was asked already."} < set(said)


def test_ended_jobs_are_deleted_with_what_is_theirs(alice, said):
    gone, live = make(alice, State.FAILED), make(alice, State.RUNNING)
    member = make(alice, State.SUCCEEDED, parent=gone, root=gone, position=0)
    LogLine.objects.create(job=gone, number=1, attempt=1, at=timezone.now(), level=20, text="a line")
    file = Attachment(job=gone, name="a.txt", size=1)
    file.file.save("a.txt", ContentFile(b"a"))
    run("delete", alice, [gone, live])
    assert list(Job.objects.all()) == [live]
    assert not LogLine.objects.exists()
    assert not file.file.storage.exists(file.file.name)
    assert not Job.objects.filter(pk=member.pk).exists()
    assert "Left out 1 job: it has not ended." in said


@pytest.mark.parametrize("action", ["cancel", "retry", "delete"])
def test_each_job_needs_its_own_right(alice, bob, operator, action, said):
    state = State.QUEUED if action == "cancel" else State.FAILED
    mine, theirs = make(alice, state), make(bob, state)
    run(action, alice, [mine, theirs])
    assert states(theirs) == [state]
    assert "Left out 1 job: you may not." in said
    assert not Job.objects.filter(pk=mine.pk, state=state).exists()
    said.clear()
    run(action, operator, [theirs])
    assert ("Done with 1 job." in said) == (action != "delete")


def test_rights_taken_away_meanwhile_are_taken(alice, bob, said, monkeypatch):
    monkeypatch.setattr(bulk, "BATCH", 1)
    jobs = [make(alice, State.FAILED) for _ in range(3)]

    def leave(self, user, job):
        alice.is_active = False
        alice.save()
        return ""

    monkeypatch.setattr(bulk._Work, "_one", leave)
    run("retry", alice, jobs)
    assert "Done with 1 job." in said
    assert "Left out 2 jobs: you may not." in said


def test_all_that_match_are_taken_in_batches_and_no_later_ones(alice, bob, said, monkeypatch):
    monkeypatch.setattr(bulk, "BATCH", 3)
    failed = [make(alice, State.FAILED, f"Import {number}") for number in range(8)]
    other, bobs = make(alice, State.FAILED, "Export"), make(bob, State.FAILED, "Import")
    until = timezone.now()
    later = make(alice, State.FAILED, "Import later", created_at=until + timedelta(seconds=1))
    run("retry", alice, query="state=failed&q=import", until=until)
    assert set(states(*failed)) == {"queued"}
    assert states(other, bobs, later) == ["failed"] * 3
    assert "Done with 8 jobs." in said


def test_another_job_with_the_key_is_no_accident(alice, said):
    failed = make(alice, State.FAILED, key="a")
    make(alice, key="a")
    run("retry", alice, [failed])
    assert "Left out 1 job: another job with the same key is under way." in said


def test_many_left_out_are_counted_and_not_all_named(alice, said, monkeypatch):
    monkeypatch.setattr(bulk, "MOST_NAMED", 2)
    run("retry", alice, [make(alice) for _ in range(5)])
    assert sum(line.startswith("Left out: ") for line in said) == 2
    assert "Left out 5 jobs: it has neither failed nor was cancelled." in said


@pytest.mark.parametrize(
    ("action", "state"), [("cancel", "queued"), ("retry", "failed"), ("delete", "failed")]
)
def test_the_audit_trail_says_what_was_done_with_each(alice, said, action, state):
    job, left = (
        make(alice, state, "Mine"),
        make(alice, State.SUCCEEDED if action != "delete" else State.RUNNING),
    )
    run(action, alice, [job, left])
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.source, entry.name) == (action, "page", "alice")
    assert (entry.subject, entry.title) == (str(job.pk), "Mine")


# -- the pages ---------------------------------------------------------------------------------------------


def test_a_page_asks_and_then_a_job_does_it(client, alice, sent):
    client.force_login(alice)
    jobs = [make(alice, State.FAILED, f"Import {number}") for number in range(3)]
    done = make(alice, State.SUCCEEDED, "Fine")
    data = {"action": "retry", "job": [str(job.pk) for job in [*jobs, done]], "query": "state=failed"}
    page = client.get("/jobs/selection/", data).content.decode()
    assert "Retry 4 jobs?" in page
    assert "It can be done with 3 of these now." in page
    assert set(states(*jobs)) == {"failed"}
    response = client.post("/jobs/selection/", data)
    work = Job.objects.get(task=bulk.NAME)
    assert (response.status_code, response.url) == (302, f"/jobs/{work.pk}/")
    assert (work.title, work.owner, work.repeatable) == ("Retry 4 jobs", alice, True)
    assert sent == [bulk.NAME]


def test_a_page_counts_all_that_match(client, alice, bob):
    client.force_login(alice)
    for owner in (alice, alice, bob):
        make(owner, State.FAILED)
    data = {"action": "delete", "all": "1", "query": "state=failed", "until": timezone.now().isoformat()}
    assert b"Delete 2 jobs?" in client.get("/jobs/selection/", data).content
    client.post("/jobs/selection/", data)
    given = Job.objects.get(task=bulk.NAME).signature["kwargs"]
    assert (given["pks"], given["query"], given["user"]) == (None, "state=failed", str(alice.pk))


def test_what_is_not_mine_is_not_chosen(client, alice, bob):
    client.force_login(alice)
    theirs = make(bob, State.FAILED, "Secret plans")
    data = {"action": "retry", "job": [str(theirs.pk)]}
    for method in (client.get, client.post):
        response = method("/jobs/selection/", data)
        assert response.status_code == 409
        assert b"Secret" not in response.content
    assert not Job.objects.filter(task=bulk.NAME).exists()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"action": "retry"}, "Choose some jobs first"),
        ({"action": "burn", "all": "1"}, "Choose what to do"),
        ({"action": "retry", "job": "x"}, "names a job that is none"),
        ({"action": "retry", "all": "1", "until": "2026-13-45T00:00"}, "none"),
    ],
)
def test_a_bad_choice_is_explained(client, alice, data, says):
    client.force_login(alice)
    response = client.get("/jobs/selection/", data)
    assert response.status_code == 409
    assert says in response.content.decode()


def test_choosing_needs_a_login_and_the_csrf_token(client, alice):
    from django.test import Client

    assert client.get("/jobs/selection/").status_code == 302
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    data = {"action": "retry", "job": [str(make(alice, State.FAILED).pk)]}
    assert strict.post("/jobs/selection/", data).status_code == 403
