"""What stays as it is while a page moves, what the keyboard reaches, and what works without script."""

import re

import pytest
from django.contrib.auth.models import Permission
from playwright.sync_api import expect

from status.jobs import start
from status.models import Job, LogLine, SavedView
from status.states import State
from tests import tasks
from tests.browser.test_people import wait_for_frames
from tests.conftest import ended, reached

pytestmark = [pytest.mark.browser, pytest.mark.workers, pytest.mark.django_db(transaction=True)]

WATCH = """() => {
    window.shifts = [];
    window.said = [];
    new PerformanceObserver(list => {
        for (const each of list.getEntries()) {
            if (!each.hadRecentInput) shifts.push(each.sources.map(source => source.node?.outerHTML?.slice(0, 200)));
        }
    }).observe({type: "layout-shift"});
    const status = document.querySelector("main p.sr-only[role=status]");
    if (status) {
        new MutationObserver(() => said.push(status.innerText)).observe(status, {childList: true, subtree: true});
    }
}"""
"""Notes what is moved by what changes, and what a screen reader is told."""

SELECT = """each => {
    const text = document.createTreeWalker(each, NodeFilter.SHOW_TEXT).nextNode();
    getSelection().setBaseAndExtent(text, 0, text, text.length);
}"""
FOCUSED = """() => {
    const each = document.activeElement, box = each.getBoundingClientRect();
    const rings = [null, "::after"].map(part => getComputedStyle(each, part)).some(
        style => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
    return {
        name: (each.innerText || each.name || each.tagName).trim().split("\\n")[0],
        rings,
        shown: box.width > 1 && box.height > 1 && box.bottom > 0 && box.top < innerHeight,
    };
}"""


def selected(page):
    return page.evaluate("getSelection().toString()")


def see_it_count(page, region):
    """Wait until the figures of a region have changed a few times, past the next digit."""
    for _ in range(3):
        shown = region.inner_text()
        expect(region).not_to_have_text(shown, use_inner_text=True)
    expect(region).to_contain_text(re.compile(r"\d\d\d / 9,999"), timeout=30_000)


def test_reads_selects_and_opens_things_while_a_job_counts(worker, visit, operator, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.tick_then_fail.s(str(gate)), owner=operator, title="Orders")
    reached(job, State.RUNNING)
    page = visit(job.get_absolute_url(), operator)
    wait_for_frames(page)
    steps = page.locator("section", has=page.get_by_role("heading", name="Steps"))
    page.get_by_text("Arguments").click()
    steps.locator("li").nth(1).locator("span.min-w-0").evaluate(SELECT)
    page.get_by_role("link", name="Search").focus()
    assert selected(page) == "Tick"
    page.evaluate(WATCH)
    see_it_count(page, steps)
    assert selected(page) == "Tick"
    expect(page.get_by_role("link", name="Search")).to_be_focused()
    expect(page.get_by_text(str(gate))).to_be_visible()
    assert page.evaluate("shifts") == []
    gate.touch()
    page.get_by_text("Traceback").click()
    expect(page.locator("pre", has_text="ValueError: no more ticks")).to_be_visible()
    expect(page.get_by_text(str(gate))).to_be_visible()
    said = [text for text in page.evaluate("said") if text]
    assert said == sorted(set(said), key=said.index)
    assert len(said) <= 5
    assert said[-1] == "Orders: Failed"


def test_ticks_a_row_of_the_list_while_its_job_counts(worker, visit, operator, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.tick_then_fail.s(str(gate)), owner=operator, title="Orders")
    reached(job, State.RUNNING)
    page = visit("/jobs/", operator)
    wait_for_frames(page)
    row = page.locator(f"[data-job='{job.pk}']")
    page.get_by_label("Choose Orders").check()
    row.get_by_text("Tick").evaluate(SELECT)
    page.evaluate(WATCH)
    expect(row).to_contain_text(re.compile(r"[2-9]%"))
    expect(page.get_by_label("Choose Orders")).to_be_checked()
    expect(page.get_by_label("Choose Orders")).to_be_focused()
    assert "Tick" in selected(page)
    assert page.evaluate("shifts") == []
    gate.touch()
    expect(row.locator("[data-job-state=failed]")).to_be_visible()
    expect(page.get_by_label("Choose Orders")).to_be_checked()


def test_says_what_is_left_by_earlier_runs_while_a_job_has_no_total(worker, visit, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.tick_until.s(str(gate)), owner=alice, title="Orders")
    reached(job, State.RUNNING)
    began = Job.objects.get(pk=job.pk).started_at
    for _ in range(3):
        Job.objects.create(
            task=job.task,
            owner=alice,
            state=State.SUCCEEDED,
            started_at=began,
            finished_at=began.replace(year=2099),
        )
    page = visit(job.get_absolute_url(), alice)
    expect(page.get_by_role("region", name="Progress")).to_contain_text(re.compile(r"about \d+ d left"))
    gate.touch()
    expect(page.get_by_role("region", name="Progress")).to_contain_text("took")


def test_follows_the_end_of_a_long_log(worker, visit, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.talk.s(300, str(gate)), owner=alice, title="Orders")
    page = visit(job.get_absolute_url(), alice)
    page.get_by_role("link", name="Search").click()
    expect(page.locator("#job-log")).to_contain_text("line 299")
    page.get_by_role("link", name="Older lines").click()
    expect(page.locator(".log")).to_contain_text("line 50")
    page.get_by_role("link", name="Follow the end").click()
    gate.touch()
    expect(page.locator("#job-log")).to_contain_text("line 599")
    expect(page.get_by_text("line 599")).to_be_in_viewport()
    ended(job)


def test_tabs_through_the_list_and_a_job_and_always_sees_where_it_is(visit, operator):
    job = Job.objects.create(task="t", title="Orders", owner=operator, state=State.RUNNING)
    for path, wanted in (("/jobs/?state=running", "Orders"), (job.get_absolute_url(), "Cancel")):
        page = visit(path, operator)
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED)["name"] == "Skip to content"
        names = []
        for _ in range(45):
            found = page.evaluate(FOCUSED)
            if found["name"] in {"BODY", *names[:1]} and len(names) > 1:
                break
            assert (found["rings"], found["shown"]) == (True, True), (path, found)
            names.append(found["name"])
            page.keyboard.press("Tab")
        assert wanted in names, names
        page.goto(path)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_opens_the_form_of_a_view_by_keyboard_and_leaves_it_with_escape(visit, alice):
    page = visit("/jobs/?state=failed", alice)
    opener = page.get_by_role("button", name="Save view")
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Name")).to_be_hidden()
    expect(opener).to_be_focused()


def test_goes_through_the_console_without_javascript(worker, visit, operator, tmp_path, quick_web):
    operator.user_permissions.add(*Permission.objects.filter(codename__in=["view_audit"]))
    gate = tmp_path / "gate"
    job = start(tasks.talk.s(150, str(gate)), owner=operator, title="Orders of May")
    page = visit("/jobs/", operator, at=quick_web, java_script_enabled=False)
    page.get_by_role("searchbox").fill("may")
    page.get_by_role("button", name="Search").click()
    page.locator("summary", has_text="Filters").click()
    page.get_by_label("Made in").select_option("24h")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("q=may.*time=24h"))
    page.get_by_role("button", name="Save view").click()
    page.get_by_label("Name").fill("May")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("link", name="May", exact=True)).to_have_attribute("aria-current", "page")
    assert SavedView.objects.get().query
    page.get_by_role("link", name="Orders of May").click()
    page.get_by_role("link", name="Search").click()
    expect(page.locator("#job-log")).to_contain_text("line 149")
    gate.touch()
    expect(page.locator(".log")).to_contain_text("line 299", timeout=30_000)
    page.get_by_label("Words").fill("line 7")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".log li")).to_have_count(11)
    ended(job)
    LogLine.objects.bulk_create(
        LogLine(job=job, attempt=1, number=n, level=20, text=f"more {n}", at=job.created_at)
        for n in range(900, 1100)
    )
    page.get_by_role("link", name="Orders of May").click()
    page.get_by_role("link", name="Search").click()
    page.get_by_role("link", name="Older lines").click()
    expect(page.locator(".log")).to_contain_text("line 101")
    page.get_by_role("link", name="Newer lines").click()
    expect(page.locator(".log")).to_contain_text("more 1099")
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("link", name="Workers").click()
    expect(page.get_by_role("heading", name="Queues", exact=True)).to_be_visible()
