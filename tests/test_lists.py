"""The page of the list and its saved views."""

import re

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from status.models import Job, SavedView
from status.states import State

pytestmark = pytest.mark.django_db


@pytest.fixture
def mine(client, alice):
    client.force_login(alice)
    return [
        Job.objects.create(
            task="t.a", title="Orders of May", owner=alice, state=State.FAILED, error="Disk full"
        ),
        Job.objects.create(task="t.b", title="Orders of June", owner=alice, queue="mail"),
    ]


def titles(client, query=""):
    text = client.get(f"/jobs/{query}").content.decode()
    return re.findall(r'class="row-link[^>]*>([^<]+)<', text)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?state=failed", ["Orders of May"]),
        ("?q=disk", ["Orders of May"]),
        ("?q=june&queue=mail", ["Orders of June"]),
        ("?task=t.b&state=failed", []),
        ("?kind=workflow", []),
        ("?state=nonsense", ["Orders of June", "Orders of May"]),
        ("?after=nonsense", ["Orders of June", "Orders of May"]),
        ("?owner=bob", ["Orders of June", "Orders of May"]),
    ],
)
def test_the_address_says_what_is_shown(client, mine, query, expected):
    assert titles(client, query) == expected


@pytest.mark.parametrize("query", ["?state=nonsense", "?after=nonsense", "?since=x", "?q=%20%21"])
def test_what_was_not_understood_is_told(client, mine, query):
    page = client.get(f"/jobs/{query}")
    assert page.status_code == 200
    assert page.context["problems"]
    assert page.context["problems"][0] in page.content.decode().replace("&#x27;", "'")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("?q=nothing", "No job matches"),
        ("?state=running", "No job is in the state “Running”"),
        ("?state=running&q=x", "Clear all filters"),
    ],
)
def test_an_empty_list_says_why(client, mine, query, text):
    assert text in client.get(f"/jobs/{query}").content.decode()


def test_the_longest_address_still_fits_its_socket(client, alice):
    client.force_login(alice)
    Job.objects.bulk_create(Job(task="t", title=f"Job {n}", owner=alice) for n in range(25))
    rest = "".join(chr(97 + n * n * 7 % 26) for n in range(240))
    page = client.get("/jobs/", {"task": "t", "since": "2020-01-01", "until": "2040-01-01"})
    assert page.content.count(b"data-job=") == 25
    page = client.get(
        "/jobs/", {"task": rest, "queue": rest[::-1], "worker": rest[::2] * 2, "schedule": rest[::3]}
    )
    assert page.status_code == 200
    assert page.context["problems"] == []


def test_tabs_are_links_with_counts_and_the_current_one_is_marked(client, mine):
    text = client.get("/jobs/?state=failed&q=orders").content.decode()
    tabs = re.search(r"<nav[^>]*aria-label=\"States\">(.*?)</nav>", text, re.DOTALL)[1]
    plain = re.sub(r"<!--.*?-->|</?span[^>]*>", " ", tabs)
    found = re.findall(r'href="\?([^"]+)"( aria-current="page")?>\s*(\w+)\s+(\d+)', plain)
    assert [(name, int(count), bool(current)) for _query, current, name, count in found] == [
        ("All", 2, False),
        ("Queued", 1, False),
        ("Running", 0, False),
        ("Waiting", 0, False),
        ("Succeeded", 0, False),
        ("Failed", 1, True),
        ("Cancelled", 0, False),
    ]
    assert found[1][0] == "state=queued&amp;q=orders"
    assert "<title>Failed · Jobs</title>" in text


def test_pages_lead_to_each_other_and_back(client, alice):
    client.force_login(alice)
    Job.objects.bulk_create(Job(task="t", title=f"Job {n:02}", owner=alice) for n in range(60))

    def follow(text, rel):
        link = re.search(rf'href="(\?[^"]+)" rel="{rel}"', text)
        return (
            client.get("/jobs/" + link[1].replace("&amp;", "&"), follow=True).content.decode()
            if link
            else None
        )

    def shown(text):
        return re.findall(r"Job \d\d(?=</a>)", text)

    first = client.get("/jobs/").content.decode()
    second = follow(first, "next")
    third = follow(second, "next")
    assert len(shown(first)) == len(shown(second)) == 25
    assert (
        len(shown(first) + shown(second) + shown(third))
        == len({*shown(first), *shown(second), *shown(third)})
        == 60
    )
    assert follow(third, "next") is None
    assert shown(follow(third, "prev")) == shown(second)
    assert shown(follow(follow(third, "prev"), "prev")) == shown(first)


def test_all_boxes_can_be_ticked_without_javascript(client, mine):
    assert client.get("/jobs/").content.count(b" checked") == 0
    assert client.get("/jobs/?select=page").content.count(b" checked") == 2
    text = client.get("/jobs/?select=all&q=orders").content.decode()
    assert "All 2 that match are chosen" in text
    assert '<input type="hidden" name="all" value="1">' in text


def test_a_page_on_which_boxes_are_ticked_does_not_reload_itself(client, mine):
    refresh = b'http-equiv="refresh"'
    assert refresh in client.get("/jobs/").content
    assert refresh not in client.get("/jobs/?select=page").content


def test_who_may_only_look_is_offered_no_boxes(client, mine, django_user_model):
    viewer = django_user_model.objects.create_user("vera")
    viewer.user_permissions.add(Permission.objects.get(codename="view_job"))
    client.force_login(viewer)
    text = client.get("/jobs/").content.decode()
    assert text.count("data-job=") == 2
    assert "checkbox" not in text
    assert 'value="delete"' not in text
    viewer.user_permissions.add(Permission.objects.get(codename="change_job"))
    text = client.get("/jobs/").content.decode()
    assert 'value="retry"' in text
    assert 'value="delete"' not in text


def test_owners_are_shown_and_asked_for_by_who_sees_all(client, mine, operator, bob):
    assert b'name="owner"' not in client.get("/jobs/").content
    Job.objects.create(task="t", title="Bob's", owner=bob)
    client.force_login(operator)
    assert titles(client, "?owner=bob") == ["Bob&#x27;s"]
    assert titles(client, "?owner=nobody") == []


def test_others_tasks_are_not_offered(client, mine, bob):
    Job.objects.create(task="secret.task", title="Bob's", owner=bob, worker="w9", queue="hush")
    text = client.get("/jobs/").content.decode()
    assert "t.a" in text
    assert "secret.task" not in text
    assert "hush" not in text


# -- saved views -------------------------------------------------------------------------------------------


def save(client, name="Broken", query="state=failed", **more):
    return client.post("/jobs/views/", {"name": name, "query": query, **more})


def test_a_view_is_saved_shown_renamed_and_deleted(client, mine, alice):
    response = save(client)
    assert (response.status_code, response.url) == (302, "/jobs/?state=failed")
    view = SavedView.objects.get(user=alice)
    text = client.get("/jobs/?state=failed").content.decode()
    assert "<title>Broken · Jobs</title>" in text
    assert re.search(r'<a class="chip" href="\?state=failed" aria-current="page">', text)
    client.post(f"/jobs/views/{view.pk}/", {"name": "  In   pieces "})
    view.refresh_from_db()
    assert (view.name, view.query) == ("In pieces", "state=failed")
    client.post(f"/jobs/views/{view.pk}/deletion/")
    assert not SavedView.objects.exists()


def test_the_default_view_is_what_the_bare_list_shows(client, mine, alice):
    save(client, default="on")
    save(client, name="Mail", query="queue=mail")
    for path in ("/", "/jobs/"):
        response = client.get(path)
        assert (response.status_code, response.url) == (302, f"{path}?state=failed")
    assert titles(client, "?state=all") == ["Orders of June", "Orders of May"]
    second = SavedView.objects.get(name="Mail")
    client.post(f"/jobs/views/{second.pk}/", {"name": "Mail", "default": "on"})
    assert client.get("/jobs/").url == "/jobs/?queue=mail"
    client.post(f"/jobs/views/{second.pk}/", {"name": "Mail"})
    assert client.get("/jobs/").status_code == 200


@pytest.mark.parametrize(
    ("name", "says"), [("", "60 characters"), ("x" * 61, "60 characters"), ("Broken", "already")]
)
def test_a_bad_name_is_refused(client, mine, name, says):
    save(client)
    response = save(client, name=name, query="queue=mail")
    assert response.status_code == 409
    assert says in response.content.decode()
    assert SavedView.objects.count() == 1


def test_views_are_ones_own(client, mine, bob):
    theirs = SavedView.objects.create(user=bob, name="Bob's", query="state=failed")
    assert "Bob&#x27;s" not in client.get("/jobs/?state=failed").content.decode()
    for path in (
        f"/jobs/views/{theirs.pk}/",
        f"/jobs/views/{theirs.pk}/deletion/",
        "/jobs/views/99999999999999999999/",
    ):
        assert client.post(path, {"name": "x"}).status_code == 404
    assert SavedView.objects.get().name == "Bob's"


def test_nobody_saves_views_without_end(client, mine, monkeypatch):
    monkeypatch.setattr("status.views.saved_views.MOST_VIEWS", 2)
    for number in range(3):
        save(client, name=str(number))
    assert SavedView.objects.count() == 2


def test_a_view_holds_only_what_was_understood(client, mine):
    save(client, query="state=failed&evil=1&after=x&q=a%26b")
    assert SavedView.objects.get().query == "state=failed&q=a%26b"


def test_no_query_asks_which_jobs_came_since_the_page_was_made(client, mine):
    with CaptureQueriesContext(connection) as asked:
        page = client.get("/jobs/").content.decode()
    assert 'aria-live="polite"' in page
    assert "new-jobs" not in page
    assert not [query["sql"] for query in asked if '"created_at" > ' in query["sql"]]
