"""What the rows of a workflow do, without workers: the test says which member ends, and which process dies."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from uuid import UUID, uuid4

import pytest
from celery import chain, group
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from status import canvas, jobs, outbox, reporter, workflow
from status.canvas import Tree, member
from status.models import Job
from status.sources import sweep
from status.states import LIVE, TERMINAL, Canvas, Failure, State
from tests.stage import Still
from tests.tasks import chatter, plus, total

pytestmark = pytest.mark.django_db

LONG_AGO = timedelta(minutes=5)
END = {"ok": State.SUCCEEDED, "fail": State.FAILED, "cancel": State.CANCELLED}


class Died(BaseException):
    """The process ended here."""


class Broker:
    """Takes messages; what it has taken is `sent`."""

    def __init__(self) -> None:
        self.sent: list[tuple[UUID, list[object]]] = []
        self.is_down = False

    def take(self, signature, **options) -> None:
        if self.is_down:
            raise ConnectionError("the broker is down")
        self.sent.append((UUID(options["task_id"]), list(signature.args)))

    def count(self, job: Job) -> int:
        return [pk for pk, _args in self.sent].count(job.pk)


@pytest.fixture
def broker(monkeypatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr("celery.canvas.Signature.apply_async", lambda self, **kw: broker.take(self, **kw))
    return broker


@pytest.fixture(autouse=True)
def still(monkeypatch) -> Still:
    """The reporter of this process, without its thread."""
    still = Still()
    monkeypatch.setattr(reporter, "_reporter", still)
    return still


@pytest.fixture
def run(broker, django_capture_on_commit_callbacks):
    """Start a canvas as long ago as the sweep needs to look after it."""

    def run(signature) -> Job:
        with django_capture_on_commit_callbacks(execute=True):
            job = jobs.start(signature)
        Job.objects.filter(root=job).update(created_at=timezone.now() - LONG_AGO)
        return fresh(job)

    return run


@pytest.fixture
def retry(django_capture_on_commit_callbacks):
    def retry(job: Job) -> Job:
        with django_capture_on_commit_callbacks(execute=True):
            return jobs.retry(job)

    return retry


def fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def inside(job: Job, *path: int) -> Job:
    """The member at that place."""
    for position in path:
        job = Job.objects.get(parent=job, position=position)
    return job


def states(job: Job) -> list[object]:
    """Of the members in order, those of canvases in lists."""
    return [states(row) if row.canvas else str(row.state) for row in job.members.order_by("position")]


def canvases(job: Job) -> list[str]:
    """The states of the canvases in a whole, outermost first, then the whole's."""
    found = Job.objects.filter(root=job).exclude(canvas="").order_by("weight").values_list("state", flat=True)
    return [*map(str, reversed(found)), str(fresh(job).state)]


def finish(job: Job, outcome: str = "ok", output: object = None, error: str = "") -> None:
    """The row of a task that has ended; nobody has been told."""
    job = fresh(job)
    Job.objects.advance(job.pk, State.RUNNING, attempt=job.attempt, seq=1)
    columns = {"output": [output], "result": output} if outcome == "ok" else {"error": error}
    if outcome == "fail":
        columns["failure"] = Failure.ERROR
    assert Job.objects.advance(job.pk, END[outcome], attempt=job.attempt, **columns)


def settle(parents: set[UUID]) -> None:
    """Compute these, and what that changes."""
    while parents:
        parents = {other for parent in parents for other in workflow.refresh(parent)}


def end(job: Job, outcome: str = "ok", output: object = None, error: str = "") -> None:
    """A task has ended, and everybody knows."""
    finish(job, outcome, output, error)
    settle(workflow.ended(job.parent_id))


def drain(still: Still) -> None:
    """What the reporter's thread would compute."""
    while still._moved:
        moved, still._moved = still._moved, {}
        settle(set(moved))


# -- figures -----------------------------------------------------------------------------------------------


def test_progress_is_that_of_the_members_by_weight(run):
    job = run(group(member(plus.s(1, 1), weight=6), plus.s(1, 1), member(plus.s(1, 1), weight=3)))
    Job.objects.filter(pk=inside(job, 0).pk).update(state=State.RUNNING, progress=0.5)
    end(inside(job, 1))
    job = fresh(job)
    assert (job.state, job.progress) == (State.RUNNING, pytest.approx((3 + 1) / 10))
    assert job.tally == {"succeeded": 1, "running": 1, "queued": 1}


def test_progress_goes_through_all_levels(run):
    job = run(chain(plus.s(1, 1), group(plus.s(1), chain(plus.s(2), plus.s(3)))))
    end(inside(job, 0))
    end(inside(job, 1, 1, 0))
    assert fresh(inside(job, 1, 1)).progress == pytest.approx(1 / 2)
    assert fresh(inside(job, 1)).progress == pytest.approx(1 / 3)
    assert fresh(job).progress == pytest.approx(2 / 4)


def test_computing_twice_changes_nothing_and_tells_nobody(run):
    job = run(group(plus.s(1, 1), plus.s(1, 1)))
    end(inside(job, 0), output=1)
    before = Job.objects.filter(pk=job.pk).values("state", "progress", "tally", "attempt").get()
    for _ in range(3):
        assert workflow.refresh(job.pk) == set()
        assert workflow.ended(job.pk) == {job.pk}
    assert Job.objects.filter(pk=job.pk).values("state", "progress", "tally", "attempt").get() == before


def test_a_member_whose_end_is_told_twice_counts_once(run, broker):
    job = run(chain(group(plus.s(1, 1), plus.s(1, 1)), total.s()))
    finish(inside(job, 0, 0), output=1)
    for _ in range(4):
        settle(workflow.ended(inside(job, 0).pk))
    assert fresh(inside(job, 0)).tally == {"succeeded": 1, "queued": 1}
    assert not broker.count(inside(job, 1))
    finish(inside(job, 0, 1), output=2)
    for _ in range(4):
        settle(workflow.ended(inside(job, 0).pk))
        settle(workflow.ended(job.pk))
    assert broker.count(inside(job, 1)) == 1
    assert broker.sent[-1] == (inside(job, 1).pk, [[1, 2]])


def test_the_end_of_the_last_member_waits_for_nobody(run, broker):
    job = run(chain(group(plus.s(1, 1), group(plus.s(1, 1), plus.s(1, 1))), total.s()))
    for path in ((0, 0), (0, 1, 0), (0, 1, 1)):
        finish(inside(job, *path), output=1)
        moved = workflow.ended(inside(job, *path[:-1]).pk)
    # All is computed but the figures of the outermost, which goes on.
    assert (moved, broker.sent[-1]) == ({job.pk}, (inside(job, 1).pk, [[1, [1, 1]]]))


def test_a_late_report_changes_nothing_in_a_whole_that_has_ended(run):
    job = run(group(plus.s(1, 1)))
    end(inside(job, 0))
    ended = fresh(job)
    assert ended.state == State.SUCCEEDED
    workflow.refresh(job.pk)
    workflow.ended(job.pk)
    assert workflow.refresh_in_turn(job.pk, timezone.now())[1] == set()
    job = fresh(job)
    assert (job.state, job.finished_at, job.progress) == (State.SUCCEEDED, ended.finished_at, 1.0)


def test_members_that_weigh_nothing_make_no_progress_and_no_error(run):
    job = run(group(member(plus.s(1, 1), weight=0), member(plus.s(1, 1), weight=0)))
    end(inside(job, 0))
    assert fresh(job).progress is None
    end(inside(job, 1))
    assert fresh(job).state == State.SUCCEEDED


def test_nothing_is_left_to_compute_of_what_is_gone(run):
    assert workflow.refresh(uuid4()) == set()
    assert workflow.ended(uuid4()) == set()
    assert workflow.refresh_in_turn(uuid4(), timezone.now()) == (0.0, set())


def test_a_task_that_has_members_is_told_and_not_computed(run):
    job = run(plus.s(1, 1))
    assert workflow.ended(job.pk) == {job.pk}
    assert workflow.refresh(job.pk) == set()
    assert workflow.refresh_in_turn(job.pk, timezone.now()) == (0.0, set())
    assert fresh(job).state == State.QUEUED


def test_what_may_fail_counts_as_done(run, broker):
    job = run(chain(group(member(plus.s(1, 1), may_fail=True), plus.s(1, 1)), total.s()))
    end(inside(job, 0, 0), "fail")
    assert fresh(inside(job, 0)).progress == pytest.approx(1 / 2)
    end(inside(job, 0, 1), output=3)
    assert fresh(inside(job, 0)).state == State.SUCCEEDED
    assert broker.sent[-1] == (inside(job, 1).pk, [[None, 3]])


def test_a_link_that_may_fail_gives_nothing_to_the_next(run, broker):
    job = run(chain(member(plus.s(1, 1), may_fail=True), plus.s(1)))
    end(inside(job, 0), "fail")
    assert broker.sent[-1] == (inside(job, 1).pk, [None, 1])
    end(inside(job, 1))
    assert fresh(job).state == State.SUCCEEDED


def test_one_failure_is_told_in_its_own_words(run):
    job = run(group(member(plus.s(1, 1), title="Photo"), plus.s(1, 1)))
    end(inside(job, 0), "fail", error="no picture")
    assert fresh(job).state == State.RUNNING
    end(inside(job, 1))
    job = fresh(job)
    assert (job.state, job.failure, job.error) == (State.FAILED, Failure.ERROR, "Photo: no picture")


def test_many_failures_are_counted_and_the_first_is_told(run):
    parts = [member(plus.s(1, 1), title=f"Photo {n}", may_fail=n == 0) for n in range(4)]
    job = run(group(parts))
    for place in (3, 2, 0):
        end(inside(job, place), "fail", error=f"error {place}")
    end(inside(job, 1))
    assert fresh(job).error == "2 of 4 failed.\nPhoto 2: error 2"


def test_a_failure_wins_over_a_cancelled_member(run):
    job = run(group(plus.s(1, 1), plus.s(1, 1)))
    end(inside(job, 0), "cancel")
    end(inside(job, 1), "fail")
    assert fresh(job).state == State.FAILED


# -- what follows ------------------------------------------------------------------------------------------


def test_a_link_begins_when_the_one_before_it_has_succeeded(run, broker):
    job = run(chain(plus.s(1, 1), plus.s(2), plus.s(3)))
    assert [pk for pk, _args in broker.sent] == [inside(job, 0).pk]
    workflow.go_on(fresh(job))
    assert len(broker.sent) == 1
    end(inside(job, 0), output=2)
    assert broker.sent[1:] == [(inside(job, 1).pk, [2, 2])]
    end(inside(job, 1), output=4)
    end(inside(job, 2), output=7)
    job = fresh(job)
    assert (job.state, job.result) == (State.SUCCEEDED, 7)


def test_a_canvas_as_a_link_begins_with_what_came_before_it(run, broker):
    job = run(chain(plus.s(1, 1), group(plus.s(2), chain(plus.s(3), plus.s(4)), plus.si(5, 5))))
    end(inside(job, 0), output=2)
    assert dict(broker.sent[1:]) == {
        inside(job, 1, 0).pk: [2, 2],
        inside(job, 1, 1, 0).pk: [2, 3],
        inside(job, 1, 2).pk: [5, 5],
    }
    assert not Job.objects.filter(root=job, held=True).exclude(pk=inside(job, 1, 1, 1).pk).exists()


def test_after_a_failure_the_rest_is_not_run_at_any_depth(run, broker):
    job = run(chain(plus.s(1, 1), plus.s(2), group(plus.s(3), chain(plus.s(4), plus.s(5)))))
    end(inside(job, 0), "fail", error="no")
    job = fresh(job)
    assert states(job) == ["failed", "cancelled", ["cancelled", ["cancelled", "cancelled"]]]
    assert (job.state, job.error) == (State.FAILED, "Plus: no")
    skipped = Job.objects.filter(root=job).exclude(pk=inside(job, 0).pk)
    assert all(row.was_skipped and row.error.startswith("Not run") and row.finished_at for row in skipped)
    assert len(broker.sent) == 1


def test_after_a_cancelled_link_the_rest_is_not_run(run, broker):
    job = run(chain(plus.s(1, 1), plus.s(2)))
    end(inside(job, 0), "cancel")
    assert (fresh(job).state, inside(job, 1).was_skipped, len(broker.sent)) == (State.CANCELLED, True, 1)


def test_who_cancels_a_member_before_its_turn_does_not_stop_what_comes_before_it(run, broker, still):
    job = run(chain(plus.s(1, 1), group(plus.s(2), plus.s(3))))
    jobs.cancel(inside(job, 1, 0))
    drain(still)
    # It has not begun, whatever happened to its members.
    assert inside(job, 1).state == State.QUEUED
    end(inside(job, 0), output=2)
    assert broker.sent[1:] == [(inside(job, 1, 1).pk, [2, 3])]
    end(inside(job, 1, 1))
    assert fresh(job).state == State.CANCELLED


def test_a_group_whose_members_were_all_cancelled_before_its_turn_is_not_run(run, broker, still):
    job = run(chain(plus.s(1, 1), group(plus.s(2), plus.s(3)), plus.s(4)))
    jobs.cancel(inside(job, 1))
    drain(still)
    assert inside(job, 1).state == State.CANCELLED
    end(inside(job, 0))
    assert states(job) == ["succeeded", ["cancelled", "cancelled"], "cancelled"]
    assert (fresh(job).state, len(broker.sent)) == (State.CANCELLED, 1)


def test_cancelling_the_whole_asks_what_runs_and_ends_the_rest(run, still):
    job = run(chain(group(plus.s(1, 1), plus.s(1, 1)), group(plus.s(2), chain(plus.s(3), plus.s(4)))))
    Job.objects.advance(inside(job, 0, 0).pk, State.RUNNING, attempt=1, seq=1)
    jobs.cancel(job)
    drain(still)
    assert states(job) == [["running", "cancelled"], ["cancelled", ["cancelled", "cancelled"]]]
    assert inside(job, 0, 0).is_cancelling
    assert fresh(job).is_cancelling
    end(inside(job, 0, 0), "cancel")
    assert canvases(job) == ["cancelled"] * 4


def test_a_member_that_begins_to_wait_while_it_is_cancelled_is_not_missed(run):
    job = run(group(plus.s(1, 1)))
    row = inside(job, 0)
    Job.objects.advance(row.pk, State.RUNNING, attempt=1, seq=1)
    updates = []

    def retried_meanwhile(execute, sql, *args):
        answer = execute(sql, *args)
        if sql.startswith("UPDATE") and not updates:
            updates.append(sql)
            Job.objects.advance(row.pk, State.WAITING, attempt=1, next_at=timezone.now())
        return answer

    with connection.execute_wrapper(retried_meanwhile):
        job.members.cancel()
    row = fresh(row)
    assert row.state == State.WAITING
    assert row.is_cancelling


# -- again -------------------------------------------------------------------------------------------------


def test_of_a_whole_only_what_did_not_succeed_runs_again(run, broker, retry):
    job = run(chain(group(plus.s(1, 1), plus.s(1, 1)), total.s()))
    end(inside(job, 0, 0), output=1)
    end(inside(job, 0, 1), "fail")
    assert canvases(job) == ["failed", "failed"]
    broker.sent.clear()
    retry(job)
    assert states(job) == [["succeeded", "queued"], "queued"]
    assert broker.sent == [(inside(job, 0, 1).pk, [1, 1])]
    assert (fresh(job).attempt, fresh(job).error, inside(job, 1).held) == (2, "", True)
    end(inside(job, 0, 1), output=2)
    assert broker.sent[1:] == [(inside(job, 1).pk, [[1, 2]])]
    end(inside(job, 1), output=3)
    assert (fresh(job).state, fresh(job).result) == (State.SUCCEEDED, 3)


def test_a_member_takes_what_it_is_in_along(run, broker, retry):
    job = run(chain(plus.s(1, 1), group(plus.s(2), chain(plus.s(3), plus.s(4))), total.s()))
    end(inside(job, 0), output=2)
    end(inside(job, 1, 0), output=4)
    end(inside(job, 1, 1, 0), "fail")
    assert canvases(job) == ["failed"] * 3
    broker.sent.clear()
    retry(inside(job, 1, 1, 0))
    assert states(job) == ["succeeded", ["succeeded", ["queued", "queued"]], "queued"]
    # With what it was given the first time.
    assert broker.sent == [(inside(job, 1, 1, 0).pk, [2, 3])]
    assert canvases(job) == ["running", "queued", "running"]
    end(inside(job, 1, 1, 0), output=5)
    end(inside(job, 1, 1, 1), output=9)
    assert broker.sent[-1] == (inside(job, 2).pk, [[4, 9]])
    end(inside(job, 2), output=13)
    assert fresh(job).result == 13


def test_retrying_a_member_of_what_has_succeeded_leaves_that_alone(run, broker, retry):
    job = run(group(member(plus.s(1, 1), may_fail=True), plus.s(1, 1)))
    end(inside(job, 0), "fail")
    end(inside(job, 1))
    retry(inside(job, 0))
    job = fresh(job)
    assert (job.state, job.attempt, job.tally) == (State.SUCCEEDED, 1, {"queued": 1, "succeeded": 1})
    end(inside(job, 0))
    assert fresh(job).tally == {"succeeded": 2}


def test_who_retries_what_was_not_run_has_what_failed_before_it_run_again(run, broker, retry):
    job = run(chain(plus.s(1, 1), group(plus.s(2), plus.s(3)), total.s()))
    end(inside(job, 0), "fail")
    broker.sent.clear()
    retry(inside(job, 1, 1))
    assert [pk for pk, _args in broker.sent] == [inside(job, 0).pk]
    end(inside(job, 0), output=2)
    assert (inside(job, 1, 1).pk, [2, 3]) in broker.sent


def test_who_retries_a_member_before_its_turn_has_it_wait_for_that(run, broker, retry, still):
    job = run(chain(plus.s(1, 1), plus.s(2), group(plus.s(3), plus.s(4))))
    for path in ((1,), (2, 1)):
        jobs.cancel(inside(job, *path))
        drain(still)
        retry(inside(job, *path))
    assert states(job) == ["queued", "queued", ["queued", "queued"]]
    assert len(broker.sent) == 1
    end(inside(job, 0), output=2)
    end(inside(job, 1), output=4)
    assert [args for _pk, args in broker.sent[1:]] == [[2, 2], [4, 3], [4, 4]]


def test_who_retries_a_member_whose_turn_came_while_it_was_cancelled_has_it_run_with_the_same(
    run, broker, retry, still
):
    job = run(chain(plus.s(1, 1), group(plus.s(2), plus.s(3))))
    jobs.cancel(inside(job, 1, 0))
    drain(still)
    end(inside(job, 0), output=2)
    broker.sent.clear()
    retry(inside(job, 1, 0))
    assert broker.sent == [(inside(job, 1, 0).pk, [2, 2])]


# -- at most twice a second --------------------------------------------------------------------------------


def computed(job: Job) -> int:
    """How often its figures were computed: each time its row gets the next number."""
    return fresh(job).seq


def quiet(job: Job, seconds: float = 60) -> None:
    Job.objects.filter(pk=job.pk).update(refreshed_at=timezone.now() - timedelta(seconds=seconds))


def test_of_many_calls_in_half_a_second_one_computes(run):
    job = run(group(plus.s(1, 1) for _ in range(3)))
    Job.objects.filter(pk=inside(job, 0).pk).update(state=State.RUNNING)
    quiet(job)
    before, begun, pauses = computed(job), timezone.now(), []
    while timezone.now() - begun < timedelta(seconds=workflow.REFRESH_SECONDS / 2):
        pauses.append(workflow.refresh_in_turn(job.pk, timezone.now())[0])
    assert computed(job) == before + 1
    assert len(pauses) > 2
    # The first has computed it; the others shall come again in time.
    assert pauses[0] == 0.0
    assert all(0 < pause <= workflow.REFRESH_SECONDS for pause in pauses[1:])
    quiet(job, workflow.REFRESH_SECONDS)
    assert workflow.refresh_in_turn(job.pk, timezone.now())[0] == 0.0
    assert computed(job) == before + 2


def test_who_has_seen_nothing_since_has_nothing_to_do(run):
    job = run(group(plus.s(1, 1), plus.s(1, 1)))
    seen = timezone.now()
    workflow.refresh(job.pk)
    before = computed(job)
    assert workflow.refresh_in_turn(job.pk, seen) == (0.0, set())
    assert computed(job) == before


@pytest.mark.parametrize("is_begun", [True, False])
def test_what_moves_while_it_is_computed_is_computed_again(run, is_begun):
    job = run(group(plus.s(1, 1), plus.s(1, 1)))
    Job.objects.filter(pk=inside(job, 0).pk).update(state=State.RUNNING if is_begun else State.QUEUED)
    moved = []

    def note(execute, sql, *args):
        answer = execute(sql, *args)
        if "COUNT(" in sql:
            moved.append(timezone.now())
        return answer

    with connection.execute_wrapper(note):
        workflow.refresh(job.pk)
    assert workflow.refresh_in_turn(job.pk, moved[0])[0] > 0


@pytest.mark.django_db(transaction=True)
def test_of_many_processes_one_computes(run):
    job = run(group(plus.s(1, 1) for _ in range(3)))
    quiet(job)
    before, ready, answers = computed(job), threading.Barrier(4), []

    def call() -> None:
        try:
            seen = timezone.now()
            ready.wait()
            for _ in range(5):
                answers.append(workflow.refresh_in_turn(job.pk, seen))
        finally:
            connection.close()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert computed(job) == before + 1


# -- processes that die ------------------------------------------------------------------------------------


class Death:
    """Ends the process before its next write but `after`, or before or after a message goes out."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.has_come = False

    def step(self) -> None:
        if not self.has_come:
            self.left -= 1
            if self.left < 0:
                self.has_come = True
                raise Died

    def execute(self, execute, sql, *args):
        if sql.startswith(("UPDATE", "INSERT", "DELETE")):
            self.step()
        return execute(sql, *args)


def take_up() -> None:
    """What the sweep does, as if nothing had moved for long."""
    for _ in range(2):
        sweep.cancel_again(timezone.now())
        workflow.heal(timezone.now(), 100)
        sweep.send_unsent()


def unfinished(job: Job, broker: Broker) -> list[Job]:
    """The members whose message is out, in a fixed order."""
    sent = {pk for pk, _args in broker.sent}
    rows = Job.objects.live().filter(root=job, canvas="", pk__in=sent, held=False)
    return list(rows.order_by("parent__weight", "parent__position", "position", "pk"))


def play(job: Job, broker: Broker, death: Death, monkeypatch, outcomes: dict[str, str], begin=None) -> None:
    """Let everything happen that happens in turn, in a process that dies once; the sweep comes after that."""
    take = broker.take

    def dangerous(signature, **options):
        death.step()
        take(signature, **options)
        death.step()

    def survive(act) -> None:
        with monkeypatch.context() as patch, connection.execute_wrapper(death.execute):
            patch.setattr(broker, "take", dangerous)
            try:
                act()
            except Died:
                patch.undo()
                take_up()

    if begin is not None:
        survive(begin)
    for _ in range(50):
        due = unfinished(job, broker)
        if not due:
            break
        row = due[0]
        finish(row, outcomes.get(row.title, "ok"), output=row.title)
        survive(lambda row=row: settle(workflow.ended(row.parent_id)))


def story():
    a, b, c, d, e = (member(plus.si(1, 1), title=name) for name in "abcde")
    return chain(a, group(b, chain(c, d)), e)


@pytest.mark.parametrize(
    ("outcomes", "expected", "whole"),
    [
        ({}, ["succeeded", ["succeeded", ["succeeded"] * 2], "succeeded"], "succeeded"),
        (
            {"a": "fail"},
            ["failed", ["cancelled", ["cancelled"] * 2], "cancelled"],
            "failed",
        ),
        (
            {"c": "fail"},
            ["succeeded", ["succeeded", ["failed", "cancelled"]], "cancelled"],
            "failed",
        ),
        (
            {"d": "cancel"},
            ["succeeded", ["succeeded", ["succeeded", "cancelled"]], "cancelled"],
            "cancelled",
        ),
    ],
)
def test_wherever_a_process_dies_the_sweep_takes_the_workflow_up(
    run, broker, monkeypatch, outcomes, expected, whole
):
    after, has_died = 0, True
    while has_died:
        job, death = run(story()), Death(after)
        play(job, broker, death, monkeypatch, outcomes)
        assert states(job) == expected, after
        assert fresh(job).state == whole, after
        assert not Job.objects.filter(root=job, state__in=sorted(LIVE)).exists(), after
        after, has_died = after + 1, death.has_come
    assert after > 3


def test_wherever_a_retry_dies_the_sweep_takes_it_up(run, broker, monkeypatch, retry):
    after, has_died = 0, True
    while has_died:
        job, death = run(story()), Death(after)
        play(job, broker, Death(10_000), monkeypatch, {"c": "fail"})
        broker.sent.clear()
        play(job, broker, death, monkeypatch, {}, begin=partial(retry, job))
        if fresh(job).attempt == 2:
            assert set(canvases(job)) == {"succeeded"}, after
            assert broker.count(inside(job, 1, 0)) == 0
        else:
            # It had not come to its commit: nothing of it is left.
            assert fresh(job).state == State.FAILED, after
        after, has_died = after + 1, death.has_come
    assert after > 3


def test_wherever_a_cancel_dies_the_sweep_takes_it_up(run, broker, monkeypatch, still):
    after, has_died = 0, True
    while has_died:
        job, death = run(story()), Death(after)
        end(inside(job, 0))
        Job.objects.advance(inside(job, 1, 0).pk, State.RUNNING, attempt=1, seq=1)
        with connection.execute_wrapper(death.execute):
            try:
                jobs.cancel(job)
            except Died:
                pass
        was_asked = fresh(job).cancel_requested_at is not None
        if death.has_come:
            take_up()
        drain(still)
        if was_asked:
            assert inside(job, 1, 0).is_cancelling, after
            assert Job.objects.live().filter(root=job, canvas="").count() == 1
            end(inside(job, 1, 0), "cancel")
            assert set(canvases(job)) == {"cancelled"}, after
        after, has_died = after + 1, death.has_come
    assert after > 3


def test_a_broker_that_is_down_holds_nothing_but_the_messages(run, broker):
    job = run(chain(plus.s(1, 1), group(plus.s(2), plus.s(3))))
    broker.is_down = True
    end(inside(job, 0), output=2)
    assert states(job) == ["succeeded", ["queued", "queued"]]
    take_up()
    broker.is_down = False
    take_up()
    assert sorted(args for _pk, args in broker.sent[1:]) == [[2, 2], [2, 3]]


def test_heal_leaves_alone_what_somebody_has_just_looked_at(run):
    job = run(group(plus.s(1, 1)))
    assert workflow.heal(timezone.now() - timedelta(seconds=15), 100) == 0
    quiet(job, 20)
    before = computed(job)
    assert workflow.heal(timezone.now() - timedelta(seconds=15), 100) == 1
    assert workflow.heal(timezone.now() - timedelta(seconds=15), 100) == 0
    assert computed(job) == before + 1


def test_heal_takes_those_first_that_were_quiet_for_longest(run):
    found = [run(group(plus.s(1, 1))) for _ in range(3)]
    for job, seconds in zip(found, (40, 30, 20), strict=True):
        quiet(job, seconds)
    before = [computed(job) for job in found]
    assert workflow.heal(timezone.now() - timedelta(seconds=15), 2) == 2
    assert [computed(job) - number for job, number in zip(found, before, strict=True)] == [1, 1, 0]


def test_the_messages_of_a_large_group_are_left_to_a_worker(run, broker, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "celery.app.base.Celery.send_task", lambda self, name, args: asked.append((name, args))
    )
    job = run(group(plus.s(1, 1) for _ in range(outbox.MOST_IN_LINE + 1)))
    assert (broker.sent, asked) == ([], [(outbox.SEND_TASK, [str(job.pk)])])
    sweep.send_members(str(job.pk))
    assert len(broker.sent) == outbox.MOST_IN_LINE + 1
    assert [pk for pk, _args in broker.sent] == list(
        job.members.order_by("position").values_list("pk", flat=True)
    )
    sweep.send_members(str(job.pk))
    assert len(broker.sent) == outbox.MOST_IN_LINE + 1


# -- any tree, any order -----------------------------------------------------------------------------------

leaves = st.builds(
    lambda outcome, may_fail: Tree(signature=chatter.s(1), said={"title": outcome, "may_fail": may_fail}),
    st.sampled_from(["ok"] * 5 + ["fail", "cancel"]),
    st.booleans(),
)
trees = st.recursive(
    leaves,
    lambda parts: st.builds(
        lambda kind, members, may_fail: Tree(canvas=kind, members=members, said={"may_fail": may_fail}),
        st.sampled_from(list(Canvas)),
        st.lists(parts, min_size=1, max_size=4),
        st.booleans(),
    ),
    max_leaves=10,
).filter(lambda tree: tree.canvas is not None)


def plant(tree: Tree, monkeypatch) -> Job:
    """The rows of a tree, as `start` makes them, alone and with the same ids each time: Hypothesis repeats itself."""
    ids = (UUID(int=number) for number in count(1))
    monkeypatch.setattr(canvas, "uuid4", partial(next, ids))
    Job.objects.all().delete()
    root = Job(id=next(ids), title="Whole", created_at=timezone.now() - LONG_AGO)
    rows = canvas.plan(root, tree)
    root.save(force_insert=True)
    Job.objects.bulk_create(rows)
    outbox.dispatch([row for row in rows if not row.canvas and not row.held])
    return root


def name(job: Job) -> str:
    """What a task returns, so that it is seen who gets it."""
    return f"{job.parent_id.hex[:6]}.{job.position}"


def expect(
    job: Job, given: list[object] | None, due: dict[UUID, tuple[State, object]]
) -> tuple[State, object]:
    """How a job has to end, and what it hands on; notes that, and what a task is given, of all that have to run."""
    if not job.canvas:
        due[job.pk] = END[job.title], given
        return END[job.title], name(job) if job.title == "ok" else None
    found: list[State] = []
    outputs: list[object] = []
    for part in job.members.order_by("position"):
        state, output = expect(part, given, due)
        outputs.append(output)
        if state == State.FAILED and part.may_fail:
            state = State.SUCCEEDED
        found.append(state)
        if job.canvas == Canvas.CHAIN:
            given = [output]
            if state != State.SUCCEEDED:
                break
    bad = [state for state in (State.FAILED, State.CANCELLED) if state in found]
    due[job.pk] = (bad[0] if bad else State.SUCCEEDED), None
    if bad:
        return bad[0], None
    return State.SUCCEEDED, outputs[-1] if job.canvas == Canvas.CHAIN else outputs


def ended_too_early(root: Job) -> Iterator[Job]:
    """Canvases that have ended before what is in them."""
    rows = list(Job.objects.filter(root=root).only("pk", "parent", "state"))
    live = {row.parent_id for row in rows if row.state in LIVE}
    return (row for row in [fresh(root), *rows] if row.state in TERMINAL and row.pk in live)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=trees, data=st.data())
def test_any_workflow_ends_as_its_members_say_in_whatever_order_they_end(
    broker, still, monkeypatch, tree, data
):
    broker.sent.clear()
    still._moved.clear()
    root = plant(tree, monkeypatch)
    wanted: dict[UUID, tuple[State, object]] = {}
    expect(root, None, wanted)
    owed: list[UUID] = []
    """Those of whose members somebody is still to say that one has ended."""
    members = Job.objects.filter(root=root).order_by("pk")
    early = [row.pk for row in members if row.title == "cancel"]
    canvas_ids = [root.pk, *(row.pk for row in members if row.canvas)]
    for _ in range(200):
        due = unfinished(root, broker)
        if not due and not owed and not still._moved:
            break
        acts = ["end"] * 3 * bool(due) + ["tell"] * 2 * bool(owed) + ["again", "drain", "cancel", "lose"]
        match data.draw(st.sampled_from(acts)):
            case "end":
                row = data.draw(st.sampled_from(due))
                finish(row, row.title, output=name(row))
                owed.append(row.parent_id)
            case "tell":
                parent = data.draw(st.sampled_from(owed))
                owed.remove(parent)
                still.refresh_soon(workflow.ended(parent))
            case "again":
                still.refresh_soon(workflow.ended(data.draw(st.sampled_from(canvas_ids))))
            case "drain":
                drain(still)
            case "cancel" if early:
                jobs.cancel(fresh(Job(pk=early.pop())))
            case "lose" if owed:
                owed.pop()
                still._moved.clear()
        assert not list(ended_too_early(root))
    take_up()
    while due := unfinished(root, broker):
        end(due[0], due[0].title, output=name(due[0]))
    take_up()
    rows = {row.pk: row for row in Job.objects.filter(root=root)} | {root.pk: fresh(root)}
    assert wanted.keys() <= rows.keys()
    for pk, row in rows.items():
        state, given_ = wanted.get(pk, (State.CANCELLED, None))
        assert row.state == state
        if row.canvas:
            continue
        assert row.was_skipped or row.given == given_
        # Whoever was to be cancelled has perhaps been before its turn.
        assert broker.count(row) == (pk in wanted) or (row.title == "cancel" and not broker.count(row))
    tops = [row.state for row in rows.values() if row.parent_id == root.pk]
    assert rows[root.pk].tally == {state: tops.count(state) for state in tops}
