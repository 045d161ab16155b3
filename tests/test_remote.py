import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from celery.exceptions import Ignore
from django.template.loader import render_to_string
from django.utils import timezone

from status import outbox
from status.call_off import add_postscript, call_off
from status.events import JobEvent, Line, Step
from status.hub.entries import Entry
from status.jobs import cancel, retry, start
from status.live import LiveJob, set_current
from status.models import Job, LogLine
from status.outbox import ATTEMPT_HEADER
from status.progress import log, plan, step
from status.regions import Subject
from status.sources import remote, sweep
from status.sources.remote import DeadlinePassed, PollAgain, poll_again, send_due, send_polls
from status.states import Failure, State
from tests import tasks
from tests.processes import PROJECT

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    """Task ids, headers, arguments and options of what went to the broker, while `sent.down` is false."""

    class Sent(list):
        down = False

        @property
        def attempts(self):
            return [(task_id, headers.get(ATTEMPT_HEADER)) for task_id, headers, _, _ in self]

    messages = Sent()

    def apply_async(self, headers, task_id=None):
        if messages.down:
            raise ConnectionError("the broker is down")
        messages.append((task_id, headers, dict(self.kwargs), dict(self.options)))

    monkeypatch.setattr("celery.canvas.Signature.apply_async", apply_async)
    return messages


def make(state=State.WAITING, *, due_seconds=0.0, **fields):
    """A job that waits for its third poll."""
    at = timezone.now() + timedelta(seconds=due_seconds)
    signature = dict(tasks.count_polls.s("path", 9).set(headers={"mine": 1}))
    waiting = {"poll_at": at, "next_at": at} if state == State.WAITING else {}
    defaults = {"task": "tests.tasks.count_polls", "title": "T", "attempt": 2, "polls": 1}
    started = timezone.now() - timedelta(seconds=10)
    defaults |= {"started_at": started, "signature": signature, "poll_signature": signature, **waiting}
    return Job.objects.create(state=state, **defaults | fields)


class Request:
    """What Celery tells a task of its message; bound to `count_polls` as a context manager."""

    def __init__(self, **fields):
        self.fields = {"args": ["path", 9], "kwargs": {}, "called_directly": False, "id": "7" * 32, **fields}

    def __enter__(self):
        tasks.count_polls.push_request(**self.fields)
        return tasks.count_polls

    def __exit__(self, *exc):
        tasks.count_polls.pop_request()


@pytest.fixture
def live():
    job = LiveJob(attempt=2)
    set_current(job)
    yield job
    set_current(None)


def seconds_until(poll):
    return (poll.at - timezone.now()).total_seconds()


# -- what the task raises


def test_called_directly_the_task_says_when_it_wants_to_be_called_again(tmp_path):
    with pytest.raises(PollAgain) as raised:
        tasks.count_polls(str(tmp_path / "polls"), 2)
    assert 0 < seconds_until(raised.value) <= 0.1
    assert isinstance(raised.value, Ignore)
    tasks.count_polls(str(tmp_path / "polls"), 2, poll=2)


def test_applied_in_this_process_it_polls_once(tmp_path):
    assert tasks.count_polls.apply([str(tmp_path / "polls"), 3]).state == "IGNORED"
    assert (tmp_path / "polls").read_text() == "x"


def test_the_next_poll_has_the_message_of_this_one(live):
    link = dict(tasks.touch.si("x"))
    with Request(callbacks=[link], headers={"mine": 1}, expires="2000-01-01", kwargs={"a": 1}) as task:
        poll = poll_again(task, after=2, kwargs={"b": 2})
    assert (poll.signature["args"], poll.signature["kwargs"]) == (["path", 9], {"a": 1, "b": 2})
    options = poll.signature["options"]
    assert (options["link"][0]["task"], options["headers"]["mine"]) == ("tests.tasks.touch", 1)
    # An expiry is for the time until it begins.
    assert options.get("expires") is None
    assert options["headers"][remote.POLL_HEADER][:2] == [live.started_at.timestamp(), 0]


def test_a_wait_for_somebody_is_news_when_it_begins(live):
    said = []
    headers = {}
    for what in ["approve", "approve", "approve the rest", "", "approve the rest"]:
        with Request(headers=headers) as task:
            poll = poll_again(task, after=2, waits_for=what)
        headers = poll.signature["options"]["headers"]
        said.append(pickle.loads(pickle.dumps(poll)).waits_for)
    assert said == ["approve", "", "approve the rest", "", "approve the rest"]
    assert [line.text for line in live.lines] == [f"Waits for someone: {what}" for what in said if what]


def test_a_poll_sent_before_waits_were_carried_is_understood(live):
    with Request(headers={remote.POLL_HEADER: [live.started_at.timestamp(), 0, False]}) as task:
        assert poll_again(task, after=2, waits_for="approve").waits_for == "approve"


def test_what_json_cannot_hold_is_refused(live):
    with Request() as task, pytest.raises(TypeError, match="cannot be written as JSON"):
        poll_again(task, after=2, kwargs={"file": object()})


def test_failures_double_the_pause_with_full_jitter_up_to_a_cap(live, monkeypatch):
    drawn = []
    monkeypatch.setattr("random.uniform", lambda low, high: drawn.append((low, high)) or high)
    headers = {}
    for _ in range(6):
        with Request(headers=headers) as task:
            poll = poll_again(task, after=2, error=ConnectionError("no"), longest=50)
        headers = poll.signature["options"]["headers"]
    assert drawn == [(0, 4), (0, 8), (0, 16), (0, 32), (0, 50), (0, 50)]
    assert {line.level for line in live.lines} == {30}
    assert "ConnectionError: no" in live.lines[0].text
    with Request(headers=headers) as task:
        poll = poll_again(task, after=2)
    assert 1.9 < seconds_until(poll) <= 2
    assert poll.signature["options"]["headers"][remote.POLL_HEADER][1] == 0
    assert "works again" in live.lines[-1].text


@pytest.mark.parametrize("error", [PollAgain(timezone.now(), {"task": "t"}), DeadlinePassed(3600)])
def test_what_is_raised_comes_out_of_a_pool(error):
    again = pickle.loads(pickle.dumps(error))
    assert (again.args, str(again)) == (error.args, str(error))


def test_pauses_are_spread(live):
    with Request() as task:
        pauses = {round(seconds_until(poll_again(task, after=8, error=OSError()))) for _ in range(60)}
    assert len(pauses) > 6
    assert max(pauses) <= 16


def test_a_thousand_failures_do_not_overflow(live):
    with Request(headers={remote.POLL_HEADER: [live.started_at.timestamp(), 5000, False]}) as task:
        assert seconds_until(poll_again(task, after=2, error=OSError())) <= 300


def test_the_last_poll_is_made_at_the_deadline(live):
    began = timezone.now() - timedelta(seconds=58)
    with Request(headers={remote.POLL_HEADER: [began.timestamp(), 0, False]}) as task:
        poll = poll_again(task, after=10, deadline=60)
        assert seconds_until(poll) <= 2
        late = poll_again(task, after=10, deadline=57.5)
    assert isinstance(late, DeadlinePassed)
    assert "57.5 s" in str(late)


# -- steps and lines go on


def test_the_next_poll_goes_on_where_the_last_one_stood(live):
    plan({"Submit": 1, "Render": 9})
    with step("Submit"):
        pass
    step("Render", unit="frames").update(5, total=10)
    log("a line")
    held = Job(attempt=2, state=State.WAITING, line_count=live.line_count, heartbeat_at=timezone.now())
    held.steps = [entry.to_wire() for entry in live.event().steps]
    held.started_at = timezone.now() - timedelta(seconds=100)
    held.poll_at = timezone.now()
    after = LiveJob(attempt=3)
    remote.go_on(after, held, type("Request", (), {remote.POLL_HEADER: [0, 0, True]}))
    assert (after.fraction(), after.tries, after.started_at) == (pytest.approx(0.55), 2, held.started_at)
    set_current(after)
    plan({"Submit": 1, "Render": 9})
    assert after.fraction() == pytest.approx(0.55)
    step("Render").update(6)
    log("another")
    assert [(line.number, line.attempt) for line in after.lines] == [(2, 2)]
    assert [(s.name, s.state, s.current, s.total) for s in after.event().steps] == [
        ("Submit", "done", 0, None),
        ("Render", "running", 6, 10),
    ]


def test_a_step_keeps_its_clock_and_what_stands_inside_it(live):
    event = Step(name="Outer", state="running", current=5, total=10, detail="Inner", seconds=40)
    live.resume(Job(steps=[event.to_wire()]).event(), 20)
    shown = live.event().steps[0]
    assert (shown.detail, shown.current, shown.fraction) == ("Inner", 5, 0.5)
    assert shown.seconds == pytest.approx(60, abs=1)


# -- sending what is due


def test_what_is_due_is_sent_once_with_the_arguments_of_the_next_poll(sent):
    job = make(due_seconds=-1)
    make(due_seconds=60)
    cancel(make(due_seconds=-1))
    assert (send_due(), send_due()) == (1, 0)
    assert sent.attempts == [(str(job.pk), 3)]
    assert sent[0][1]["mine"] == 1
    job.refresh_from_db()
    assert (job.state, job.is_live) == (State.WAITING, True)


def test_a_poll_that_does_not_begin_is_sent_again(sent):
    job = make(due_seconds=-1)
    send_due()
    job.refresh_from_db()
    assert timedelta(seconds=50) < job.poll_at - timezone.now() <= timedelta(seconds=60)
    Job.objects.update(poll_at=timezone.now())
    assert send_due() == 1


def test_while_the_broker_is_down_no_poll_is_lost(sent, caplog):
    make(due_seconds=-1)
    make(due_seconds=-1)
    sent.down = True
    assert send_due() == 0
    assert len([r for r in caplog.records if "not sent" in r.message]) == 1
    sent.down = False
    assert send_due() == 2


def test_a_poll_that_has_begun_meanwhile_is_not_touched(sent, monkeypatch):
    job = make(due_seconds=-1)

    def deliver(job, attempt):
        Job.objects.advance(job.pk, State.RUNNING, attempt=attempt, poll_at=None)
        at = timezone.now() + timedelta(seconds=5)
        Job.objects.advance(job.pk, State.WAITING, attempt=attempt, poll_at=at)
        return True

    monkeypatch.setattr(outbox, "deliver", deliver)
    send_due()
    job.refresh_from_db()
    assert job.poll_at - timezone.now() < timedelta(seconds=6)


def test_ten_thousand_waiting_jobs_cost_one_query(sent, django_assert_num_queries):
    at = timezone.now() + timedelta(seconds=60)
    Job.objects.bulk_create(
        Job(task="t", title="T", state=State.WAITING, poll_at=at, next_at=at) for _ in range(10_000)
    )
    with django_assert_num_queries(1):
        send_due()


def test_ten_thousand_due_polls_go_out_at_one_read_and_one_write_for_500(sent, django_assert_num_queries):
    at = timezone.now()
    signature = dict(tasks.add.s(1, 2))
    Job.objects.bulk_create(
        Job(task="t", title="T", state=State.WAITING, poll_at=at, poll_signature=signature)
        for _ in range(10_000)
    )
    with django_assert_num_queries(41):
        assert send_due() == 10_000


def test_the_sweep_leaves_polls_to_their_own_task(sent):
    make(due_seconds=-1000)
    assert sweep.send_overdue() == 0


def test_a_worker_lost_within_a_poll_is_followed_by_the_next(sent):
    job = make(State.RUNNING, heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert sweep.expire_leases() == 1
    job.refresh_from_db()
    assert (job.state, job.failure, sent.attempts) == (State.WAITING, "", [(str(job.pk), 3)])


def test_beat_knows_what_to_run():
    """In a process of its own: Django is set up by Celery there, later than here."""
    code = (
        "from config.celery import app; app.loader.init_worker();"
        "print(sorted(name for name in app.conf.beat_schedule if name.startswith('status')))"
    )
    # Not a warning about it: what else stands on standard output would fail the test as well.
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT, env=os.environ, text=True)
    assert shown.strip() == "['status.polls', 'status.prune', 'status.sweep']"


# -- cancelling the remote work


def test_on_cancel_is_sent_once(sent):
    job = make(on_cancel=dict(tasks.touch.si("x")))
    assert cancel(job).state == State.CANCELLED
    cancel(job)
    assert not call_off(job.pk)
    send_polls.run()
    assert [headers for _, headers, _, _ in sent] == [{"status_calls_off": str(job.pk)}]


@pytest.mark.parametrize("knows", [True, False])
def test_a_cancel_in_the_last_moment_of_a_poll_is_not_lost(sent, knows):
    job = make(State.RUNNING)
    assert cancel(job).is_cancelling
    live = LiveJob(job.pk, attempt=job.attempt)
    live.cancel_requested_at = timezone.now() if knows else None
    poll = PollAgain(timezone.now() + timedelta(seconds=5), dict(job.signature), dict(tasks.touch.si("x")))
    remote.wait(live, poll)
    job.refresh_from_db()
    assert (job.state, job.poll_at, len(sent)) == (State.CANCELLED, None, 1)


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.WAITING, State.SUCCEEDED])
def test_nothing_is_called_off_before_the_end(sent, state):
    job = make(state, on_cancel=dict(tasks.touch.si("x")))
    assert not call_off(job.pk)
    assert sent == []


def test_on_cancel_goes_out_when_the_broker_is_back(sent):
    job = make(on_cancel=dict(tasks.touch.si("x")))
    sent.down = True
    assert cancel(job).state == State.CANCELLED
    sent.down = False
    send_polls.run()
    send_polls.run()
    assert len(sent) == 1


def test_how_it_went_is_a_line_of_the_ended_job(sent):
    job = make(State.CANCELLED, line_count=3)
    add_postscript(job.pk, 30, "could not")
    line, seq = LogLine.objects.get(), job.seq
    job.refresh_from_db()
    assert (line.number, line.attempt, line.level, line.text) == (4, 1, 30, "could not")
    assert (job.line_count, job.seq) == (4, seq + 1)


# -- attempts as people count them


def test_polls_do_not_count_as_attempts(sent, django_capture_on_commit_callbacks):
    job = make(State.FAILED, attempt=57, polls=56, failure=Failure.ERROR)
    assert (job.tries, job.event().tries) == (1, 1)
    with django_capture_on_commit_callbacks(execute=True):
        again = retry(job)
    # It begins anew, and not with a poll.
    assert (again.tries, again.attempt, again.poll_signature, again.on_cancel) == (2, 58, None, None)


def test_the_first_message_goes_out_as_for_any_job(sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = start(tasks.count_polls.s("path", 9).set(headers={"mine": 1}))
    assert sent.attempts == [(str(job.pk), 1)]
    assert sent[0][1]["mine"] == 1


# -- what the page says


def test_the_page_says_when_the_next_check_is_and_keeps_its_step():
    step_of_it = Step(name="Render", state="running", current=5, total=10, unit="frames")
    job = make(due_seconds=60, attempt=57, polls=56, progress=0.5, steps=[step_of_it.to_wire()])
    shown = {name: page(job, name) for name in ("progress", "facts", "badge")}
    assert "Attempt" not in shown["progress"]
    assert "next check at" in shown["progress"]
    assert "Render" in shown["progress"]
    assert "Waiting" in shown["badge"]
    assert re.search(r"Attempt</dt><dd[^>]*>1<", shown["facts"])
    assert re.search(r"Remote checks</dt><dd[^>]*>56<", shown["facts"])


def page(job, partial):
    return render_to_string(f"status/partials/{partial}.html", {"job": job.at(job.event())})


def test_lines_of_a_later_poll_lead_on_from_the_tail():
    """As the hub sees it: nothing is missing, so nothing is read again."""
    entry = Entry(Subject.job(UUID(int=1)), tail_stale=False)
    lines = [Line(number=n, attempt=1, at=timezone.now(), level=20, text="x") for n in (1, 2)]
    for number, line in enumerate(lines, start=1):
        event = JobEvent(job=UUID(int=1), attempt=number, polls=number - 1, seq=1, state=State.RUNNING)
        entry.offer(replace(event, line_count=number, lines=(line,)))
    assert (entry.tail, entry.tail_stale) == (lines, False)
