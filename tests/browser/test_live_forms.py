"""Forms that start jobs over the page's socket, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from status.models import Job
from tests.browser.conftest import QUICK
from tests.processes import Web

pytestmark = [pytest.mark.browser, pytest.mark.workers, pytest.mark.django_db(transaction=True)]

expect.set_options(timeout=20_000)
SPAN = "/jobs/new/count-span/"


@pytest.fixture(scope="module")
def start_web(tmp_path_factory, django_db_setup) -> Iterator[Web]:
    """A web server with startables of the tests, and a quick heartbeat."""
    process = Web(tmp_path_factory.mktemp("forms") / "log", "tests.programs.asgi:application", **QUICK)
    yield process
    process.kill()


def goes_over_the_socket(page):
    expect(page.locator("#live-senders [ws-send]")).to_have_count(1)
    return page


def fill(page, first, last):
    page.get_by_label("First row").fill(str(first))
    page.get_by_label("Last row").fill(str(last))


def press_start(page):
    page.get_by_role("button", name="Start").click()


def test_starts_a_job_without_leaving_the_page_watches_it_and_starts_another(worker, visit, start_web, alice):
    page = goes_over_the_socket(visit(SPAN, alice, at=start_web))
    loads = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    fill(page, 1, 40)
    page.get_by_label("Columns").select_option(["a", "c"])
    press_start(page)
    expect(page.get_by_role("status").filter(has_text="Started: Count a span")).to_be_focused()
    shown = page.locator("#start-count-span-jobs")
    expect(shown.locator("[data-job-state=succeeded]")).to_be_visible()
    [job] = Job.objects.all()
    assert (job.owner, job.startable) == (alice, "count-span")
    assert job.params == {"first": ["1"], "last": ["40"], "columns": ["a", "c"]}
    # The form is as new, and what it starts next is another job.
    expect(page.get_by_label("First row")).to_have_value("")
    goes_over_the_socket(page)
    fill(page, 1, 2)
    press_start(page)
    expect(shown.get_by_role("link", name="Count a span")).to_have_count(2)
    expect(shown.locator("[data-job-state=succeeded]")).to_have_count(2)
    assert Job.objects.count() == 2
    assert loads == []


def test_sees_what_is_wrong_beside_the_field_and_keeps_what_was_typed(visit, start_web, alice):
    page = goes_over_the_socket(visit(SPAN, alice, at=start_web))
    fill(page, 7, 3)
    press_start(page)
    last = page.get_by_label("Last row")
    expect(last).to_be_focused()
    expect(last).to_have_attribute("aria-invalid", "true")
    expect(last).to_have_accessible_description("Counted as well. The last comes before the first.")
    expect(last).to_have_value("3")
    expect(page.get_by_label("First row")).to_have_value("7")
    fill(page, 1, 5000)
    press_start(page)
    expect(page.get_by_text("More than a thousand rows.")).to_be_visible()
    assert not Job.objects.exists()


def test_what_was_sent_while_the_server_was_away_starts_one_job_when_it_is_back(
    worker, visit, start_web, alice
):
    page = goes_over_the_socket(visit(SPAN, alice, at=start_web))
    page.evaluate("document.body.addEventListener('htmx:wsClose', () => { document.title = 'closed' })")
    fill(page, 1, 3)
    start_web.kill()
    expect(page).to_have_title("closed")
    # htmx keeps both, and sends both.
    press_start(page)
    press_start(page)
    start_web.start()
    start_web.wait_until_serving()
    expect(page.locator("#start-count-span-jobs [data-job-state=succeeded]")).to_have_count(1)
    assert Job.objects.count() == 1


def test_a_started_job_stays_live_after_the_server_was_away(worker, visit, start_web, alice, tmp_path):
    gate = tmp_path / "gate"
    page = goes_over_the_socket(visit("/jobs/new/count-rows/", alice, at=start_web))
    page.get_by_label("Count").fill("40")
    page.get_by_label("Gate").fill(str(gate))
    press_start(page)
    shown = page.locator("#start-count-rows-jobs")
    expect(shown.locator("[data-job-state=running]")).to_be_visible()
    start_web.kill()
    start_web.start()
    start_web.wait_until_serving()
    gate.touch()
    expect(shown.locator("[data-job-state=succeeded]")).to_be_visible()


def test_without_a_socket_and_without_javascript_the_form_posts_as_any_other(worker, visit, web, alice):
    for options in ({"java_script_enabled": False}, {}):
        page = visit("/jobs/new/render-on-the-farm/", alice, at=web, **options)
        if not options:
            page.route_web_socket("**", lambda socket: socket.close())
            page.reload()
        press_start(page)
        expect(page.get_by_role("heading", name="Render on the farm")).to_be_visible()
        expect(page).to_have_url(f"{web.url}/jobs/{Job.objects.latest('created_at').pk}/")
    assert Job.objects.count() == 2
