"""`{% live %}`, `{% live_log %}`, `{% live_socket %}` and the filters."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory

from status import access
from status.broadcast import broadcast
from status.models import Job
from status.states import State
from status.wording import amount, duration, new_jobs, rate

BADGE = '"status/partials/badge.html"'


@pytest.fixture
def job(alice):
    return Job.objects.create(task="t", title="Orders <of> May", owner=alice, state=State.RUNNING)


@pytest.fixture
def show(alice):
    """Render template code for alice, or whoever is given; returns the HTML."""

    def render(code, user=alice, **context):
        request = RequestFactory().get("/")
        request.user = user
        return Template("{% load status %}" + code).render(Context({"request": request, **context}))

    return render


def token(html):
    return re.search(r"view=([^\"&]+)", html)[1]


def test_the_element_carries_id_tag_and_attributes(show, job):
    html = show(f'{{% live job {BADGE} tag="tr" class="border-b" data_job=job.pk %}}', job=job)
    assert re.match(rf'<tr id="live-[0-9a-f]{{12}}" class="border-b" data-job="{job.pk}">', html)
    assert html.endswith("</tr>")


def test_attributes_are_escaped_and_empty_ones_left_out(show, job):
    html = show(f"{{% live job {BADGE} class=evil hidden=none %}}", job=job, evil='"><script>', none=None)
    assert 'class="&quot;&gt;&lt;script&gt;"' in html
    assert "hidden=" not in html.partition(">")[0]


def test_ids_are_stable_and_unique_on_a_page(show, job):
    code = f"{{% live job {BADGE} %}}{{% live job {BADGE} %}}"
    ids = re.findall(r'id="(live-[^"]+)"', show(code, job=job))
    assert ids[1] == f"{ids[0]}-2"
    assert re.findall(r'id="(live-[^"]+)"', show(code, job=job)) == ids


def test_the_default_card_keeps_its_link_out_of_the_region(show, job):
    html = show("{% live job %}", job=job)
    before, region = re.split(r'<div id="live-\w+"', html)
    assert f'href="{job.get_absolute_url()}"' in before
    assert "Orders &lt;of&gt; May" in before
    assert "data-job-state" in region
    assert "href" not in region


def test_the_socket_signs_all_regions_for_the_user(show, job, alice):
    html = show(
        f'{{% live job {BADGE} %}}{{% live "news" "status/partials/current_status.html" %}}{{% live_socket %}}',
        job=job,
    )
    view = access.unsign(token(html), alice)
    assert [region.subject.kind for region in view.regions] == ["j", "t"]
    assert view.language == "en"


def test_a_page_without_regions_has_no_socket(show):
    assert show("{% live_socket %}").strip() == ""


def test_an_ended_job_needs_no_socket_but_a_topic_does(show, job):
    job.state = State.SUCCEEDED
    assert "ws-connect" not in show("{% live job %}{% live_socket %}", job=job)
    topic = '{% live "news" "status/partials/current_status.html" %}'
    assert "ws-connect" in show("{% live job %}" + topic + "{% live_socket %}", job=job)


def test_a_topic_shows_its_retained_value(show, db):
    broadcast("news", {"status": "RUNNING"})
    code = '{% live "news" "status/partials/current_status.html" tag="span" %}'
    assert "RUNNING" in show(code, user=AnonymousUser())


def test_ones_own_partial_gets_the_payload(show, db, tmp_path, settings):
    (tmp_path / "price.html").write_text("{{ price }} at {{ topic.at|date:'Y' }} v{{ topic.version }}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path, *settings.TEMPLATES[0]["DIRS"]]}]
    broadcast("price", {"price": 42})
    assert re.search(r">42 at 20\d\d v1<", show('{% live "price" "price.html" %}'))


@pytest.mark.parametrize(
    "code",
    [
        '{% live job "status/partials/badge.html" tag="div onclick=x" %}',
        '{% live job "status/partials/badge.html" id="a b" %}',
        '{% live 7 "status/partials/badge.html" %}',
        '{% live "" "status/partials/badge.html" %}',
    ],
)
def test_wrong_use_is_told(show, job, code):
    with pytest.raises(TemplateSyntaxError):
        show(code, job=job)


def test_a_context_without_request_is_told(job):
    with pytest.raises(TemplateSyntaxError, match="need `request`"):
        Template("{% load status %}{% live job %}").render(Context({"job": job}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0001, "1 ms"),
        (0.042, "42 ms"),
        (0.096, "0.1 s"),
        (0.44, "0.4 s"),
        (3.04, "3.0 s"),
        (timedelta(seconds=3), "3 s"),
        (0, "0 s"),
        (timedelta(seconds=48), "48 s"),
        (125, "2 min 5 s"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
    ],
)
def test_durations(value, text):
    assert duration(value) == text


def test_numbers():
    assert [amount(value) for value in (None, 3, 3.5, 1204, 123456.7)] == [
        "–",
        "3",
        "3.5",
        "1,204",
        "123,457",
    ]
    assert [rate(value) for value in (None, 1204.3, 3.46, 0.071)] == ["–", "1,204", "3.5", "0.07"]
    assert [new_jobs(count) for count in (1, 3, 100)] == ["1 new job", "3 new jobs", "100+ new jobs"]
