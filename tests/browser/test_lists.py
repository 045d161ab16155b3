"""What people do with the list of jobs, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from status.jobs import start
from status.models import Job, SavedView
from status.states import State
from tests import tasks
from tests.browser.test_people import badge, is_the_same_page, mark
from tests.conftest import ended

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

expect.set_options(timeout=20_000)


def make(owner, title, state=State.SUCCEEDED, **columns):
    return Job.objects.create(task="shop.tasks.sync", title=title, owner=owner, state=state, **columns)


def rows(page):
    return page.locator("[data-job]")


def tab(page, name):
    return page.get_by_role("navigation", name="States").get_by_role("link", name=name)


def test_filters_searches_and_goes_back(visit, alice):
    for number in range(3):
        make(alice, f"Import {number}", State.FAILED, error="Disk full", queue="media")
    make(alice, "Invoice 7", queue="mail")
    page = visit("/", alice)
    expect(rows(page)).to_have_count(4)
    tab(page, "Failed").click()
    expect(rows(page)).to_have_count(3)
    expect(tab(page, "Failed")).to_have_attribute("aria-current", "page")
    expect(page).to_have_title("Failed · Jobs")
    page.get_by_role("searchbox").fill("impo 2")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    expect(page).to_have_url(re.compile(r"state=failed&q=impo\+2"))
    page.get_by_role("link", name="take away").click()
    expect(rows(page)).to_have_count(3)
    page.go_back()
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_role("searchbox")).to_have_value("impo 2")
    page.go_back()
    expect(rows(page)).to_have_count(3)
    page.go_back()
    expect(rows(page)).to_have_count(4)
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Queue").select_option("mail")
    page.get_by_role("button", name="Apply").click()
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("Invoice 7")


def test_selects_three_failed_jobs_and_retries_them(worker, visit, alice, tmp_path):
    gate = tmp_path / "gate"
    jobs = [ended(start(tasks.fail_without.s(str(gate)), owner=alice, title=f"Import {n}")) for n in range(3)]
    other = ended(start(tasks.fail_without.s(str(gate)), owner=alice, title="Left alone"))
    page = visit("/?state=failed", alice)
    bar = page.get_by_role("button", name="Retry")
    expect(bar).to_be_hidden()
    before = rows(page).first.bounding_box()
    for job in jobs:
        page.get_by_label(f"Choose {job.title}").check()
    assert rows(page).first.bounding_box() == before
    gate.touch()
    bar.click()
    expect(page.get_by_role("heading", name="Retry 3 jobs?")).to_be_visible()
    page.get_by_role("button", name="Retry 3 jobs").click()
    expect(badge(page, "succeeded")).to_be_visible()
    expect(page.locator("#job-log")).to_contain_text("Done with 3 jobs.")
    for job in jobs:
        assert ended(job).state == State.SUCCEEDED
        assert job.attempt == 2
    other.refresh_from_db()
    assert other.state == State.FAILED
    page.get_by_role("link", name="To the list").click()
    expect(page).to_have_url(re.compile(r"state=failed"))
    expect(rows(page)).to_have_count(1)


def test_deletes_all_that_match(worker, visit, alice):
    for number in range(30):
        make(alice, f"Old {number}", finished_at="2026-01-01T00:00Z")
    kept = make(alice, "New", finished_at="2026-01-01T00:00Z")
    page = visit("/?q=old", alice)
    page.get_by_role("link", name="all that match").click()
    expect(page.get_by_text("All 30 that match are chosen")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete 30 jobs").click()
    expect(page.locator("#job-log")).to_contain_text("Done with 30 jobs.")
    expect(badge(page, "succeeded")).to_be_visible()
    assert set(Job.objects.exclude(task="status.act_on_jobs")) == {kept}


def test_saves_a_view_makes_it_the_first_and_deletes_it(visit, alice):
    make(alice, "Import", State.FAILED)
    make(alice, "Invoice")
    page = visit("/?state=failed", alice)
    page.get_by_role("button", name="Save view").click()
    page.get_by_label("Name").fill("Broken")
    page.get_by_label("Show it first").check()
    page.get_by_role("button", name="Save", exact=True).click()
    views = page.get_by_role("navigation", name="Saved views")
    expect(views.get_by_role("link", name="Broken")).to_have_attribute("aria-current", "page")
    tab(page, "All").click()
    expect(rows(page)).to_have_count(2)
    page.goto("/jobs/")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Change view").click()
    page.get_by_role("button", name="Delete view").click()
    expect(views).to_have_count(0)
    assert not SavedView.objects.exists()


def test_tabs_count_while_jobs_run_and_a_tab_keeps_the_focus(worker, visit, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.deaf.s(str(gate)), owner=alice, title="Slow")
    page = visit("/", alice)
    mark(page)
    expect(tab(page, "Running")).to_have_text(re.compile(r"Running\s*1"))
    tab(page, "Failed").focus()
    gate.touch()
    expect(tab(page, "Succeeded")).to_have_text(re.compile(r"Succeeded\s*1"))
    expect(tab(page, "Running")).to_have_text(re.compile(r"Running\s*0"))
    expect(tab(page, "Failed")).to_be_focused()
    ended(job)
    assert is_the_same_page(page)


def test_only_new_jobs_that_match_are_announced(worker, visit, alice):
    make(alice, "Import 1")
    page = visit("/?q=import", alice)
    mark(page)
    expect(page.locator("#live-beat")).to_have_count(1)
    ended(start(tasks.add.s(1, 2), owner=alice, title="Invoice"))
    ended(start(tasks.add.s(1, 2), owner=alice, title="Import 2"))
    news = page.get_by_role("link", name="1 new job")
    expect(news).to_be_visible()
    expect(rows(page)).to_have_count(1)
    assert is_the_same_page(page)
    news.click()
    expect(rows(page)).to_have_count(2)
    expect(page.get_by_role("searchbox")).to_have_value("import")


def test_pages_and_chooses_without_javascript_on_a_phone(visit, alice):
    Job.objects.bulk_create(
        Job(task="t", title=f"Job {n:02}", owner=alice, state=State.SUCCEEDED) for n in range(30)
    )
    page = visit("/", alice, java_script_enabled=False, viewport={"width": 390, "height": 800})
    page.get_by_role("link", name="Older").click()
    expect(rows(page)).to_have_count(5)
    page.get_by_role("link", name="Newer").click()
    expect(rows(page)).to_have_count(25)
    page.get_by_role("link", name="this page").click()
    for name in ("Cancel", "Retry", "Delete"):
        assert page.get_by_role("button", name=name).bounding_box()["height"] >= 44
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("It can be done with 0 of these now.")).to_be_visible()
    expect(page.get_by_text("and 15 more")).to_be_visible()


def test_all_of_it_works_by_keyboard(visit, alice):
    make(alice, "Import", State.FAILED)
    page = visit("/", alice)
    page.get_by_label("Choose Import").focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("Choose Import")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Import")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Retry")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Retry 1 job?")).to_be_visible()
