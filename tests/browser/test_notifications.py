"""What people are told, in a real browser: the bell, the toasts, the inbox, in several tabs."""

import re

import pytest
from playwright.sync_api import expect

from status.jobs import start
from status.models import Notification
from status.notifications import notify
from status.states import State
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

expect.set_options(timeout=20_000)


def connected(page):
    """Wait until the page has its first frame."""
    wait_until(lambda: page.wait_for_timeout(50) or page.received, 30, "a frame")
    return page


def second_tab(page, path):
    """Another page in the same browser, logged in as the same person."""
    tab = page.context.new_page()
    tab.received = received = []
    tab.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
    tab.goto(path)
    return connected(tab)


def bell(page):
    return page.locator(".bell")


def toasts(page):
    return page.locator("#toasts .note")


def test_gets_a_toast_on_another_page_reads_it_in_a_second_tab_and_the_bell_is_quiet(
    worker, visit, alice, tmp_path
):
    gate = tmp_path / "gate"
    job = reached(start(tasks.deaf.s(str(gate)), owner=alice, title="Orders of May"), State.RUNNING)
    # A page with nothing live on it but the bell.
    first = connected(visit("/jobs/new/profile-csv/", alice))
    second = second_tab(first, "/jobs/notifications/")
    expect(bell(first)).to_have_accessible_name("Notifications")
    expect(second.locator("main")).to_contain_text("Nothing to read")
    gate.touch()
    expect(toasts(first)).to_contain_text("Orders of May")
    expect(toasts(first)).to_contain_text("Succeeded")
    expect(bell(first)).to_have_accessible_name("1 unread notification")
    # Rows do not move under the pointer; what is new is offered.
    second.get_by_role("link", name="Newer notifications").click()
    second.get_by_role("link", name="Orders of May").first.click()
    expect(second).to_have_url(re.compile(rf"/jobs/{job.pk}/$"))
    expect(bell(first)).to_have_accessible_name("Notifications")
    expect(bell(second)).to_have_accessible_name("Notifications")
    expect(toasts(first)).to_have_count(0)


def test_closing_a_toast_reads_it_everywhere(visit, alice):
    first = connected(visit("/jobs/", alice))
    second = second_tab(first, "/jobs/notifications/")
    notify(alice, "Report ready", url="/jobs/new/")
    third = second_tab(first, "/jobs/notifications/")
    for page in (first, second):
        expect(toasts(page)).to_contain_text("Report ready")
    unread = third.locator("[data-unread]")
    expect(unread).to_have_count(1)
    first.get_by_role("button", name="Mark as read: Report ready").click()
    for page in (first, second, third):
        expect(toasts(page)).to_have_count(0)
        expect(bell(page)).to_have_accessible_name("Notifications")
    expect(unread).to_have_count(0)
    expect(third.locator("[data-notification]")).to_have_count(1)


def test_a_job_that_is_watched_to_its_end_makes_no_toast_there_and_is_read(worker, visit, alice, tmp_path):
    gate = tmp_path / "gate"
    job = reached(start(tasks.deaf.s(str(gate)), owner=alice, title="Orders of May"), State.RUNNING)
    elsewhere = connected(visit("/jobs/new/", alice))
    page = second_tab(elsewhere, f"/jobs/{job.pk}/")
    page.bring_to_front()
    gate.touch()
    expect(page.locator("main [data-job-state=succeeded]").first).to_be_visible()
    wait_until(
        lambda: page.wait_for_timeout(50) or Notification.objects.filter(read_at__isnull=False).exists(),
        20,
        "read",
    )
    expect(bell(page)).to_have_accessible_name("Notifications")
    assert not [frame for frame in page.received if 'class="note"' in str(frame)]
    expect(bell(elsewhere)).to_have_accessible_name("Notifications")


def test_marks_all_as_read(visit, alice):
    for number in range(3):
        notify(alice, f"Note {number}")
    page = connected(visit("/jobs/notifications/", alice))
    other = second_tab(page, "/jobs/")
    expect(bell(other)).to_have_accessible_name("3 unread notifications")
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.locator("[data-unread]")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("All read")
    for tab in (page, other):
        expect(bell(tab)).to_have_accessible_name("Notifications")
    assert not Notification.objects.filter(read_at=None).exists()


def test_a_toast_goes_by_itself_and_the_bell_keeps_it(visit, alice):
    page = connected(visit("/jobs/", alice))
    notify(alice, "Report ready")
    expect(toasts(page)).to_be_visible()
    expect(toasts(page)).to_be_hidden(timeout=20_000)
    expect(bell(page)).to_have_accessible_name("1 unread notification")


def test_reads_the_inbox_without_javascript(worker, visit, alice):
    ended(start(tasks.add.s(1, 2), owner=alice, title="Orders of May"))
    notify(alice, "Report ready")
    page = visit("/jobs/", alice, java_script_enabled=False)
    expect(bell(page)).to_have_accessible_name("2 unread notifications")
    bell(page).click()
    page.get_by_role("button", name="Mark as read: Report ready").click()
    expect(bell(page)).to_have_accessible_name("1 unread notification")
    page.get_by_role("link", name="Orders of May").click()
    expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}/$"))
    expect(bell(page)).to_have_accessible_name("Notifications")
