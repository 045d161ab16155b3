"""Jobs at another server: a real farm, real workers; polls are sent by the test as beat would, or by a real beat."""

import logging
import urllib.request

import pytest

from demo.renders import ask, render_on_the_farm
from status import outbox
from status.jobs import cancel, start
from status.models import Job
from status.sources.remote import send_due, send_polls
from status.sources.sweep import sweep
from status.states import Failure, State
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import Process, free_port, start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


class Farm(Process):
    """The demo's farm."""

    def __init__(self, log) -> None:
        self.port = free_port()
        super().__init__("demo.farm", "--port", str(self.port), log=log)
        self.wait_for("The farm listens")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def shared_farm(tmp_path_factory, django_db_setup):
    process = Farm(tmp_path_factory.mktemp("farm") / "log")
    yield process
    process.kill()


@pytest.fixture
def farm(shared_farm, settings):
    settings.FARM_URL = shared_farm.url
    return shared_farm


in_both_pools = pytest.mark.parametrize("poller", ["threads", "gevent"], indirect=True)


@pytest.fixture(scope="module")
def poller(shared_farm, tmp_path_factory, request):
    """A worker for the queue of the polls, which knows the farm."""
    log = tmp_path_factory.mktemp("poller") / "log"
    options = ("-P", getattr(request, "param", "threads"), "-c", "4")
    process = start_worker(log, *options, queues="poll", name="poll", FARM_URL=shared_farm.url)
    yield process
    process.kill()


def submit(frames=30, behaviour="good") -> str:
    return ask("POST", "/renders", {"frames": frames, "behaviour": behaviour})["id"]


def watch(render, owner=None, **kwargs) -> Job:
    return start(tasks.watch_render.s(render, **kwargs).set(queue="poll"), owner=owner)


def polled(job, condition, seconds=40.0):
    """Send what is due, as beat would, until `condition` holds for the job as it is then."""

    def look():
        send_due()
        job.refresh_from_db()
        return condition(job)

    wait_until(look, seconds, f"{job.title}, which is {job.state}")
    return job


def polled_to_the_end(job) -> Job:
    return polled(job, lambda job: not job.is_live)


def texts(job, level=logging.DEBUG) -> list[str]:
    return list(
        job.lines.filter(level__gte=level).order_by("attempt", "number").values_list("text", flat=True)
    )


@in_both_pools
def test_watches_a_render_to_its_end_as_one_job(farm, poller, alice):
    render = submit(frames=40)
    job, seen = watch(render, alice), []
    polled(
        job,
        lambda job: seen.append((job.state, job.progress, job.next_at, job.started_at)) or not job.is_live,
    )

    assert (job.state, job.result) == (State.SUCCEEDED, f"{farm.url}/renders/{render}/picture")
    assert (job.polls > 3, job.tries, job.attempt) == (True, 1, job.polls + 1)
    assert [step.state for step in job.step_list] == ["done"]
    # The page never goes back to 0, not even while a poll has only begun.
    progress = [progress for _, progress, _, _ in seen if progress is not None]
    assert progress == sorted(progress)
    assert None not in [progress for _, progress, _, _ in seen[seen.index(next(s for s in seen if s[1])) :]]
    assert all(next_at for state, _, next_at, _ in seen if state == State.WAITING)
    assert len({started_at for _, _, _, started_at in seen if started_at}) == 1
    assert list(job.lines.values_list("attempt", flat=True).distinct()) == [1]
    numbers = list(job.lines.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, job.polls + 2))


def test_beat_sends_the_polls_and_no_worker_is_held(farm, poller, alice, tmp_path):
    beat = Process("celery", "-A", "config", "beat", "--pidfile=", "-l", "INFO", log=tmp_path / "beat")
    try:
        job = start(render_on_the_farm.s(frames=60), owner=alice)
        reached(job, State.WAITING)
        assert job.queue == "poll"
        job = ended(job, 60)
    finally:
        beat.stop()
    assert job.state == State.SUCCEEDED
    assert [step.name for step in job.step_list] == ["Submit", "Render"]
    with urllib.request.urlopen(job.result["url"], timeout=5) as answer:
        assert answer.read().count(b"<rect") == 60


def test_polls_at_a_worker_for_anything(pool, tmp_path):
    path, before = tmp_path / "polls", len(pool.process.output())
    job = polled_to_the_end(pool.start(tasks.count_polls.s(str(path), 5)))
    assert (job.state, job.attempt, path.read_text()) == (State.SUCCEEDED, 5, "xxxxx")
    assert "Traceback" not in pool.process.output()[before:]


def test_more_jobs_wait_than_there_are_workers(farm, poller):
    renders = [submit(frames=500) for _ in range(30)]
    started = [watch(render, after=600) for render in renders]
    for job in started:
        reached(job, State.WAITING)
    last = polled_to_the_end(watch(submit(frames=2)))
    assert last.state == State.SUCCEEDED


def test_a_flaky_farm_is_told_and_does_not_stop_it(farm, poller):
    job = polled_to_the_end(watch(submit(frames=60, behaviour="flaky")))
    assert job.state == State.SUCCEEDED
    warnings = " ".join(texts(job, logging.WARNING))
    assert "HTTP Error 500" in warnings
    assert "RemoteDisconnected" in warnings or "Connection" in warnings
    assert "The check works again, after 1 failure" in texts(job)


def test_a_farm_that_forgets_fails_the_job(farm, poller):
    job = polled_to_the_end(watch(submit(frames=20, behaviour="forgets")))
    assert (job.state, job.failure) == (State.FAILED, Failure.ERROR)
    assert "does not know this render" in job.error


def test_a_farm_that_is_down_and_comes_back(poller, farm, tmp_path, settings):
    """A port where nobody listens yet; the render is submitted once all the same."""
    late = Farm(tmp_path / "log")
    settings.FARM_URL = late.url
    late.stop()
    worker = start_worker(tmp_path / "w", "-P", "solo", queues="own", name="own", FARM_URL=late.url)
    try:
        job = start(render_on_the_farm.s(frames=2).set(queue="own"))
        reached(job, State.WAITING)
        polled(job, lambda job: job.polls >= 1 and job.state == State.WAITING)
        late.start()
        job = polled_to_the_end(job)
    finally:
        worker.stop()
        late.stop()
    assert job.state == State.SUCCEEDED
    assert "Connection refused" in texts(job, logging.WARNING)[0]
    assert late.output().count("2 frames") == 1


def test_the_deadline_ends_it_and_cancels_the_render(farm, poller):
    render = submit(frames=500)
    job = polled_to_the_end(watch(render, deadline=1))
    assert (job.state, job.failure) == (State.FAILED, Failure.TIMEOUT), job.traceback
    assert "after 1 s" in job.error
    assert 1 <= job.ran_for.total_seconds() < 5
    wait_until(lambda: ask("GET", f"/renders/{render}")["cancels"] == 1, what="the cancel")


@in_both_pools
def test_cancelled_between_two_polls_it_ends_at_once_and_cancels_the_render_once(farm, poller, alice):
    render = submit(frames=500)
    job = reached(watch(render, alice, after=600), State.WAITING)
    assert cancel(job).state == State.CANCELLED
    cancel(job)
    wait_until(lambda: "The remote work was cancelled" in texts(job), what="the line")
    send_polls.apply()
    polled_to_the_end(watch(submit(frames=2)))
    assert ask("GET", f"/renders/{render}")["cancels"] == 1
    job.refresh_from_db()
    assert (job.state, job.line_count) == (State.CANCELLED, len(texts(job)))


def test_cancelled_within_a_poll_it_cancels_the_render_once(farm, poller, alice):
    render = submit(frames=500, behaviour="slow")
    job = reached(watch(render, alice), State.WAITING)
    polled(job, lambda job: job.state == State.RUNNING)
    assert cancel(job).is_cancelling
    job = ended(job)
    assert job.state == State.CANCELLED
    wait_until(lambda: "The remote work was cancelled" in texts(job), what="the line")
    assert ask("GET", f"/renders/{render}")["cancels"] == 1


def test_a_cancel_that_the_farm_refuses_is_told(farm, poller, alice):
    render = submit(frames=20, behaviour="forgets")
    job = reached(watch(render, alice, after=600), State.WAITING)

    def forgotten():
        try:
            ask("GET", f"/renders/{render}")
        except Exception:
            return True
        return False

    wait_until(forgotten, what="the farm forgets")
    assert cancel(job).state == State.CANCELLED
    wait_until(lambda: texts(job, logging.WARNING), what="the line")
    assert "could not be cancelled" in texts(job, logging.WARNING)[0]


@in_both_pools
def test_a_poll_that_is_sent_three_times_is_executed_once(farm, poller, tmp_path):
    path = tmp_path / "polls"
    job = reached(start(tasks.count_polls.s(str(path), 2).set(queue="poll")), State.WAITING)
    first = Job.objects.get(pk=job.pk)
    for _ in range(3):
        outbox.deliver(first, first.attempt + 1)
    job = ended(job)
    polled_to_the_end(start(tasks.count_polls.s(str(tmp_path / "other"), 2).set(queue="poll")))
    assert (job.state, path.read_text()) == (State.SUCCEEDED, "xx")


def test_a_message_that_comes_late_does_not_bring_the_next_poll_forward(farm, poller, tmp_path):
    path = tmp_path / "polls"
    job = reached(start(tasks.count_polls.s(str(path), 3, after=60).set(queue="poll")), State.WAITING)
    outbox.deliver(job, 2)
    wait_until(lambda: path.read_text() == "xx", what="the second poll")
    reached(job, State.WAITING)
    for attempt in (1, 2):
        outbox.deliver(job, attempt)
    polled_to_the_end(watch(submit(frames=2)))
    job.refresh_from_db()
    assert (job.state, job.attempt, path.read_text()) == (State.WAITING, 2, "xx")


@pytest.fixture
def own_worker(farm, tmp_path):
    started = []

    def start_one(name, *options):
        process = start_worker(tmp_path / name, *options, queues="own", name=name, FARM_URL=farm.url)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()


def test_a_worker_that_is_killed_between_two_polls_holds_nothing(farm, own_worker, tmp_path):
    first = own_worker("first", "-P", "solo")
    job = start(tasks.watch_render.s(submit(frames=20)).set(queue="own"))
    reached(job, State.WAITING)
    first.kill()
    own_worker("second", "-P", "solo")
    job = polled_to_the_end(job)
    assert (job.state, job.tries, job.worker) == (State.SUCCEEDED, 1, "second@test")


def test_a_worker_that_is_killed_within_a_poll_is_replaced(farm, own_worker, settings):
    settings.STATUS = {"LEASE_SECONDS": 4}
    first = own_worker("first", "-P", "solo")
    render = submit(frames=100, behaviour="slow")
    job = start(tasks.watch_render.s(render).set(queue="own"))
    reached(job, State.WAITING)
    polled(job, lambda job: job.state == State.RUNNING)
    first.kill()
    own_worker("second", "-P", "solo")

    def look():
        sweep.apply()
        send_due()
        job.refresh_from_db()
        return not job.is_live

    wait_until(look, 40, "the end")
    assert (job.state, job.tries, job.worker) == (State.SUCCEEDED, 2, "second@test")


def test_without_a_job_it_is_a_retry(farm, poller, tmp_path):
    path = tmp_path / "polls"
    tasks.count_polls.apply_async([str(path), 5], queue="poll")
    wait_until(lambda: path.exists() and path.read_text() == "xxxxx", what="five polls")
    assert not Job.objects.exists()


@in_both_pools
def test_what_comes_after_it_in_a_chain_waits_for_its_end(farm, poller, tmp_path):
    polls, after = tmp_path / "polls", tmp_path / "after"
    link = tasks.touch.si(str(after)).set(queue="poll")
    signature = tasks.count_polls.s(str(polls), 3).set(queue="poll", link=[link])
    job = reached(start(signature), State.WAITING)
    assert not after.exists()
    polled_to_the_end(job)
    wait_until(after.exists, what="the link")
    assert polls.read_text() == "xxx"
