"""Log records that know their job."""

import json
import logging
import sys
from uuid import uuid4

import pytest

from status import jobs
from status.live import LiveJob, set_current
from status.logs import JobFilter, JSONFormatter
from tests import tasks
from tests.conftest import ended
from tests.processes import start_worker, wait_until


@pytest.fixture
def job():
    live = LiveJob(uuid4(), attempt=2)
    set_current(live)
    yield live
    set_current(None)


def record(text: str = "hello %s", *values: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("orders", logging.WARNING, __file__, 1, text, values or ("you",), None)
    made.__dict__.update(more)
    return made


def test_a_record_of_a_job_names_it(job):
    found = json.loads(JSONFormatter().format(record()))
    assert (found["message"], found["level"], found["logger"]) == ("hello you", "WARNING", "orders")
    assert (found["job"], found["attempt"]) == (str(job.id), 2)
    assert found["at"].endswith("+00:00")


def test_a_record_of_no_job_names_none():
    found = json.loads(JSONFormatter().format(record()))
    assert not {"job", "attempt", "task"} & found.keys()


def test_what_celery_says_of_a_task_names_its_job():
    found = json.loads(JSONFormatter().format(record(data={"id": "7", "name": "orders.load"})))
    assert (found["job"], found["task"]) == ("7", "orders.load")


def test_whatever_is_said_is_one_line_of_json():
    try:
        raise ValueError("two\nlines \ud800")
    except ValueError:
        line = JSONFormatter().format(record("a\n\x1b[31m\u2028%s", object(), exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "ValueError: two\nlines" in json.loads(line)["exception"]


def test_a_format_of_ones_own_can_name_the_job(job):
    made = record()
    assert JobFilter().filter(made)
    assert logging.Formatter("%(job_id)s %(job_attempt)s %(message)s").format(made) == f"{job.id} 2 hello you"
    set_current(None)
    JobFilter().filter(made)
    assert (made.job_id, made.job_attempt, made.job_task) == ("", "", "")


@pytest.mark.workers
def test_a_worker_writes_json_by_a_setting(tmp_path, alice, transactional_db):
    worker = start_worker(tmp_path / "log", "-c", "1", queues="logs", name="logs", LOG_FORMAT="json")
    try:
        (tmp_path / "gate").touch()
        job = jobs.start(tasks.import_rows.s(100, str(tmp_path / "gate")).set(queue="logs"), owner=alice)
        ended(job)

        def written() -> dict[str, dict]:
            lines = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
            found = {line["message"].split("[")[0]: line for line in lines if line.get("job") == str(job.pk)}
            return found if {"careful now", "Task tests.tasks.import_rows"} <= found.keys() else {}

        found = wait_until(written, 20, "the lines")
    finally:
        worker.stop()
    said = found["careful now"]
    assert (said["level"], said["attempt"], said["task"]) == ("WARNING", 1, "tests.tasks.import_rows")
