"""The page on which people choose what they are told, through Django's test client."""

import base64
import re

import pytest
from django.core.checks import run_checks

from status.models import Delivery, Notification, Preferences

pytestmark = pytest.mark.django_db

PAGE = "/jobs/notifications/preferences/"
HERE = {"SITE_URL": "https://jobs.example.org"}


@pytest.fixture
def signed_in(client, alice, settings):
    settings.STATUS = HERE
    alice.email = "alice@example.org"
    alice.save()
    client.force_login(alice)
    return client


def shown(response):
    found = re.search(r'id="secret">([^<]+)<', response.content.decode())
    return found[1] if found else ""


def test_who_has_chosen_nothing_is_told_on_the_page(signed_in):
    html = signed_in.get(PAGE).content.decode()
    boxes = re.findall(r'<input type="checkbox" name="(\w+)" value="(\w+)"[^>]*?( checked)?>', html)
    assert {(name, value) for name, value, checked in boxes if checked} == {
        ("page", kind) for kind in Notification.Kind.values
    }
    assert len(boxes) == 15
    assert "E-mail goes to alice@example.org." in html
    assert not Preferences.objects.exists()


def test_what_was_chosen_is_kept(signed_in, alice):
    response = signed_in.post(PAGE, {"page": ["failed"], "email": ["failed", "waiting"]}, follow=True)
    assert "Saved." in response.content.decode()
    held = Preferences.objects.get(user=alice)
    assert held.chosen == {"page": ["failed"], "email": ["failed", "waiting"], "webhook": []}
    assert held.language == "en"
    html = signed_in.get(PAGE).content.decode()
    assert re.findall(r'name="email" value="(\w+)"[^>]*? checked', html) == ["failed", "waiting"]


def test_the_secret_is_shown_once_and_is_not_in_the_database(signed_in, alice):
    choice = {"webhook": ["failed"], "webhook_url": "https://hooks.example.org/x"}
    secret = shown(signed_in.post(PAGE, choice))
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert shown(signed_in.post(PAGE, choice, follow=True)) == shown(signed_in.get(PAGE)) == ""
    held = Preferences.objects.get(user=alice)
    assert base64.b64encode(held.secrets()[0]).decode() == secret.removeprefix("whsec_")
    assert held.secrets()[0].hex() not in held.webhook_nonce
    again = shown(signed_in.post(PAGE + "secret/"))
    assert again not in {"", secret}
    assert shown(signed_in.get(PAGE + "secret/", follow=True)) == ""
    response = signed_in.get(PAGE)
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "Say where webhooks go, or choose none."),
        ("http://hooks.example.org/", "must begin with https://"),
        ("https://10.1.2.3/", "10.1.2.3 is not a public address"),
        ("https://[::1]/", "::1 is not a public address"),
        ("https://user:word@hooks.example.org/", "no user name and no password"),
        ("ftp://hooks.example.org/", "must begin with https://"),
        ("https://" + "a" * 500 + ".org/", ""),
    ],
)
def test_an_address_that_webhooks_cannot_go_to_is_refused(signed_in, url, says):
    response = signed_in.post(PAGE, {"webhook": ["failed"], "webhook_url": url})
    html = response.content.decode()
    assert "Nothing was saved. See below." in html
    assert says in html
    assert not Preferences.objects.exists()


def test_a_kind_that_does_not_exist_is_refused(signed_in):
    assert "Nothing was saved" in signed_in.post(PAGE, {"page": ["nonsense"]}).content.decode()


def test_without_an_address_e_mail_cannot_be_chosen(signed_in, alice):
    alice.email = ""
    alice.save()
    html = signed_in.get(PAGE).content.decode()
    assert "There is no e-mail address in your account." in html
    assert len(re.findall(r'name="email"[^>]* disabled', html)) == 5
    signed_in.post(PAGE, {"page": ["failed"], "email": ["failed"]})
    assert Preferences.objects.get().chosen["email"] == []


def test_what_the_site_does_not_offer_is_not_on_the_page(signed_in, settings):
    settings.STATUS = HERE | {"TELL_BY": []}
    html = signed_in.get(PAGE).content.decode()
    assert 'name="email"' not in html
    assert "webhook" not in html
    signed_in.post(PAGE, {"page": [], "webhook": ["failed"], "webhook_url": "https://hooks.example.org/"})
    held = Preferences.objects.get()
    assert (held.chosen, held.webhook_url) == ({"page": [], "email": [], "webhook": []}, "")


def test_a_test_goes_out_and_is_read_in_the_inbox(signed_in, alice):
    for _click in range(2):
        signed_in.post(PAGE + "test/email/")
    delivery = Delivery.objects.get()
    assert (delivery.channel, delivery.user, delivery.notification.title) == (
        "email",
        alice,
        "This is a test",
    )
    assert delivery.notification.is_read
    assert "On its way" in signed_in.get(PAGE).content.decode()


def test_nothing_is_tested_that_cannot_be_sent(signed_in):
    assert signed_in.post(PAGE + "test/webhook/").status_code == 404
    assert signed_in.post(PAGE + "test/page/").status_code == 404
    signed_in.get(PAGE + "test/email/")
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"state": "sent", "tries": 1}, "Delivered"),
        ({"state": "failed", "tries": 8, "error": "<b>no"}, "The last delivery failed and is given up:"),
        ({"state": "pending", "tries": 2, "error": "<b>no"}, "The last delivery failed (try 2 of 8):"),
        ({"state": "sending", "tries": 1}, "On its way"),
    ],
)
def test_the_page_says_how_the_last_delivery_went(signed_in, alice, bob, fields, says):
    told = Notification.objects.create(owner=alice, title="T")
    Delivery.objects.create(notification=told, user=alice, channel="email", state="sent")
    Delivery.objects.create(notification=told, user=alice, channel="webhook")
    newer = Notification.objects.create(owner=alice, title="Newer")
    Delivery.objects.create(notification=newer, user=alice, channel="email", **fields)
    other = Notification.objects.create(owner=bob, title="Bob's")
    Delivery.objects.create(notification=other, user=bob, channel="email")
    html = signed_in.get(PAGE).content.decode()
    assert says in html
    assert "Newer" in html
    assert "Bob" not in html
    assert "<b>no" not in html


def test_the_page_is_for_who_is_logged_in(client):
    for path in (PAGE, PAGE + "secret/", PAGE + "test/email/"):
        assert client.get(path).status_code == 302
        assert client.post(path).status_code == 302


def test_the_page_takes_few_queries(signed_in, alice, django_assert_max_num_queries):
    Preferences.objects.create(user=alice, webhook_url="https://hooks.example.org/")
    signed_in.get(PAGE)
    with django_assert_max_num_queries(6):
        signed_in.get(PAGE)


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({}, ["status.W004"]),
        ({"TELL_BY": ["webhook"]}, []),
        ({"SITE_URL": "jobs.example.org"}, ["status.E005"]),
        (HERE | {"TELL_BY": ["pigeon"]}, ["status.E004"]),
        (HERE, []),
    ],
)
def test_a_site_that_offers_e_mail_must_know_its_address(settings, status, found):
    settings.STATUS = status
    assert [p.id for p in run_checks() if p.id and p.id.startswith("status")] == found
