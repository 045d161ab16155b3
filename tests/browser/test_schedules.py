"""What people do with schedules, and what they read about each other."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from playwright.sync_api import expect

from status import jobs
from status.audit import on_page
from status.models import AuditEntry, Job
from tests.tasks import add

pytestmark = [pytest.mark.browser, pytest.mark.workers, pytest.mark.django_db(transaction=True)]
FARM = "demo.renders.render_on_the_farm"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def boss(operator):
    operator.user_permissions.add(*Permission.objects.filter(codename__in=["change_schedule", "view_audit"]))
    return operator


@pytest.fixture
def hourly(db):
    interval = IntervalSchedule.objects.create(every=1, period="hours")
    return PeriodicTask.objects.create(
        name="Render hourly", task=FARM, interval=interval, kwargs='{"frames": 1}'
    )


def test_makes_a_schedule_and_sees_the_next_runs_while_typing(visit, boss):
    page = visit("/jobs/", boss)
    page.get_by_role("link", name="Schedules").click()
    page.get_by_role("link", name="New schedule").first.click()
    page.get_by_role("link", name="Render on the farm").click()
    runs = page.locator("[data-next-runs] li")
    expect(runs).to_have_count(5)
    # By keyboard: to the kind of time, then to the fields that it brings.
    page.get_by_label("Name").fill("Nightly render")
    page.get_by_label("Name").press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("At times of day")).to_be_checked()
    expect(page.get_by_label("Every")).to_be_hidden()
    page.get_by_label("Minute").fill("30")
    page.get_by_label("Hour").press_sequentially("2")
    page.get_by_label("Hour").fill("25")
    expect(page.get_by_text("a number from 0 to 23")).to_be_visible()
    height = page.evaluate("document.documentElement.scrollHeight")
    page.get_by_label("Hour").fill("2")
    page.get_by_label("Time zone").select_option("Europe/Berlin")
    expect(runs.first).to_contain_text("02:30:00")
    expect(runs.first).to_contain_text("CE")
    assert page.evaluate("document.documentElement.scrollHeight") == height
    page.get_by_label("Hour").press("Enter")
    expect(page.get_by_text("“Nightly render” is saved")).to_be_visible()
    expect(page.get_by_text("At 02:30")).to_be_visible()
    assert str(PeriodicTask.objects.get().crontab.timezone) == "Europe/Berlin"


def test_pauses_resumes_edits_runs_and_deletes_one(visit, boss, hourly):
    page = visit("/jobs/schedules/", boss)
    page.get_by_role("button", name="Pause Render hourly").click()
    expect(page.get_by_text("paused")).to_be_visible()
    page.get_by_role("button", name="Resume Render hourly").click()
    expect(page.get_by_text("paused")).to_have_count(0)
    page.get_by_role("link", name="Edit Render hourly").click()
    page.get_by_label("Every").fill("2")
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_text("Every 2 hours")).to_be_visible()
    page.get_by_role("button", name="Run Render hourly now").click()
    expect(page.get_by_role("heading", name="Render hourly")).to_be_visible()
    job = Job.objects.get()
    assert (job.owner, job.schedule) == (boss, "Render hourly")
    page.goto("/jobs/schedules/")
    expect(page.get_by_role("link", name="the last run of Render hourly")).to_have_attribute(
        "href", job.get_absolute_url()
    )
    page.get_by_role("link", name="Edit Render hourly").click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("link", name="Keep it").click()
    assert PeriodicTask.objects.exists()
    page.goto(f"/jobs/schedules/{hourly.pk}/deletion/")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No schedules yet")).to_be_visible()
    page.get_by_role("link", name="Audit").click()
    done = [
        row.split(" · ")[0]
        for row in page.locator("[data-entry] .order-first > p:first-child").all_inner_texts()
    ]
    assert done == ["Deleted", "Run by hand", "Edited", "Resumed", "Paused"]


def test_without_script_makes_a_schedule_too(visit, boss):
    page = visit(f"/jobs/schedules/new/?task={FARM}", boss, java_script_enabled=False)
    page.get_by_label("At times of day").check()
    page.get_by_label("Hour").fill("4")
    page.get_by_label("Minute").fill("0")
    page.get_by_role("button", name="Show the next runs").click()
    expect(page.locator("[data-next-runs] li").first).to_contain_text("04:00:00")
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_text("At 04:00")).to_be_visible()


def test_sees_the_next_run_and_the_last_come_in_while_looking(visit, boss, hourly):
    page = visit("/jobs/schedules/", boss)
    last = page.locator(f"#last-{hourly.pk}")
    expect(last).to_contain_text("not yet")
    page.get_by_role("button", name="Pause Render hourly").focus()
    Job.objects.create(
        task=FARM, title="t", schedule=hourly.name, created_at=timezone.now() - timedelta(minutes=1)
    )
    expect(last.get_by_role("link")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("button", name="Pause Render hourly")).to_be_focused()


def test_the_pages_fit_a_phone_and_a_thumb(visit, boss, hourly):
    other = IntervalSchedule.objects.create(every=5, period="seconds")
    PeriodicTask.objects.create(name="a-name-without-any-blank-" * 6, task="x." * 60, interval=other)
    jobs.cancel(
        jobs.start(add.s(1, 2), owner=boss, title="a-title-without-any-blank-" * 6), actor=on_page(boss)
    )
    pages = ["", "new/", f"new/?task={FARM}", f"{hourly.pk}/", f"{hourly.pk}/deletion/"]
    page = visit("/jobs/audit/", boss, viewport=PHONE)
    for path in ["/jobs/audit/", *(f"/jobs/schedules/{part}" for part in pages)]:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        for control in page.locator(
            "main :is(a:not(.row-link), button, input, select, summary):visible"
        ).all():
            if control.get_attribute("tabindex") == "-1" or control.get_attribute("type") in {
                "radio",
                "checkbox",
            }:
                continue
            box = control.bounding_box()
            assert box["height"] >= 43.5, (path, control.inner_text(), box)


def test_reads_on_a_jobs_page_who_cancelled_it_without_loading_it_again(visit, boss, alice):
    job = jobs.start(add.s(1, 2).set(countdown=600), owner=alice, title="Orders of May")
    page = visit(job.get_absolute_url(), alice)
    expect(page.locator("#live-beat")).to_have_count(1)
    acts = page.locator("#acts")
    expect(acts).to_be_hidden()
    jobs.cancel(job, actor=on_page(boss))
    expect(acts).to_contain_text("Cancelled · olga")
    jobs.retry(job, actor=on_page(alice))
    expect(acts).to_contain_text("Retried · alice")
    assert AuditEntry.objects.count() == 2
