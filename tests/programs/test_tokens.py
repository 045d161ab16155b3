"""The page of a person's tokens."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from status.models import Token
from status.models.tokens import PREFIX
from status.views.tokens import MOST_TOKENS

pytestmark = pytest.mark.django_db
PATH = "/jobs/tokens/"


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


def make(browser, name="nightly import", scope="act", days="none"):
    page = browser.post(PATH, {"name": name, "scope": scope, "days": days})
    assert page.status_code == 200
    return page, re.search(r'<code id="secret">(\S+)</code>', page.content.decode())[1]


def test_a_token_is_made_shown_once_and_works(browser, alice):
    page, secret = make(browser)
    assert "no-store" in page["Cache-Control"]
    assert secret.startswith(PREFIX)
    again = browser.get(PATH).content.decode()
    assert "nightly import" in again
    assert "not used yet" in again
    assert secret not in again
    program = Client(headers={"Authorization": f"Bearer {secret}"})
    assert program.get("/api/jobs/").status_code == 200
    assert "not used yet" not in browser.get(PATH).content.decode()


def test_the_secret_is_nowhere_in_the_database(browser):
    _page, secret = make(browser)
    [row] = Token.objects.values()
    assert secret not in repr(row)
    assert secret.removeprefix(PREFIX) not in repr(row)


def test_two_tokens_are_never_the_same(browser):
    assert make(browser)[1] != make(browser)[1]


def test_a_revoked_token_is_gone_from_the_page_and_works_no_more(browser):
    _page, secret = make(browser)
    token = Token.objects.get()
    path = f"{PATH}{token.pk}/revocation/"
    assert browser.get(path).status_code == 302
    program = Client(headers={"Authorization": f"Bearer {secret}"})
    assert program.get("/api/jobs/").status_code == 200, "a GET revokes nothing"
    assert browser.post(path).status_code == 302
    assert browser.post(path).status_code == 302, "a double click"
    assert program.get("/api/jobs/").status_code == 401
    assert "nightly import" not in browser.get(PATH).content.decode()


def test_the_tokens_of_others_do_not_exist(browser, bob):
    make(browser)
    token = Token.objects.get()
    other = Client()
    other.force_login(bob)
    assert "nightly import" not in other.get(PATH).content.decode()
    assert other.post(f"{PATH}{token.pk}/revocation/").status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None


def test_a_token_makes_no_tokens_and_opens_no_pages(browser):
    _page, secret = make(browser)
    program = Client(headers={"Authorization": f"Bearer {secret}"})
    assert program.get(PATH).status_code == 302
    assert program.post(PATH, {"name": "x", "scope": "act", "days": "30"}).status_code == 302
    assert Token.objects.count() == 1


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"name": "", "scope": "act", "days": "30"},
        {"name": "x", "scope": "all", "days": "30"},
        {"name": "x", "scope": "act", "days": "31"},
        {"name": "x", "scope": "act"},
    ],
)
def test_a_token_without_name_or_end_or_with_another_scope_is_not_made(browser, data):
    page = browser.post(PATH, data)
    assert "errorlist" in page.content.decode()
    assert not Token.objects.exists()


def test_one_token_too_many_is_not_made(browser, alice):
    Token.objects.bulk_create(
        Token(user=alice, name=str(number), hash=str(number)) for number in range(MOST_TOKENS)
    )
    page = browser.post(PATH, {"name": "x", "scope": "read", "days": "30"})
    assert "Revoke one first" in page.content.decode()
    assert Token.objects.count() == MOST_TOKENS


def test_the_page_is_reached_from_the_header_and_asks_for_a_login(browser):
    assert f'href="{PATH}"' in browser.get("/jobs/").content.decode()
    assert Client().get(PATH).status_code == 302


def test_a_name_is_escaped(browser):
    page, _secret = make(browser, name="<b>bold")
    assert "<b>bold" not in page.content.decode()
    assert "&lt;b&gt;bold" in page.content.decode()


def test_the_page_takes_few_queries(browser, alice, django_assert_num_queries):
    Token.objects.bulk_create(
        Token(user=alice, name=str(number), hash=str(number)) for number in range(MOST_TOKENS)
    )
    # The session, the user, the tokens, the bell, and for the header what the user and their groups may do.
    with django_assert_num_queries(6):
        browser.get(PATH)


@pytest.mark.parametrize(("days", "seconds"), [("30", 30 * 86_400), ("365", 365 * 86_400), ("none", None)])
def test_a_token_ends_when_its_maker_said(browser, days, seconds):
    make(browser, days=days)
    token = Token.objects.get()
    if seconds is None:
        assert token.expires_at is None
        assert "never" in browser.get(PATH).content.decode()
    else:
        assert abs((token.expires_at - token.created_at).total_seconds() - seconds) < 5
        assert token.expires_at.isoformat() in browser.get(PATH).content.decode()


def test_a_token_is_refused_after_its_end_and_can_be_taken_off_the_list(browser):
    _page, secret = make(browser, days="30")
    program = Client(headers={"Authorization": f"Bearer {secret}"})
    assert program.get("/api/jobs/").status_code == 200
    Token.objects.update(expires_at=timezone.now(), last_used_at=None)
    answer = program.get("/api/jobs/")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert f"expired on {timezone.now():%Y-%m-%d}. Make another" in answer.json()["detail"]
    token = Token.objects.get()
    assert token.last_used_at is None, "what is refused is no use"
    page = browser.get(PATH).content.decode()
    assert "Expired" in page
    assert "Remove nightly import" in page
    browser.post(f"{PATH}{token.pk}/revocation/")
    assert "nightly import" not in browser.get(PATH).content.decode()
