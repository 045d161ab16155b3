"""Stopping at once, as far as no worker takes part in it; see `workers/test_stop.py`."""

import time
from types import SimpleNamespace

import pytest
from celery import current_app
from django.contrib.auth.models import Permission
from django.utils import timezone

from status import access, stop
from status.jobs import lose, retry, start
from status.models import FRESH, Job
from status.sources import lifecycle, stopping
from status.states import Failure, State
from status.stop import NotStopped
from tests import tasks
from tests.processes import free_port

NO_PROCESS = 2**22 + 1
"""More than any process id in Linux."""


@pytest.fixture
def running(alice):
    """A job that somebody else's worker runs."""

    def make(**fields):
        columns = {
            "state": State.RUNNING,
            "seq": 1,
            "worker": "nobody@test",
            "stoppable": True,
            "owner": alice,
        }
        return Job.objects.create(task="t", title="T", **columns | fields)

    return make


@pytest.fixture
def sent(monkeypatch):
    """The messages that would have gone to the broker."""
    messages = []
    monkeypatch.setattr(
        "celery.canvas.Signature.apply_async", lambda self, *args, **options: messages.append(self.task)
    )
    return messages


@pytest.fixture
def owner_who_may(alice):
    alice.user_permissions.add(Permission.objects.get(codename="stop_job"))
    return type(alice).objects.get(pk=alice.pk)


@pytest.fixture
def page(client, owner_who_may):
    client.force_login(owner_who_may)
    return client


def test_a_queued_job_is_cancelled(db, sent):
    job = start(tasks.add.s(1, 2))
    assert stop.stop(job).state == State.CANCELLED


def test_an_ended_job_stays_as_it_ended(running):
    assert stop.stop(running(state=State.SUCCEEDED)).state == State.SUCCEEDED


def test_a_job_without_a_process_of_its_own_is_refused_and_not_asked(running):
    job = running(stoppable=False)
    with pytest.raises(NotStopped, match="no processes of their own"):
        stop.stop(job)
    job.refresh_from_db()
    assert job.cancel_requested_at is None


def test_without_a_broker_nothing_changes_and_nobody_waits_long(running, monkeypatch, caplog):
    monkeypatch.setitem(current_app.conf, "broker_write_url", f"redis://127.0.0.1:{free_port()}")
    job, since = running(), time.monotonic()
    with pytest.raises(NotStopped, match="cannot be reached"):
        stop.stop(job)
    assert time.monotonic() - since < 5
    job.refresh_from_db()
    assert job.cancel_requested_at is None
    assert "broker cannot be reached" in caplog.text


def test_a_worker_that_is_not_there_does_not_answer(running, monkeypatch):
    monkeypatch.setattr(stop, "ANSWER_SECONDS", 0.2)
    job = running()
    with pytest.raises(NotStopped, match="does not answer"):
        stop.stop(job)
    job.refresh_from_db()
    assert job.is_cancelling


@pytest.mark.parametrize("answer", ["moved", "silent", "database", "pool"])
def test_whatever_is_in_the_way_is_said_unless_the_job_has_ended(running, monkeypatch, answer):
    monkeypatch.setattr(stop, "_ask", lambda job, by, connection: answer)
    with pytest.raises(NotStopped):
        stop.stop(running())

    def end(job, by, connection):
        Job.objects.advance(job.pk, State.SUCCEEDED, attempt=job.attempt)
        return answer

    monkeypatch.setattr(stop, "_ask", end)
    assert stop.stop(running()).state == State.SUCCEEDED


def test_a_pool_that_hands_out_tasks_in_advance_is_left_alone(db):
    """Celery's blocking pool, of transports without an event loop: who takes which task is up to the processes."""
    consumer = SimpleNamespace(pool=SimpleNamespace(_pool=object()), timer=None)
    assert stopping.obey(SimpleNamespace(consumer=consumer), "x", 1, "") == {"error": "pool"}


class Request:
    """As Celery's, of an execution in the pool."""

    def __init__(self, job_id, time_start, **headers):
        self.id, self.time_start, self.request_dict = job_id, time_start, headers


def test_of_all_executions_of_a_job_the_right_one_is_taken(monkeypatch):
    unnumbered, stale, second = Request("a", 1.0), Request("a", 2.0, status_attempt=1), Request("a", 3.0)
    third, other = Request("a", 4.0, status_attempt=3), Request("b", 5.0, status_attempt=1)
    active = {unnumbered, stale, second, third, other}
    monkeypatch.setattr("celery.worker.state.active_requests", active)
    assert stopping._request_of("a", 3) is third
    assert stopping._request_of("a", 2) is stale
    active.remove(stale)
    assert stopping._request_of("a", 2) is second
    assert stopping._request_of("c", 1) is None


@pytest.fixture
def worker_state(monkeypatch, transactional_db):
    """A worker with a prefork pool, as the command sees it, and what becomes of its processes."""
    killed, timers, looks = [], [], []
    monkeypatch.setattr(stopping, "_stops", {})
    monkeypatch.setattr(stopping, "_hands_out_singly", lambda pool: True)
    pool = SimpleNamespace(
        terminate_job=lambda pid, number: killed.append((pid, number.name)),
        _pool=SimpleNamespace(maintain_pool=lambda: looks.append(len(killed))),
    )
    timer = SimpleNamespace(call_after=lambda seconds, act, args: timers.append((act, args)))
    consumer = SimpleNamespace(pool=pool, timer=timer)
    return SimpleNamespace(
        consumer=consumer, hostname="nobody@test", killed=killed, timers=timers, looks=looks
    )


def begun(job, monkeypatch, **headers):
    """Celery's request of the job, under way in a process which is not there any more."""
    request = Request(str(job.pk), 1.0, **headers)
    request.worker_pid = NO_PROCESS
    monkeypatch.setattr("celery.worker.state.active_requests", {request})
    return request


def test_one_who_presses_again_after_the_timer_was_lost_gets_it_killed(running, monkeypatch, worker_state):
    job = running(cancel_requested_at=timezone.now())
    begun(job, monkeypatch, status_attempt=1)
    for _ in range(3):
        assert stopping.obey(worker_state, str(job.pk), 1, "") == {"ok": "stopping"}
    assert worker_state.killed == [(NO_PROCESS, "SIGTERM")]
    stopping._stops[str(job.pk)].told_at -= stopping.GRACE_SECONDS
    stopping.obey(worker_state, str(job.pk), 1, "")
    assert worker_state.killed[1:] == [(NO_PROCESS, "SIGKILL")]


def test_a_message_that_goes_back_to_the_broker_ends_the_job_all_the_same(running, monkeypatch, worker_state):
    job = running(cancel_requested_at=timezone.now())
    begun(job, monkeypatch, status_attempt=1)
    stopping.obey(worker_state, str(job.pk), 1, "")
    monkeypatch.setattr("celery.worker.state.active_requests", set())
    for act, args in worker_state.timers:
        act(*args)
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    assert job.lines.get().text == "Stopped at once"
    assert worker_state.looks == []


def test_the_pool_looks_for_the_process_until_it_has_gone(running, monkeypatch, worker_state):
    job = running(cancel_requested_at=timezone.now())
    begun(job, monkeypatch, status_attempt=1)
    stopping.obey(worker_state, str(job.pk), 1, "")
    for looks in range(1, 4):
        act, args = worker_state.timers.pop()
        act(*args)
        assert len(worker_state.looks) == looks
    assert stopping.finish(str(job.pk))
    act, args = worker_state.timers.pop()
    act(*args)
    assert len(worker_state.looks) == 3


def test_the_loss_of_a_later_attempt_is_not_taken_for_the_stop(running, monkeypatch, worker_state):
    job = running(cancel_requested_at=timezone.now())
    begun(job, monkeypatch, status_attempt=1)
    stopping.obey(worker_state, str(job.pk), 1, "")
    Job.objects.filter(pk=job.pk).update(attempt=2, cancel_requested_at=None)
    assert not stopping.finish(str(job.pk))
    assert not stopping.finish(str(job.pk))
    assert lifecycle._on_lost_process(str(job.pk), "signal 9")
    job.refresh_from_db()
    assert (job.state, job.failure) == (State.FAILED, Failure.WORKER_LOST)


def test_only_what_was_asked_to_end_and_runs_here_is_touched(running, monkeypatch, worker_state):
    for fields in ({}, {"worker": "other@test"}, {"state": State.WAITING}, {"attempt": 2}):
        job = running(**{"cancel_requested_at": timezone.now()} | fields if fields else {})
        begun(job, monkeypatch, status_attempt=1)
        assert stopping.obey(worker_state, str(job.pk), 1, "") == {"error": "moved"}
    assert worker_state.killed == []


def test_this_process_is_nobodys_pool():
    assert not stopping.has_own_process()


def test_each_attempt_says_anew_whether_it_can_be_stopped(running, sent):
    job = running(state=State.FAILED)
    assert FRESH["stoppable"] is False
    assert retry(job).stoppable is False


@pytest.mark.parametrize("repeatable", [False, True])
def test_what_was_asked_to_end_and_lost_its_worker_is_cancelled(running, sent, repeatable):
    signature = {
        "task": "tests.tasks.touch",
        "args": ["x"],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
    }
    job = running(repeatable=repeatable, cancel_requested_at=timezone.now(), on_cancel=signature)
    assert lose(job, "It is gone")
    job.refresh_from_db()
    assert (job.state, job.failure, job.error) == (State.CANCELLED, "", "It is gone")
    assert job.finished_at is not None
    assert sent == ["tests.tasks.touch"]


def test_a_process_that_nobody_stopped_is_a_lost_one(running):
    """The pool calls every process terminated that it ever sent a signal."""
    job = running()
    request = SimpleNamespace(id=str(job.pk), headers={"status_attempt": 1})
    lifecycle._on_revoked(None, request, terminated=True, expired=False, signum="signal 9")
    job.refresh_from_db()
    assert (job.state, job.failure) == (State.FAILED, Failure.WORKER_LOST)


def test_a_revoked_job_that_no_process_had_begun_is_cancelled(running):
    job = running(state=State.QUEUED)
    request = SimpleNamespace(id=str(job.pk), headers={"status_attempt": 1})
    lifecycle._on_revoked(None, request, terminated=True, expired=False, signum="0")
    job.refresh_from_db()
    assert job.state == State.CANCELLED


def test_who_may_stop(running, alice, bob, operator, owner_who_may, admin_user):
    job = running()
    bob.user_permissions.add(Permission.objects.get(codename="stop_job"))
    may = {user.username: access.may_stop(user, job) for user in (owner_who_may, bob, operator, admin_user)}
    assert may == {"alice": True, "bob": False, "olga": False, "admin": True}


def test_only_who_may_is_offered_it(client, alice, page, running):
    job = running()
    url = f"/jobs/{job.pk}/"
    text = page.get(url).content.decode()
    assert f'hx-post="{url}stop/"' in text
    assert 'hx-confirm="Stop this job at once?' in text
    alice.user_permissions.clear()
    assert f"{url}stop/" not in client.get(url).content.decode()
    assert client.post(f"{url}stop/").status_code == 403
    Job.objects.update(owner=None)
    assert client.post(f"{url}stop/").status_code == 404


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ({}, False),
        ({"cancel_requested_at": timezone.now()}, True),
        ({"cancel_requested_at": timezone.now(), "stoppable": False}, False),
        ({"cancel_requested_at": timezone.now(), "state": State.CANCELLED}, False),
    ],
)
def test_the_badge_says_when_it_is_offered(page, running, fields, offered):
    text = page.get(f"/jobs/{running(**fields).pk}/").content.decode()
    assert ("data-stoppable>" in text) == offered


def test_the_page_says_why_not(page, running):
    job = running(stoppable=False)
    response = page.post(f"/jobs/{job.pk}/stop/")
    assert response.status_code == 409
    assert "no processes of their own" in response.content.decode()


def test_a_get_stops_nothing(page, running):
    job = running()
    response = page.get(f"/jobs/{job.pk}/stop/")
    assert (response.status_code, response.url) == (302, f"/jobs/{job.pk}/")
    job.refresh_from_db()
    assert job.cancel_requested_at is None


def test_the_name_of_who_does_it_goes_along(page, running, monkeypatch):
    asked = []
    monkeypatch.setattr(stop, "_ask", lambda job, by, connection: asked.append((job.worker, by)) or "ok")
    job = running()
    assert page.post(f"/jobs/{job.pk}/stop/", headers={"HX-Request": "true"}).status_code == 204
    assert asked == [("nobody@test", "alice")]
    assert page.post(f"/jobs/{job.pk}/stop/").status_code == 302
