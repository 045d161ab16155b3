"""The templates: what a strict Content-Security-Policy, the hub and screen readers expect of them."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template.loader import get_template, render_to_string
from django.test import RequestFactory
from django.test.html import Element, parse_html
from django.urls import include, path

from status.events import Line, Step
from status.headers import POLL_HEADER
from status.models import Attachment, Job
from status.rendering import beat, last_beat
from status.states import Failure, State
from status.wording import counted, phase, speed

# For `test_base_leaves_out_what_the_project_lacks`: a project that has nothing but this app.
urlpatterns = [path("jobs/", include("status.urls"))]

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "templates").rglob("*.html"))
PARTIALS = sorted((ROOT / "templates/status/partials").glob("*.html"))
NOT_OF_A_JOB = {"beat", "beat_last", "bell", "count", "current_status", "live_note", "log_lines", "new_jobs"}
NOT_OF_A_JOB |= {"note_icon", "senders", "socket", "step", "toast"}
JOB_PARTIALS = [f"status/partials/{source.name}" for source in PARTIALS if source.stem not in NOT_OF_A_JOB]
CLOCK = "status/partials/cancelling.html"
NASTY = "<b>&\"'"
ESCAPED = "&lt;b&gt;&amp;&quot;&#x27;"
NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)

SITUATIONS: dict[str, dict[str, object]] = {
    "queued": {"state": State.QUEUED, "started_at": None},
    "running": {"state": State.RUNNING, "progress": 0.436, "rate": 1204.0, "time_left_seconds": 125.0},
    "running, total unknown": {"state": State.RUNNING, "progress": None},
    "running, no step yet": {"state": State.RUNNING, "steps": []},
    "running again": {"state": State.RUNNING, "attempt": 2, "error": NASTY},
    "cancelling": {"state": State.RUNNING, "progress": 0.3, "cancel_requested_at": NOON},
    "cancelling, may be stopped": {
        "state": State.RUNNING,
        "progress": None,
        "cancel_requested_at": NOON,
        "stoppable": True,
    },
    "waiting": {"state": State.WAITING, "next_at": NOON, "error": NASTY},
    "waiting, no time known": {"state": State.WAITING},
    "succeeded": {"state": State.SUCCEEDED, "finished_at": NOON, "result": {"url": "/r/", "label": NASTY}},
    "succeeded, other result": {"state": State.SUCCEEDED, "finished_at": NOON, "result": [NASTY, 1]},
    "succeeded, no result": {"state": State.SUCCEEDED, "finished_at": NOON},
    "failed": {"state": State.FAILED, "finished_at": NOON, "failure": Failure.ERROR, "traceback": NASTY},
    "failed, out of time": {"state": State.FAILED, "finished_at": NOON, "failure": Failure.TIMEOUT},
    "failed, worker lost": {"state": State.FAILED, "finished_at": NOON, "failure": Failure.WORKER_LOST},
    "failed, end not noted": {"state": State.FAILED},
    "cancelled": {"state": State.CANCELLED, "finished_at": NOON},
    "cancelled before it began": {
        "state": State.CANCELLED,
        "finished_at": NOON,
        "started_at": None,
        "steps": [],
    },
}


def make_job(situation: str = "running", **fields: object) -> Job:
    """A job that is in no table: a partial that needed a query would fail."""
    steps = [
        Step(name="Read", state="done", current=2048, total=4096, unit="bytes", seconds=4.2),
        Step(name=NASTY, state="running", current=1204, total=5000, unit="rows", seconds=62.0, detail=NASTY),
        Step(name="Write report"),
    ]
    columns = {
        "id": UUID(int=7),
        "title": NASTY,
        "task": "orders.tasks.import_orders",
        "created_at": NOON - timedelta(minutes=3),
        "started_at": NOON - timedelta(minutes=2),
        "steps": [step.to_wire() for step in steps],
        "file_count": 1,
    }
    job = Job(**{**columns, **SITUATIONS[situation], **fields})
    job.files = [Attachment(id=UUID(int=8), job_id=job.id, name=NASTY, size=2048)]
    return job


def render(partial: str, **context: object) -> str:
    return render_to_string(partial, context)


def only_element(html: str) -> Element:
    """The one element that `html` consists of."""
    root = parse_html(html)
    assert root.name, f"not exactly one element: {html}"
    return root


def attributes(element: Element) -> dict[str, str]:
    return {name: value for name, value in element.attributes if value is not None}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_nothing_the_content_security_policy_refuses(source):
    text = source.read_text()

    assert not re.search(r"\sstyle\s*=", text)
    htmx = r"""<script src="{% static "django_htmx/[\w./-]+\.min\.js" %}" defer></script>"""
    assert not re.search(r"<(script|style)\b", re.sub(htmx, "", text))
    assert not re.search(r"\son[a-z]+\s*=", text)
    assert not re.search(r"\bhx-on\b|\bjavascript:|=['\"]js:", text)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_class_names_are_whole(source):
    """Tailwind finds class names by reading the files, so none may be put together when it is rendered."""
    text = re.sub(r"\{#.*?#\}", "", source.read_text())
    text = re.sub(r"\{% *(else|elif [^%]*) *%\}", " ", text)
    text = re.sub(r"\{\{.*?\}\}", "\1", re.sub(r"\{%.*?%\}", "\0", text))

    for classes in re.findall(r'\bclass="([^"]*)"', text):
        assert "\1" not in classes, classes
        assert not re.search("[^\\s\0]\0+[^\\s\0]|-\0", classes), classes


PHYSICAL = re.compile(
    r"(?:^|[\s\"':!])-?(?:m[lr]|p[lr]|left|right|inset-x|border-[lr]|rounded-(?:[lr]|[tb][lr])|scroll-[mp][lr]"
    r"|text-(?:left|right)|float-(?:left|right)|clear-(?:left|right)|space-x|divide-x)(?:-|[\s\"']|$)"
)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_nothing_is_at_the_left_or_right(source):
    """Classes say start and end: which side that is depends on the language."""
    for classes in re.findall(r'\bclass="([^"]*)"', source.read_text()):
        assert not PHYSICAL.search(classes), classes


def test_the_style_sheet_knows_no_left_and_right():
    css = re.sub(r"/\*.*?\*/", "", (ROOT / "static/src/app.css").read_text(), flags=re.S)
    assert not re.findall(r"[\w-]*(?:-(?:left|right)\b|\b(?<![-\w])(?:left|right)(?=\s*:))[\w-]*", css)
    for name, values in re.findall(r"(padding|margin|inset|border-width):\s*([^;]+);", css):
        sides = re.split(r"\s+(?![^(]*\))", values.strip())
        assert len(sides) < 4 or sides[1] == sides[3], f"{name}: {values}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_code_says_its_direction(source):
    """It is written from left to right on every page, or as its first letters are."""
    text = re.sub(r"<pre [^>]*\bdir=.*?</pre>", "", source.read_text(), flags=re.S)
    for element in re.findall(r"<(?:pre|code)\b[^>]*>", text):
        assert " dir=" in element, element


MARKED = re.compile(
    r"\{#.*?#\}|\{% comment %\}.*?\{% endcomment %\}|\{% blocktranslate.*?\{% endblocktranslate %\}|\{[{%].*?[%}]\}",
    re.S,
)
SPOKEN = re.compile(r"""\b(?:aria-label|aria-valuetext|title|alt|placeholder|label)=(["'])(.*?)\1""")
NAMES = {"Celery", "p50", "p95"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_every_word_is_marked_for_translation(source):
    text = MARKED.sub("", source.read_text())
    said = [value for _quote, value in SPOKEN.findall(text)] + [re.sub(r"<[^>]*>", " ", text)]
    words = {word for part in said for word in re.findall(r"[^\W\d_]\w+", re.sub(r"&\w+;", " ", part))}
    assert words <= NAMES


@pytest.mark.parametrize("source", PARTIALS, ids=lambda source: source.name)
def test_partials_know_no_request(source):
    """One rendering serves everybody who may see the job."""
    tags = " ".join(re.findall(r"\{[{%].*?[%}]\}", source.read_text()))

    assert not re.search(r"\b(request|user|perms|csrf_token|messages|now)\b", tags)


def test_every_state_has_a_colour():
    css = (ROOT / "static/src/app.css").read_text()

    for state in State.values:
        assert f'[data-job-state="{state}"]' in css
        assert f'[data-state="{state}"]' in css


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("partial", JOB_PARTIALS)
def test_job_partial_renders(partial, situation):
    html = render(partial, job=make_job(situation))

    parse_html(html)
    assert "<b>" not in html
    assert NASTY not in html


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("partial", sorted({*JOB_PARTIALS} - {CLOCK}))
def test_equal_values_render_equal_html(partial, situation):
    """What is equal is not sent again, so an open `<details>` stays open."""
    html = render(partial, job=make_job(situation))

    with mock.patch("django.utils.timezone.now", return_value=NOON + timedelta(days=400)):
        assert render(partial, job=make_job(situation)) == html


@pytest.mark.parametrize("partial", JOB_PARTIALS)
def test_no_id_inside_a_region(partial):
    """The same partial may stand on a page twice."""
    for situation in SITUATIONS:
        assert not re.search(r"\sid=", render(partial, job=make_job(situation)))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_badge_says_the_state(situation):
    job = make_job(situation)

    badge = only_element(render("status/partials/badge.html", job=job))

    found = dict(badge.attributes)
    assert found["data-job-state"] == job.state
    assert ("data-cancelling" in found) == job.is_cancelling
    assert ("data-ended" in found) == (not job.is_live)
    assert ("data-stoppable" in found) == (job.is_cancelling and job.stoppable)
    assert ("Cancelling" if job.is_cancelling else job.get_state_display()) in str(badge)
    assert "<svg" in str(badge)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_bar_is_a_native_progress(situation):
    job = make_job(situation)

    bar = only_element(render("status/partials/bar.html", job=job))

    found = attributes(bar)
    assert bar.name == "progress"
    assert found["aria-label"]
    assert found["aria-valuetext"].startswith(phase(job))
    if job.state == State.RUNNING and job.progress is None:
        assert "value" not in found
    else:
        assert found["value"] == str(job.percent or 0)


def test_progress_shows_numbers():
    text = render("status/partials/progress.html", job=make_job("running"))

    for expected in ("Step 2 of 3", "43%", "1,204 / 5,000 rows", "1,204 rows/s", "2 min 5 s left"):
        assert expected in text


@pytest.mark.parametrize("partial", ["card", "progress"])
def test_a_wait_for_somebody_says_for_what(partial):
    signature = {"options": {"headers": {POLL_HEADER: [0, 0, False, NASTY]}}}
    fields = {"poll_at": NOON, "poll_signature": signature}

    html = render(f"status/partials/{partial}.html", job=make_job("waiting", **fields))

    assert f"Waits for someone: {ESCAPED}" in html
    assert "Waits for" not in render(f"status/partials/{partial}.html", job=make_job("running", **fields))
    del signature["options"]["headers"][POLL_HEADER][3:]
    assert "Waits for" not in render(f"status/partials/{partial}.html", job=make_job("waiting", **fields))


def test_cancelling_promises_no_time():
    assert " left" not in render("status/partials/progress.html", job=make_job("cancelling"))


def test_cancelling_says_since_when():
    job = make_job("cancelling")

    with mock.patch("django.utils.timezone.now", return_value=NOON + timedelta(seconds=12.9)):
        shown = re.sub("<.*?>", "", render(CLOCK, job=job))
        assert shown.strip() == "since 12:00:00, 12 s ago"
    with mock.patch("django.utils.timezone.now", return_value=NOON - timedelta(seconds=1)):
        assert "0 s ago" in render(CLOCK, job=job)
    assert "cancelling since" in render("status/partials/clock.html", job=job)
    assert "since" in render("status/partials/row.html", job=job)
    for situation in {*SITUATIONS} - {"cancelling", "cancelling, may be stopped"}:
        assert render(CLOCK, job=make_job(situation)).strip() == ""


def test_announcement_changes_at_quarters_only():
    def announced(progress: float) -> str:
        return render("status/partials/announce.html", job=make_job("running", progress=progress))

    texts = [announced(percent / 100) for percent in range(101)]

    assert len(set(texts)) == 4
    assert [texts[percent].strip()[-4:] for percent in (25, 50, 99)] == [" 25%", " 50%", " 75%"]


def test_steps_of_an_ended_job_do_not_run_on():
    html = render("status/partials/steps.html", job=make_job("failed"))

    assert "not completed" in html
    assert "under way" not in html
    assert re.findall(r'data-state="(\w+)"', html) == ["done", "failed", "pending"]


def test_a_single_step_is_not_listed():
    job = make_job("running", steps=[Step(name="Read", state="running").to_wire()])

    assert "<section" not in render("status/partials/steps.html", job=job)


@pytest.mark.parametrize(
    ("failure", "heading"),
    [("error", "What went wrong"), ("timeout", "It took too long"), ("worker lost", "The worker was lost")],
)
def test_error_tells_the_kind_of_failure(failure, heading):
    html = render("status/partials/error.html", job=make_job("failed", failure=failure, error=NASTY))

    assert heading in html
    assert ESCAPED in html


@pytest.mark.parametrize("partial", ["card", "announce", "files", "steps"])
def test_user_text_is_escaped(partial):
    assert ESCAPED in render(f"status/partials/{partial}.html", job=make_job("running"))


def test_result_is_a_link_or_text_or_nothing():
    partial = "status/partials/result.html"

    assert 'href="/r/"' in render(partial, job=make_job("succeeded"))
    assert "<pre" in render(partial, job=make_job("succeeded, other result"))
    assert render(partial, job=make_job("succeeded, no result")).strip() == ""


def test_log_lines_are_escaped_and_say_their_level():
    def line(number: int, level: int) -> Line:
        return Line(number=number, attempt=2, at=NOON, level=level, text=NASTY)

    html = render("status/partials/log_lines.html", lines=[line(1, 20), line(2, 30), line(3, 40)])

    assert html.count("<li") == html.count("</li>") == 3
    assert html.count(ESCAPED) == 3
    assert re.findall(r">(Info|Warning|Error)<", html) == ["Info", "Warning", "Error"]
    assert "Attempt 2" in html
    assert render("status/partials/log_lines.html", lines=[]).strip() == ""


@pytest.mark.parametrize(("count", "text"), [(1, "1 new job"), (3, "3 new jobs"), (100, "100+ new jobs")])
def test_new_jobs_are_announced(count, text):
    link = only_element(render("status/partials/new_jobs.html", count=count))

    assert attributes(link)["href"] == "?state=all"
    assert text in str(link)


def test_no_new_jobs_show_nothing():
    assert render("status/partials/new_jobs.html", count=0).strip() == ""


@pytest.mark.parametrize(
    ("context", "text"), [({"status": "RUNNING"}, "RUNNING"), ({"status": NASTY}, ESCAPED), ({}, "unknown")]
)
def test_current_status(context, text):
    assert render("status/partials/current_status.html", **context).strip() == text


@pytest.mark.parametrize(("polling", "seconds"), [(False, "25s"), (True, "5s")])
def test_beat_is_one_element_that_polls_until_it_is_replaced(polling, seconds):
    element = only_element(str(beat(polling=polling)))

    found = attributes(element)
    assert element.name == "div"
    assert found["id"] == "live-beat"
    assert found["hx-swap-oob"] == "true"
    assert re.fullmatch(r"/jobs/frame/\?told=\d{10}\.\d{6}&turn=0", found["hx-get"])
    assert found["hx-swap"] == "none"
    # Not `load delay`: that fires once, and a poll that fails would be the last.
    assert found["hx-trigger"] == f"every {seconds}"
    assert ("live-beat-now" in found["class"]) == polling


@pytest.mark.parametrize(("reason", "says"), [("ended", False), ("refused", True)])
def test_last_beat_waits_for_nothing(reason, says):
    element = only_element(str(last_beat(reason)))

    found = attributes(element)
    assert found["id"] == "live-beat"
    assert found["hx-swap-oob"] == "true"
    assert "hx-trigger" not in found
    assert ("can no longer be updated" in str(element)) == says


def test_socket_hands_the_view_to_the_heartbeat():
    html = render("status/partials/socket.html", url="/ws/?view=a", vals='{"view": "a"}', refresh_seconds=5)

    socket = next(child for child in parse_html(html).children if child.name == "div")
    assert attributes(socket) == {
        "id": "live",
        "hx-ext": "ws",
        "ws-connect": "/ws/?view=a",
        "hx-vals": '{"view": "a"}',
    }
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html


def test_base_leaves_out_what_the_project_lacks(settings):
    settings.ROOT_URLCONF = __name__
    settings.LANGUAGES = [("en", "English")]
    request = RequestFactory().get("/")
    request.user = AnonymousUser()

    html = get_template("_base.html").render({}, request)

    assert re.findall(r'<a [^>]*href="([^"]*)"', html) == ["#main", "/jobs/"]
    assert re.findall(r'<form [^>]*action="([^"]*)"', html) == ["/jobs/appearance/"]


@pytest.mark.parametrize("name", ["403.html", "404.html", "403_csrf.html"])
def test_problem_can_be_shown_in_place(name):
    request = RequestFactory().get("/")
    request.user = AnonymousUser()

    assert 'id="problem"' in get_template(name).render({}, request)


def test_server_error_needs_no_context():
    assert 'id="problem"' in get_template("500.html").render()


@pytest.mark.parametrize(
    ("situation", "text"),
    [
        ("queued", "Waiting for a worker"),
        ("running", f"Step 2 of 3: {NASTY} › {NASTY}"),
        ("running, no step yet", "Running"),
        ("succeeded", "Finished"),
        ("failed", f"Stopped at step 2 of 3: {NASTY} › {NASTY}"),
        ("cancelled before it began", "Stopped before it began"),
    ],
)
def test_phase(situation, text):
    assert phase(make_job(situation)) == text


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (None, ""),
        (Step(name="a"), ""),
        (Step(name="a", current=1204.0, unit="rows"), "1,204 rows"),
        (Step(name="a", current=0, total=5000), "0 / 5,000"),
        (Step(name="a", current=1024, total=2048, unit="bytes"), "1.0\xa0KB / 2.0\xa0KB"),
    ],
)
def test_counted(step, text):
    assert counted(step) == text


@pytest.mark.parametrize(
    ("rate", "unit", "text"),
    [
        (None, "rows", ""),
        (1204.4, "rows", "1,204 rows/s"),
        (3.5, "", "3.5/s"),
        (2048, "bytes", "2.0\xa0KB/s"),
    ],
)
def test_speed(rate, unit, text):
    step = Step(name="a", state="running", unit=unit)

    assert speed(make_job("running", rate=rate, steps=[step.to_wire()])) == text
    assert speed(make_job("waiting", rate=rate)) == ""


def test_login_leads_back_to_the_page_when_htmx_was_sent_there():
    request = RequestFactory().get("/login/")
    request.user = AnonymousUser()
    request.htmx = SimpleNamespace(current_url_abs_path="/jobs/7/")

    html = get_template("login.html").render({"next": "/jobs/7/cancellation/"}, request)

    assert 'name="next" value="/jobs/7/"' in html
