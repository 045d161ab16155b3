"""Every page in both themes, two widths and each language: what axe finds there, and a picture of it.

The pictures are kept in `$STATUS_SCREENSHOTS`, default `.run/screenshots`.
"""

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from playwright.sync_api import expect

from status.audit import on_page
from status.events import Step
from status.jobs import cancel
from status.models import Job, LogLine, SavedView
from status.notifications import notify
from status.states import State
from tests.processes import PROJECT

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SCREENSHOTS = Path(os.environ.get("STATUS_SCREENSHOTS", PROJECT / ".run" / "screenshots"))
WIDTHS = [1280, 390]
THEMES = ["light", "dark"]
LOOKS = [(theme, width, "en") for theme in THEMES for width in WIDTHS]
LOOKS += [("dark", 390, "ar"), ("light", 390, "de")]


RIGHTS = ["change_schedule", "view_audit", "change_queue", "delete_job", "stop_job"]
FARM = "demo.renders.render_on_the_farm"
PROBLEMS = {"404": 404, "403": 403, "403_csrf": 403, "500": 500}
"""Templates of errors, which no address leads to."""


@pytest.fixture
def house(operator) -> dict[str, str]:
    """Jobs in every state, as olga sees them; the address of each page, by the name of its picture."""
    operator.user_permissions.add(*Permission.objects.filter(codename__in=RIGHTS))
    now = timezone.now()
    common = {"task": "demo.tasks.profile_csv", "owner": operator}
    for state in State:
        Job.objects.create(title=f"Orders of May, {state.label}", state=state, **common)
    running = Job.objects.create(
        title="Orders of May",
        state=State.RUNNING,
        started_at=now,
        progress=0.43,
        steps=[
            Step(name="Read", state="done", current=9, total=9).to_wire(),
            Step(name="Import", state="running", current=43, total=100, unit="rows").to_wire(),
        ],
        **common,
    )
    for minutes in (3, 4, 9, 5):
        ended = now + timedelta(minutes=minutes)
        Job.objects.create(title="Orders", state=State.SUCCEEDED, started_at=now, finished_at=ended, **common)
    failed = Job.objects.create(
        title="Orders of June",
        state=State.FAILED,
        failure="error",
        error="ValueError: no column 'price'",
        signature={"args": ["orders/june.csv"], "kwargs": {"api_key": "no secret"}},
        key="import:june",
        traceback="Traceback (most recent call last):\n  …\nValueError: no column 'price'",
        started_at=now,
        finished_at=now,
        **common,
    )
    for number in range(30):
        LogLine.objects.create(
            job=failed,
            attempt=1,
            number=number,
            level=20 + number % 3 * 10,
            text=f"Row {number} read",
            at=now,
        )
    notify(operator, "Orders of June failed", url=failed.get_absolute_url())
    cancelled = Job.objects.create(title="Orders of July", state=State.QUEUED, **common)
    cancel(cancelled, actor=on_page(operator))
    whole = Job.objects.create(
        title="Report of May",
        canvas="group",
        tally={"failed": 2},
        state=State.FAILED,
        finished_at=now,
        **common,
    )
    for position in range(2):
        Job.objects.create(
            title=f"File {position}",
            parent=whole,
            root=whole,
            position=position,
            state=State.FAILED,
            **common,
        )
    SavedView.objects.create(user=operator, name="Failures", query="state=failed")
    interval = IntervalSchedule.objects.create(every=1, period="hours")
    hourly = PeriodicTask.objects.create(name="Render hourly", task=FARM, interval=interval, kwargs="{}")
    crontab = CrontabSchedule.objects.create(minute="30", hour="4", timezone="Europe/Berlin")
    nightly = PeriodicTask.objects.create(name="Render nightly", task=FARM, crontab=crontab, enabled=False)
    until = quote(timezone.now().isoformat())
    return {
        "jobs": "/jobs/",
        "jobs-filtered": "/jobs/?state=failed&task=demo.tasks.profile_csv&kind=single&time=7d&q=orders",
        "jobs-no-match": "/jobs/?state=all&q=nosuchword",
        "jobs-chosen": "/jobs/?state=failed&select=all",
        "selection": f"/jobs/selection/?action=cancel&all=1&query=&until={until}",
        "workflow": whole.get_absolute_url(),
        "members": f"{whole.get_absolute_url()}members/?state=failed",
        "members-none": f"{whole.get_absolute_url()}members/?state=queued",
        "log-no-match": f"{failed.get_absolute_url()}lines/?q=nosuchword",
        "cancelled": cancelled.get_absolute_url(),
        "audit": "/jobs/audit/",
        "schedule-choose": "/jobs/schedules/new/",
        "schedule-new": f"/jobs/schedules/new/?task={FARM}",
        "schedule-interval": f"/jobs/schedules/{hourly.pk}/",
        "schedule-crontab": f"/jobs/schedules/{nightly.pk}/",
        "schedule-delete": f"/jobs/schedules/{nightly.pk}/deletion/",
        "queue": "/jobs/house/queues/default/",
        "running": running.get_absolute_url(),
        "failed": failed.get_absolute_url(),
        "log": f"{failed.get_absolute_url()}lines/",
        "startables": "/jobs/new/",
        "start": "/jobs/new/profile-csv/",
        "tokens": "/jobs/tokens/",
        "notifications": "/jobs/notifications/",
        "preferences": "/jobs/notifications/preferences/",
        "house": "/jobs/house/",
        "schedules": "/jobs/schedules/",
        "status": "/status/",
    }


EMPTY = {
    "jobs-none": "/jobs/?state=all",
    "tokens-none": "/jobs/tokens/",
    "notifications-none": "/jobs/notifications/",
}
"""As somebody sees them who has nothing yet."""

TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
CUT_OFF = """() => {
    const wide = document.documentElement.clientWidth;
    const scrolls = each => each && each !== document.documentElement
        && (["auto", "scroll"].includes(getComputedStyle(each).overflowX) || scrolls(each.parentElement));
    return [...document.querySelectorAll("main *, footer *, header *")].filter(each => {
        const box = each.getBoundingClientRect();
        const isSeen = box.width > 1 && box.height > 1 && getComputedStyle(each).visibility === "visible";
        return isSeen && (box.right > wide + 1 || box.left < -1) && !scrolls(each.parentElement);
    }).map(each => each.outerHTML.slice(0, 120));
}"""
"""What stands beyond the edge of the window, and in nothing that scrolls."""
MOTION = """() => [...document.querySelectorAll("*")].flatMap(each => ["", "::before", "::after"].map(part => {
    const style = getComputedStyle(each, part || null);
    const moves = style.animationName !== "none" && !style.animationTimingFunction.startsWith("steps(");
    const changes = style.transitionProperty !== "none" && parseFloat(style.transitionDuration) > 0;
    return moves ? `${each.className}${part} animates ${style.animationName}`
        : changes ? `${each.className}${part} changes ${style.transitionProperty}` : "";
})).filter(Boolean)"""
"""What moves; a clock that only shows something when time has passed does not."""


def show(page, house, name):
    """Open the page of that name."""
    if name in PROBLEMS:
        answer = {
            "status": PROBLEMS[name],
            "content_type": "text/html",
            "body": render_to_string(f"{name}.html"),
        }
        page.route("**/problem/", lambda route: route.fulfill(**answer), times=1)
        page.goto("/problem/")
    elif name == "schedule-refused":
        page.goto(house["schedule-crontab"])
        page.locator("#id_minute").fill("nonsense")
        page.locator("main form button.button-primary").last.click()
        expect(page.locator("main .errorlist").first).to_be_visible()
    elif name in EMPTY:
        as_newcomer(page, EMPTY[name])
    else:
        page.goto(house[name])


def as_newcomer(page, path):
    """Open a page as somebody who has nothing yet; the next one is opened as before."""
    cookies = page.context.cookies()
    client = Client()
    client.force_login(get_user_model().objects.get_or_create(username="nora")[0])
    session = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": page.url}])
    page.goto(path)
    page.context.add_cookies(cookies)


def found_by_axe(page, name):
    """What is serious or critical on a page, as sentences."""
    return [
        f"{name}: {violation['help']} ({violation['id']}): {node['html'][:200]}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(("theme", "width", "language"), LOOKS)
def test_axe_finds_nothing_serious_on_any_page(visit, operator, house, theme, width, language):
    folder = SCREENSHOTS / (f"{theme}-{width}" if language == "en" else f"{theme}-{width}-{language}")
    folder.mkdir(parents=True, exist_ok=True)
    look = {"color_scheme": theme, "viewport": {"width": width, "height": 900}, "locale": language}
    page = visit("/jobs/", operator, **look)
    assert page.locator("html").get_attribute("lang") == language
    found, too_wide = [], []
    for name in [*house, *EMPTY, *PROBLEMS, "schedule-refused"]:
        show(page, house, name)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        # What is folded away belongs to the page.
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        found += found_by_axe(page, name)
        if page.evaluate(TOO_WIDE):
            too_wide.append(name)
    assert not found, "\n".join(found)
    assert too_wide == []


def test_chooses_dark_and_later_what_the_system_says(visit, operator):
    page = visit("/jobs/", operator, color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    page.wait_for_function("light => getComputedStyle(document.body).backgroundColor !== light", arg=light)
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    page.goto("/jobs/new/")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.get_by_role("button", name="As the system").click()
    page.wait_for_function("light => getComputedStyle(document.body).backgroundColor === light", arg=light)


def test_chooses_a_language_that_is_read_from_right_to_left(visit, operator):
    page = visit("/jobs/new/", operator)
    page.locator("#language").select_option("ar")
    page.locator("form:has(#language) button").click()
    page.wait_for_selector("html[lang=ar][dir=rtl]")
    assert page.url.endswith("/jobs/new/")
    logo, leave = page.locator("header a").first.bounding_box(), page.locator("header form").bounding_box()
    assert logo["x"] > leave["x"]


@pytest.mark.parametrize(("width", "scale"), [(640, 2), (320, 1)])
def test_at_twice_the_size_and_on_the_narrowest_phone_nothing_is_cut_off(
    visit, operator, house, width, scale
):
    viewport = {"width": width, "height": 450}
    page = visit("/jobs/", operator, viewport=viewport, device_scale_factor=scale)
    found = []
    for name in [*house, *EMPTY, *PROBLEMS]:
        show(page, house, name)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        found += [(name, "the page")] if page.evaluate(TOO_WIDE) else []
        found += [(name, text) for text in page.evaluate(CUT_OFF)]
    assert found == [], found


def test_who_wants_no_motion_gets_none(visit, operator, house):
    page = visit("/jobs/", operator, reduced_motion="reduce")
    found = []
    for name in [*house, *EMPTY, *PROBLEMS]:
        show(page, house, name)
        found += [(name, motion) for motion in page.evaluate(MOTION)]
    assert found == [], found
