"""What beat missed while it was down, with a real beat: told by its log and by the next run's job."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from status.models import Job, Topic
from status.sources.missed import PULSE
from status.states import State
from tests.conftest import ended
from tests.processes import Process, start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def start_beat(log, *options, settings="tests.track_settings"):
    command = ("celery", "-A", "config", "beat", "--pidfile=", "-l", "INFO", *options)
    return Process(*command, log=log, DJANGO_SETTINGS_MODULE=settings)


@pytest.fixture
def beat(tmp_path):
    process = start_beat(tmp_path / "beat")
    yield process
    process.kill()


@pytest.fixture
def tracking(tmp_path):
    options = {"queues": "tracked", "name": "t", "DJANGO_SETTINGS_MODULE": "tests.track_settings"}
    process = start_worker(tmp_path / "worker", "-P", "solo", **options)
    yield process
    process.kill()


def periodic(name, **fields):
    made = IntervalSchedule.objects.create(every=10, period="minutes")
    more = {"task": "tests.tasks.add", "args": "[1, 2]", "queue": "tracked", "interval": made}
    return PeriodicTask.objects.create(name=name, **more | fields)


def job_of(schedule):
    return ended(
        wait_until(lambda: Job.objects.filter(schedule=schedule).first(), what=f"a run of {schedule}")
    )


def texts(job):
    return list(job.lines.values_list("text", flat=True))


def test_beat_says_what_it_missed_and_so_does_the_next_run(beat, tracking):
    """Stopped and started again; that it was an hour is said by moving the clocks in the rows."""
    schedule = periodic("Every ten minutes", last_run_at=timezone.now() - timedelta(seconds=650))
    periodic("Not due", last_run_at=timezone.now())
    # As it was alive all the time, as far as anybody knows, nothing was missed.
    first = job_of("Every ten minutes")
    assert (first.state, texts(first)) == (State.SUCCEEDED, [])
    wait_until(lambda: Topic.objects.filter(pk=PULSE).exists(), what="beat's pulse")
    beat.stop()
    assert "were missed" not in beat.output()

    Job.objects.all().delete()
    hour = timedelta(minutes=61)
    schedule.refresh_from_db()
    PeriodicTask.objects.filter(pk=schedule.pk).update(last_run_at=schedule.last_run_at - hour)
    Topic.objects.filter(pk=PULSE).update(updated_at=timezone.now() - hour)
    beat.start()
    job = job_of("Every ten minutes")
    assert job.state == State.SUCCEEDED
    # The sixth is this one.
    (line,) = texts(job)
    assert line.startswith("5 runs of this schedule were missed while beat was down, due from ")
    assert "Beat was down since" in beat.output()
    assert re.search(r"WARNING.*5 runs of 1 schedules were missed", beat.output())
    assert "Schedule 'Every ten minutes': 5 runs of this schedule were missed" in beat.output()
    assert "Not due" not in re.findall(r"Schedule '(.*?)': ", beat.output())
    topic = Topic.objects.get(pk=PULSE)
    assert topic.payload["missed"]["Every ten minutes"][0] == 5
    wait_until(lambda: not Topic.objects.get(pk=PULSE).payload["owed"], what="the note that it was told")


def test_beats_pulse_goes_on(beat):
    first = wait_until(lambda: Topic.objects.filter(pk=PULSE).first(), what="beat's pulse")
    wait_until(lambda: Topic.objects.get(pk=PULSE).updated_at > first.updated_at, what="the next one")


def test_celerys_own_scheduler_says_it_as_well(tracking, tmp_path):
    """It keeps its times in a file, so here beat is truly down, for a little longer than its schedule."""
    options = ("-S", "celery.beat:PersistentScheduler", "-s", str(tmp_path / "schedule"))
    process = start_beat(tmp_path / "own", *options, settings="tests.tick_settings")
    try:
        job = job_of("tick")
        assert (job.state, job.title) == (State.SUCCEEDED, "tick")
        process.stop()
        until = timezone.now() + timedelta(seconds=3)
        wait_until(lambda: timezone.now() > until, what="three seconds without beat")
        process.start()
        wait_until(lambda: "'tick'" in process.output(), what="what was missed")
        run = wait_until(
            lambda: Job.objects.filter(schedule="tick", lines__text__contains="missed").first(),
            what="the run",
        )
        assert re.match(r"\d+ runs of this schedule were missed", texts(ended(run))[0])
    finally:
        process.stop()
