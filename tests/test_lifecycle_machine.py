"""Random orders of messages, reports, losses and people's wishes against the real lifecycle.

The machine plays the broker (a bag of messages: late, twice, lost), workers (any number at once, killed midway, cut off
from the database and back), the sweep, people, and a hub that gets its events in any order, twice or never. Beside
it stands what truly happened: which execution holds a job, what it did and what people asked for. After every move
the row must say just that.
"""

import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from celery import shared_task
from celery.exceptions import Reject
from django.utils import timezone
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

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
PHASES = [Phase.generate] if os.environ.get("LIFECYCLE_RAW") else [Phase.generate, Phase.shrink]
LEASE_SECONDS = 20
ANY = st.integers(0, 10**6)
SELDOM = st.sampled_from([False, False, False, False, True])


@shared_task(bind=True, max_retries=1000, name="tests.played")
def played(self, number):
    """What it does is played by the machine."""


def poll(run: Run, after: float = 0, *, calls_off: bool = False) -> None:
    """End with the wish to be executed once more."""
    with run.inside():
        again = poll_again(run.task, after=after, on_cancel=tasks.touch.si("x") if calls_off else None)
    assert isinstance(again, PollAgain)
    run.leave(again)


# How an execution ends, and what the job is then, if nobody wanted it to be cancelled.
WAYS = {
    "succeed": (State.SUCCEEDED, lambda run: run.succeed({"by": run.live.attempt})),
    "fail": (State.FAILED, lambda run: run.fail(ValueError("no"))),
    "pass the deadline": (State.FAILED, lambda run: run.fail(DeadlinePassed(60.0))),
    "heed": (State.CANCELLED, lambda run: run.leave(JobCancelled())),
    "retry": (State.WAITING, lambda run: run.retry(countdown=0)),
    "retry later": (State.WAITING, lambda run: run.retry(countdown=30)),
    "replace": (State.WAITING, lambda run: run.replace()),
    "put back": (State.WAITING, lambda run: run.leave(Reject(requeue=True))),
    "poll": (State.WAITING, poll),
    "poll with a cancel": (State.WAITING, partial(poll, calls_off=True)),
    "poll later": (State.WAITING, partial(poll, after=40)),
}
LOOKING = ("poll", "retry")
"""Who ends so looks once more whether somebody has cancelled what waits now."""


@dataclass(eq=False)
class Truth:
    """What is true of one job."""

    id: UUID
    repeatable: bool
    state: str = State.QUEUED
    attempt: int = 1
    holder: Run | None = None
    """The execution of this attempt; it alone may end it."""
    lost: Run | None = None
    """The one that held it and was declared lost, while nobody has begun the next attempt."""
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
        self.lost = None
        if state != State.RUNNING:
            self.holder = None
        if state in TERMINAL:
            assert self.attempt not in self.ended
            self.ended.add(self.attempt)

    def takes(self, message: Message) -> str | None:
        """What becomes of the job when `message` arrives; None: nothing."""
        attempt, is_next = message.attempt, message.attempt == self.attempt + 1
        if self.state == State.QUEUED:
            # A poll goes on with what a retry by hand has begun anew.
            fits = attempt == self.attempt and not message.is_poll
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
        self.suspects: list[Job] = []
        """Rows as somebody has read them who may say later that their worker is lost."""

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

    def row(self, truth: Truth) -> Job:
        return Job.objects.get(pk=truth.id)

    # -- people

    @initialize(repeatable=st.booleans(), expires=st.sampled_from([None, None, 100]), down=SELDOM)
    def start(self, repeatable: bool, expires: float | None, down: bool) -> None:
        self.stage.is_down = down
        signature = played.s(len(self.truths)).set(expires=expires)
        job = jobs.start(signature, repeatable=repeatable)
        self.truths[job.pk] = Truth(job.pk, repeatable)
        self.entries[job.pk] = Entry(Subject.job(job.pk), tail_stale=False)
        self.entries[job.pk].offer(self.row(self.truths[job.pk]).event())

    @rule(which=ANY, another=SELDOM, down=SELDOM)
    def ask(self, which: int, another: bool, down: bool) -> None:
        """A person cancels what has not ended and retries what has."""
        self.stage.is_down = down
        if another and len(self.truths) < 2:
            return self.start(repeatable=bool(which % 2), expires=None, down=down)
        truth = self.pick(self.truths.values(), which)
        if truth.state in TERMINAL:
            jobs.retry(Job(pk=truth.id))
            if truth.state != State.SUCCEEDED:
                truth.move(State.QUEUED, attempt=truth.attempt + 1)
                truth.is_cancelling = truth.polls_remote = False
            return None
        jobs.cancel(Job(pk=truth.id))
        if truth.state == State.RUNNING:
            truth.is_cancelling = True
        else:
            truth.move(State.CANCELLED)
        return None

    # -- the broker

    @precondition(lambda self: self.stage.messages)
    @rule(which=ANY, again=st.booleans(), is_lost=SELDOM)
    def deliver(self, which: int, again: bool, is_lost: bool) -> None:
        message = self.pick(self.stage.messages, which)
        if is_lost or not again:
            self.stage.messages.remove(message)
        if not is_lost:
            self.receive(message)

    def receive(self, message: Message) -> None:
        if message.calls_off:
            self.stage.deliver(message)
            return
        truth = self.truths[message.job]
        becomes = truth.takes(message)
        attempt = truth.attempt if truth.state == State.QUEUED else truth.attempt + 1
        run = self.stage.deliver(message)
        assert (run is not None) == (becomes == State.RUNNING), (truth, message.attempt)
        if becomes in TERMINAL:
            truth.move(becomes)
        if run is None:
            return
        assert run.live.attempt == attempt
        assert attempt not in truth.begun, "an attempt begins once"
        truth.begun.add(attempt)
        truth.polls += truth.waits_for_poll
        truth.move(State.RUNNING, attempt=attempt)
        truth.holder, truth.heard_at, truth.is_cancelling = run, timezone.now(), False
        self.runs.append(run)

    # -- workers

    @precondition(lambda self: self.runs or self.late)
    @rule(which=ANY, how=st.sampled_from(["report", "write", "write", "lose or find the database"]))
    def go_on(self, which: int, how: str) -> None:
        run = self.pick([*self.runs, *self.late], which)
        if how == "write":
            self.write(run)
        elif how == "report" and run in self.runs:
            for _line in range(which % 4):
                self.number += 1
                run.say(f"line {self.number}")
            run.publish()
        else:
            run.cut_off = not run.cut_off

    def write(self, run: Run) -> None:
        """Its reporter does what it does once a second."""
        truth = self.truth_of(run)
        run.checkpoint()
        if run.cut_off:
            return
        if run in self.late:
            self.late.pop(run)()
        elif truth.holder is run:
            truth.heard_at = timezone.now()
            assert (run.live.cancel_requested_at is not None) == truth.is_cancelling
            assert not run.live.fenced
        else:
            assert run.live.fenced, "who was overtaken is told"

    @precondition(lambda self: self.runs)
    @rule(which=ANY, how=st.sampled_from(["send the next", "send the next", "die", "send the next and die"]))
    def lapse(self, which: int, how: str) -> None:
        """What nobody is told of: a death, or a message of the next attempt that is out before its end is said."""
        run = self.pick(self.runs, which)
        if how.endswith("die"):
            self.runs.remove(run)
        if how != "die":
            self.stage.is_down = False
            with run.inside():
                run.task.retry(countdown=0, throw=False)

    @precondition(lambda self: self.runs)
    @rule(which=ANY, how=st.sampled_from(sorted(WAYS)))
    def end(self, which: int, how: str) -> None:
        run = self.pick(self.runs, which)
        if how == "heed":
            run.publish()
            is_asked = run.live.fenced or run.live.cancel_requested_at is not None
            assert run.shall_stop == is_asked
            if not is_asked:
                return
        if how == "put back":
            if run.live.cancel_requested_at is not None:
                return
            self.stage.messages.append(run.message)
        self.stage.is_down = False
        self.end_by(run, how)

    def end_by(self, run: Run, how: str) -> None:
        """Let `run` end in this way, which holds if the job is still its own."""
        self.runs.remove(run)
        truth = self.truth_of(run)
        state, say = WAYS[how]
        # What it has heard until now decides; only who makes the job wait for another execution looks once more.
        is_told = run.live.cancel_requested_at is not None
        looks = how.startswith(LOOKING) and truth.is_cancelling and not run.cut_off
        if state == State.WAITING and (is_told or looks):
            state = State.CANCELLED
        is_fenced = run.live.fenced
        # It looks whether somebody wants to cancel what is waiting now, whoever made it wait.
        if truth.lost is run and looks:
            is_told, state = True, State.CANCELLED
        say(run)

        def end() -> None:
            # Who was declared lost may still say how it truly ended, until the repetition begins.
            counts = truth.holder is run
            if truth.lost is run:
                counts = state == State.SUCCEEDED or (state in TERMINAL and (is_told or not is_fenced))
            if not counts:
                return
            truth.move(state)
            truth.texts += run.texts
            truth.waits_for_return = how == "put back" and state == State.WAITING
            truth.waits_for_poll = how.startswith("poll") and state == State.WAITING
            truth.polls_remote |= truth.waits_for_poll
            self.lines_are_there(truth)

        if run.cut_off:
            self.late[run] = end
        else:
            end()

    # -- beat

    @rule(seconds=st.sampled_from([2, 15, 25, 25, 90]), down=SELDOM)
    def time_passes(self, seconds: float, down: bool) -> None:
        self.stage.wait(seconds)
        self.stage.is_down = down
        self.sweep()

    def sweep(self) -> None:
        remote.send_polls.run()
        sweep.send_unsent()
        sweep.send_overdue()
        sweep.expire_leases()
        silent = timezone.now() - timedelta(seconds=LEASE_SECONDS)
        for truth in self.truths.values():
            if truth.state == State.RUNNING and truth.heard_at < silent:
                self.is_lost(truth)

    def is_lost(self, truth: Truth) -> None:
        state = self.row(truth).state
        assert state in {State.WAITING, State.FAILED, State.CANCELLED}, "who is silent is lost"
        assert (state == State.CANCELLED) == truth.is_cancelling, "who was asked to end has ended"
        if state == State.WAITING:
            assert truth.repeatable or truth.polls_remote, "only what may is repeated"
            truth.losses += 1
        holder = truth.holder
        truth.move(state)
        truth.lost = holder if state == State.WAITING else None

    @precondition(lambda self: self.suspects or any(t.state == State.RUNNING for t in self.truths.values()))
    @rule(which=ANY, down=SELDOM)
    def suspect(self, which: int, down: bool) -> None:
        """Somebody reads that a job runs and says later that its worker is lost, be it true or not."""
        running = [t for t in self.truths.values() if t.state == State.RUNNING]
        if running and (which % 2 or not self.suspects):
            self.suspects.append(self.row(self.pick(running, which)))
            return
        self.stage.is_down = down
        row = self.pick(self.suspects, which)
        self.suspects.remove(row)
        truth = self.truths[row.pk]
        is_lost = truth.state == State.RUNNING and truth.attempt == row.attempt
        assert jobs.lose(row, "It died") == is_lost
        if is_lost:
            self.is_lost(truth)

    # -- the hub

    @rule(random=st.randoms(use_true_random=False), repairs=st.booleans())
    def look(self, random: Any, repairs: bool) -> None:
        """Some events come, in any order; some of them will come again, and some never."""
        if repairs:
            live = [id_ for id_, entry in self.entries.items() if not entry.is_over]
            self.stage.events += Job.objects.events(live)
        events = self.stage.events
        random.shuffle(events)
        for event in events[: random.randint(0, len(events))]:
            self.offer(event)
        del events[: random.randint(0, len(events))]

    def offer(self, event: Any) -> None:
        entry = self.entries[event.job]
        before = entry.event
        entry.offer(event)
        assert entry.event.version >= before.version
        assert entry.event.polls >= before.polls

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

    def lines_are_there(self, truth: Truth) -> None:
        lines = LogLine.objects.filter(job=truth.id)
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
                self.end_by(run, "heed" if run.shall_stop else "succeed")
            self.stage.wait(70)
            self.sweep()
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
            self.lines_are_there(self.truths[row.pk])
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


@pytest.mark.timeout(600)
def test_whatever_happens_the_row_ends_as_it_truly_was(settings):
    settings.STATUS = {"LEASE_SECONDS": LEASE_SECONDS}
    run_state_machine_as_test(
        Lifecycle,
        settings=hypothesis_settings(
            max_examples=60 * LENGTH,
            stateful_step_count=40,
            deadline=None,
            derandomize=False,
            database=None,
            # To explain it traces every line; too slow for this.
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )
