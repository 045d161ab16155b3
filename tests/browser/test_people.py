"""What people do, in a real browser, with a real web server and a real worker."""

import csv
import io
import re

import pytest
from django.contrib.auth.models import Permission
from playwright.sync_api import expect

from status.broadcast import broadcast
from status.jobs import start
from status.models import Job
from status.states import State
from tests import tasks
from tests.browser.conftest import QUICK
from tests.conftest import ended, reached
from tests.processes import Web, start_worker, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

expect.set_options(timeout=20_000)


def people_csv(rows):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["name", "age", "joined"])
    writer.writerows([f"Person {n}", 18 + n % 60, f"2024-0{1 + n % 9}-1{n % 10}"] for n in range(rows))
    return {"name": "people.csv", "mimeType": "text/csv", "buffer": text.getvalue().encode()}


def badge(page, state):
    """The state badge of a job's page."""
    return page.locator(f"main [data-job-state={state}]").first


def is_the_same_page(page):
    """Whether the page has not been loaded anew since `mark`."""
    return page.evaluate("window.marked === true")


def mark(page):
    """Leave a mark which a reload would wipe out."""
    page.evaluate("window.marked = true")


def wait_for_frames(page, count=1):
    """Wait until the page has got so many frames over its socket."""
    # Playwright takes in events only while it waits for something.
    wait_until(lambda: page.wait_for_timeout(50) or len(page.received) >= count, 30, "frames")


def test_logs_in_uploads_a_csv_and_watches_it_finish(worker, visit, alice):
    page = visit("/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("alice")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Start a job").first.click()
    page.get_by_role("link", name="Profile a CSV").click()
    page.locator("input[name=file]").set_input_files(files=[people_csv(60_000)])
    page.locator("main form button").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}/$"))
    mark(page)
    expect(page.locator("main progress").first).to_be_visible()
    expect(badge(page, "succeeded")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("link", name=re.compile("profile.json"))).to_be_visible()
    expect(page.get_by_role("table").get_by_text("joined")).to_be_visible()
    assert is_the_same_page(page)
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("profile.csv")).click()
    content = download.value.path().read_text()
    assert "age" in content


def test_gets_a_message_for_a_file_that_is_no_csv(visit, alice):
    page = visit("/jobs/new/profile-csv/", alice)
    page.locator("input[name=file]").set_input_files(
        files=[{"name": "book.xlsx", "mimeType": "text/csv", "buffer": b"PK\x03\x04" + bytes(500)}]
    )
    page.locator("main form button").click()
    expect(page.locator("[aria-invalid=true]")).to_be_visible()
    expect(page.locator("main")).to_contain_text("This is a ZIP archive")
    assert not Job.objects.exists()


def test_cancels_a_running_job(worker, visit, alice, tmp_path):
    job = reached(start(tasks.until_cancelled.s(str(tmp_path / "cleaned")), owner=alice), State.RUNNING)
    page = visit(f"/jobs/{job.pk}/", alice)
    mark(page)
    button = page.get_by_role("button", name="Cancel")
    button.click()
    expect(badge(page, "cancelled")).to_be_visible()
    expect(button).to_be_hidden()
    expect(page.locator("#job-log")).to_contain_text("cleaning up")
    assert is_the_same_page(page)


def test_stops_a_job_that_does_not_react(worker, visit, alice, tmp_path):
    alice.user_permissions.add(Permission.objects.get(codename="stop_job"))
    job = start(tasks.deaf.s(str(tmp_path / "never")).set(queue="later"), owner=alice, title="Deaf")
    page = visit(f"/jobs/{job.pk}/", alice)
    mark(page)
    expect(badge(page, "queued")).to_be_visible()
    # The page was made before it began; it is offered all the same.
    later = start_worker(tmp_path / "log", "-c", "1", queues="later", name="later")
    try:
        cancel, stop = page.get_by_role("button", name="Cancel"), page.get_by_role("button", name="Stop now")
        expect(badge(page, "running")).to_be_visible()
        expect(stop).to_be_hidden()
        cancel.focus()
        page.keyboard.press("Enter")
        expect(stop).to_be_visible()
        expect(cancel).to_be_focused()
        expect(cancel).to_have_accessible_name("Cancel (asked already)")
        expect(page.locator("header", has=stop)).to_contain_text(
            re.compile(r"since \d\d:\d\d:\d\d, [4-9] s ago")
        )
        questions = []
        page.once("dialog", lambda dialog: (questions.append(dialog.message), dialog.dismiss()))
        stop.click()
        wait_until(lambda: page.wait_for_timeout(50) or questions, 10, "a question")
        page.once("dialog", lambda dialog: dialog.accept())
        stop.click()
        expect(badge(page, "cancelled")).to_be_visible()
        expect(page.locator("#job-log")).to_contain_text("Stopped at once by alice")
        expect(stop).to_be_hidden()
        expect(cancel).to_be_hidden()
        expect(page.get_by_role("button", name="Retry")).to_be_visible()
        assert is_the_same_page(page)
        assert questions == ["Stop this job at once? What it is at stays unfinished."]
    finally:
        later.stop()


def test_is_told_why_a_job_cannot_be_stopped(visit, alice):
    alice.user_permissions.add(Permission.objects.get(codename="stop_job"))
    columns = {"state": State.RUNNING, "seq": 1, "stoppable": True, "worker": "gone@test"}
    job = Job.objects.create(task="t", title="T", owner=alice, **columns)
    page = visit(f"/jobs/{job.pk}/", alice)
    page.get_by_role("button", name="Cancel").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Stop now").click()
    expect(page.get_by_role("alert")).to_contain_text("does not answer")


def test_stops_without_javascript(worker, visit, alice, tmp_path, quick_web):
    alice.user_permissions.add(Permission.objects.get(codename="stop_job"))
    job = reached(start(tasks.deaf.s(str(tmp_path / "never")), owner=alice), State.RUNNING)
    page = visit(f"/jobs/{job.pk}/", alice, at=quick_web, java_script_enabled=False)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Stop now").click()
    expect(badge(page, "cancelled")).to_be_visible()


def test_sees_why_a_job_failed_and_staff_sees_where(worker, visit, alice, operator):
    job = start(tasks.fail.s("the file has no header"), owner=alice)
    page = visit(f"/jobs/{job.pk}/", alice)
    expect(badge(page, "failed")).to_be_visible()
    expect(page.locator("main")).to_contain_text("the file has no header")
    expect(page.get_by_text("Traceback")).to_have_count(0)
    ended(job)
    staff = visit(f"/jobs/{job.pk}/", operator)
    staff.get_by_text("Traceback").first.click()
    expect(staff.get_by_text("raise ValueError(text)")).to_be_visible()


def test_two_people_watch_one_job(worker, visit, alice, operator, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.import_rows.s(400, str(gate)), owner=alice)
    pages = [visit(f"/jobs/{job.pk}/", user) for user in (alice, operator)]
    for page in pages:
        expect(page.locator("#job-log")).to_contain_text("half of 400")
        expect(page.locator("#job-log li")).to_have_count(2)
        expect(page.locator("main")).to_contain_text("Import")
    gate.touch()
    for page in pages:
        expect(badge(page, "succeeded")).to_be_visible()
        expect(page.get_by_role("link", name="See the orders")).to_be_visible()
        expect(page.locator("#job-log li")).to_have_count(2)


def test_is_told_of_new_jobs_and_no_row_moves(worker, visit, alice):
    first = ended(start(tasks.add.s(1, 2), owner=alice, title="First"))
    page = visit("/", alice)
    expect(page.locator("[data-job]")).to_have_count(1)
    ended(start(tasks.add.s(1, 2), owner=alice, title="Second"))
    news = page.get_by_role("link", name="1 new job")
    expect(news).to_be_visible()
    expect(page.locator("[data-job]")).to_have_count(1)
    news.click()
    expect(page.locator("[data-job]")).to_have_count(2)
    expect(page.locator("[data-job]").nth(1)).to_have_attribute("data-job", str(first.pk))


def test_watches_the_list_while_a_job_ends(worker, visit, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.deaf.s(str(gate)), owner=alice)
    page = visit("/", alice)
    row = page.locator(f"[data-job='{job.pk}']")
    expect(row.locator("[data-job-state=running]")).to_be_visible()
    gate.touch()
    expect(row.locator("[data-job-state=succeeded]")).to_be_visible()


def test_reads_the_status_without_login(visit, db):
    broadcast("site-status", {"status": "IDLE"})
    page = visit("/status/")
    expect(page.locator("main")).to_contain_text("Current status:")
    expect(page.locator("main")).to_contain_text("IDLE")
    # The socket may not be open yet; then the first frame brings the value.
    broadcast("site-status", {"status": "RUNNING"})
    expect(page.locator("main")).to_contain_text("RUNNING")


def test_the_page_comes_right_after_the_web_server_was_killed(worker, visit, alice, tmp_path):
    web = Web(tmp_path / "log")
    try:
        gate = tmp_path / "gate"
        job = start(tasks.import_rows.s(400, str(gate)), owner=alice)
        page = visit(f"/jobs/{job.pk}/", alice, at=web)
        mark(page)
        expect(page.locator("#job-log li")).to_have_count(2)
        wait_for_frames(page)
        web.kill()
        gate.touch()
        assert ended(job).state == State.SUCCEEDED
        expect(badge(page, "running")).to_be_visible()
        web.start()
        web.wait_until_serving()
        expect(badge(page, "succeeded")).to_be_visible(timeout=60_000)
        expect(page.locator("#job-log li")).to_have_count(2)
        assert is_the_same_page(page)
    finally:
        web.stop()


def test_the_page_comes_right_by_polling_while_sockets_are_refused(worker, visit, alice, tmp_path):
    web = Web(tmp_path / "log", "tests.no_sockets:application", **QUICK)
    try:
        gate = tmp_path / "gate"
        job = start(tasks.import_rows.s(400, str(gate)), owner=alice)
        page = visit(f"/jobs/{job.pk}/", alice, at=web)
        mark(page)
        expect(page.locator("#job-log li")).to_have_count(2)
        expect(page.get_by_text("Connection lost")).to_be_visible()
        gate.touch()
        expect(badge(page, "succeeded")).to_be_visible()
        assert is_the_same_page(page)
    finally:
        web.stop()


def test_a_page_with_a_socket_does_not_poll(worker, visit, alice, tmp_path, quick_web):
    job = reached(start(tasks.until_cancelled.s(str(tmp_path / "cleaned")), owner=alice), State.RUNNING)
    page = visit(f"/jobs/{job.pk}/", alice, at=quick_web)
    polls = []
    page.on("request", lambda request: polls.append(request.url) if "/frame/" in request.url else None)
    wait_for_frames(page, 40)
    assert polls == []
    expect(page.get_by_text("Connection lost")).to_be_hidden()
    page.get_by_role("button", name="Cancel").click()
    expect(badge(page, "cancelled")).to_be_visible()


def test_works_without_javascript(worker, visit, alice, quick_web):
    page = visit("/login/", at=quick_web, java_script_enabled=False)
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("alice")
    page.get_by_role("button", name="Log in").click()
    page.goto("/jobs/new/profile-csv/")
    page.locator("input[name=file]").set_input_files(files=[people_csv(30_000)])
    page.locator("main form button").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}/$"))
    expect(badge(page, "succeeded")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("link", name=re.compile("profile.json"))).to_be_visible()


def test_cancels_without_javascript(worker, visit, alice, tmp_path, quick_web):
    job = reached(start(tasks.until_cancelled.s(str(tmp_path / "cleaned")), owner=alice), State.RUNNING)
    page = visit(f"/jobs/{job.pk}/", alice, at=quick_web, java_script_enabled=False)
    page.get_by_role("button", name="Cancel").click()
    expect(badge(page, "cancelled")).to_be_visible()


def test_keeps_details_open_and_focus_while_the_job_moves(worker, visit, alice, tmp_path):
    job = reached(start(tasks.until_cancelled.s(str(tmp_path / "cleaned")), owner=alice), State.RUNNING)
    page = visit(f"/jobs/{job.pk}/", alice)
    page.get_by_role("button", name="Cancel").focus()
    before = page.locator("main progress").first.get_attribute("value")
    expect(page.locator("main")).not_to_contain_text("100 %")
    for _ in range(3):
        shown = page.locator("main").inner_text()
        expect(page.locator("main")).not_to_have_text(shown)
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    assert before is None or float(before) <= 1
    page.keyboard.press("Enter")
    expect(badge(page, "cancelled")).to_be_visible()


def test_retries_a_failed_job_from_its_page(worker, visit, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.fail_without.s(str(gate)), owner=alice)
    page = visit(f"/jobs/{job.pk}/", alice)
    button = page.get_by_role("button", name="Retry")
    expect(button).to_be_visible()
    gate.touch()
    button.click()
    expect(badge(page, "succeeded")).to_be_visible()
    expect(page.locator("#job-log li")).to_have_count(2)
    expect(page.locator("#job-log")).to_contain_text("Attempt 2")
    expect(button).to_be_hidden()


def test_runs_a_profile_again_with_the_same_file(worker, visit, alice):
    page = visit("/jobs/new/profile-csv/", alice)
    page.locator("input[name=file]").set_input_files(files=[people_csv(50)])
    page.locator("main form button").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}/$"))
    expect(badge(page, "succeeded")).to_be_visible()
    page.get_by_role("link", name="Run again").click()
    expect(page.locator("main")).to_contain_text("people.csv")
    page.locator("main form button").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}/$"))
    expect(badge(page, "succeeded")).to_be_visible()
    assert Job.objects.count() == 2
