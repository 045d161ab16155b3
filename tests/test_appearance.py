"""Light, dark, or as the system says; what the head of a page tells."""

import re

import pytest

from status.models import Job
from status.states import State


def scheme(client, path="/login/"):
    return re.search(r'<meta name="color-scheme" content="([^"]*)"', client.get(path).content.decode())[1]


def test_without_a_choice_it_is_as_the_system_says(client, db):
    assert scheme(client) == "light dark"


@pytest.mark.parametrize("choice", ["light", "dark"])
def test_a_choice_is_kept_and_leads_back_to_where_it_was_made(client, db, choice):
    response = client.post("/jobs/appearance/", {"appearance": choice, "next": "/login/?next=/jobs/"})
    assert (response.status_code, response.url) == (302, "/login/?next=/jobs/")
    assert response.cookies["status-appearance"]["httponly"]
    assert scheme(client) == choice


def test_a_choice_can_be_given_up(client, db):
    client.post("/jobs/appearance/", {"appearance": "dark"})
    client.post("/jobs/appearance/", {"appearance": "system"})
    assert scheme(client) == "light dark"


def test_the_choice_made_is_pressed(client, db):
    client.post("/jobs/appearance/", {"appearance": "dark"})
    html = client.get("/login/").content.decode()
    pressed = re.findall(r'value="(\w+)" aria-pressed="(\w+)"', html)
    assert pressed == [("system", "false"), ("light", "false"), ("dark", "true")]


def test_what_cannot_be_chosen_is_refused_with_what_can(client, db):
    response = client.post("/jobs/appearance/", {"appearance": "sepia"})
    assert response.status_code == 400
    assert b"system, light, dark" in response.content


def test_a_cookie_of_nonsense_is_no_choice(client, db):
    client.cookies["status-appearance"] = '"><script>'
    assert scheme(client) == "light dark"


@pytest.mark.parametrize("elsewhere", ["https://example.com/", "//example.com/", "javascript:alert(1)", ""])
def test_nobody_is_sent_elsewhere(client, db, elsewhere):
    response = client.post("/jobs/appearance/", {"appearance": "dark", "next": elsewhere})
    assert response.url == "/"


def test_a_get_chooses_nothing(client, db):
    assert client.get("/jobs/appearance/").status_code == 405


@pytest.mark.parametrize(
    ("values", "head"),
    [
        ({"state": State.QUEUED}, "Queued · Orders of May"),
        ({"state": State.RUNNING, "progress": 0.439}, "43% · Orders of May"),
        ({"state": State.RUNNING}, "Running · Orders of May"),
        ({"state": State.FAILED, "progress": 0.439}, "Failed · Orders of May"),
    ],
)
def test_the_title_of_a_page_tells_how_the_job_stands(client, alice, values, head):
    job = Job.objects.create(task="t", title="Orders of May", owner=alice, **values)
    client.force_login(alice)
    assert f"<title>{head}</title>" in client.get(job.get_absolute_url()).content.decode()
