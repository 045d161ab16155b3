"""What people do on the page of workers and queues."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone
from playwright.sync_api import expect

from status import queues
from status.jobs import start
from status.models import Job
from status.sources.counting import count_ended
from status.states import State
from tests import tasks
from tests.browser.conftest import QUICK
from tests.conftest import ended
from tests.processes import start_worker

pytestmark = [pytest.mark.browser, pytest.mark.workers, pytest.mark.django_db(transaction=True)]

expect.set_options(timeout=20_000)

PAGE = "/jobs/house/"


@pytest.fixture
def pauser(operator):
    operator.user_permissions.add(Permission.objects.get(codename="change_queue"))
    return operator


def worker_of(page, name):
    return page.locator(f"[data-worker='{name}']")


def queue_of(page, name):
    return page.locator(f"[data-queue='{name}']")


def test_sees_a_worker_come_pauses_its_queue_sees_a_job_wait_resumes_and_sees_the_worker_go(
    quick_web, visit, pauser, tmp_path
):
    page = visit(PAGE, pauser, at=quick_web)
    expect(page.get_by_role("heading", name="Workers and queues")).to_be_visible()
    expect(worker_of(page, "house@test")).to_have_count(0)
    options = ("-P", "threads", "-c", "2")
    process = start_worker(tmp_path / "log", *options, queues="house", name="house", **QUICK)
    try:
        worker, queue = worker_of(page, "house@test"), queue_of(page, "house")
        expect(worker.get_by_text("Up", exact=True)).to_be_visible()
        expect(worker).to_contain_text("threads × 2")
        gate = tmp_path / "gate"
        running = start(tasks.tick_until.s(str(gate)).set(queue="house"), owner=pauser, title="Long one")
        expect(worker.get_by_role("link", name="Long one")).to_be_visible()
        button = queue.get_by_role("button")
        expect(button).to_have_text("Pause house")
        button.focus()
        page.keyboard.press("Enter")
        expect(queue.get_by_text("Paused", exact=True)).to_be_visible()
        expect(queue).to_contain_text("by olga")
        expect(button).to_have_text("Resume house")
        expect(button).to_be_focused()
        process.wait_for("Canceling queue house", 20)
        # What the worker had taken goes on; what comes waits.
        waiting = start(tasks.add.s(1, 2).set(queue="house"), owner=pauser, title="Waits")
        expect(queue.locator("dd").first).to_have_text("1")
        expect(page.get_by_text("Queue house has been paused", exact=False)).to_have_count(1)
        gate.touch()
        assert ended(running).state == State.SUCCEEDED
        expect(worker.get_by_text("Nothing")).to_be_visible()
        waiting.refresh_from_db()
        assert waiting.state == State.QUEUED
        button.press("Space")
        expect(button).to_have_text("Pause house")
        assert ended(waiting).worker == "house@test"
        expect(queue.locator("dd").first).to_have_text("0")
        process.kill()
        expect(worker.get_by_text("Lost", exact=True)).to_be_visible()
        expect(page.get_by_text("Worker house@test was lost", exact=False)).to_have_count(1)
    finally:
        process.kill()


def test_pauses_a_queue_without_javascript(web, visit, pauser):
    page = visit(PAGE, pauser, java_script_enabled=False)
    queue_of(page, "default").get_by_role("button").click()
    expect(page.get_by_role("heading", name="default")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(queue_of(page, "default").get_by_text("Paused", exact=True)).to_be_visible()
    assert queues.paused() == {"default"}
    assert page.locator("noscript meta[http-equiv=refresh]").count() == 1
    queues.resume("default")


def test_reads_the_figures_of_a_task_on_a_phone(web, visit, operator):
    when = timezone.now() - timedelta(minutes=5)
    moments = {"finished_at": when, "started_at": when - timedelta(seconds=2), "created_at": when}
    name = "a_task.with_a_name.that_is_very_long_indeed." + "x" * 60
    columns = {"title": "t", "state": State.FAILED, "failure": "error"} | moments
    Job.objects.bulk_create([Job(task=name, **columns), Job(task="other", **columns)])
    count_ended()
    page = visit(PAGE, operator, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("link", name="1 hour").click()
    page.get_by_role("link", name=name).click()
    expect(page.get_by_text("1 ended, 1 failed")).to_be_visible()
    expect(page.get_by_role("img", name="Throughput")).to_be_visible()
    page.get_by_text("The figures as a table").click()
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("1.9 s")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # What comes meanwhile closes nothing.
    Job.objects.bulk_create([Job(task=name, **columns | {"finished_at": when + timedelta(seconds=1)})])
    count_ended()
    expect(page.get_by_text("2 ended, 2 failed")).to_be_visible()
    expect(row.first).to_be_visible()
