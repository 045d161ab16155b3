"""Every page in both themes, two widths and each language: what axe finds there, and a picture of it.

The pictures are kept in `$STATUS_SCREENSHOTS`, default `.run/screenshots`.
"""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone

from status.events import Step
from status.models import Job, LogLine
from status.notifications import notify
from status.states import State
from tests.processes import PROJECT

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SCREENSHOTS = Path(os.environ.get("STATUS_SCREENSHOTS", PROJECT / ".run" / "screenshots"))
WIDTHS = [1280, 390]
THEMES = ["light", "dark"]
LOOKS = [(theme, width, "en") for theme in THEMES for width in WIDTHS]
LOOKS += [("dark", 390, "ar"), ("light", 390, "de")]


@pytest.fixture
def house(operator) -> dict[str, str]:
    """Jobs in every state, as olga sees them; the address of each page, by the name of its picture."""
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
    return {
        "jobs": "/jobs/",
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
    for name, path in house.items():
        page.goto(path)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        found += found_by_axe(page, name)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
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


def test_at_twice_the_size_nothing_is_cut_off(visit, operator, house):
    page = visit("/jobs/", operator, viewport={"width": 640, "height": 450}, device_scale_factor=2)
    for path in house.values():
        page.goto(path)
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), path
