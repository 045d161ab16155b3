"""What people do with workflows, in a real browser, with a real web server and a real worker."""

import re

import pytest
from celery import chain, group
from playwright.sync_api import expect

from status.canvas import member
from status.jobs import start
from tests import tasks
from tests.browser.test_people import badge, is_the_same_page, mark, wait_for_frames
from tests.conftest import ended, reached

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def members(page):
    return page.locator("section", has=page.get_by_role("heading", name="Members"))


def test_watches_a_workflow_and_opens_a_member(worker, visit, alice, tmp_path):
    gate = tmp_path / "gate"
    parts = [
        member(tasks.plus.s(n, 1, None if n < 6 else str(gate)), title=f"photo-{n}.jpg") for n in range(7)
    ]
    parts.append(member(tasks.fail.s("no picture"), title="broken.jpg", may_fail=True))
    job = start(chain(group(parts), member(tasks.touch.si(str(tmp_path / "t")), title="Zip")), owner=alice)
    page = visit(job.get_absolute_url(), alice)
    mark(page)
    inside = members(page)
    expect(inside.get_by_role("link", name="broken.jpg")).to_be_visible()
    expect(inside.get_by_text("ValueError: no picture")).to_be_visible()
    # All of them are there, so they keep their order.
    expect(inside.locator("li li a").first).to_have_text("photo-0.jpg")
    expect(inside.get_by_role("link", name="Zip")).to_be_visible()
    wait_for_frames(page)
    inside.get_by_role("link", name="photo-3.jpg").focus()
    gate.touch()
    expect(badge(page, "succeeded")).to_be_visible()
    expect(page.get_by_text("100%").first).to_be_visible()
    assert is_the_same_page(page)
    expect(inside.get_by_role("link", name="photo-3.jpg")).to_be_focused()
    inside.get_by_role("link", name="photo-3.jpg").click()
    page.wait_for_url(re.compile(str(job.members.get(position=0).members.get(position=3).pk)))
    expect(page.get_by_role("heading", name="photo-3.jpg")).to_be_visible()
    page.get_by_role("link", name="photo-0.jpg").or_(
        page.get_by_role("link", name="Group of 8")
    ).first.click()
    expect(page.get_by_role("heading", name="Group of 8")).to_be_visible()


def test_looks_through_all_members_of_one_state(worker, visit, alice, tmp_path):
    job = ended(start(group(member(tasks.plus.s(n, 1), title=f"Part {n}") for n in range(30)), owner=alice))
    page = visit(job.get_absolute_url(), alice)
    expect(members(page).get_by_role("listitem")).to_have_count(1 + 25 + 1)
    members(page).get_by_role("link", name="Succeeded 30").click()
    expect(page.locator("li[data-job]")).to_have_count(25)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("li[data-job]")).to_have_count(5)


def test_cancels_a_workflow(worker, visit, alice, tmp_path):
    job = start(chain(tasks.until_cancelled.s(str(tmp_path / "c")), tasks.plus.s(1)), owner=alice)
    page = visit(job.get_absolute_url(), alice)
    reached(job, "running")
    page.get_by_role("button", name="Cancel").click()
    expect(badge(page, "cancelled")).to_be_visible()
    expect(members(page).get_by_text("Not run")).to_be_visible()
    page.get_by_role("button", name="Retry").click()
    expect(badge(page, "running")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(badge(page, "cancelled")).to_be_visible()


def test_a_link_that_is_pressed_while_figures_change_is_followed(worker, visit, alice, tmp_path):
    parts = [
        member(tasks.counts_to.s(str(tmp_path), [2, 29, 30, 31], 100), title="Counts"),
        member(tasks.plus.s(1, 1, str(tmp_path / "end")), title="Waits"),
    ]
    job = start(group(parts), owner=alice)
    for row in job.members.all():
        reached(row, "running")
    page = visit(job.get_absolute_url(), alice)
    row = members(page).get_by_role("listitem").filter(has=page.get_by_role("link", name="Counts"))
    link = row.get_by_role("link", name="Counts")

    def count_to(number):
        (tmp_path / str(number)).touch()
        expect(row).to_contain_text(f"{number}%")

    count_to(2)
    # Were the list swapped, what is put into it by hand were gone.
    page.evaluate(
        """() => document.querySelector("section li a.link-plain").parentElement.insertAdjacentHTML(
            "beforeend", "<details open><summary>More</summary><i>of it</i></details>")"""
    )
    link.focus()
    count_to(29)
    expect(link).to_be_focused()
    expect(row.get_by_text("of it")).to_be_visible()
    link.hover()
    page.mouse.down()
    count_to(30)
    page.mouse.up()
    page.wait_for_url(re.compile(str(job.members.get(position=0).pk)))
    expect(page.get_by_role("heading", name="Counts")).to_be_visible()
    (tmp_path / "31").touch()
    (tmp_path / "end").touch()
    ended(job)
