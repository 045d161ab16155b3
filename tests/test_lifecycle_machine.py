"""Random orders of messages, reports, losses and people's wishes against the real lifecycle.

The machine plays the broker (a bag of messages: late, twice, lost), workers (any number at once, killed midway, cut off
from the database and back), the sweep, people, and a hub that gets its events in any order, twice or never. Beside
it stands what truly happened: which execution holds a job, what it did and what people asked for. After every move
the row must say just that.
"""

import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from celery import shared_task
from celery.exceptions import Reject
from django.utils import timezone
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from status import jobs
from status.hub.entries import Entry
from status.live import JobCancelled
from status.models import Job, LogLine
from status.regions import Subject
from status.sources import remote, sweep
from status.sources.remote import DeadlinePassed, PollAgain, poll_again
from status.states import LIVE, TERMINAL, State
from tests import tasks
from tests.stage import Message, Run, Stage

pytestmark = pytest.mark.django_db(transaction=True)

# `LIFECYCLE_LENGTH=20` hunts for so much longer.
LENGTH = int(os.environ.get("LIFECYCLE_LENGTH", "1"))
LEASE_SECONDS = 20
ANY = st.integers(0, 10**6)


@shared_task(bind=True, max_retries=1000, name="tests.played")
def played(self, number):
    """What it does is played by the machine."""


@dataclass(eq=False)
class Truth:
    """What is true of one job."""

    id: UUID
    repeatable: bool
    state: str = State.QUEUED
    attempt: int = 1
    holder: Run | None = None
    """The execution of this attempt; it alone may end it."""
    heard_at: datetime | None = None
    """When its worker last wrote the row."""
    is_cancelling: bool = False
    waits_for_poll: bool = False
    waits_for_return: bool = False
    """The task has put its message back."""
    polls_remote: bool = False
    begun: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    """Attempts that came to an end of which the row was told."""
    losses: int = 0
    polls: int = 0
    tries: int = 1
    texts: list[str] = field(default_factory=list)

    def move(self, state: str, *, attempt: int | None = None) -> None:
        """Go to `state`, of which nothing is known but that."""
        self.state, self.attempt = state, attempt or self.attempt
        self.waits_for_poll = self.waits_for_return = False
        if state != State.RUNNING:
            self.holder = None
        if state in TERMINAL:
            assert self.attempt not in self.ended
            self.ended.add(self.attempt)

    def takes(self, message: Message) -> str | None:
        """What becomes of the job when `message` arrives; None: nothing."""
        attempt, is_next = message.attempt, message.attempt == self.attempt + 1
        if self.state == State.QUEUED:
            fits = attempt == self.attempt
        elif self.state == State.WAITING and message.is_expired:
            fits = is_next or (self.waits_for_return and attempt == self.attempt)
        elif self.state == State.WAITING:
            fits = is_next or (not self.waits_for_poll and attempt <= self.attempt)
        else:
            # It has sent its next attempt's message and has not yet come to say so.
            fits = self.state == State.RUNNING and is_next and not message.is_expired
        if message.is_expired:
            return State.FAILED if fits else None
        if self.is_cancelling and (self.state == State.WAITING or (self.state == State.RUNNING and is_next)):
            return State.CANCELLED
        return State.RUNNING if fits else None


class Lifecycle(RuleBasedStateMachine):
    """The moves, and what must hold after each."""

    monkeypatch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.stage = Stage()
        self.stage.install(self.patch)
        self.truths: dict[UUID, Truth] = {}
        self.entries: dict[UUID, Entry] = {}
        self.runs: list[Run] = []
        self.late: dict[Run, Any] = {}
        """What an execution has to say of its end, to a database that it does not reach."""
        self.number = 0

    def teardown(self) -> None:
        try:
            if self.truths:
                self.settle()
        finally:
            self.patch.undo()
            Job.objects.all().delete()

    # -- choosing

    def truth_of(self, run: Run) -> Truth:
        return self.truths[run.message.job]

    def pick(self, things: Any, number: int) -> Any:
        things = list(things)
        return things[number % len(things)]

    def holds(self, run: Run) -> bool:
        """Whether the row will take what `run` says."""
        return self.truth_of(run).holder is run

    def row(self, truth: Truth) -> Job:
        return Job.objects.get(pk=truth.id)

    # -- people

    @precondition(lambda self: len(self.truths) < 2)
    @rule(repeatable=st.booleans(), expires=st.sampled_from([None, None, 100]))
    def start(self, repeatable: bool, expires: float | None) -> None:
        signature = played.s(len(self.truths)).set(expires=expires)
        job = jobs.start(signature, repeatable=repeatable)
        self.truths[job.pk] = Truth(job.pk, repeatable)
        self.entries[job.pk] = Entry(Subject.job(job.pk), tail_stale=False)
        self.entries[job.pk].offer(self.row(self.truths[job.pk]).event())

    @precondition(lambda self: self.truths)
    @rule(which=ANY)
    def cancel(self, which: int) -> None:
        truth = self.pick(self.truths.values(), which)
        jobs.cancel(Job(pk=truth.id))
        if truth.state in {State.QUEUED, State.WAITING}:
            truth.move(State.CANCELLED)
        elif truth.state == State.RUNNING:
            truth.is_cancelling = True

    @precondition(lambda self: any(t.state in TERMINAL for t in self.truths.values()))
    @rule(which=ANY)
    def retry_by_hand(self, which: int) -> None:
        truth = self.pick((t for t in self.truths.values() if t.state in TERMINAL), which)
        jobs.retry(Job(pk=truth.id))
        if truth.state != State.SUCCEEDED:
            truth.move(State.QUEUED, attempt=truth.attempt + 1)
            truth.is_cancelling = truth.polls_remote = False

    # -- the broker

    @precondition(lambda self: self.stage.messages)
    @rule(which=ANY, again=st.booleans())
    def deliver(self, which: int, again: bool) -> None:
        message = self.pick(self.stage.messages, which)
        if not again:
            self.stage.messages.remove(message)
        self.receive(message)

    def receive(self, message: Message) -> None:
        if message.calls_off:
            self.stage.deliver(message)
            return
        truth = self.truths[message.job]
        becomes = truth.takes(message)
        before = truth.attempt
        run = self.stage.deliver(message)
        assert (run is not None) == (becomes == State.RUNNING), (truth, message.attempt)
        if becomes in TERMINAL:
            truth.move(becomes)
        if run is None:
            return
        attempt = before if truth.state == State.QUEUED else before + 1
        assert run.live.attempt == attempt
        assert attempt not in truth.begun, "an attempt begins once"
        truth.begun.add(attempt)
        if truth.waits_for_poll:
            truth.polls += 1
        truth.move(State.RUNNING, attempt=attempt)
        truth.holder, truth.heard_at, truth.is_cancelling = run, timezone.now(), False
        self.runs.append(run)

    @precondition(lambda self: self.stage.messages)
    @rule(which=ANY)
    def lose_message(self, which: int) -> None:
        self.stage.messages.remove(self.pick(self.stage.messages, which))

    @rule()
    def broker_goes_or_comes(self) -> None:
        self.stage.is_down = not self.stage.is_down

    # -- workers

    @precondition(lambda self: self.runs)
    @rule(which=ANY, lines=st.integers(0, 3))
    def report(self, which: int, lines: int) -> None:
        run = self.pick(self.runs, which)
        for _ in range(lines):
            self.number += 1
            run.say(f"line {self.number}")
        run.publish()

    @precondition(lambda self: self.runs or self.late)
    @rule(which=ANY)
    def checkpoint(self, which: int) -> None:
        run = self.pick([*self.runs, *self.late], which)
        self.write(run)

    def write(self, run: Run) -> None:
        truth = self.truth_of(run)
        held = self.holds(run)
        run.checkpoint()
        if run.cut_off:
            return
        if run in self.late:
            end = self.late.pop(run)
            if held:
                end()
        elif held:
            truth.heard_at = timezone.now()
            assert (run.live.cancel_requested_at is not None) == truth.is_cancelling
            assert not run.live.fenced
        else:
            assert run.live.fenced, "who was overtaken is told"

    @precondition(lambda self: self.runs or self.late)
    @rule(which=ANY)
    def cut_off_or_reconnect(self, which: int) -> None:
        run = self.pick([*self.runs, *self.late], which)
        run.cut_off = not run.cut_off

    @precondition(lambda self: self.runs)
    @rule(which=ANY)
    def kill(self, which: int) -> None:
        """At once: it is never heard of again."""
        self.runs.remove(self.pick(self.runs, which))

    @precondition(lambda self: self.late)
    @rule(which=ANY)
    def kill_who_has_ended(self, which: int) -> None:
        self.late.pop(self.pick(self.late, which))

    def end(self, run: Run, say: Any, state: str, **facts: Any) -> None:
        """Let `run` end by `say`, which means `state` if the job is still its own."""
        self.runs.remove(run)
        truth = self.truth_of(run)
        # What it has heard until now decides.
        knows = run.live.cancel_requested_at is not None
        stays = {State.SUCCEEDED, State.FAILED}
        becomes = state if state in stays or not knows else State.CANCELLED
        if facts.get("waits_for_poll") and truth.is_cancelling and not run.cut_off:
            # A poll that ends looks once more.
            becomes = State.CANCELLED
        held = self.holds(run)
        say()

        def end() -> None:
            truth.move(becomes)
            truth.texts += run.texts
            if becomes == State.WAITING:
                for name, value in facts.items():
                    setattr(truth, name, value)
                if facts.get("waits_for_poll"):
                    truth.polls_remote = True

        if run.cut_off:
            self.late[run] = end
        elif held:
            end()

    @precondition(lambda self: self.runs)
    @rule(which=ANY)
    def succeed(self, which: int) -> None:
        run = self.pick(self.runs, which)
        self.end(run, lambda: run.succeed({"by": run.live.attempt}), State.SUCCEEDED)

    @precondition(lambda self: self.runs)
    @rule(which=ANY, error=st.sampled_from([ValueError("no"), DeadlinePassed(60.0)]))
    def fail(self, which: int, error: Exception) -> None:
        run = self.pick(self.runs, which)
        self.end(run, lambda: run.fail(error), State.FAILED)

    @precondition(lambda self: self.runs)
    @rule(which=ANY)
    def stop_if_asked(self, which: int) -> None:
        run = self.pick(self.runs, which)
        run.publish()
        stops = run.live.fenced or run.live.cancel_requested_at is not None
        assert run.shall_stop == stops
        if stops:
            self.end(run, lambda: run.leave(JobCancelled()), State.CANCELLED)

    @precondition(lambda self: self.runs and not self.stage.is_down)
    @rule(which=ANY, countdown=st.sampled_from([0, 30]))
    def retry_by_celery(self, which: int, countdown: float) -> None:
        run = self.pick(self.runs, which)
        self.end(run, lambda: run.retry(countdown), State.WAITING)

    @precondition(lambda self: self.runs and not self.stage.is_down)
    @rule(which=ANY)
    def replace(self, which: int) -> None:
        run = self.pick(self.runs, which)
        self.end(run, run.replace, State.WAITING)

    @precondition(lambda self: self.runs and not self.stage.is_down)
    @rule(which=ANY)
    def send_the_next_and_die(self, which: int) -> None:
        """Its message is out; of that nobody is told."""
        run = self.pick(self.runs, which)
        self.runs.remove(run)
        with run.inside():
            run.task.retry(countdown=0, throw=False)

    @precondition(lambda self: self.runs and not self.stage.is_down)
    @rule(which=ANY)
    def send_the_next_and_go_on(self, which: int) -> None:
        """Its message is out and may be executed before it has said so."""
        run = self.pick(self.runs, which)
        with run.inside():
            run.task.retry(countdown=0, throw=False)

    @precondition(lambda self: self.runs)
    @rule(which=ANY)
    def put_back(self, which: int) -> None:
        run = self.pick(self.runs, which)
        if run.live.cancel_requested_at is None:
            self.stage.messages.append(run.message)
            self.end(run, lambda: run.leave(Reject(requeue=True)), State.WAITING, waits_for_return=True)

    @precondition(lambda self: self.runs)
    @rule(which=ANY, after=st.sampled_from([0, 40]), calls_off=st.booleans())
    def poll(self, which: int, after: float, calls_off: bool) -> None:
        run = self.pick(self.runs, which)
        on_cancel = tasks.touch.si("/nowhere") if calls_off else None
        with run.inside():
            again = poll_again(run.task, after=after, on_cancel=on_cancel)
        assert isinstance(again, PollAgain)
        self.end(run, lambda: run.leave(again), State.WAITING, waits_for_poll=True)

    # -- beat

    @rule(seconds=st.sampled_from([2, 15, 30, 90]))
    def time_passes(self, seconds: float) -> None:
        self.stage.wait(seconds)

    @rule()
    def sweep(self) -> None:
        before = {id_: self.row(truth) for id_, truth in self.truths.items()}
        sweep.send_unsent()
        sweep.send_overdue()
        sweep.expire_leases()
        silent = timezone.now() - timedelta(seconds=LEASE_SECONDS)
        for truth in self.truths.values():
            if truth.state == State.RUNNING and truth.heard_at < silent:
                state = self.row(truth).state
                assert state in {State.WAITING, State.FAILED}, "who is silent is lost"
                if state == State.WAITING:
                    assert truth.repeatable or truth.polls_remote, "only what may is repeated"
                    truth.losses += 1
                truth.move(state)
                assert before[truth.id].attempt == truth.attempt

    @rule()
    def send_polls(self) -> None:
        remote.send_polls.run()

    @precondition(lambda self: any(t.state == State.RUNNING for t in self.truths.values()))
    @rule(which=ANY)
    def main_process_sees_it_die(self, which: int) -> None:
        """The pool's process is gone, and the worker knows at once."""
        truth = self.pick((t for t in self.truths.values() if t.state == State.RUNNING), which)
        if truth.holder in self.runs:
            self.runs.remove(truth.holder)
        self.late.pop(truth.holder, None)
        jobs.lose(self.row(truth), "It died")
        state = self.row(truth).state
        assert state in {State.WAITING, State.FAILED}
        truth.losses += state == State.WAITING
        truth.move(state)

    # -- the hub

    @precondition(lambda self: self.stage.events)
    @rule(which=ANY, again=st.booleans())
    def event(self, which: int, again: bool) -> None:
        event = self.pick(self.stage.events, which)
        if not again:
            self.stage.events.remove(event)
        self.offer(event)

    def offer(self, event: Any) -> None:
        entry = self.entries[event.job]
        before = entry.event
        entry.offer(event)
        assert entry.event.version >= before.version
        if entry.event.tries == before.tries:
            assert entry.event.polls >= before.polls

    @precondition(lambda self: self.stage.events)
    @rule()
    def drop_events(self) -> None:
        self.stage.events.clear()

    @rule()
    def repair(self) -> None:
        live = [id_ for id_, entry in self.entries.items() if not entry.is_over]
        for event in Job.objects.events(live):
            self.offer(event)

    # -- what holds

    @invariant()
    def the_row_says_what_is_true(self) -> None:
        for row in Job.objects.all():
            truth = self.truths[row.pk]
            assert (row.state, row.attempt) == (truth.state, truth.attempt), truth
            assert row.is_cancelling == (truth.is_cancelling and truth.state in LIVE)
            assert row.polls == truth.polls
            assert row.tries >= truth.tries
            truth.tries = row.tries
            assert (row.finished_at is not None) == (row.state in TERMINAL)
            assert truth.losses < 3
            if row.state == State.SUCCEEDED:
                assert row.result == {"by": row.attempt}
            self.lines_are_there(row, truth)

    def lines_are_there(self, row: Job, truth: Truth) -> None:
        lines = LogLine.objects.filter(job=row)
        places = list(lines.values_list("attempt", "number"))
        assert len(places) == len(set(places))
        missing = set(truth.texts) - set(lines.values_list("text", flat=True))
        assert not missing, "what was said by an attempt that counts is kept"

    def settle(self) -> None:
        """All comes to rest: nobody is cut off, what was sent arrives, the sweep goes its rounds."""
        self.stage.is_down = False
        for run in [*self.runs, *self.late]:
            run.cut_off = False
            self.write(run)
        for _round in range(40):
            for message in list(self.stage.messages):
                self.stage.messages.remove(message)
                self.receive(message)
                self.the_row_says_what_is_true()
            for run in list(self.runs):
                self.write(run)
                if run.shall_stop:
                    self.end(run, lambda run=run: run.leave(JobCancelled()), State.CANCELLED)
                else:
                    self.succeed(self.runs.index(run))
            self.stage.wait(70)
            self.sweep()
            self.send_polls()
            self.the_row_says_what_is_true()
            stuck = [t for t in self.truths.values() if t.state in LIVE]
            if not self.stage.messages and not stuck:
                break
            for truth in stuck:
                # Its only message was lost, and nobody else can know that: a person cancels it.
                if not self.stage.messages and (truth.state == State.QUEUED or truth.waits_for_return):
                    jobs.cancel(Job(pk=truth.id))
                    truth.move(State.CANCELLED)
        assert not self.stage.messages
        for row in Job.objects.all():
            assert row.state in TERMINAL, "all comes to an end"
            assert not (row.state == State.CANCELLED and row.on_cancel), "nothing is owed"
            entry = self.entries[row.pk]
            events = [event for event in self.stage.events if event.job == row.pk]
            for event in [*events[1::2], row.event(), *events[::2]]:
                self.offer(event)
            held = row.event()
            shown = ("attempt", "state", "failure", "polls", "worker", "line_count", "cancel_requested_at")
            assert [getattr(entry.event, n) for n in shown] == [getattr(held, n) for n in shown]
            assert entry.is_over


def test_whatever_happens_the_row_ends_as_it_truly_was(settings):
    settings.STATUS = {"LEASE_SECONDS": LEASE_SECONDS}
    run_state_machine_as_test(
        Lifecycle,
        settings=hypothesis_settings(
            max_examples=60 * LENGTH,
            stateful_step_count=40,
            deadline=None,
            derandomize=LENGTH == 1,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
