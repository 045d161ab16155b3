"""Light, dark, or as the system says; the language; what the head of a page tells."""

import re

import pytest
from django.template.loader import get_template
from django.utils import translation

from status.appearance import offered_languages
from status.models import Job, Preferences
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


CHOICES = [("/jobs/appearance/", {"appearance": "dark"}), ("/jobs/language/", {"language": "de"})]


@pytest.mark.parametrize("elsewhere", ["https://example.com/", "//example.com/", "javascript:alert(1)", ""])
@pytest.mark.parametrize(("path", "choice"), CHOICES)
def test_nobody_is_sent_elsewhere(client, db, path, choice, elsewhere):
    assert client.post(path, {**choice, "next": elsewhere}).url == "/"


@pytest.mark.parametrize(("path", "choice"), CHOICES)
def test_a_get_chooses_nothing(client, db, path, choice):
    assert client.get(path, choice).status_code == 405


def root(client, path="/login/", **options):
    html = client.get(path, **options).content.decode()
    return re.search(r'<html lang="([^"]*)" dir="([^"]*)">', html).groups()


def test_the_browser_says_the_language_until_somebody_chooses(client, db):
    assert root(client) == ("en", "ltr")
    assert root(client, headers={"Accept-Language": "ar-EG, de;q=0.5"}) == ("ar", "rtl")
    response = client.post("/jobs/language/", {"language": "de", "next": "/login/"})
    assert (response.status_code, response.url) == (302, "/login/")
    assert response.cookies["django_language"]["httponly"]
    assert root(client, headers={"Accept-Language": "ar"}) == ("de", "ltr")


@pytest.mark.parametrize("path", ["/jobs/", "/nowhere/", "/admin/", "/status/"])
def test_every_page_says_its_language_and_its_direction(client, operator, path):
    client.force_login(operator)
    client.post("/jobs/language/", {"language": "ar"})
    html = client.get(path, follow=True).content.decode()
    assert re.search(r'<html lang="ar"\s+dir="rtl">', html)


def test_the_page_of_an_error_says_its_language_as_well(client, db):
    with translation.override("ar"):
        assert '<html lang="ar" dir="rtl">' in get_template("500.html").render()


def test_a_language_that_is_not_offered_is_refused_with_those_that_are(client, db):
    response = client.post("/jobs/language/", {"language": "tlh"})
    assert response.status_code == 400
    assert b"en, ar, de" in response.content


def test_who_is_told_elsewhere_is_told_in_the_language_chosen_last(client, alice):
    Preferences.objects.create(user=alice, language="en")
    client.post("/jobs/language/", {"language": "ar"})
    assert Preferences.objects.get().language == "en"
    client.force_login(alice)
    client.post("/jobs/language/", {"language": "de"})
    assert Preferences.objects.get().language == "de"


def test_languages_are_offered_by_what_they_call_themselves(settings):
    assert dict(offered_languages())["de"] == "Deutsch"
    settings.LANGUAGES = [("en", "English"), ("tlh", "tlhIngan Hol")]
    assert offered_languages() == [("en", "English"), ("tlh", "tlhIngan Hol")]
    settings.MIDDLEWARE = []
    assert offered_languages() == []
    del settings.LANGUAGES
    assert offered_languages() == []


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
