"""Canvases in real worker processes."""

from pathlib import Path

import pytest
from celery import chain, chord, group

from status import outbox
from status.canvas import member
from status.jobs import cancel, retry, start
from status.models import Job
from status.sources.sweep import sweep
from status.states import Canvas, Failure, State
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def states(job):
    """Of the members in order, those of canvases in lists."""
    return [
        states(row) if row.canvas else str(row.state)
        for row in job.members.order_by("position", "created_at")
    ]


def leaf(job, title):
    return Job.objects.get(root=job, title=title)


def test_a_chain_hands_results_on_and_its_members_are_known_from_the_start(worker, alice, tmp_path):
    gate = tmp_path / "gate"
    signature = chain(tasks.plus.s(1, 2, str(gate)), tasks.plus.s(10), tasks.plus.si(5, 5), tasks.plus.s(100))
    job = start(signature, owner=alice)
    assert job.canvas == Canvas.CHAIN
    first, *others = states(job)
    assert first in {"queued", "running"}
    assert others == ["queued"] * 3
    assert {row.owner for row in job.members.all()} == {alice}
    reached(job, State.RUNNING)
    assert states(job)[1:] == ["queued"] * 3
    gate.touch()
    assert ended(job).state == State.SUCCEEDED
    assert [row.result for row in job.members.order_by("position")] == [3, 13, 10, 110]
    assert job.result == 110
    assert job.percent == 100
    assert job.tally == {"succeeded": 4}
    assert job.started_at <= job.finished_at


def test_a_chord_gets_the_results_in_order(worker, alice):
    job = ended(start(chord([tasks.plus.s(n, 1) for n in range(12)], tasks.total.s()), owner=alice))
    assert job.state == State.SUCCEEDED
    assert job.result == sum(range(1, 13))
    assert states(job) == [["succeeded"] * 12, "succeeded"]


def test_what_is_nested_runs_as_celery_has_it(worker, alice):
    inner = chain(tasks.plus.s(1), group(tasks.plus.s(10), tasks.plus.s(20)), tasks.total.s())
    job = ended(start(chain(tasks.plus.s(1, 1), group(inner, tasks.plus.s(5)), tasks.total.s()), owner=alice))
    # 2 → (3 → [13, 23] → 36), 7 → 43
    assert (job.state, job.error) == (State.SUCCEEDED, "")
    assert job.result == 43
    assert states(job) == [
        "succeeded",
        [["succeeded", ["succeeded"] * 2, "succeeded"], "succeeded"],
        "succeeded",
    ]


@pytest.mark.parametrize(
    "signature",
    [
        tasks.plus.starmap([(1, 2), (3, 4)]),
        group(tasks.plus.starmap([(1, 2), (3, 4)])),
        tasks.plus.chunks(zip(range(10), range(10), strict=True), 3),
        chord([], tasks.total.s()),
        group(tasks.plus.s(1, 2)),
        chain(group(tasks.plus.s(1, 2), tasks.plus.s(1, 2)), group(tasks.total.s(), tasks.total.s())),
    ],
)
def test_every_canvas_ends(worker, alice, signature):
    job = ended(start(signature, owner=alice))
    assert (job.state, job.error) == (State.SUCCEEDED, "")
    assert not Job.objects.exclude(state=State.SUCCEEDED).exists()


def test_map_counts_its_calls(worker, alice):
    job = ended(start(tasks.plus.starmap([(1, 2), (3, 4)]), owner=alice))
    assert job.result == [3, 7]
    step = job.step
    assert (step.name, step.current, step.total) == ("Plus", 2, 2)


def test_a_link_that_fails_is_shown_in_the_whole_and_the_rest_is_not_run(worker, alice, tmp_path):
    path = tmp_path / "there"
    body = group(tasks.touch.si(str(path)), chain(tasks.touch.si(str(path)), tasks.touch.si(str(path))))
    job = ended(start(chain(tasks.plus.s(1, 1), tasks.fail.si("no luck"), body), owner=alice))
    assert job.state == State.FAILED
    assert job.failure == Failure.ERROR
    assert job.error == "Fail: ValueError: no luck"
    cancelled = "cancelled"
    assert states(job) == ["succeeded", "failed", [cancelled, [cancelled, cancelled]]]
    assert not path.exists()
    assert leaf(job, "Fail").error == "ValueError: no luck"


def test_a_group_goes_on_after_a_failure_and_says_how_many_failed(worker, alice):
    parts = [tasks.plus.s(1, 1), tasks.fail.s("one"), tasks.fail.s("two"), tasks.plus.s(2, 2)]
    job = ended(start(chord(parts, tasks.total.s()), owner=alice))
    assert job.state == State.FAILED
    assert states(job) == [["succeeded", "failed", "failed", "succeeded"], "cancelled"]
    assert "2 of 4 failed.\nFail: ValueError: one" in job.error


def test_what_may_fail_fails_alone(worker, alice):
    parts = [tasks.plus.s(1, 1), member(tasks.fail.s("one"), title="Broken", may_fail=True)]
    job = ended(start(chain(group(parts), tasks.add.s(0)), owner=alice))
    assert states(job)[0] == ["succeeded", "failed"]
    body = job.members.get(position=1)
    assert body.given == [[2, None]]


def test_the_wholes_progress_is_that_of_its_members_by_weight(worker, alice, tmp_path):
    gate, late = tmp_path / "gate", tmp_path / "late"
    job = start(
        group(
            member(tasks.half_way.s(str(gate)), weight=6),
            member(tasks.plus.s(1, 1), weight=1),
            member(tasks.plus.s(1, 1, str(late)), weight=3),
        ),
        owner=alice,
    )

    def at(share):
        def look():
            job.refresh_from_db()
            return job.progress == pytest.approx(share)

        return look

    late.touch()
    wait_until(at((3 + 1 + 3) / 10), what="seven tenths")
    gate.touch()
    ended(job)


def test_only_what_did_not_succeed_runs_again(worker, alice, tmp_path):
    count, there = tmp_path / "count", tmp_path / "there"
    parts = [tasks.append.si(str(count)), tasks.needs.si(str(there), 5), tasks.plus.si(1, 1)]
    job = ended(start(chain(group(parts), tasks.append.si(str(count))), owner=alice))
    assert job.state == State.FAILED
    there.touch()
    retry(job)
    job.refresh_from_db()
    assert job.is_live
    assert ended(job).state == State.SUCCEEDED
    assert job.attempt == 2
    assert count.read_text() == "xx"
    assert sorted(Job.objects.filter(root=job, canvas="").values_list("title", "attempt")) == [
        ("Append", 1),
        ("Append", 2),
        ("Needs", 2),
        ("Plus", 1),
    ]


def test_a_member_that_is_retried_takes_the_whole_along(worker, alice, tmp_path):
    count, there = tmp_path / "count", tmp_path / "there"
    signature = chain(
        tasks.plus.si(1, 1), group(tasks.needs.si(str(there), 5), tasks.plus.s(3)), tasks.total.s()
    )
    job = ended(start(signature, owner=alice))
    assert job.state == State.FAILED
    there.touch()
    retry(leaf(job, "Needs"))
    assert ended(job).state == State.SUCCEEDED
    assert job.result == 10
    assert not count.exists()


def test_cancelling_the_whole_cancels_what_has_not_finished(worker, alice, tmp_path):
    cleaned, path = tmp_path / "cleaned", tmp_path / "never"
    parts = [tasks.plus.s(1, 1), tasks.until_cancelled.s(str(cleaned)), tasks.later.s()]
    job = start(chain(group(parts), group(tasks.touch.si(str(path)), tasks.touch.si(str(path)))), owner=alice)
    wait_until(lambda: states(job)[0] == ["succeeded", "running", "waiting"], what="one of each")
    cancel(job)
    job.refresh_from_db()
    # Its last member may have heeded it already.
    assert job.cancel_requested_at is not None
    assert ended(job).state == State.CANCELLED
    assert states(job) == [["succeeded", "cancelled", "cancelled"], ["cancelled", "cancelled"]]
    assert cleaned.exists()
    assert not path.exists()


def test_one_member_is_cancelled_and_the_rest_goes_on(worker, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(group(tasks.plus.s(1, 1, str(gate)), tasks.later.s()), owner=alice)
    waiting = reached(leaf(job, "Later"), State.WAITING)
    cancel(waiting)
    gate.touch()
    assert ended(job).state == State.CANCELLED
    assert states(job) == ["succeeded", "cancelled"]


def test_a_member_that_is_retried_by_celery_is_waited_for(worker, alice):
    job = ended(start(chain(tasks.third_time_lucky.s(), group(tasks.add.s("!"))), owner=alice))
    assert [row.attempt for row in job.members.order_by("position")] == [3, 1]
    assert job.state == State.SUCCEEDED
    assert leaf(job, "Add").result == {"sum": "at last!"}


def test_a_result_that_cannot_be_handed_on_fails_the_member(worker, alice):
    job = ended(start(chain(tasks.a_set.s(), tasks.total.s()), owner=alice))
    assert job.state == State.FAILED
    assert "cannot be written as JSON" in leaf(job, "A set").error
    assert leaf(job, "Total").state == State.CANCELLED


def test_callbacks_of_a_canvas_are_celerys(worker, alice, tmp_path):
    path, error = tmp_path / "linked", tmp_path / "error"
    signature = chain(tasks.plus.s(1, 1), tasks.plus.s(1))
    signature.link(tasks.touch.si(str(path)))
    ended(start(signature, owner=alice))
    wait_until(path.exists)
    broken = chain(tasks.plus.s(1, 1), tasks.fail.si("no"))
    broken.link_error(tasks.touch.si(str(error)))
    ended(start(broken, owner=alice))
    wait_until(error.exists)


def test_what_a_task_starts_becomes_its_members(worker, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.starts_others.s(3, str(gate)), owner=alice)
    wait_until(lambda: states(job) == ["succeeded"] * 3, what="three members")
    assert {row.owner for row in job.members.all()} == {alice}
    assert {row.root_id for row in job.members.all()} == {job.pk}
    gate.touch()
    assert ended(job).state == State.SUCCEEDED


def test_what_is_started_in_a_transaction_that_is_rolled_back_runs_all_the_same(worker, alice, tmp_path):
    path = tmp_path / "count"
    job = ended(start(tasks.opens_then_rolls_back.s(str(path)), owner=alice))
    wait_until(lambda: states(job) == ["succeeded"], what="its member")
    assert path.read_text() == "x"


def test_the_links_of_a_chain_that_a_task_starts_stand_side_by_side(worker, alice, tmp_path):
    job = ended(start(tasks.starts_a_chain.s(str(tmp_path / "count")), owner=alice))
    wait_until(lambda: states(job) == ["succeeded"] * 3, what="three members")
    assert Path(tmp_path / "count").read_text() == "xxx"


@pytest.fixture
def own_worker(tmp_path, settings):
    """Start workers for the queue `own`; who is silent for four seconds is lost."""
    settings.STATUS = {"LEASE_SECONDS": 4}
    started = []

    def start_one(name):
        process = start_worker(tmp_path / name, "-c", "3", queues="own", name=name)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()


def swept(condition, what):
    """Sweep, as beat would, until the condition holds."""
    wait_until(lambda: sweep.apply() and condition(), what=what)


def counts(job):
    """What each task has returned, and in which attempt, in their order."""
    found = []
    for row in job.members.order_by("position"):
        found += counts(row) if row.canvas else [(row.result, row.attempt)]
    return found


def test_a_worker_that_is_killed_amid_a_group_fails_what_ran_and_the_whole_can_be_retried(
    own_worker, alice, tmp_path
):
    gate, first = tmp_path / "gate", own_worker("first")
    parts = [tasks.plus.s(1, 1), tasks.plus.s(2, 2, str(gate)), tasks.plus.s(3, 3, str(gate))]
    job = start(group(parts).set(queue="own"), owner=alice)
    wait_until(lambda: states(job) == ["succeeded", "running", "running"], what="two that run")
    first.kill()
    swept(lambda: states(job) == ["succeeded", "failed", "failed"], what="what ran is lost")
    job = ended(job)
    assert (job.state, job.tally) == (State.FAILED, {"succeeded": 1, "failed": 2})
    assert "2 of 3 failed.\nPlus: The worker first@test was lost" in job.error
    assert {row.failure for row in job.members.filter(state=State.FAILED)} == {Failure.WORKER_LOST}
    own_worker("second")
    gate.touch()
    retry(job)
    job = ended(job)
    assert (job.state, job.progress, job.tally) == (State.SUCCEEDED, 1.0, {"succeeded": 3})
    assert counts(job) == [(2, 1), (4, 2), (6, 2)]


def test_a_worker_that_is_killed_amid_a_chord_has_what_is_safe_to_repeat_run_again(
    own_worker, alice, tmp_path
):
    gate, path, first = tmp_path / "gate", tmp_path / "path", own_worker("first")
    parts = [tasks.plus.s(1, 1), tasks.plus.s(2, 2, str(gate)), tasks.plus.s(3, 3, str(gate))]
    body = chain(tasks.total.s(), tasks.append.si(str(path)))
    job = start(chord(parts, body).set(queue="own"), owner=alice, repeatable=True)
    wait_until(lambda: states(job)[0] == ["succeeded", "running", "running"], what="two that run")
    first.kill()
    own_worker("second")
    swept(lambda: counts(job)[1:3] == [(None, 2), (None, 2)], what="what ran begins again")
    assert states(job) == [["succeeded", "running", "running"], "queued", "queued"]
    gate.touch()
    job = ended(job)
    assert (job.state, job.progress, job.tally) == (State.SUCCEEDED, 1.0, {"succeeded": 3})
    assert counts(job) == [(2, 1), (4, 2), (6, 2), (12, 1), (None, 1)]
    assert path.read_text() == "x"


def test_a_message_of_a_member_that_comes_twice_counts_once(worker, alice, tmp_path):
    gate, path = tmp_path / "gate", tmp_path / "path"
    parts = [tasks.append.si(str(path)), tasks.plus.si(1, 1, str(gate)), tasks.plus.si(2, 2)]
    job = start(chain(group(parts), tasks.append.si(str(path))), owner=alice)
    inner, body = job.members.order_by("position")

    def again(row):
        for _ in range(3):
            assert outbox.deliver(row, 1)
        # What comes after them has been taken from the queue after them.
        ended(start(tasks.add.s(1, 2), owner=alice))

    for place in (0, 2):
        ended(inner.members.get(position=place))
    again(inner.members.get(position=0))
    # It runs: a second process has the message as well.
    again(reached(inner.members.get(position=1), State.RUNNING))
    wait_until(lambda: Job.objects.get(pk=inner.pk).tally == {"succeeded": 2, "running": 1}, what="the count")
    assert Job.objects.get(pk=inner.pk).progress == pytest.approx(2 / 3)
    gate.touch()
    ended(job)
    again(body)
    again(inner.members.get(position=1))
    assert path.read_text() == "xx"
    job.refresh_from_db()
    assert (job.state, job.tally, job.attempt) == (State.SUCCEEDED, {"succeeded": 2}, 1)
    assert Job.objects.get(pk=inner.pk).tally == {"succeeded": 3}
    assert set(Job.objects.filter(root=job).values_list("attempt", flat=True)) == {1}
